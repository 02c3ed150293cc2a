package session

import (
	"io"
	"os"
	"time"

	"github.com/towpath-go/towpath/internal/deadline"
	"github.com/towpath-go/towpath/transport"
)

// A stream is what both directions of one stream share. Its fields but the
// first two are guarded by the session's lock; the deadlines have their own.
type stream struct {
	s  *Session
	id uint64

	accepted bool // the application has it; always so if it was opened here
	send     sendHalf
	recv     recvHalf
	ent      schedEnt
	prio     transport.Priority

	// dirty says that the stream is in the session's list of streams that have
	// control capsules to send; prev and next are its neighbours there.
	dirty      bool
	prev, next *stream

	readable chan struct{} // 1 slot: Read may be tried again; nil until one waited
	writable chan struct{} // the same for Write

	readDeadline, writeDeadline deadline.Deadline
}

// The three kinds of stream that the application sees are one pointer each, so
// that handing one out allocates nothing.
type (
	sendStream struct{ st *stream }
	recvStream struct{ st *stream }
	bidiStream struct{ st *stream }
)

var (
	_ transport.SendStream    = sendStream{}
	_ transport.ReceiveStream = recvStream{}
	_ transport.Stream        = bidiStream{}
)

func (w sendStream) Write(p []byte) (int, error)                { return w.st.write(p) }
func (w sendStream) Close() error                               { return w.st.close() }
func (w sendStream) CancelWrite(code transport.StreamErrorCode) { w.st.cancelWrite(code) }
func (w sendStream) SetWriteDeadline(t time.Time) error         { return w.st.setWriteDeadline(t) }
func (w sendStream) SetPriority(p transport.Priority)           { w.st.setPriority(p) }
func (w sendStream) StreamID() transport.StreamID               { return transport.StreamID(w.st.id) }

func (r recvStream) Read(p []byte) (int, error)                { return r.st.read(p) }
func (r recvStream) CancelRead(code transport.StreamErrorCode) { r.st.cancelRead(code) }
func (r recvStream) SetReadDeadline(t time.Time) error         { return r.st.setReadDeadline(t) }
func (r recvStream) StreamID() transport.StreamID              { return transport.StreamID(r.st.id) }

func (b bidiStream) Read(p []byte) (int, error)                 { return b.st.read(p) }
func (b bidiStream) CancelRead(code transport.StreamErrorCode)  { b.st.cancelRead(code) }
func (b bidiStream) SetReadDeadline(t time.Time) error          { return b.st.setReadDeadline(t) }
func (b bidiStream) Write(p []byte) (int, error)                { return b.st.write(p) }
func (b bidiStream) Close() error                               { return b.st.close() }
func (b bidiStream) CancelWrite(code transport.StreamErrorCode) { b.st.cancelWrite(code) }
func (b bidiStream) SetWriteDeadline(t time.Time) error         { return b.st.setWriteDeadline(t) }
func (b bidiStream) SetPriority(p transport.Priority)           { b.st.setPriority(p) }
func (b bidiStream) StreamID() transport.StreamID               { return transport.StreamID(b.st.id) }

func (b bidiStream) SetDeadline(t time.Time) error {
	b.st.readDeadline.Set(t)
	return b.st.setWriteDeadline(t)
}

// The deadlines can be set after the end of the session too, for a stream may
// still be readable.

func (st *stream) setReadDeadline(t time.Time) error {
	st.readDeadline.Set(t)
	return nil
}

func (st *stream) setWriteDeadline(t time.Time) error {
	st.writeDeadline.Set(t)
	return nil
}

// orExceeded returns err, and the error of a deadline that has passed if that is
// nil: an end, which no new deadline changes, counts more.
func orExceeded(err error) error {
	if err == nil {
		return os.ErrDeadlineExceeded
	}
	return err
}

// write takes as much of p as the buffer has room for, and waits for the rest.
func (st *stream) write(p []byte) (int, error) {
	s := st.s
	done := 0
	for {
		if st.writeDeadline.Passed() {
			_, _, err := st.tryWrite(nil)
			return done, orExceeded(err)
		}
		n, wait, err := st.tryWrite(p[done:])
		done += n
		if err != nil || done == len(p) {
			return done, err
		}
		select {
		case <-wait:
		case <-st.writeDeadline.Done():
		case <-s.over:
		}
	}
}

// tryWrite buffers what there is room for. If that is not all, wait tells when
// to try again.
func (st *stream) tryWrite(p []byte) (n int, wait <-chan struct{}, err error) {
	s := st.s
	s.mu.Lock()
	defer s.unlock()
	switch {
	case s.err != nil:
		return 0, nil, s.err
	case st.send.state == sendResetDue || st.send.state == sendResetSent:
		st.send.told = true
		s.forgetLocked(st)
		return 0, nil, st.send.err
	case st.send.state != sendOpen:
		return 0, nil, errWriteAfterClose
	case st.send.ended && len(p) > 0:
		s.misreadLocked(st)
		return 0, nil, s.err
	}
	n = min(len(p), s.cfg.StreamSendBuffer-st.send.buf.n)
	if n > 0 {
		held := st.send.buf.held
		st.send.buf.write(p[:n])
		s.chargeLocked(st.send.buf.held - held)
		s.readyLocked(st)
	}
	if n < len(p) {
		if st.writable == nil {
			st.writable = make(chan struct{}, 1)
		}
		wait = st.writable
	}
	return n, wait, nil
}

func (st *stream) close() error {
	s := st.s
	s.mu.Lock()
	defer s.unlock()
	if s.err != nil {
		return s.err
	}
	st.send.told = true
	if st.send.on(sendEventClose) == accepted {
		s.finished = true
		s.readyLocked(st)
		if st.writable != nil {
			signal(st.writable) // a Write that waits fails
		}
	}
	s.forgetLocked(st)
	return nil
}

func (st *stream) cancelWrite(code transport.StreamErrorCode) {
	s := st.s
	s.mu.Lock()
	defer s.unlock()
	if s.err != nil {
		return
	}
	st.send.told = true
	if st.send.state == sendFinDue && st.send.buf.n == 0 {
		return // only the FIN is left, which is as good as sent
	}
	if st.send.on(sendEventCancel) == accepted {
		if st.send.ended {
			s.misreadLocked(st)
			return
		}
		s.abortSendLocked(st, uint32(code), false)
	}
	s.forgetLocked(st)
}

// abortSendLocked does what follows from a sending part's abort: the unsent
// bytes are gone, WT_RESET_STREAM is due, and Write fails.
func (s *Session) abortSendLocked(st *stream, code uint32, remote bool) {
	st.send.aborted(st.id, code, remote)
	s.outgoing.sched.remove(&st.ent)
	s.discardSendLocked(st)
	s.dirtyLocked(st)
	if st.writable != nil {
		signal(st.writable)
	}
	s.noteLocked(event{what: eventSendAborted, id: st.id, value: uint64(code), remote: remote})
}

func (st *stream) setPriority(p transport.Priority) {
	s := st.s
	s.mu.Lock()
	defer s.unlock()
	st.prio = p
	if st.ent.group != nil {
		s.outgoing.sched.move(&st.ent, p)
	}
}

// read waits for at least one byte, or the end.
func (st *stream) read(p []byte) (int, error) {
	s := st.s
	for {
		if st.readDeadline.Passed() {
			_, _, err := st.tryRead(nil)
			return 0, orExceeded(err)
		}
		n, wait, err := st.tryRead(p)
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		select {
		case <-wait:
		case <-st.readDeadline.Done():
		case <-s.over:
		}
	}
}

// tryRead takes what is there. If that is nothing, wait tells when to try again.
func (st *stream) tryRead(p []byte) (n int, wait <-chan struct{}, err error) {
	s := st.s
	s.mu.Lock()
	defer s.unlock()
	r := &st.recv
	switch r.state {
	case recvDataRecvd, recvDataRead:
		// The end is here: the rest is readable even if the session is over.
		if r.err != nil {
			break
		}
		if len(p) == 0 && r.buf.n > 0 {
			return 0, nil, nil
		}
		n = st.takeLocked(p)
		if s.err == nil {
			s.readLocked(st, n)
		}
		if r.buf.n == 0 && r.on(recvEventRead) == accepted {
			r.supposed = s.dialect.reading == readingPrior
			s.dialect.stake()
			s.forgetLocked(st)
		}
		switch {
		case n > 0:
		case r.supposed && s.doubtsEndsLocked():
			err = s.err
		default:
			err = io.EOF
		}
		return n, nil, err
	}
	if s.err != nil {
		if r.state == recvHeld && r.err == nil && r.buf.n > 0 {
			// No end follows: see doubtsEndsLocked.
			return st.takeLocked(p), nil, nil
		}
		return 0, nil, s.err
	}
	if r.err != nil {
		r.on(recvEventRead)
		s.forgetLocked(st)
		return 0, nil, r.err
	}
	if n = st.takeLocked(p); n > 0 {
		s.readLocked(st, n)
		return n, nil, nil
	}
	if st.readable == nil {
		st.readable = make(chan struct{}, 1)
	}
	return 0, st.readable, nil
}

// takeLocked moves received bytes into p.
func (st *stream) takeLocked(p []byte) int {
	held := st.recv.buf.held
	n := st.recv.buf.read(p)
	st.s.chargeLocked(st.recv.buf.held - held)
	st.s.stats.BytesRead += uint64(n)
	return n
}

func (st *stream) cancelRead(code transport.StreamErrorCode) {
	s := st.s
	s.mu.Lock()
	defer s.unlock()
	r := &st.recv
	if s.err != nil {
		// Only what is kept for reading after the end is left to give up.
		if r.state == recvDataRecvd || r.state == recvHeld {
			r.on(recvEventCancel)
			r.err = s.err
			s.chargeLocked(-r.buf.held)
			r.buf.discard()
		}
		return
	}
	if r.state == recvResetRecvd {
		r.on(recvEventRead) // the peer's code stays
		s.forgetLocked(st)
		return
	}
	if r.on(recvEventCancel) != accepted {
		return
	}
	r.aborted(st.id, uint32(code), false)
	r.code = uint32(code)
	s.discardRecvLocked(st)
	if r.stop == stopDue {
		s.dirtyLocked(st)
	}
	if r.state == recvHeld && r.full {
		s.unfilledLocked(st, time.Now()) // no credit follows that it could wait for
	}
	if st.readable != nil {
		signal(st.readable)
	}
	s.noteLocked(event{what: eventReadingCancelled, id: st.id, value: uint64(code)})
	s.forgetLocked(st)
}
