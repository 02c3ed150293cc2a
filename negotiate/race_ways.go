package negotiate

import (
	"context"
	"fmt"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// What happens to one way: it is opened, asked for the session, wins or ends.

// open starts a way.
func (r *race) open(i int, life context.Context) {
	w := &r.runners[i]
	ctx, cancel := context.WithCancel(life)
	w.cancel = cancel
	w.began = time.Now()
	w.report.Started = w.began.Sub(r.start)
	r.set(i, wayOpening)
	s := signs{
		heard:   func() { r.send(event{way: i, kind: evHeard}) },
		blocked: func(err error) { r.send(event{way: i, kind: evBlocked, err: err}) },
	}
	// Ends when open returns, which cancel hastens; run waits for it.
	r.wg.Go(func() {
		l, err := w.way.open(ctx, s)
		if !r.send(event{way: i, kind: evOpened, leg: l, err: err}) && l != nil {
			l.discard()
		}
	})
}

// request asks for the session on a ready way.
func (r *race) request(i int, life context.Context) {
	w := &r.runners[i]
	// Siblings on the rung were only different roads to the same answer.
	for j := range r.runners {
		s := &r.runners[j]
		if s.below && j == i+1 {
			continue // another answer may come from there
		}
		if j != i && s.rung == w.rung && (s.state == wayOpening || s.state == wayReady || s.state == wayWaiting) {
			r.lose(j, "the "+w.report.Name()+" connection was ready first")
		}
	}
	w.cancel()
	ctx, cancel := context.WithCancel(life)
	w.cancel = cancel
	r.requests++
	now := time.Now()
	patience := w.leg.patience()
	w.askAgain, w.wayDown = now.Add(patience), now.Add(belowPatience*patience)
	w.report.Requested = now.Sub(r.start)
	if look, within := w.leg.watch(); within > 0 {
		w.look, w.within, w.dueAt = look, within, now.Add(within)
	}
	l := w.leg
	r.set(i, wayRequested)
	// Ends when the request is answered, which cancel hastens; run waits for it.
	r.wg.Go(func() {
		s, err := l.request(ctx)
		if r.send(event{way: i, kind: evAnswered, session: s, err: err}) {
			return
		}
		if s != nil { // accepted late
			_ = s.CloseWithError(0, "")
		}
		l.discard()
	})
}

// sight looks at the path of a way that has the request, and sets the time of the
// next look if this one was due and told nothing.
func (w *runner) sight(now time.Time) sight {
	late := now.Sub(w.dueAt)
	s := w.look(late >= 0 && late < w.within/lookAgain)
	if s == unseen && late >= 0 {
		w.dueAt = now.Add(w.within / lookAgain)
	}
	return s
}

// send reports an event and says whether it was received.
func (r *race) send(ev event) bool {
	select {
	case r.events <- ev:
		return true
	case <-r.over:
		return false
	}
}

// handle takes one event; won says that its way won the race.
func (r *race) handle(ev event) (won bool) {
	w := &r.runners[ev.way]
	switch ev.kind {
	case evHeard:
		if !w.heard {
			w.heard = true
			w.report.Heard = true
			r.tell(ev.way)
		}
	case evBlocked:
		if w.state == wayOpening && !w.blocked {
			w.blocked = true
			w.report.Err = ev.err
			r.tell(ev.way)
		}
	case evOpened:
		switch {
		case w.state != wayOpening: // lost meanwhile
			r.drop(ev.leg)
		case ev.err != nil:
			err := ev.err
			if w.blocked && !w.heard {
				err = w.report.Err // what the network said, of which this is a consequence
			}
			r.fail(ev.way, err)
			r.judgeError(ev.way)
		default:
			w.leg = ev.leg
			w.heard = true
			w.report.Heard = true
			w.report.Err = nil
			w.report.Ready = time.Since(r.start)
			r.set(ev.way, wayReady)
			r.yieldTo(ev.way)
		}
	case evAnswered:
		switch {
		case w.state == wayDoubted:
			r.dropAnswer(nil, ev.session) // the leg stays for its path
		case w.state != wayRequested: // failed for want of progress
			r.dropAnswer(w.leg, ev.session)
		case ev.err != nil:
			r.fail(ev.way, ev.err)
			r.drop(w.leg)
			r.judgeError(ev.way)
		default:
			w.report.session = ev.session
			r.set(ev.way, wayWon)
			return true
		}
	}
	return false
}

// yieldTo ends a way that became ready although a sibling already carries the request.
func (r *race) yieldTo(i int) {
	for j := range r.runners {
		if r.runners[i].below && j == i-1 {
			continue // another answer may come from here
		}
		if j != i && r.runners[j].rung == r.runners[i].rung && r.runners[j].state == wayRequested {
			r.lose(i, "the "+r.runners[j].report.Name()+" connection was ready first")
			return
		}
	}
}

// judgeError draws the consequences of a way's failure.
func (r *race) judgeError(i int) {
	w := &r.runners[i]
	v := tryNext
	if r.judge != nil {
		v = r.judge(w.report, w.report.Err)
	}
	switch v {
	case answer:
		r.final = w.report.Err
	case noRoom:
		r.crowded = w.report.Err // advance decides
	case lastWord:
		r.word, r.wordAt = w.report.Err, time.Now()
	}
	if v != tryBelow && i+1 < len(r.runners) && r.runners[i+1].below && r.runners[i+1].state == wayWaiting {
		why := " did not reach the server"
		if v != tryNext {
			why = " has the answer"
		}
		r.skip(i+1, "not tried: "+w.report.Name()+why)
	}
}

// outlasted ends what has not come up in the time after the last word.
func (r *race) outlasted() {
	for i := range r.runners {
		if w := &r.runners[i]; w.state == wayOpening {
			r.fail(i, fmt.Errorf("no connection within %v after the server's answer", r.linger))
			w.cancel()
		}
	}
}

// fail ends a way with an error of its own.
func (r *race) fail(i int, err error) {
	w := &r.runners[i]
	w.report.Err = err
	r.set(i, wayFailed)
}

// lose ends a way because of another one.
func (r *race) lose(i int, why string) {
	w := &r.runners[i]
	if w.state == wayWaiting {
		r.skip(i, "not needed: "+why)
		return
	}
	w.report.Note = why
	was := w.state
	r.set(i, wayLost)
	if w.cancel != nil {
		w.cancel()
	}
	if was == wayReady || was == wayDoubted {
		r.drop(w.leg)
	}
}

// skip gives up a way that was not started; it stays so in the report.
func (r *race) skip(i int, note string) {
	w := &r.runners[i]
	w.report.Note = note
	w.state = wayLost
	r.tell(i)
}

// drop gives a leg back without holding up the race.
func (r *race) drop(l leg) {
	if l != nil {
		r.wg.Go(l.discard)
	}
}

func (r *race) dropAnswer(l leg, s transport.Session) {
	r.wg.Go(func() {
		if s != nil {
			_ = s.CloseWithError(0, "")
		}
		if l != nil {
			l.discard()
		}
	})
}

func (r *race) find(s wayState) int {
	for i := range r.runners {
		if r.runners[i].state == s {
			return i
		}
	}
	return -1
}

func (r *race) findWaiting(rung int) int {
	for i := range r.runners {
		if r.runners[i].rung == rung && r.runners[i].state == wayWaiting {
			return i
		}
	}
	return -1
}

func (r *race) count(s wayState) (n int) {
	for i := range r.runners {
		if r.runners[i].state == s {
			n++
		}
	}
	return n
}
