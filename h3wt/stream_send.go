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
	d *dataStream
	q sender

	// turn admits one Write at a time.
	turn chan struct{}
	// begin writes the header of a stream opened here, before anything else
	// and once. It does not wait: quic-go keeps so few bytes without credit.
	begin sync.Once
	// interrupted is closed when a Write waiting for credit has to return.
	interrupted chan struct{}

	// The following are guarded by d.s.mu.
	state    sendState
	err      error // what Write returns from sendClosed on
	writing  bool
	begun    bool // the header is written
	deadline time.Time
	moved    uint64        // counts changes of deadline
	expires  chan struct{} // closed when deadline moves, for those who wait for credit
	priority transport.Priority
	urgency  int8
}

func newSendPart(d *dataStream, q sender, begun bool) *sendPart {
	return &sendPart{
		d:           d,
		q:           q,
		turn:        make(chan struct{}, 1),
		interrupted: make(chan struct{}),
		begun:       begun,
		urgency:     defaultUrgency,
	}
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
		s.mu.Unlock()
		p.applyDeadline()
	})
}

func (p *sendPart) Write(b []byte) (int, error) {
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	s := p.d.s

	s.mu.Lock()
	if err := p.writeErrorLocked(); err != nil {
		s.mu.Unlock()
		return 0, err
	}
	if len(b) == 0 {
		s.mu.Unlock()
		return 0, nil
	}
	p.writing = true
	s.mu.Unlock()

	p.start()
	n, err := p.write(b)

	s.mu.Lock()
	p.writing = false
	if !s.flowControl && s.cfg.IdleTimeout <= 0 {
		s.stats.BytesSent += uint64(n)
	}
	closing := p.state == sendClosing
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
	if !s.flowControl {
		if s.cfg.IdleTimeout > 0 { // a Write that takes long is traffic all the time
			return p.q.WriteWithLimit(b, s.countSent)
		}
		return p.q.Write(b)
	}
	written := 0
	for {
		// The limiter runs when quic-go builds packets, inside its locks. So
		// the session's mutex may never be held while quic-go is called.
		n, err := p.q.WriteWithLimit(b[written:], s.useCredit)
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
		if s.sendCredit.Available() > 0 {
			s.mu.Unlock()
			return nil
		}
		limit, blocked := s.sendCredit.TakeBlocked()
		if blocked {
			s.stats.Stalls++
			s.control.dataBlocked, s.control.hasDataBlocked = limit, true
		}
		credit := waiting(&s.creditRaised, 0)
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
		case <-p.interrupted:
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

// end brings the part to a final state with the error that Write returns from
// now on, unless it has one.
func (p *sendPart) end(st sendState, err error) error {
	s := p.d.s
	s.mu.Lock()
	if !p.state.over() {
		p.state, p.err = st, err
	}
	err = p.err
	s.mu.Unlock()
	s.release(p.d)
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
		close(p.interrupted)
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
	p.d.s.noteFinished(p)
	p.end(sendClosed, net.ErrClosed)
}

func (p *sendPart) CancelWrite(code transport.StreamErrorCode) {
	s := p.d.s
	s.mu.Lock()
	if s.err != nil || p.state.over() {
		s.mu.Unlock()
		return
	}
	if p.state == sendOpen {
		close(p.interrupted)
	}
	p.state = sendReset
	e := &transport.StreamError{StreamID: p.StreamID(), Code: code}
	p.err = e
	s.mu.Unlock()
	s.sendingAborted(e)
	// The header goes out first, whatever happened before: a reset that names
	// no session means nothing to the peer.
	p.start()
	p.q.CancelWrite(streamCode(code))
	s.release(p.d)
}

// abort resets the stream because its session is over. A Write that waits is
// woken at once; tell resets the stream for the peer.
func (p *sendPart) abort(tell func(func())) {
	s := p.d.s
	s.mu.Lock()
	over := p.state.over()
	if !over {
		if p.state == sendOpen {
			close(p.interrupted)
		}
		p.state, p.err = sendReset, s.err
	}
	s.mu.Unlock()
	if !over {
		// A stream that has not begun does not begin any more.
		p.begin.Do(func() {})
		p.q.SetWriteDeadline(past)
		tell(func() { p.q.CancelWrite(codeSessionGone) })
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
