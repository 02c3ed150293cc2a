package negotiate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// The racer. It knows no protocol: it starts ways at the right moments, asks
// for the session on the first one that is ready, and says what became of each.
//
// Ways stand on two rungs. The preferred rung starts at once, its ways spaced
// by delay. The other rung waits for the head start, unless the preferred one
// shows earlier that there is nothing to wait for.
//
//	waiting ─► opening ─► ready ─► requested ─► won
//	               │         │          └─────► failed (answered otherwise, or no progress)
//	               └─────────┴────────────────► failed, or lost (another way won)
//
// One goroutine runs the race and owns all of its state. Every way has one
// goroutine at a time, which opens it or requests on it, and reports through an
// unbuffered channel; what it reports after the end it gives back itself.

// maxRequests bounds the session requests that one race may send.
const maxRequests = 2

// A way is one way to reach the server, before it is tried.
type way struct {
	attempt Attempt // describes it in the report
	rung    int     // 0 or 1
	// delay is the time after the previous way of the same rung at which this
	// one starts, if that one has not failed before.
	delay time.Duration
	// open returns once the connection is ready and the server showed that it
	// speaks WebTransport. It returns soon after ctx ends.
	open func(ctx context.Context, s signs) (leg, error)
}

// signs are what an opening way tells before it is ready. Both functions may be
// called from any goroutine, any number of times, and do not block for long.
type signs struct {
	heard   func()      // something came back from the server
	blocked func(error) // the network refuses this way, although it still tries
}

// A leg is an open way.
type leg interface {
	// request asks for the session and waits for the answer.
	request(ctx context.Context) (transport.Session, error)
	// patience is how long the request may stay unanswered before the session
	// is requested on another leg too.
	patience() time.Duration
	// watch begins to look for progress of the request that follows. within is
	// the time in which there must be some; 0 means the leg cannot tell.
	watch() (progress func() bool, within time.Duration)
	// discard closes the connection of a leg that is not used.
	discard()
}

// A verdict says what an error of a way means for the race.
type verdict uint8

const (
	tryNext verdict = iota // the way is not open; another may be
	answer                 // the server, or the user's own rules, answered: no way gives another
)

type wayState uint8

const (
	wayWaiting wayState = iota
	wayOpening
	wayReady
	wayRequested
	wayWon
	wayFailed
	wayLost
)

type eventKind uint8

const (
	evHeard eventKind = iota
	evBlocked
	evOpened
	evAnswered
)

type event struct {
	way     int
	kind    eventKind
	leg     leg
	session transport.Session
	err     error
}

// errNoProgress ends a request whose path died between the handshake and the answer.
var errNoProgress = errors.New("the path went dead after the handshake: no acknowledgement of the session request")

// A result is what a race came to.
type result struct {
	session transport.Session
	leg     leg
	winner  int // index into the race's ways, -1 if none won
	err     error
	// answered says that err came from a verdict of answer.
	answered bool
	attempts []Attempt
}

// A race is used once.
type race struct {
	ways []way
	// headStart is when rung 1 starts if nothing else decides, counted from the
	// race's start. Negative: only when all of rung 0 has failed.
	headStart time.Duration
	// silence is when rung 1 starts if all ways of rung 0 have been started
	// earlier and nothing at all came back on any. Zero: never.
	silence time.Duration
	// linger is how long rung 0 may go on opening after a way of rung 1 won.
	linger time.Duration
	// judge gives the verdict on an error.
	judge func(error) verdict
	// trace is called on the race's goroutine at each change, if it is set.
	trace func(Attempt)

	// The rest is owned by the goroutine of run.
	start    time.Time
	runners  []runner
	events   chan event
	over     chan struct{} // closed when nobody receives events any more
	wg       sync.WaitGroup
	requests int
	lastAsk  time.Time // when the latest request left
	patience time.Duration
	final    error // a verdict of answer
}

type runner struct {
	*way
	state    wayState
	heard    bool
	blocked  bool
	began    time.Time
	leg      leg
	progress func() bool
	dueAt    time.Time // when progress must have been made
	cancel   context.CancelFunc
	report   Attempt
}

// run runs the race. It sends exactly one result on done, which must have room
// for it, as soon as there is one; then it stays for the ways that linger, calls
// settled with what each way came to, and returns when every goroutine of the
// race has ended. ctx bounds the race up to the result; life, which must not
// end before the result's session is to live, bounds the rest.
func (r *race) run(ctx, life context.Context, done chan<- result, settled func([]Attempt)) {
	r.start = time.Now()
	r.events = make(chan event)
	r.over = make(chan struct{})
	r.runners = make([]runner, len(r.ways))
	for i := range r.ways {
		r.runners[i] = runner{way: &r.ways[i], report: r.ways[i].attempt}
	}

	winner := r.decide(ctx, life)
	res := result{winner: winner, answered: r.final != nil}
	if winner >= 0 {
		w := &r.runners[winner]
		res.leg = w.leg
		res.session = w.report.session
		w.report.session = nil
		r.stopLosers(winner)
	} else {
		res.err = r.failure(ctx)
		r.stopAll("the dial ended")
	}
	res.attempts = r.attempts()
	done <- res

	if winner >= 0 && r.runners[winner].rung == 1 {
		r.lingerOn(life)
	}
	r.stopAll("another way won")
	close(r.over)
	for i := range r.runners {
		if c := r.runners[i].cancel; c != nil {
			c() // bounds calls that have returned; the session does not hang on it
		}
	}
	r.wg.Wait()
	if settled != nil {
		settled(r.attempts())
	}
}

// decide runs the race to a winner, or to -1.
func (r *race) decide(ctx, life context.Context) (winner int) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		next, ok := r.advance(life)
		if !ok {
			return -1
		}
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		} else {
			timer.Stop()
		}
		select {
		case ev := <-r.events:
			if r.handle(ev) {
				return ev.way
			}
			if r.final != nil {
				return -1
			}
		case <-timer.C:
		case <-ctx.Done():
			return -1
		}
	}
}

// advance does all that is due now and returns when it must be called next, the
// zero time if only an event can change anything. ok is false once no way is left.
func (r *race) advance(life context.Context) (next time.Time, ok bool) {
	now := time.Now()
	soonest := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}

	// A request without progress in its time has lost its path.
	for i := range r.runners {
		w := &r.runners[i]
		if w.state != wayRequested || w.progress == nil {
			continue
		}
		switch {
		case w.progress():
			w.progress = nil
		case now.Before(w.dueAt):
			soonest(w.dueAt)
		default:
			w.progress = nil
			r.fail(i, errNoProgress)
			w.cancel() // the request's goroutine gives the leg back
		}
	}

	// A ready leg gets the request if none is out, or if the one that is out
	// has stayed unanswered for its patience.
	out := r.count(wayRequested)
	if i := r.find(wayReady); i >= 0 && r.requests < maxRequests {
		if due := r.lastAsk.Add(r.patience); out == 0 || !now.Before(due) {
			r.request(i, life)
			out++
		} else {
			soonest(due)
		}
	}

	for rung := range 2 {
		t, start := r.startTime(rung, now, out)
		for start {
			if t.After(now) {
				soonest(t)
				break
			}
			r.open(r.findWaiting(rung), life)
			t, start = r.startTime(rung, now, out)
		}
	}

	live := 0
	for i := range r.runners {
		switch r.runners[i].state {
		case wayWaiting, wayOpening, wayRequested:
			live++
		case wayReady:
			if r.requests < maxRequests {
				live++
			}
		}
	}
	// With both requests spent nothing but their answers matters.
	if r.requests == maxRequests && out == 0 {
		return time.Time{}, false
	}
	return next, live > 0
}

// startTime returns when the next waiting way of a rung is to start; ok is
// false if none is waiting, or if only an event can decide it.
func (r *race) startTime(rung int, now time.Time, requestsOut int) (t time.Time, ok bool) {
	i := r.findWaiting(rung)
	if i < 0 || r.requests == maxRequests {
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
		return r.lastAsk.Add(r.patience), true
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
		if j != i && s.rung == w.rung && (s.state == wayOpening || s.state == wayReady || s.state == wayWaiting) {
			r.lose(j, "the "+w.report.Name()+" connection was ready first")
		}
	}
	w.cancel()
	ctx, cancel := context.WithCancel(life)
	w.cancel = cancel
	r.requests++
	r.lastAsk = time.Now()
	r.patience = w.leg.patience()
	w.report.Requested = r.lastAsk.Sub(r.start)
	if progress, within := w.leg.watch(); within > 0 {
		w.progress, w.dueAt = progress, r.lastAsk.Add(within)
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
			r.fail(ev.way, ev.err)
			r.judgeError(ev.err)
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
		case w.state != wayRequested: // failed for want of progress
			r.dropAnswer(w.leg, ev.session)
		case ev.err != nil:
			r.fail(ev.way, ev.err)
			r.drop(w.leg)
			r.judgeError(ev.err)
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
		if j != i && r.runners[j].rung == r.runners[i].rung && r.runners[j].state == wayRequested {
			r.lose(i, "the "+r.runners[j].report.Name()+" connection was ready first")
			return
		}
	}
}

func (r *race) judgeError(err error) {
	if r.judge != nil && r.judge(err) == answer {
		r.final = err
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
		w.report.Note = "not needed: " + why
	} else {
		w.report.Note = why
	}
	was := w.state
	r.set(i, wayLost)
	if w.cancel != nil {
		w.cancel()
	}
	if was == wayReady {
		r.drop(w.leg)
	}
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
		l.discard()
	})
}

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
		case wayWaiting, wayReady, wayRequested:
			r.lose(i, w.report.Name()+" won")
		}
	}
}

func (r *race) stopAll(why string) {
	for i := range r.runners {
		switch r.runners[i].state {
		case wayOpening, wayWaiting, wayReady, wayRequested:
			r.lose(i, why)
		}
	}
}

// lingerOn lets the opening ways of rung 0 finish for a bounded time.
func (r *race) lingerOn(life context.Context) {
	timer := time.NewTimer(r.linger)
	defer timer.Stop()
	for {
		open := false
		for i := range r.runners {
			open = open || r.runners[i].state == wayOpening && r.runners[i].rung == 0
		}
		if !open || r.find(wayReady) >= 0 {
			return
		}
		select {
		case ev := <-r.events:
			r.handle(ev)
		case <-timer.C:
			for i := range r.runners {
				if w := &r.runners[i]; w.state == wayOpening && w.rung == 0 {
					r.fail(i, fmt.Errorf("no connection within %v after another way won", r.linger))
					w.cancel()
				}
			}
			return
		case <-life.Done():
			return
		}
	}
}

// failure returns the error of a race that nobody won.
func (r *race) failure(ctx context.Context) error {
	if r.final != nil {
		return r.final
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
	if len(errs) == 0 {
		return errNoWay
	}
	return errors.Join(errs...)
}

// errNoWay is the failure of a race that had nothing to try.
var errNoWay = errors.New("no way to try")

func (r *race) set(i int, s wayState) {
	w := &r.runners[i]
	w.state = s
	switch s {
	case wayWon, wayFailed, wayLost:
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
