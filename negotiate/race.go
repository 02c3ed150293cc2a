package negotiate

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// The racer. It knows no protocol: it starts ways at the right moments, asks
// for the session on the first one that is ready, and says what became of each.
//
// Ways stand on two rungs. The preferred rung starts at once, its ways spaced
// by delay. The other rung waits for the head start, unless the preferred one
// shows earlier that there is nothing to wait for. A way may stand below the one
// before it, on the same rung: it starts once that one has failed although it
// reached the server, or when its request, and no other one, stays unanswered for long.
//
//	waiting ─► opening ─► ready ─► requested ─► won
//	               │         │          └─────► failed (answered otherwise, or no progress)
//	               └─────────┴────────────────► failed, or lost (another way won)
//
// A preferred way that loses while it is opening may linger, and one that loses
// while its request has not even been acknowledged is doubted until its time for
// that is over: what becomes of them tells whether the network lets them through.
//
// One goroutine runs the race and owns all of its state. Every way has one
// goroutine at a time, which opens it or requests on it, and reports through an
// unbuffered channel; what it reports after the end it gives back itself.

// maxRequests bounds the session requests that one race may send: one on each
// rung, and one on a way below, which is sent only after the one above it was
// refused, or has stayed unanswered for belowPatience times its patience.
const maxRequests = 3

// maxUnanswered bounds the requests that wait for an answer at a time. Where two
// do, the server is slow rather than something on one way, and a third would only
// be more work for it.
const maxUnanswered = 2

// A way is one way to reach the server, before it is tried.
type way struct {
	attempt Attempt // describes it in the report
	rung    int     // 0 or 1
	// delay is the time after the previous way of the same rung at which this
	// one starts, if that one has not failed before.
	delay time.Duration
	// below says that this way starts only if the one before it, on the same
	// rung, fails with the verdict tryBelow, or is not answered for long.
	below bool
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
	// watch begins to look for progress of the request that follows. look tells
	// what is to be seen of it; only with due, once the time within is over, may
	// it take the path for dead. A within of 0 means that the leg cannot tell.
	watch() (look func(due bool) sight, within time.Duration)
	// discard closes the connection of a leg that is not used.
	discard()
}

// A sight is what a leg sees of its path while a request is out.
type sight uint8

const (
	unseen sight = iota // nothing that tells
	alive               // the request may have been acknowledged
	dead                // what was sent stays unacknowledged
)

// lookAgain is the part of its time after which a path that showed nothing is
// looked at once more. A look that comes later than that shows that the process
// stood still, and what came meanwhile may not have been handled yet.
const lookAgain = 4

// A verdict says what an error of a way means for the race.
type verdict uint8

const (
	tryNext  verdict = iota // the way is not open; another may be
	answer                  // the server, or the user's own rules, answered: no way gives another
	tryBelow                // the server was reached, but takes no session this way: the way below may be open
	lastWord                // an answer that counts only if no other way is open
	noRoom                  // an answer that counts once no other request of the race is out, which may have the place
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
	wayDoubted // lost while requested, without any sign that its path lives
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
	// linger is how long rung 0 may go on opening after a way of rung 1 won, and
	// how long any way may after the last word.
	linger time.Duration
	// judge gives the verdict on an attempt's error.
	judge func(Attempt, error) verdict
	// lingering is called, if it is set, before the result of a race is out
	// whose rung 0 will linger.
	lingering func()
	// trace is called on the race's goroutine at each change, if it is set.
	trace func(Attempt)

	// The rest is owned by the goroutine of run.
	start    time.Time
	runners  []runner
	events   chan event
	over     chan struct{} // closed when nobody receives events any more
	wg       sync.WaitGroup
	requests int
	final    error     // a verdict of answer
	crowded  error     // a verdict of noRoom
	word     error     // a verdict of lastWord
	wordAt   time.Time // when it was spoken
}

type runner struct {
	*way
	state    wayState
	heard    bool
	blocked  bool
	began    time.Time
	leg      leg
	askAgain time.Time            // when the session may be requested elsewhere too
	wayDown  time.Time            // when the way below may start, if there is no answer
	look     func(due bool) sight // nil if there is nothing to look for
	within   time.Duration
	dueAt    time.Time // when look may take the path for dead
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
	res := result{winner: winner}
	if winner >= 0 {
		w := &r.runners[winner]
		res.leg = w.leg
		res.session = w.report.session
		w.report.session = nil
		r.stopLosers(winner)
		if r.lingering != nil && (r.find(wayOpening) >= 0 || r.find(wayDoubted) >= 0) {
			r.lingering()
		}
	} else {
		res.err, res.answered = r.failure(ctx)
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
		if w.state != wayRequested || w.look == nil {
			continue
		}
		switch w.sight(now) {
		case alive:
			w.look = nil
		case dead:
			w.look = nil
			r.fail(i, errNoProgress)
			w.cancel() // the request's goroutine gives the leg back
		}
	}

	if r.word != nil {
		if end := r.wordAt.Add(r.linger); now.Before(end) {
			soonest(end)
		} else {
			r.outlasted()
		}
	}

	// A ready leg gets the request if none is out, or if the one that is out
	// has stayed unanswered for its patience, but not beside two.
	out := r.count(wayRequested)
	if r.crowded != nil && out == 0 {
		r.final = r.crowded
		return time.Time{}, false
	}
	if i := r.find(wayReady); i >= 0 && r.requests < maxRequests && out < maxUnanswered {
		if due := r.askAgain(); out == 0 || !now.Before(due) {
			r.request(i, life)
			out++
		} else {
			soonest(due)
		}
	}
	for i := range r.runners {
		if w := &r.runners[i]; w.state == wayRequested && w.look != nil {
			soonest(w.dueAt)
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
	// With all requests spent nothing but their answers matters.
	if r.requests == maxRequests && out == 0 {
		return time.Time{}, false
	}
	return next, live > 0
}
