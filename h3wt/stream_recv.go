package h3wt

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/transport"
)

// A recvState is where the receiving part of a stream stands.
type recvState uint8

const (
	recvOpen      recvState = iota
	recvEnded               // the clean end was read
	recvReset               // the peer's reset was read
	recvCancelled           // CancelRead, or the session's end
)

func (st recvState) over() bool { return st != recvOpen }

// recvPart is the receiving part of a stream.
type recvPart struct {
	d      *dataStream
	q      receiver
	header int64 // bytes of the stream before the application's

	// The following are guarded by d.s.mu.
	state recvState
	err   error // what Read returns from recvReset and recvCancelled on
	read  int64 // bytes that Read returned
	// counted are the bytes counted as received: those read, and all once the
	// final size is known.
	counted  int64
	final    bool // the final size is known: the end or a reset has arrived
	deadline time.Time
	settled  chan struct{} // closed when final is set, for those who wait for it
	paused   chan struct{} // closed when a Read that waits for the rate has to look again
}

func (p *recvPart) init(d *dataStream, q receiver, header int) {
	p.d, p.q, p.header = d, q, int64(header)
}

func (p *recvPart) StreamID() transport.StreamID { return transport.StreamID(p.d.id) }

// watch learns the final size. It is called once the stream is in the session's
// table; if the size is known already, onFinalSize runs at once.
func (p *recvPart) watch() { p.q.SetReceiveFinalSizeCallback(p.onFinalSize) }

// onFinalSize runs on the connection's event loop and must not wait.
func (p *recvPart) onFinalSize(size int64) {
	s := p.d.s
	s.mu.Lock()
	if p.final {
		s.mu.Unlock()
		return
	}
	p.final = true
	if p.settled != nil {
		close(p.settled)
	}
	// A final size below what was read would be quic-go's error to find.
	n := max(size-p.header-p.counted, 0)
	err := s.receivedLocked(uint64(n))
	p.counted += n
	if p.state == recvCancelled {
		p.consumeRestLocked()
	}
	due := s.creditDueLocked()
	s.mu.Unlock()
	if err != nil {
		// Ending a session takes more than the event loop should wait for.
		go s.fail(err)
		return
	}
	if due {
		s.announceCredit()
	}
}

// consumeRestLocked counts what was received and not read as consumed.
func (p *recvPart) consumeRestLocked() {
	p.d.s.consumeLocked(uint64(p.counted - p.read))
	p.read = p.counted
}

func (p *recvPart) Read(b []byte) (int, error) {
	if err := p.mayRead(); err != nil {
		return 0, err
	}
	var n int
	var err error
	if s := p.d.s; s.pacing.pace != nil && !s.flowControl && len(b) > 0 {
		n, err = p.readPaced(b)
	} else {
		n, err = p.q.Read(b)
	}
	if n > 0 {
		if ferr := p.account(n); ferr != nil {
			return 0, ferr
		}
	}
	switch {
	case n > 0 && err == io.EOF:
		p.mapError(err) // the stream is over; the next call says so
		return n, nil
	case n > 0:
		return n, nil // the next call meets the error again
	case err != nil:
		return 0, p.mapError(err)
	}
	return n, err
}

// mayRead refuses what is over. When the peer has closed the session, a stream
// whose end is still on its way may be read only once that has come.
func (p *recvPart) mayRead() error {
	s := p.d.s
	for {
		s.mu.Lock()
		switch {
		case p.state == recvEnded:
			s.mu.Unlock()
			return io.EOF
		case p.err != nil:
			s.mu.Unlock()
			return p.err
		case s.err == nil || p.final:
			s.mu.Unlock()
			return nil
		}
		if p.settled == nil {
			p.settled = make(chan struct{})
		}
		settled, deadline := p.settled, p.deadline
		s.mu.Unlock()
		var expired <-chan time.Time
		if !deadline.IsZero() {
			t := time.NewTimer(time.Until(deadline))
			defer t.Stop()
			expired = t.C
		}
		select {
		case <-settled:
		case <-s.lingered:
			// What has not ended was aborted by now.
			return s.err
		case <-expired:
			return os.ErrDeadlineExceeded
		}
	}
}

// account counts n bytes that Read is about to return.
func (p *recvPart) account(n int) error {
	s := p.d.s
	s.mu.Lock()
	if p.state.over() {
		// CancelRead came first. The bytes count with the final size.
		err := p.err
		s.mu.Unlock()
		return err
	}
	p.read += int64(n)
	var err error
	if p.read > p.counted {
		err = s.receivedLocked(uint64(p.read - p.counted))
		p.counted = p.read
	}
	s.stats.BytesRead += uint64(n)
	s.consumeLocked(uint64(n))
	due := s.creditDueLocked()
	s.mu.Unlock()
	if err != nil {
		return s.fail(err)
	}
	if due {
		s.announceCredit()
	}
	return nil
}

// mapError turns an error of quic-go into the contract's.
func (p *recvPart) mapError(err error) error {
	s := p.d.s
	if err == io.EOF {
		s.mu.Lock()
		if p.state == recvOpen {
			p.state = recvEnded
			if p.d.peer {
				s.floods.EndedCleanly()
			}
		}
		release := s.releasableLocked(p.d)
		s.mu.Unlock()
		if release {
			s.release(p.d)
		}
		return io.EOF
	}
	s.mu.Lock()
	known := p.err
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.mu.Unlock()
		if known != nil {
			return known // abort woke it
		}
		return os.ErrDeadlineExceeded
	}
	if known == nil && s.err != nil {
		known = s.err
	}
	s.mu.Unlock()
	reset, ok := errors.AsType[*quic.StreamError](err)
	switch {
	case known != nil:
		if ok {
			p.end(recvReset, known)
		}
		return known
	case !ok:
		return s.lost(err)
	}
	if reset.ErrorCode == codeSessionGone {
		if err := s.awaitEnd(p.deadlineOf); err != nil {
			return err
		}
	}
	s.mu.Lock()
	var excess error
	first := p.state == recvOpen // else this side asked for it, or it was counted
	if first {
		excess = s.floods.Reset(time.Now())
	}
	s.mu.Unlock()
	if excess != nil {
		return s.fail(excess)
	}
	e := streamError(p.d.id, reset)
	if first {
		s.receivingAborted(e)
	}
	return p.end(recvReset, e)
}

func (p *recvPart) deadlineOf() time.Time {
	p.d.s.mu.Lock()
	defer p.d.s.mu.Unlock()
	return p.deadline
}

// end brings the part to a final state. What was not read counts as consumed,
// now or when the final size is known.
func (p *recvPart) end(st recvState, err error) error {
	s := p.d.s
	s.mu.Lock()
	if p.state == recvOpen {
		p.unpauseLocked()
		p.state, p.err = st, err
		p.consumeRestLocked()
		if !p.final {
			p.state = recvCancelled // onFinalSize consumes the rest
		}
	}
	err = p.err
	due, release := s.creditDueLocked(), s.releasableLocked(p.d)
	s.mu.Unlock()
	if due {
		s.announceCredit()
	}
	if release {
		s.release(p.d)
	}
	return err
}

func (p *recvPart) CancelRead(code transport.StreamErrorCode) {
	s := p.d.s
	s.mu.Lock()
	over := p.state.over() || s.err != nil && !p.final
	s.mu.Unlock()
	if over {
		return
	}
	e := &transport.StreamError{StreamID: p.StreamID(), Code: code}
	p.end(recvCancelled, e)
	s.receivingAborted(e)
	p.q.CancelRead(streamCode(code))
}

// abort stops the stream because its session is over. One whose end has arrived
// stays readable, unless the application cannot have it. A Read that waits is
// woken at once; tell stops the stream for the peer.
func (p *recvPart) abort(unreachable bool, tell func(func())) {
	s := p.d.s
	s.mu.Lock()
	keep := p.state.over() || p.final && !unreachable
	err := s.err
	s.mu.Unlock()
	if keep {
		return
	}
	p.end(recvCancelled, err)
	p.q.SetReadDeadline(past)
	tell(func() { p.q.CancelRead(codeSessionGone) })
}

func (p *recvPart) SetReadDeadline(t time.Time) error {
	s := p.d.s
	s.mu.Lock()
	p.deadline = t
	p.unpauseLocked()
	err := error(nil)
	if s.err != nil && !p.final {
		err = s.err
	}
	s.mu.Unlock()
	p.q.SetReadDeadline(t)
	return err
}
