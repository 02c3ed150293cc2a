package negotiate

import "time"

// When ways start.

// belowPatience is how many times its patience a request stays unanswered before
// the way below its own starts.
const belowPatience = 3

// startTime returns when the next waiting way of a rung is to start; ok is
// false if none is waiting, or if only an event can decide it.
func (r *race) startTime(rung int, now time.Time, requestsOut int) (t time.Time, ok bool) {
	i := r.findWaiting(rung)
	if i < 0 || r.requests == maxRequests {
		return time.Time{}, false
	}
	// One that stands below waits for the failure of the one above; with
	// another error than tryBelow it is lost with it. A request above that stays
	// unanswered for long may lie in something that collects whole requests; but
	// if another one has no answer either, the server is slow.
	if r.runners[i].below && r.runners[i-1].state != wayFailed {
		above := &r.runners[i-1]
		if above.state == wayRequested && requestsOut < maxUnanswered {
			return above.wayDown, true
		}
		return time.Time{}, false
	}
	// While a request is out nothing new starts before it has stayed
	// unanswered for its patience; and a rung that has answered the connection
	// needs none of its other ways.
	if requestsOut > 0 {
		for j := range r.runners {
			w := &r.runners[j]
			if w.state == wayRequested && w.rung == rung {
				return time.Time{}, false
			}
		}
		if r.headStart < 0 && rung == 1 {
			return time.Time{}, false
		}
		return r.askAgain(), true
	}
	if r.runners[i].below {
		return now, true
	}
	if rung == 1 {
		return r.release(now)
	}
	prev := -1
	for j := range i {
		if r.runners[j].rung == rung {
			prev = j
		}
	}
	if prev < 0 {
		return r.start, true
	}
	p := &r.runners[prev]
	if p.state == wayFailed || p.blocked {
		return now, true
	}
	return p.began.Add(r.runners[i].delay), true
}

// askAgain returns when every request that is out has stayed unanswered for its
// patience.
func (r *race) askAgain() (t time.Time) {
	for i := range r.runners {
		if w := &r.runners[i]; w.state == wayRequested && w.askAgain.After(t) {
			t = w.askAgain
		}
	}
	return t
}

// release says when rung 1 starts.
func (r *race) release(now time.Time) (t time.Time, ok bool) {
	dead, silent := true, r.silence > 0
	any := false
	for i := range r.runners {
		w := &r.runners[i]
		if w.rung != 0 {
			continue
		}
		any = true
		if w.state == wayFailed || w.state == wayLost || w.blocked {
			continue
		}
		dead = false
		if w.heard || w.state == wayWaiting || !w.began.Before(r.start.Add(r.silence)) {
			silent = false
		}
	}
	switch {
	case !any || dead:
		return now, true
	case r.headStart < 0:
		return time.Time{}, false
	case silent && r.silence < r.headStart:
		return r.start.Add(r.silence), true
	}
	return r.start.Add(r.headStart), true
}
