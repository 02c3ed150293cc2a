package h3wt

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// A connectStream is the CONNECT stream: *http3.Stream on a server,
// *http3.RequestStream on a client.
type connectStream interface {
	io.ReadWriteCloser
	TryWriteAll([]byte) error
	CancelRead(quic.StreamErrorCode)
	CancelWrite(quic.StreamErrorCode)
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	Context() context.Context
	ReceiveDatagram(context.Context) ([]byte, error)
}

var (
	_ connectStream = (*http3.Stream)(nil)
	_ connectStream = (*http3.RequestStream)(nil)
)

// readSize is the buffer of a CONNECT stream's reader.
const readSize = 2 << 10

// endGrace bounds how long a connection waits for the reader of a CONNECT stream
// whose end has arrived.
const endGrace = 50 * time.Millisecond

// holdEnd has the connection handle nothing that comes after the end of the
// CONNECT stream before readConnect has taken all up to that end. A peer may
// send WT_CLOSE_SESSION, FIN and in the next packet CONNECTION_CLOSE, as Firefox
// does, and that makes QUIC drop what was not read. Where bytes before the end
// are missing, endGrace is lost.
func (s *Session) holdEnd(str *quic.Stream) {
	var watching atomic.Bool
	str.SetReceiveFinalSizeCallback(func(int64) { // on the goroutine that handles packets
		if !watching.Load() {
			return // the end was here before
		}
		t := time.NewTimer(endGrace)
		defer t.Stop()
		select {
		case <-s.endTaken:
		case <-t.C:
		}
	})
	watching.Store(true)
}

// connectBuffers has what CONNECT streams are read into.
var connectBuffers = sync.Pool{New: func() any { return new([readSize]byte) }}

// A connectReader reads the CONNECT stream to its end and ends the session with it.
type connectReader struct {
	s       *Session
	below   receiver // the QUIC stream, where http3 gives it: on a server
	decoder capsule.Decoder
	payload []byte
	stop    func() bool // ends the watch for the end of the sending side
	one     [1]byte
	closed  bool // WT_CLOSE_SESSION has come
	over    bool // the stream is not read any more
	taken   bool // s.endTaken is closed
}

// readConnect starts the reader. Below may be nil.
func (s *Session) readConnect(below receiver) {
	r := &connectReader{s: s, below: below}
	r.decoder.HTTP3 = true
	r.stop = context.AfterFunc(s.str.Context(), s.sendSideGone)
	go r.run()
}

// run waits for something to be read, reads it, and leaves the next wait to
// another goroutine: in most sessions nothing comes for long, and the stack of one
// that has only waited is half of what http3's reading needs. Where the QUIC
// stream is not known, http3 waits.
func (r *connectReader) run() {
	for !r.over {
		if r.below != nil {
			_, _ = r.below.Peek(r.one[:]) // Read says how it failed
		}
		r.read()
		if r.below != nil && !r.over {
			go r.run()
			return
		}
	}
	// Nothing can come any more. What is left of the sending side may wait for
	// credit of a peer that has gone.
	s := r.s
	s.str.CancelRead(codeSessionGone)
	s.mu.Lock()
	pending := !s.control.over
	s.control.over = true
	s.mu.Unlock()
	if pending {
		s.str.CancelWrite(codeSessionGone)
	}
	s.finish()
	r.take()
	r.stop()
}

// take says that nothing more is read from the stream.
func (r *connectReader) take() {
	if !r.taken {
		r.taken = true
		close(r.s.endTaken)
	}
}

// read takes what has come.
func (r *connectReader) read() {
	buf := connectBuffers.Get().(*[readSize]byte)
	defer connectBuffers.Put(buf)
	s := r.s
	n, err := s.str.Read(buf[:])
	if err != nil {
		r.take()
	}
	if n > 0 {
		r.feed(buf[:n])
	} else if err == nil && s.trailer() != nil {
		// Only DATA frames may follow on a CONNECT stream.
		r.malformed("trailers on the CONNECT stream")
	} else if err == nil {
		// An empty DATA frame brings nothing forward either.
		if err := r.glitch("empty DATA frame"); err != nil {
			r.over = true
			s.fail(err)
		}
	}
	if err != nil && !r.over {
		r.end(err)
	}
}

// feed decodes what came. After WT_CLOSE_SESSION nothing may come any more
// (draft-ietf-webtrans-http3 "Session Termination": H3_MESSAGE_ERROR).
func (r *connectReader) feed(p []byte) {
	if r.closed {
		r.abort(quic.StreamErrorCode(http3.ErrCodeMessageError))
		return
	}
	err := r.decoder.Feed(p, r)
	switch {
	case r.closed:
		if r.decoder.Unread() > 0 {
			r.abort(quic.StreamErrorCode(http3.ErrCodeMessageError))
			return
		}
		// The answer is the own end. Then only the peer's end may follow, for
		// which it gets as long as a close waits.
		s := r.s
		s.flushControl()
		s.str.SetReadDeadline(time.Now().Add(s.cfg.CloseTimeout))
	case err != nil:
		if syntax, ok := errors.AsType[*capsule.SyntaxError](err); ok {
			err = &transport.ProtocolError{Violation: transport.ViolationMalformed, Reason: syntax.Error()}
		}
		r.over = true
		r.s.fail(err)
	}
}

// abort resets the CONNECT stream of a session that has ended.
func (r *connectReader) abort(code quic.StreamErrorCode) {
	r.over = true
	r.s.advance(sessionstate.EventAbort)
	r.s.mu.Lock()
	r.s.control.over = true
	r.s.mu.Unlock()
	r.s.str.CancelRead(code)
	r.s.str.CancelWrite(code)
}

func (r *connectReader) malformed(reason string) {
	r.over = true
	r.s.fail(&transport.ProtocolError{Violation: transport.ViolationMalformed, Reason: reason})
}

// end handles the end of the stream, clean or not.
func (r *connectReader) end(err error) {
	s := r.s
	r.over = true
	switch {
	case err == io.EOF && r.closed:
		// A WT_CLOSE_SESSION is no answer to one that it crossed: the peer
		// discards what it has not read.
		s.advance(sessionstate.EventPeerEnd)
		s.flushControl()
	case err == io.EOF && r.decoder.Partial():
		r.malformed("the CONNECT stream ends inside a capsule")
	case err == io.EOF:
		// "Cleanly terminating a CONNECT stream without a WT_CLOSE_SESSION
		// capsule SHALL be semantically equivalent" to code 0 and no message.
		s.setAnswered()
		s.end(sessionstate.EventPeerEnd, &transport.SessionError{Remote: true})
		s.flushControl()
	case errors.Is(err, os.ErrDeadlineExceeded):
		// The peer did not end its half in time.
	default:
		if reset, ok := errors.AsType[*quic.StreamError](err); ok && !reset.Remote {
			return // aborted here
		} else if ok {
			s.noteReset(reset.ErrorCode)
		}
		// A client that has answered a close may end its connection next, which
		// can overtake the answer.
		if gone, ok := errors.AsType[*quic.ApplicationError](err); ok && gone.Remote {
			s.noteReset(quic.StreamErrorCode(gone.ErrorCode))
		}
		s.lost(err)
	}
}

// sendSideGone runs when the sending side of the CONNECT stream has ended. If
// the peer has stopped it, the session cannot go on; a peer that closes the
// session stops it too, so its close gets time to arrive.
func (s *Session) sendSideGone() {
	cause := context.Cause(s.str.Context())
	stop, ok := errors.AsType[*quic.StreamError](cause)
	if !ok || !stop.Remote {
		return
	}
	time.AfterFunc(s.cfg.CloseTimeout, func() { s.lost(stop) })
}

// Stream and the other methods make connectReader a capsule.Handler. WT_STREAM
// is not decoded on HTTP/3.
func (r *connectReader) Stream(uint64, bool, uint64) error { return nil }

func (r *connectReader) StreamData([]byte, bool) error { return nil }

// Datagram accepts a DATAGRAM capsule, which a gateway may send in place of a
// QUIC datagram (RFC 9297 section 3.5).
func (r *connectReader) Datagram(size uint64) (bool, error) {
	s := r.s
	now := time.Now()
	s.mu.Lock()
	s.trafficLocked()
	var err error
	if size < sessionstate.TinyDatagram {
		err = s.floods.TinyDatagram(now)
	}
	allowed := err != nil || size > uint64(s.cfg.MaxDatagramSize) || s.datagramRate.Charge(now)
	s.mu.Unlock()
	switch {
	case err != nil:
		return false, err
	case size > uint64(s.cfg.MaxDatagramSize):
		s.dropTooLarge(size)
		return false, nil
	case !allowed:
		s.throttled(int(min(size, 1<<30)))
		return false, nil
	}
	r.payload = nil
	return true, nil
}

func (r *connectReader) DatagramData(p []byte, last bool) error {
	r.payload = append(r.payload, p...)
	if last {
		r.s.pushIncoming(r.payload)
		r.payload = nil
	}
	return nil
}

func (r *connectReader) Skipped(t capsule.Type, n uint64) error {
	if n > 0 {
		return nil // a long one costs no more than a short one
	}
	return r.glitch(t.String())
}

// glitch counts what brings nothing forward.
func (r *connectReader) glitch(what string) error {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.s.floods.Glitch(time.Now(), what)
}

// flowControl counts a flow-control capsule.
func (r *connectReader) flowControl() error {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.s.floods.FlowControl(time.Now())
}

// effect counts a capsule that had none.
func (r *connectReader) effect(c capsule.Capsule, had bool, err error) error {
	if err != nil || had {
		return err
	}
	return r.glitch(c.Type().String() + " that raises nothing")
}

// blocked counts a *_BLOCKED capsule that repeats the one before.
func (r *connectReader) blocked(c capsule.Capsule, which int, limit uint64) error {
	s := r.s
	s.mu.Lock()
	repeated := s.peerBlocked[which] == limit+1
	s.peerBlocked[which] = limit + 1
	s.mu.Unlock()
	if repeated || !s.flowControl {
		return r.glitch(c.Type().String())
	}
	return nil
}

// errClosed ends the decoding at WT_CLOSE_SESSION.
var errClosed = errors.New("session closed")

func (r *connectReader) Control(c capsule.Capsule) error {
	s := r.s
	switch c.(type) {
	case capsule.CloseSession, capsule.DrainSession:
	default:
		if err := r.flowControl(); err != nil {
			return err
		}
	}
	s.received(c)
	switch c := c.(type) {
	case capsule.CloseSession:
		if !sessionstate.ValidReason(c.Message) {
			return &transport.ProtocolError{Violation: transport.ViolationMalformed, Reason: "close message is not UTF-8"}
		}
		r.closed = true
		s.end(sessionstate.EventPeerClose, &transport.SessionError{
			Code:   transport.SessionErrorCode(c.ErrorCode),
			Reason: c.Message,
			Remote: true,
		})
		return errClosed
	case capsule.DrainSession:
		if !s.peerDrains() {
			return r.glitch("repeated WT_DRAIN_SESSION")
		}
	case capsule.MaxData:
		raised, err := s.raiseData(c.MaximumData)
		return r.effect(c, raised, err)
	case capsule.MaxStreams:
		raised, err := s.raiseStreams(kindOf(c.Uni), c.MaximumStreams)
		return r.effect(c, raised, err)
	case capsule.DataBlocked:
		return r.blocked(c, 2, c.MaximumData)
	case capsule.StreamsBlocked:
		if s.flowControl {
			if err := sessionstate.CheckStreamCount(c.MaximumStreams); err != nil {
				return err
			}
		}
		return r.blocked(c, kindOf(c.Uni), c.MaximumStreams)
	case capsule.MaxStreamData, capsule.StreamDataBlocked:
		// QUIC limits streams: "an endpoint MUST treat receipt as a session
		// error" (draft-ietf-webtrans-http3 "Flow Control Capsules").
		return &transport.ProtocolError{Violation: transport.ViolationMalformed, Reason: c.Type().String() + " on HTTP/3"}
	}
	return nil
}
