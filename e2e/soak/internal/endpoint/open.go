package endpoint

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"github.com/towpath-go/towpath/e2e/soak/internal/pattern"
	"github.com/towpath-go/towpath/transport"
)

// maxMessage is the longest message, its header not counted.
const maxMessage = 64 << 10

// opener is one goroutine that opens streams, with a chance of its own.
type opener struct {
	*Endpoint
	rand *rand.Rand
}

// size is the length of a stream: nothing at times, mostly little, up to 4 MiB.
func (o *opener) size() uint64 {
	between := func(low, high uint64) uint64 { return low + o.rand.Uint64N(high-low) }
	switch n := o.rand.IntN(1000); {
	case n < 40:
		return 0
	case n < 650:
		return between(1, 4<<10)
	case n < 960:
		return between(4<<10, 64<<10)
	case n < 996:
		return between(64<<10, 512<<10)
	default:
		return between(512<<10, 4<<20)
	}
}

func (o *opener) header(kind pattern.Kind, length uint64) pattern.Header {
	serial := o.serial.Add(1)
	h := pattern.Header{Kind: kind, Server: o.server, Session: o.id, Serial: serial, Length: length}
	switch kind {
	case pattern.EchoReset, pattern.EchoStop, pattern.EchoAbort, pattern.UniAbort, pattern.UniStop:
		h.Length = max(length, 1)
		h.At = uint32(o.rand.Uint64N(h.Length))
		h.Code = abortCode(serial)
	}
	return h
}

// open opens a stream; nil says that the session has ended, or will not allow one
// in time, which has been reported.
func open[S any](e *Endpoint, call string, f func(context.Context) (S, error)) (s S, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), e.limits.Patience)
	defer cancel()
	s, err := f(ctx)
	switch {
	case err == nil:
		e.tally.streams.Add(1)
		return s, true
	case ctx.Err() != nil && e.session.Context().Err() == nil:
		e.violate("", -1, "%s waited %v in a session that lives", call, e.limits.Patience)
	default:
		e.endOfCall(call, err)
	}
	return s, false
}

// one does one random thing.
func (o *opener) one() {
	switch n := o.rand.IntN(100); {
	case n < 34:
		o.echo(o.header(pattern.Echo, o.size()))
	case n < 50:
		o.uni(o.header(pattern.Uni, o.size()))
	case n < 62:
		o.message()
	case n < 72:
		o.sendDatagrams(1+o.rand.IntN(12), func() int { return datagramHead + o.rand.IntN(1000) })
	case n < 75:
		o.empty()
	case n < 80:
		o.echo(o.header(pattern.EchoReset, o.size()))
	case n < 85:
		o.echo(o.header(pattern.EchoStop, o.size()))
	case n < 90:
		o.echo(o.header(pattern.EchoAbort, o.size()))
	case n < 95:
		o.uni(o.header(pattern.UniAbort, o.size()))
	default:
		o.uni(o.header(pattern.UniStop, o.size()))
	}
}

// write writes the header and its bytes, up to limit of them.
func (e *Endpoint) write(s transport.SendStream, h pattern.Header, limit uint64, random *rand.Rand) (uint64, error) {
	buf := chunks.Get().(*[16 << 10]byte)
	defer chunks.Put(buf)
	key := h.Key()
	var n uint64
	head := h.Append(buf[:0])
	for first := true; first || n < limit; first = false {
		p := buf[:]
		begin := 0
		if first {
			begin = len(head)
		}
		m := min(limit-n, uint64(len(p)-begin), 1+random.Uint64N(32<<10))
		key.Fill(p[begin:begin+int(m)], n)
		s.SetWriteDeadline(e.deadline())
		wrote, err := s.Write(p[:begin+int(m)])
		if err == nil && wrote != begin+int(m) {
			e.violate(label(s.StreamID(), h.Kind), int64(n), "Write took %d of %d bytes without an error", wrote, begin+int(m))
		}
		n += uint64(max(wrote-begin, 0))
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// stopped says whether err is the other end's wish that the stream stop, with
// the code it was told to give.
func stopped(err error, code uint32) bool {
	var st *transport.StreamError
	return errors.As(err, &st) && st.Remote && !st.NoCode && uint32(st.Code) == code
}

func (o *opener) uni(h pattern.Header) {
	s, ok := open(o.Endpoint, "OpenUniStream", o.session.OpenUniStream)
	if !ok {
		return
	}
	name := label(s.StreamID(), h.Kind)
	limit := h.Length
	if h.Kind == pattern.UniAbort {
		limit = uint64(h.At)
	}
	o.prioritize(s)
	n, err := o.write(s, h, limit, o.rand)
	switch {
	case err != nil && h.Kind == pattern.UniStop && stopped(err, h.Code):
		o.tally.aborted.Add(1)
	case err != nil:
		o.outcome(name, int64(n), err, 0)
		s.CancelWrite(0)
	case h.Kind == pattern.UniAbort:
		s.CancelWrite(transport.StreamErrorCode(h.Code))
	default:
		err := s.Close()
		if h.Kind == pattern.UniStop {
			if err != nil {
				o.closeFailed(name, n, err)
			}
			return
		}
		o.finished(name, n, err, h.Serial)
	}
}

// finished notes that a stream was finished, which Sync will ask for.
func (o *opener) finished(name string, n uint64, err error, serial uint64) {
	if err != nil {
		o.closeFailed(name, n, err)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent.Whole++
	o.sent.Xor ^= serial
}

func (o *opener) closeFailed(name string, n uint64, err error) {
	var se *transport.SessionError
	if !errors.As(err, &se) {
		o.violate(name, int64(n), "Close returned %v", err)
	}
}

func (o *opener) message() {
	h := o.header(pattern.Message, o.rand.Uint64N(maxMessage))
	p := h.Append(make([]byte, 0, pattern.Size+int(h.Length)))
	p = p[:cap(p)]
	h.Key().Fill(p[pattern.Size:], 0)
	ctx, cancel := context.WithTimeout(context.Background(), o.limits.Patience)
	defer cancel()
	err := transport.SendMessage(ctx, o.session, p)
	if err != nil && ctx.Err() != nil {
		o.violate("message", -1, "was not sent in %v, in a session that %s", o.limits.Patience, o.alive())
		return
	}
	if err != nil {
		o.outcome("message", 0, err, 0)
		return
	}
	o.tally.streams.Add(1)
	o.finished("message", h.Length, nil, h.Serial)
}

// empty opens a stream and finishes it without a byte.
func (o *opener) empty() {
	if o.rand.IntN(2) == 0 {
		s, ok := open(o.Endpoint, "OpenUniStream", o.session.OpenUniStream)
		if ok {
			o.emptied(label(s.StreamID(), "empty"), s.Close())
		}
		return
	}
	s, ok := open(o.Endpoint, "OpenStream", o.session.OpenStream)
	if !ok {
		return
	}
	name := label(s.StreamID(), "empty")
	o.emptied(name, s.Close())
	s.SetReadDeadline(o.deadline())
	var b [1]byte
	n, err := s.Read(b[:])
	switch {
	case n > 0:
		o.violate(name, 0, "an empty stream was answered with bytes")
	case err != io.EOF:
		o.outcome(name, 0, err, 0)
	}
}

func (o *opener) emptied(name string, err error) {
	if err != nil {
		o.closeFailed(name, 0, err)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent.Empty++
}

// prioritize gives some streams a place among the others.
func (o *opener) prioritize(s transport.SendStream) {
	if o.rand.IntN(8) == 0 {
		s.SetPriority(transport.Priority{Order: int64(o.rand.IntN(5)) - 2})
	}
}

// echo writes and reads the same stream at once.
func (o *opener) echo(h pattern.Header) {
	s, ok := open(o.Endpoint, "OpenStream", o.session.OpenStream)
	if !ok {
		return
	}
	name := label(s.StreamID(), h.Kind)
	o.prioritize(s)
	if o.rand.IntN(16) == 0 {
		o.expire(name, s)
	}
	random := rand.New(rand.NewPCG(h.Serial, o.id))
	wrote := make(chan struct{})
	go func() { // ends with the stream, at the latest by its deadline
		defer close(wrote)
		o.writeEcho(name, s, h, random)
	}()
	o.readEcho(name, s, h)
	<-wrote
}

// expire lets a read deadline pass before anything can have come.
func (o *opener) expire(name string, s transport.Stream) {
	s.SetReadDeadline(time.Unix(1, 0))
	var b [1]byte
	n, err := s.Read(b[:])
	switch {
	case n > 0:
		o.violate(name, 0, "a byte came of a stream on which nothing was sent")
	case errors.Is(err, os.ErrDeadlineExceeded):
		o.tally.deadlines.Add(1)
	default:
		o.outcome(name, 0, err, 0)
	}
}

func (o *opener) writeEcho(name string, s transport.Stream, h pattern.Header, random *rand.Rand) {
	limit := h.Length
	if h.Kind == pattern.EchoAbort {
		limit = uint64(h.At)
	}
	n, err := o.write(s, h, limit, random)
	switch {
	case err != nil && (h.Kind == pattern.EchoReset || h.Kind == pattern.EchoStop) && stopped(err, h.Code):
	case err != nil:
		o.outcome(name, int64(n), err, 0)
		s.CancelWrite(0)
		s.CancelRead(0)
	case h.Kind == pattern.EchoAbort:
		s.CancelWrite(transport.StreamErrorCode(h.Code))
	default:
		if err := s.Close(); err != nil {
			o.closeFailed(name, n, err)
		}
	}
}

// readEcho reads what comes back. The header does not.
func (o *opener) readEcho(name string, s transport.Stream, h pattern.Header) {
	name += " answer"
	buf := chunks.Get().(*[16 << 10]byte)
	defer chunks.Put(buf)
	key := h.Key()
	want := h.Length
	if h.Kind == pattern.EchoStop {
		want = uint64(h.At)
	}
	resets := h.Kind == pattern.EchoReset || h.Kind == pattern.EchoAbort
	var n uint64
	for {
		s.SetReadDeadline(o.deadline())
		m, err := s.Read(buf[:])
		if i, wrong := key.Check(buf[:m], n); wrong {
			o.violate(name, int64(n)+int64(i), "a wrong byte, of %d", want)
			s.CancelRead(0)
			return
		}
		n += uint64(m)
		o.tally.bytes.Add(int64(m))
		if n > want {
			o.violate(name, int64(n), "longer than the %d bytes that were written", want)
			s.CancelRead(0)
			return
		}
		switch {
		case err == nil:
		case err == io.EOF && resets:
			o.violate(name, int64(n), "ended as if whole, and was reset after %d bytes of %d", h.At, h.Length)
			return
		case err == io.EOF && n < want:
			o.violate(name, int64(n), "ended after %d of %d bytes as if that were all", n, want)
			return
		case err == io.EOF:
			o.tally.whole.Add(1)
			return
		default:
			code := uint32(0)
			if resets {
				code = h.Code
			}
			o.outcome(name, int64(n), err, code)
			s.CancelRead(0)
			return
		}
	}
}

// sync asks the other end for what it has received, and tells whether that is
// all. Nothing else is sent from here meanwhile.
func (o *opener) sync() bool {
	s, ok := open(o.Endpoint, "OpenStream", o.session.OpenStream)
	if !ok {
		return false
	}
	name := label(s.StreamID(), pattern.Sync)
	o.mu.Lock()
	want := o.sent
	o.mu.Unlock()
	p := o.header(pattern.Sync, 24).Append(nil)
	for _, v := range []uint64{want.Whole, want.Xor, want.Empty} {
		p = binary.LittleEndian.AppendUint64(p, v)
	}
	s.SetWriteDeadline(o.deadline())
	if _, err := s.Write(p); err != nil {
		o.outcome(name, 0, err, 0)
		return false
	}
	s.Close()
	// The other end waits as long as this one would.
	s.SetReadDeadline(o.deadline().Add(o.limits.Patience))
	p, err := transport.ReadMessage(s, 24)
	switch {
	case err != nil:
		o.outcome(name, int64(len(p)), err, 0)
		return false
	case len(p) != 24:
		o.violate(name, int64(len(p)), "the answer ended after %d bytes as if that were all", len(p))
		return false
	}
	got := received{Whole: binary.LittleEndian.Uint64(p), Xor: binary.LittleEndian.Uint64(p[8:]), Empty: binary.LittleEndian.Uint64(p[16:])}
	o.tally.syncs.Add(1)
	if got != want {
		o.violate(name, -1, "the other end has received %d streams whole (serials %x) and %d empty ones, of %d (%x) and %d that were finished",
			got.Whole, got.Xor, got.Empty, want.Whole, want.Xor, want.Empty)
		return false
	}
	return true
}
