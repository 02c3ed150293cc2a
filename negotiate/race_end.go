package negotiate

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// The end of a race: what becomes of the other ways, and what is said of all.

// stopLosers ends every other way, but for those of rung 0 that may linger.
func (r *race) stopLosers(winner int) {
	w := &r.runners[winner]
	for i := range r.runners {
		switch l := &r.runners[i]; l.state {
		case wayOpening:
			if w.rung == 1 && l.rung == 0 && r.linger > 0 {
				l.report.Note = "no connection yet when " + w.report.Name() + " won"
				if !l.heard {
					l.report.Note += "; nothing came back"
				}
				continue
			}
			r.lose(i, w.report.Name()+" won")
		case wayRequested:
			if w.rung == 1 && l.rung == 0 && l.look != nil && l.look(false) != alive {
				l.report.Note = w.report.Name() + " won; the request was not even acknowledged"
				r.set(i, wayDoubted)
				l.cancel()
				continue
			}
			r.lose(i, w.report.Name()+" won")
		case wayWaiting, wayReady:
			r.lose(i, w.report.Name()+" won")
		}
	}
}

func (r *race) stopAll(why string) {
	for i := range r.runners {
		switch r.runners[i].state {
		case wayOpening, wayWaiting, wayReady, wayRequested, wayDoubted:
			r.lose(i, why)
		}
	}
}

// lingerOn lets the opening ways of rung 0 finish for a bounded time, and the
// doubted ones have theirs.
func (r *race) lingerOn(life context.Context) {
	end := time.Now().Add(r.linger)
	for {
		now := time.Now()
		var next time.Time
		for i := range r.runners {
			w := &r.runners[i]
			due := end
			switch w.state {
			case wayOpening:
				if !now.Before(end) {
					r.fail(i, fmt.Errorf("no connection within %v after another way won", r.linger))
					w.cancel()
					continue
				}
			case wayDoubted:
				due = w.dueAt
				switch s := w.sight(now); {
				case s == dead:
					r.fail(i, errNoProgress)
					r.drop(w.leg)
					continue
				case s == alive || !now.Before(due): // nobody waits for another look
					r.lose(i, "another way won")
					continue
				}
			case wayReady:
				return // it works
			default:
				continue
			}
			if next.IsZero() || due.Before(next) {
				next = due
			}
		}
		if next.IsZero() {
			return
		}
		timer := time.NewTimer(next.Sub(now))
		select {
		case ev := <-r.events:
			r.handle(ev)
		case <-timer.C:
		case <-life.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

// failure returns the error of a race that nobody won; answered says that it is
// the server's answer alone.
func (r *race) failure(ctx context.Context) (err error, answered bool) {
	if r.final != nil {
		return r.final, true
	}
	var errs []error
	for i := range r.runners {
		w := &r.runners[i]
		if w.report.Err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", w.report.Name(), w.report.Err))
		}
	}
	if err := context.Cause(ctx); err != nil {
		errs = append(errs, err)
	}
	switch {
	case len(errs) == 0:
		return errNoWay, false
	case len(errs) == 1 && r.word != nil:
		return r.word, true
	}
	return errors.Join(errs...), false
}

// errNoWay is the failure of a race that had nothing to try.
var errNoWay = errors.New("no way to try")

func (r *race) set(i int, s wayState) {
	w := &r.runners[i]
	w.state = s
	switch s {
	case wayWon, wayFailed, wayLost, wayDoubted:
		w.report.Ended = time.Since(r.start)
	}
	w.report.Outcome = outcomes[s]
	r.tell(i)
}

func (r *race) tell(i int) {
	if r.trace != nil {
		a := r.runners[i].report
		a.session = nil
		r.trace(a)
	}
}

func (r *race) attempts() []Attempt {
	as := make([]Attempt, len(r.runners))
	for i := range r.runners {
		as[i] = r.runners[i].report
		as[i].session = nil
	}
	return as
}
