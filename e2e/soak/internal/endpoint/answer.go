package endpoint

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/towpath-go/towpath/e2e/soak/internal/pattern"
	"github.com/towpath-go/towpath/transport"
)

var chunks = sync.Pool{New: func() any { return new([16 << 10]byte) }}

// acceptBidi answers bidirectional streams until the session has ended.
func (e *Endpoint) acceptBidi() {
	for {
		s, err := e.session.AcceptStream(context.Background())
		if err != nil {
			e.endOfCall("AcceptStream", err)
			return
		}
		e.handle(func() { e.answerBidi(s) })
	}
}

func (e *Endpoint) acceptUni() {
	for {
		s, err := e.session.AcceptUniStream(context.Background())
		if err != nil {
			e.endOfCall("AcceptUniStream", err)
			return
		}
		e.handle(func() { e.answerUni(s) })
	}
}

// handle runs f, which ends with its stream.
func (e *Endpoint) handle(f func()) {
	e.limits.Log.handlers.Add(1)
	e.handlers.Go(func() {
		defer e.limits.Log.handlers.Add(-1)
		f()
	})
}

// endOfCall checks why a call on the session returned an error.
func (e *Endpoint) endOfCall(call string, err error) {
	var se *transport.SessionError
	if !errors.As(err, &se) || e.session.Context().Err() == nil {
		e.violate("", -1, "%s failed in a session that %s: %v", call, e.alive(), err)
	}
}

// readHeader reads the first bytes of a stream. It returns io.EOF for an empty
// stream.
func readHeader(s transport.ReceiveStream) (h pattern.Header, n int, err error) {
	var b [pattern.Size]byte
	n, err = io.ReadFull(s, b[:])
	if err != nil {
		return h, n, err
	}
	h, ok := pattern.Parse(b[:])
	if !ok {
		return h, n, fmt.Errorf("the stream begins with %x", b)
	}
	return h, n, nil
}

// begin reads and judges the header of an accepted stream. Ok is false if there
// is nothing more to do but to end the other direction: with the code aborted if
// that is not 0.
func (e *Endpoint) begin(name string, s transport.ReceiveStream) (h pattern.Header, aborted uint32, ok bool) {
	s.SetReadDeadline(e.deadline())
	h, n, err := readHeader(s)
	switch {
	case err == io.EOF:
		e.count(func(r *received) { r.Empty++ })
		e.tally.whole.Add(1)
	case errors.Is(err, io.ErrUnexpectedEOF):
		e.violate(name, int64(n), "ended after %d bytes as if that were all", n)
	case err == nil && (h.Session != e.id || h.Server == e.server):
		e.violate(name, 0, "carries bytes of session %d: %+v", h.Session, h)
	case err == nil:
		return h, 0, true
	case isStreamError(err):
		// What was reset may have lost its header, too; the code is the kind's.
		var st *transport.StreamError
		errors.As(err, &st)
		if isAbortCode(uint32(st.Code)) && !st.NoCode {
			aborted = uint32(st.Code)
		}
		e.outcome(name, int64(n), err, aborted)
	default:
		e.outcome(name, int64(n), err, 0)
	}
	return h, aborted, false
}

func isStreamError(err error) bool {
	var st *transport.StreamError
	return errors.As(err, &st)
}

// abortCode is the code that a stream is aborted with, isAbortCode whether a code
// may be one.
func abortCode(serial uint64) uint32               { return 0x5a000000 | uint32(serial&0xffffff) }
func isAbortCode(code uint32) bool                 { return code>>24 == 0x5a }
func label(id transport.StreamID, kind any) string { return fmt.Sprintf("stream %d (%v)", id, kind) }

func (e *Endpoint) answerBidi(s transport.Stream) {
	h, aborted, ok := e.begin(label(s.StreamID(), "accepted"), s)
	switch {
	case ok:
	case aborted != 0: // as EchoAbort has it, though that was lost
		s.CancelWrite(transport.StreamErrorCode(aborted))
		return
	default:
		s.CancelRead(0)
		s.Close()
		return
	}
	name := label(s.StreamID(), h.Kind)
	s.SetWriteDeadline(e.deadline())
	switch h.Kind {
	case pattern.Echo, pattern.EchoAbort, pattern.EchoReset, pattern.EchoStop:
		e.echo(name, s, h)
	case pattern.Sync:
		e.answerSync(name, s)
	case pattern.CloseSession:
		if _, ok := e.body(name, s, h, h.Length, nil); ok {
			s.Close()
			e.Close(h.Code, Reason(e.id, h.Code), false)
		}
	case pattern.DrainSession:
		if err := e.session.Drain(); err != nil {
			e.endOfCall("Drain", err)
		}
		s.Close()
	default:
		e.violate(name, 0, "a bidirectional stream has the header of another kind")
		s.CancelRead(0)
		s.CancelWrite(0)
	}
}

// echo sends back what comes. It goes on reading while it waits to write: all
// streams of a session share its credit, so that two echoes which stop reading
// until they have written can each hold the credit that the other waits for. What
// has been read need not be kept, since the bytes follow from the header.
func (e *Endpoint) echo(name string, s transport.Stream, h pattern.Header) {
	limit := h.Length
	if h.Kind == pattern.EchoReset || h.Kind == pattern.EchoStop {
		limit = uint64(h.At)
	}
	b := newBacklog()
	wrote := make(chan error, 1)
	go func() { wrote <- e.sendBack(s, h.Key(), b) }() // ends with the stream; waited for below
	n, ok := e.body(name, s, h, limit, b.add)
	if !ok {
		// Body has said why, or writing has failed. A Write that waits is ended.
		b.end(false)
		s.CancelRead(transport.StreamErrorCode(h.Code))
		s.CancelWrite(transport.StreamErrorCode(h.Code))
	} else {
		b.end(true)
	}
	err := <-wrote
	switch {
	case err != nil && (ok || b.failed()):
		e.outcome(name+" answer", int64(n), err, 0)
		s.CancelRead(0)
		s.CancelWrite(0)
	case !ok:
	case h.Kind == pattern.EchoReset:
		s.CancelWrite(transport.StreamErrorCode(h.Code))
		s.CancelRead(transport.StreamErrorCode(h.Code))
		e.tally.aborted.Add(1)
	case h.Kind == pattern.EchoStop:
		s.CancelRead(transport.StreamErrorCode(h.Code))
		s.Close()
		e.tally.aborted.Add(1)
	default:
		s.Close()
	}
}

// sendBack writes what the backlog has, until that ends.
func (e *Endpoint) sendBack(s transport.SendStream, key pattern.Key, b *backlog) error {
	buf := chunks.Get().(*[16 << 10]byte)
	defer chunks.Put(buf)
	for n := uint64(0); ; {
		m, ok := b.more(n, uint64(len(buf)))
		if !ok {
			return nil
		}
		key.Fill(buf[:m], n)
		s.SetWriteDeadline(e.deadline())
		if _, err := s.Write(buf[:m]); err != nil {
			b.fail()
			return err
		}
		n += m
	}
}

// A backlog is how much of a stream has been read and is to be sent back.
type backlog struct {
	mu      sync.Mutex // guards the following
	changed *sync.Cond
	read    uint64
	state   backlogState
}

type backlogState uint8

const (
	growing  backlogState = iota
	complete              // there will be no more
	dropped               // nothing more is to be sent back
	broken                // nothing more can be
)

func newBacklog() *backlog {
	b := new(backlog)
	b.changed = sync.NewCond(&b.mu)
	return b
}

// add notes what was read, and says whether to go on.
func (b *backlog) add(p []byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.read += uint64(len(p))
	b.changed.Broadcast()
	return b.state == growing
}

// end says that nothing more will be read: whole, or so that the rest does not
// matter.
func (b *backlog) end(whole bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state == growing {
		b.state = dropped
		if whole {
			b.state = complete
		}
	}
	b.changed.Broadcast()
}

// fail says that nothing more can be written, failed whether that was so before
// the end.
func (b *backlog) fail() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state != dropped {
		b.state = broken
	}
}

func (b *backlog) failed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state == broken
}

// more waits for bytes behind the first n, and returns how many to write, most at
// a time; ok is false when there are no more.
func (b *backlog) more(n, most uint64) (m uint64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.state == growing && b.read == n {
		b.changed.Wait()
	}
	if b.state == dropped || b.read == n {
		return 0, false
	}
	return min(b.read-n, most), true
}

// body reads and checks the bytes behind a header: limit of them if that is less
// than all, else all to the end. Each, if not nil, gets them piece by piece, and
// says whether to go on. It reports what is not as promised, and returns whether
// all went well.
func (e *Endpoint) body(name string, s transport.ReceiveStream, h pattern.Header, limit uint64, each func([]byte) bool) (n uint64, ok bool) {
	buf := chunks.Get().(*[16 << 10]byte)
	defer chunks.Put(buf)
	key := h.Key()
	resets := h.Kind == pattern.EchoAbort || h.Kind == pattern.UniAbort // the opener does
	code := uint32(0)
	if resets {
		code = h.Code
	}
	for n < limit || limit >= h.Length {
		p := buf[:]
		if limit < h.Length {
			p = p[:min(uint64(len(p)), limit-n)]
		}
		s.SetReadDeadline(e.deadline())
		m, err := s.Read(p)
		if i, wrong := key.Check(p[:m], n); wrong {
			e.violate(name, int64(n)+int64(i), "a wrong byte, of %d", h.Length)
			return n, false
		}
		n += uint64(m)
		e.tally.bytes.Add(int64(m))
		if n > h.Length {
			e.violate(name, int64(n), "longer than the %d bytes that were written", h.Length)
			return n, false
		}
		if m > 0 && each != nil && !each(p[:m]) {
			return n, false
		}
		switch {
		case err == nil:
		case err == io.EOF && resets:
			e.violate(name, int64(n), "ended as if whole, and was reset after %d bytes of %d", h.At, h.Length)
			return n, false
		case err == io.EOF && n < h.Length:
			e.violate(name, int64(n), "ended after %d of %d bytes as if that were all", n, h.Length)
			return n, false
		case err == io.EOF:
			e.tally.whole.Add(1)
			return n, true
		default:
			e.outcome(name, int64(n), err, code)
			return n, false
		}
	}
	return n, true
}

func (e *Endpoint) answerUni(s transport.ReceiveStream) {
	h, _, ok := e.begin(label(s.StreamID(), "accepted"), s)
	if !ok {
		s.CancelRead(0)
		return
	}
	name := label(s.StreamID(), h.Kind)
	switch h.Kind {
	case pattern.Uni:
		if _, ok := e.body(name, s, h, h.Length, nil); ok {
			e.count(func(r *received) { r.Whole++; r.Xor ^= h.Serial })
		}
	case pattern.Message:
		e.answerMessage(name, s, h)
	case pattern.UniAbort:
		e.body(name, s, h, h.Length, nil)
	case pattern.UniStop:
		if _, ok := e.body(name, s, h, uint64(h.At), nil); ok {
			s.CancelRead(transport.StreamErrorCode(h.Code))
			e.tally.aborted.Add(1)
		}
	default:
		e.violate(name, 0, "a unidirectional stream has the header of another kind")
		s.CancelRead(0)
	}
}

// answerMessage reads the rest of a message with the function for that.
func (e *Endpoint) answerMessage(name string, s transport.ReceiveStream, h pattern.Header) {
	s.SetReadDeadline(e.deadline())
	p, err := transport.ReadMessage(s, maxMessage)
	if i, wrong := h.Key().Check(p, 0); wrong {
		e.violate(name, int64(i), "a wrong byte, of %d", h.Length)
		return
	}
	e.tally.bytes.Add(int64(len(p)))
	switch {
	case err != nil:
		e.outcome(name, int64(len(p)), err, 0)
	case uint64(len(p)) != h.Length:
		e.violate(name, int64(len(p)), "a message of %d bytes came with %d", h.Length, len(p))
	default:
		e.tally.whole.Add(1)
		e.count(func(r *received) { r.Whole++; r.Xor ^= h.Serial })
	}
}

// count notes what was received and wakes who waits for it.
func (e *Endpoint) count(f func(*received)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(&e.got)
	close(e.grown)
	e.grown = make(chan struct{})
}

// answerSync waits until what the opener says was received, and answers with
// what was.
func (e *Endpoint) answerSync(name string, s transport.Stream) {
	var b [24]byte
	s.SetReadDeadline(e.deadline())
	if n, err := io.ReadFull(s, b[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF {
			e.violate(name, int64(n), "ended after %d bytes as if that were all", n)
		} else {
			e.outcome(name, int64(n), err, 0)
		}
		s.CancelWrite(0)
		return
	}
	want := received{Whole: binary.LittleEndian.Uint64(b[:]), Xor: binary.LittleEndian.Uint64(b[8:]), Empty: binary.LittleEndian.Uint64(b[16:])}
	timeout := time.NewTimer(e.limits.Patience)
	defer timeout.Stop()
	var got received
	for waiting := true; waiting; {
		e.mu.Lock()
		got = e.got
		grown := e.grown
		e.mu.Unlock()
		if got.Whole >= want.Whole && got.Empty >= want.Empty {
			break
		}
		select {
		case <-grown:
		case <-timeout.C:
			waiting = false
		case <-e.Done():
			s.CancelWrite(0)
			return
		}
	}
	p := binary.LittleEndian.AppendUint64(nil, got.Whole)
	p = binary.LittleEndian.AppendUint64(p, got.Xor)
	p = binary.LittleEndian.AppendUint64(p, got.Empty)
	s.SetWriteDeadline(e.deadline())
	if _, err := s.Write(p); err != nil {
		e.outcome(name+" answer", 0, err, 0)
		return
	}
	s.Close()
	if n, err := s.Read(b[:1]); err != io.EOF {
		if err == nil {
			err = fmt.Errorf("%d more bytes", n)
			e.violate(name, 24, "%v behind the end", err)
			return
		}
		e.outcome(name, 24, err, 0)
	}
}
