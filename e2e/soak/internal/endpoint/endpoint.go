package endpoint

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
	"github.com/towpath-go/towpath/transport"
)

// Limits are what the endpoints of one process share.
type Limits struct {
	Log      *Log
	Think    time.Duration
	Patience time.Duration
	slots    chan struct{}
}

// NewLimits returns the limits of a run's settings.
func NewLimits(log *Log, s ledger.Settings) *Limits {
	return &Limits{Log: log, Think: s.Think, Patience: s.Patience, slots: make(chan struct{}, s.Parallel)}
}

// An Endpoint is one end of one session.
type Endpoint struct {
	session transport.Session
	id      uint64
	way     string
	server  bool
	limits  *Limits
	tally   *tally

	serial   atomic.Uint64 // of streams opened here
	handlers sync.WaitGroup
	dgSerial atomic.Uint64

	mu     sync.Mutex // guards the following
	sent   received   // what the other end must have received
	got    received   // what was received whole
	grown  chan struct{}
	closed *ledger.Closed
	seen   window // datagrams
	rand   *rand.Rand
}

// received is what Sync compares.
type received struct {
	Whole  uint64 // streams of one direction, messages included
	Xor    uint64 // of their serials
	Empty  uint64 // streams without a byte
	Drains uint64
}

// New returns an Endpoint for a session that is open. Seed is its chance.
func New(s transport.Session, id uint64, way string, server bool, limits *Limits, seed uint64) *Endpoint {
	side := uint64(1)
	if server {
		side = 2
	}
	return &Endpoint{session: s, id: id, way: way, server: server, limits: limits, tally: limits.Log.tallies[way],
		grown: make(chan struct{}), rand: rand.New(rand.NewPCG(seed^id, side))}
}

// Serve answers the other end until the session has ended and all is answered,
// and then reports the end. Connection is the number of the session's connection,
// 0 where that is not known.
func (e *Endpoint) Serve(connection uint64) {
	log := e.limits.Log
	log.sessions.Add(1)
	e.tally.sessions.Add(1)
	var loops sync.WaitGroup
	loops.Go(e.acceptBidi)
	loops.Go(e.acceptUni)
	loops.Go(e.receiveDatagrams)
	ctx := e.session.Context()
	<-ctx.Done()

	// With the session its streams have ended, so whoever still waits for one
	// waits for nothing.
	all := make(chan struct{})
	go func() { // ends with the handlers, which Left counts
		loops.Wait()
		e.handlers.Wait()
		close(all)
	}()
	select {
	case <-all:
	case <-time.After(e.limits.Patience):
		e.violate("", -1, "calls on the session and its streams have not returned %v after its end", e.limits.Patience)
	}
	log.sessions.Add(-1)

	stats := e.session.Stats()
	end := ledger.End{Session: e.id, Way: e.way, Connection: connection,
		DatagramsAccepted: e.dgSerial.Load(), DatagramsSent: stats.DatagramsSent,
		DatagramsDropped:  stats.DatagramsDroppedOutgoing + stats.DatagramsExpiredOutgoing,
		DatagramsReceived: stats.DatagramsReceived}
	var se *transport.SessionError
	if cause := context.Cause(ctx); errors.As(cause, &se) {
		end.Told = &ledger.Told{Code: uint32(se.Code), Reason: se.Reason, Remote: se.Remote}
		if se.Err != nil {
			end.Told.Err = se.Err.Error()
		}
	} else {
		e.violate("", -1, "the session's context ended with %T %v", cause, cause)
	}
	e.mu.Lock()
	end.Closed = e.closed
	e.mu.Unlock()
	log.Ended(end)
}

// Close ends the session. Synced says that all that was sent has been received.
func (e *Endpoint) Close(code uint32, reason string, synced bool) {
	e.mu.Lock()
	if e.closed != nil {
		e.mu.Unlock()
		return
	}
	c := &ledger.Closed{Code: code, Reason: reason, Synced: synced}
	e.closed = c
	e.mu.Unlock()
	err := e.session.CloseWithError(transport.SessionErrorCode(code), reason)
	var unsent *transport.UnsentError
	if err != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		if !synced && (errors.As(err, &unsent) || errors.Is(err, transport.ErrUnconfirmed)) {
			return // it says what was lost, or may be
		}
		c.Err = err.Error()
	}
}

// Done is closed when the session has ended.
func (e *Endpoint) Done() <-chan struct{} { return e.session.Context().Done() }

// Draining is closed when the other end asks to wind down.
func (e *Endpoint) Draining() <-chan struct{} { return e.session.Draining() }

// violate reports a promise that was not kept.
func (e *Endpoint) violate(stream string, offset int64, format string, args ...any) {
	e.limits.Log.Violate(ledger.Violation{Way: e.way, Session: e.id, Stream: stream, Offset: offset, What: fmt.Sprintf(format, args...)})
}

// outcome judges an error that ended a stream early, and says whether it tells
// of the loss as promised. Code is the one that a reset or stop may have given, 0
// if there was none.
func (e *Endpoint) outcome(stream string, offset int64, err error, code uint32) {
	var se *transport.SessionError
	var st *transport.StreamError
	switch {
	case errors.As(err, &se):
		if context.Cause(e.session.Context()) == nil {
			e.violate(stream, offset, "a call says that the session has ended, which it has not: %v", err)
		}
		e.tally.lost.Add(1)
	case errors.As(err, &st):
		if e.gone(st) {
			e.tally.lost.Add(1)
			return
		}
		switch {
		case code == 0:
			e.violate(stream, offset, "aborted, which nobody did: %v", err)
		case st.NoCode || uint32(st.Code) != code:
			e.violate(stream, offset, "aborted with code %#x and said to be with another: %v", code, err)
		default:
			e.tally.aborted.Add(1)
		}
	case errors.Is(err, os.ErrDeadlineExceeded):
		e.violate(stream, offset, "neither went on nor failed for %v, in a session that %s", e.limits.Patience, e.alive())
	default:
		e.violate(stream, offset, "ended with an error that no promise has: %T %v", err, err)
	}
}

// gone tells whether a stream was reset because its session has ended. On HTTP/3
// the reset may be here before the session's end is.
func (e *Endpoint) gone(st *transport.StreamError) bool {
	if !st.NoCode {
		return e.session.Context().Err() != nil
	}
	timer := time.NewTimer(e.limits.Patience)
	defer timer.Stop()
	select {
	case <-e.Done():
		return true
	case <-timer.C:
		return false
	}
}

func (e *Endpoint) alive() string {
	if e.session.Context().Err() != nil {
		return "has ended"
	}
	return "lives"
}

// deadline is when an operation that begins now has to have come to its end.
func (e *Endpoint) deadline() time.Time { return time.Now().Add(e.limits.Patience) }

// acquire waits for a slot among the operations of the process. What takes long
// gives its slot away, so that those on broken connections do not stop the
// others.
func (e *Endpoint) acquire(ctx context.Context) (release func(), ok bool) {
	select {
	case e.limits.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, false
	case <-e.Done():
		return nil, false
	}
	var once sync.Once
	free := func() { once.Do(func() { <-e.limits.slots }) }
	timer := time.AfterFunc(2*time.Second, free)
	return func() { timer.Stop(); free() }, true
}
