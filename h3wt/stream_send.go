package h3wt

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/transport"
)

// A sendState is where the sending part of a stream stands.
//
//	sendOpen ──Close, a Write is waiting──► sendClosing ──► sendClosed
//	    │  └──Close──────────────────────────────────────────┘
//	    ├──CancelWrite──► sendReset
//	    └──STOP_SENDING──► sendStopped
type sendState uint8

const (
	sendOpen sendState = iota
	// sendClosing is between Close and the return of the Write that it
	// interrupts: quic-go allows no Close beside a Write.
	sendClosing
	sendClosed
	sendReset
	sendStopped
)

func (st sendState) over() bool { return st >= sendClosed }

// sendPart is the sending part of a stream. Fields under the session's mutex are
// marked.
type sendPart struct {
	d      *dataStream
	q      sender
	opened bool // here, so that it begins with a header
	// limit is grant, made once it is needed.
	limit func(int) int

	// begin writes the header of a stream opened here, before anything else
	// and once. It does not wait: quic-go keeps so few bytes without credit.
	begin sync.Once

	// The following are guarded by d.s.mu.
	state   sendState
	err     error         // what Write returns from sendClosed on
	writing bool          // somebody has the turn
	turn    chan struct{} // closed when the turn ends, for those who wait for it
	// interrupted is closed when a Write that waits for credit has to return.
	interrupted chan struct{}
	begun       bool // the header is written
	deadline    time.Time
	moved       uint64        // counts changes of deadline
	expires     chan struct{} // closed when deadline moves, for those who wait for credit
	priority    transport.Priority
	urgency     int8
	// buffered are the bytes that quic-go was given to keep, at most: it does not
	// tell when it has put them into a packet, unless it asks for more.
	buffered int
	rest     int  // what the Write that waits has left
	early    bool // it is to return as soon as quic-go can keep what is left
}

// init sets up the sending part of d. Begun says that it needs no header.
func (p *sendPart) init(d *dataStream, q sender, begun bool) {
	p.d, p.q = d, q
	p.opened, p.begun = !begun, begun
	p.urgency = defaultUrgency
}

func (p *sendPart) StreamID() transport.StreamID { return transport.StreamID(p.d.id) }

// start writes the header if that has not happened, marks it as what a reset
// must deliver, and only then lets a deadline count.
func (p *sendPart) start() {
	p.begin.Do(func() {
		s := p.d.s
		s.mu.Lock()
		begun := p.begun
		s.mu.Unlock()
		if begun {
			return
		}
		// An error here is the connection's end, which the next call reports.
		p.q.Write(s.streamHeader(p.d.uni()))
		p.q.SetReliableBoundary()
		s.mu.Lock()
		p.begun = true
		late := !p.deadline.IsZero() || p.state == sendClosing
		s.mu.Unlock()
		if late {
			p.applyDeadline()
		}
	})
}

// takeTurnLocked waits until nobody else writes. One Write does at a time.
func (p *sendPart) takeTurnLocked() {
	for p.writing {
		if p.turn == nil {
			p.turn = make(chan struct{})
		}
		turn := p.turn
		p.d.s.mu.Unlock()
		<-turn
		p.d.s.mu.Lock()
	}
	p.writing = true
}

func (p *sendPart) endTurnLocked() {
	p.writing = false
	if p.turn != nil {
		close(p.turn)
		p.turn = nil
	}
}

func (p *sendPart) Write(b []byte) (int, error) {
	s := p.d.s
	s.mu.Lock()
	p.takeTurnLocked()
	if err := p.writeErrorLocked(); err != nil || len(b) == 0 {
		p.endTurnLocked()
		s.mu.Unlock()
		return 0, err
	}
	begun := p.begun
	s.mu.Unlock()

	if !begun {
		p.start()
	}
	n, err := p.write(b)

	s.mu.Lock()
	if !s.metered() {
		s.stats.BytesSent += uint64(n)
	}
	closing := p.state == sendClosing
	p.endTurnLocked()
	s.mu.Unlock()
	if closing {
		p.finish()
		if n < len(b) {
			err = net.ErrClosed
		} else {
			err = nil
		}
	}
	if err != nil {
		err = p.mapError(err)
	}
	return n, err
}

// writeErrorLocked is what a Write returns without trying.
func (p *sendPart) writeErrorLocked() error {
	switch {
	case p.d.s.err != nil:
		return p.d.s.err
	case p.err != nil:
		return p.err
	case p.state != sendOpen:
		return net.ErrClosed
	case !p.deadline.IsZero() && !p.deadline.After(time.Now()):
		return os.ErrDeadlineExceeded
	}
	return nil
}

// write hands b to quic-go, under the session's credit if it has flow control.
func (p *sendPart) write(b []byte) (int, error) {
	s := p.d.s
	if !s.metered() {
		return p.q.Write(b)
	}
	written := 0
	for {
		rest := b[written:]
		kept, full := p.keep(rest)
		if kept {
			return len(b), nil
		}
		s.mu.Lock()
		if p.state.over() {
			err := p.err
			s.mu.Unlock()
			return written, err
		}
		p.rest, p.early = len(rest), full
		s.mu.Unlock()
		if p.limit == nil {
			p.limit = p.grant
		}
		// The limiter runs when quic-go builds packets, inside its locks. So
		// the session's mutex may never be held while quic-go is called.
		n, err := p.q.WriteWithLimit(rest, p.limit)
		written += n
		if !errors.Is(err, quic.ErrWriteLimitReached) {
			return written, err
		}
		if err := p.awaitCredit(); err != nil {
			return written, err
		}
	}
}

// awaitCredit waits until the session has credit for data again.
func (p *sendPart) awaitCredit() error {
	s := p.d.s
	for {
		s.mu.Lock()
		if s.err != nil {
			s.mu.Unlock()
			return s.err
		}
		if !s.flowControl || s.sendCredit.Available() > 0 {
			s.mu.Unlock()
			return nil
		}
		if p.state != sendOpen {
			s.mu.Unlock()
			return quic.ErrStreamClosed
		}
		limit, blocked := s.sendCredit.TakeBlocked()
		if blocked {
			s.stats.Stalls++
			s.control.dataBlocked, s.control.hasDataBlocked = limit, true
		}
		if p.interrupted == nil {
			p.interrupted = make(chan struct{})
		}
		interrupted, credit := p.interrupted, waiting(&s.creditRaised, 0)
		if p.expires == nil {
			p.expires = make(chan struct{})
		}
		moved, deadline := p.expires, p.deadline
		s.mu.Unlock()
		if blocked {
			s.blockedAt("session", limit)
			s.flushControl()
		}
		var expired <-chan time.Time
		if !deadline.IsZero() {
			t := time.NewTimer(time.Until(deadline))
			defer t.Stop()
			expired = t.C
		}
		select {
		case <-credit:
		case <-moved:
		case <-expired:
			return os.ErrDeadlineExceeded
		case <-interrupted:
			return quic.ErrStreamClosed
		case <-p.q.Context().Done():
			return context.Cause(p.q.Context())
		case <-s.ctx.Done():
		}
	}
}

// mapError turns an error of quic-go into the contract's.
func (p *sendPart) mapError(err error) error {
	s := p.d.s
	s.mu.Lock()
	known := p.err
	if s.err != nil {
		known = s.err
	}
	s.mu.Unlock()
	if known != nil {
		return known
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return os.ErrDeadlineExceeded
	}
	if errors.Is(err, quic.ErrStreamClosed) {
		return net.ErrClosed
	}
	stop, ok := errors.AsType[*quic.StreamError](err)
	if !ok {
		return s.lost(err)
	}
	if stop.ErrorCode == codeSessionGone {
		if err := s.awaitEnd(p.deadlineOf); err != nil {
			return err
		}
	}
	s.mu.Lock()
	var excess error
	first := !p.state.over()
	if first {
		excess = s.floods.Reset(time.Now())
	}
	s.mu.Unlock()
	if excess != nil {
		return s.fail(excess)
	}
	e := streamError(p.d.id, stop)
	if first {
		s.sendingAborted(e)
	}
	return p.end(sendStopped, e)
}

// deadlineOf is the deadline that a wait of this part has to keep.
func (p *sendPart) deadlineOf() time.Time {
	p.d.s.mu.Lock()
	defer p.d.s.mu.Unlock()
	return p.deadline
}

// interruptLocked has a Write that waits for credit return.
func (p *sendPart) interruptLocked() {
	if p.interrupted != nil {
		close(p.interrupted)
		p.interrupted = nil
	}
}

// end brings the part to a final state with the error that Write returns from
// now on, unless it has one.
func (p *sendPart) end(st sendState, err error) error {
	s := p.d.s
	s.mu.Lock()
	if !p.state.over() {
		p.state, p.err = st, err
	}
	err = p.err
	release := s.releasableLocked(p.d)
	s.mu.Unlock()
	if release {
		s.release(p.d)
	}
	return err
}

func (p *sendPart) Close() error {
	s := p.d.s
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return s.err
	}
	if p.state != sendOpen {
		s.mu.Unlock()
		return nil
	}
	if p.writing {
		// The Write finishes the stream when it returns.
		p.state = sendClosing
		p.moved++
		p.interruptLocked()
		s.mu.Unlock()
		p.start()
		p.applyDeadline()
		return nil
	}
	p.state = sendClosing
	s.mu.Unlock()
	p.finish()
	return nil
}

// finish ends the stream cleanly. Nobody writes.
func (p *sendPart) finish() {
	p.start()
	// An error says that the peer stopped the stream or the connection is
	// over; Close reports neither.
	p.q.Close()
	s := p.d.s
	s.mu.Lock()
	s.noteFinishedLocked(p)
	if !p.state.over() {
		p.state, p.err = sendClosed, net.ErrClosed
	}
	release := s.releasableLocked(p.d)
	s.mu.Unlock()
	if release {
		s.release(p.d)
	}
}

func (p *sendPart) CancelWrite(code transport.StreamErrorCode) {
	s := p.d.s
	s.mu.Lock()
	if s.err != nil || p.state.over() {
		s.mu.Unlock()
		return
	}
	p.interruptLocked()
	p.state = sendReset
	e := &transport.StreamError{StreamID: p.StreamID(), Code: code}
	p.err = e
	keeps := p.keepsLocked()
	s.mu.Unlock()
	s.sendingAborted(e)
	// The header goes out first, whatever happened before: a reset that names
	// no session means nothing to the peer.
	p.start()
	if keeps {
		p.q.SetWriteDeadline(past) // a Write that waits returns
		go p.cancelBehind(streamCode(code), true)
	} else {
		p.q.CancelWrite(streamCode(code))
	}
	s.release(p.d)
}

// abort resets the stream because its session is over. A Write that waits is
// woken at once; tell resets the stream for the peer.
func (p *sendPart) abort(tell func(func())) {
	s := p.d.s
	s.mu.Lock()
	over := p.state.over()
	if !over {
		p.interruptLocked()
		p.state, p.err = sendReset, s.err
	}
	keeps := p.keepsLocked()
	s.mu.Unlock()
	if !over {
		// A stream that has not begun does not begin any more.
		p.begin.Do(func() {})
		p.q.SetWriteDeadline(past)
		tell(func() {
			if keeps {
				go p.cancelBehind(codeSessionGone, false)
			} else {
				p.q.CancelWrite(codeSessionGone)
			}
		})
		s.release(p.d)
	}
}

// SetPriority is approximated; see the package documentation.
func (p *sendPart) SetPriority(prio transport.Priority) { p.d.s.prioritize(p, prio) }

// streamError is the application's view of a reset or stop request of the peer.
func streamError(id quic.StreamID, e *quic.StreamError) *transport.StreamError {
	code, ok := applicationCode(e.ErrorCode)
	return &transport.StreamError{StreamID: transport.StreamID(id), Code: code, NoCode: !ok, Remote: e.Remote}
}
