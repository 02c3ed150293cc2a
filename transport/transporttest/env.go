package transporttest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/towpath-go/towpath/transport"
)

const kib = 1 << 10

// short is the length of short deadlines, and how long a case waits for what
// must not happen. In a bubble it takes no time.
const short = 50 * time.Millisecond

// patience is how long a case waits in real time for what cannot be observed
// otherwise: that a Write takes no more.
const patience = 100 * time.Millisecond

// An env is what a case works with: two sessions and expectations. Its methods
// fail the test, so only the case's own goroutine calls them.
type env struct {
	testing.TB
	caps       Caps
	mk         MakePair
	a, b       transport.Session
	aIsClient  bool
	background sync.WaitGroup // what async and echo started
}

// async runs f on a goroutine that the end of the case waits for. f ends at the
// latest when the sessions do.
func async[T any](e *env, f func() T) <-chan T {
	c := make(chan T, 1)
	e.background.Go(func() { c <- f() })
	return c
}

// result is what a Read or Write returned.
type result struct {
	n   int
	err error
}

func asyncWrite(e *env, w io.Writer, p []byte) <-chan result {
	return async(e, func() result {
		n, err := w.Write(p)
		return result{n, err}
	})
}

func asyncRead(e *env, r io.Reader, size int) <-chan result {
	return async(e, func() result {
		n, err := r.Read(make([]byte, size))
		return result{n, err}
	})
}

// content is the data that a reading to the end returned.
type content struct {
	data []byte
	err  error
}

func asyncReadAll(e *env, r io.Reader) <-chan content {
	return async(e, func() content {
		p, err := io.ReadAll(r)
		return content{p, err}
	})
}

// stillWaiting fails if the call behind c has returned.
func stillWaiting[T any](e *env, c <-chan T, why string) {
	e.Helper()
	e.settle()
	select {
	case got := <-c:
		e.Fatalf("a call returned %+v: %s", got, why)
	default:
	}
}

// settle lets everything happen that is going to. In real time it is only a
// chance for what must not happen to show itself.
func (e *env) settle() {
	if e.caps.Bubble {
		time.Sleep(time.Second)
	} else {
		<-time.After(short)
	}
}

// eventually waits until cond holds.
func (e *env) eventually(what string, cond func() bool) {
	e.Helper()
	step, bound := time.Millisecond, 30*time.Second
	for start := time.Now(); !cond(); <-time.After(step) {
		if time.Since(start) > bound {
			e.Fatalf("not within %v: %s", bound, what)
		}
	}
}

// ended returns a context that has already ended.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func (e *env) ok(err error, what string) {
	e.Helper()
	if err != nil {
		e.Fatalf("%s: %v", what, err)
	}
}

func (e *env) open(s transport.Session) transport.Stream {
	e.Helper()
	st, err := s.OpenStream(e.Context())
	e.ok(err, "OpenStream")
	return st
}

func (e *env) openUni(s transport.Session) transport.SendStream {
	e.Helper()
	st, err := s.OpenUniStream(e.Context())
	e.ok(err, "OpenUniStream")
	return st
}

func (e *env) accept(s transport.Session) transport.Stream {
	e.Helper()
	st, err := s.AcceptStream(e.Context())
	e.ok(err, "AcceptStream")
	return st
}

func (e *env) acceptUni(s transport.Session) transport.ReceiveStream {
	e.Helper()
	st, err := s.AcceptUniStream(e.Context())
	e.ok(err, "AcceptUniStream")
	return st
}

// pair opens a bidirectional stream at a and returns its two ends, both used:
// one byte went from a to b.
func (e *env) pair() (x, y transport.Stream) {
	e.Helper()
	x = e.open(e.a)
	e.write(x, []byte{'h'})
	y = e.accept(e.b)
	e.wantBytes(y, []byte{'h'})
	if x.StreamID() != y.StreamID() {
		e.Fatalf("stream %d opened, %d accepted", x.StreamID(), y.StreamID())
	}
	return x, y
}

// uniPair is pair for a unidirectional stream.
func (e *env) uniPair() (x transport.SendStream, y transport.ReceiveStream) {
	e.Helper()
	x = e.openUni(e.a)
	e.write(x, []byte{'h'})
	y = e.acceptUni(e.b)
	e.wantBytes(y, []byte{'h'})
	if x.StreamID() != y.StreamID() {
		e.Fatalf("stream %d opened, %d accepted", x.StreamID(), y.StreamID())
	}
	return x, y
}

func (e *env) write(w io.Writer, p []byte) {
	e.Helper()
	if n, err := w.Write(p); n != len(p) || err != nil {
		e.Fatalf("Write of %d bytes = %d, %v", len(p), n, err)
	}
}

func (e *env) finish(w transport.SendStream) {
	e.Helper()
	e.ok(w.Close(), "Close")
}

// wantBytes reads exactly want.
func (e *env) wantBytes(r io.Reader, want []byte) {
	e.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(r, got); err != nil {
		e.Fatalf("read %d of %d bytes: %v", n, len(want), err)
	}
	if !bytes.Equal(got, want) {
		e.Fatalf("read other bytes than were written (%d bytes)", len(want))
	}
}

// wantRest reads want and then a clean end, which stays.
func (e *env) wantRest(r io.Reader, want []byte) {
	e.Helper()
	e.wantContent(<-asyncReadAll(e, r), want)
	e.wantEOF(r)
}

func (e *env) wantContent(got content, want []byte) {
	e.Helper()
	if got.err != nil {
		e.Fatalf("read %d of %d bytes, then %v", len(got.data), len(want), got.err)
	}
	if !bytes.Equal(got.data, want) {
		e.Fatalf("read %d bytes, want the %d that were written", len(got.data), len(want))
	}
}

func (e *env) wantEOF(r io.Reader) {
	e.Helper()
	for range 2 {
		if n, err := r.Read(make([]byte, 8)); n != 0 || err != io.EOF {
			e.Fatalf("Read at the end = %d, %v; want 0, io.EOF", n, err)
		}
	}
}

// readError reads until an error and returns it, and how much came before.
func readError(r io.Reader) result {
	p := make([]byte, 4*kib)
	for total := 0; ; {
		n, err := r.Read(p)
		total += n
		if err != nil {
			return result{total, err}
		}
	}
}

// writeError writes until an error and returns it, and how much was taken.
func writeError(w io.Writer) result {
	p := make([]byte, 4*kib)
	for total := 0; ; {
		n, err := w.Write(p)
		total += n
		if err != nil {
			return result{total, err}
		}
	}
}

// fill writes bytes of p until Write takes none for a while, clears the
// deadline, and returns how many it took.
func (e *env) fill(w transport.SendStream, p []byte) (total int) {
	e.Helper()
	for idle := 0; ; {
		e.ok(w.SetWriteDeadline(time.Now().Add(patience)), "SetWriteDeadline")
		n, err := w.Write(p[total:])
		total += n
		if err == nil {
			e.Fatalf("%d bytes were taken for a stream that nobody reads", total)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			e.Fatalf("Write: %v, want the deadline", err)
		}
		if n > 0 {
			idle = 0
			continue
		}
		if idle++; idle == 2 {
			e.ok(w.SetWriteDeadline(time.Time{}), "SetWriteDeadline")
			return total
		}
	}
}

// wantDeadline expects a call to have run into its deadline.
func (e *env) wantDeadline(r result, what string) {
	e.Helper()
	var timeout interface{ Timeout() bool }
	if !errors.Is(r.err, os.ErrDeadlineExceeded) || !errors.As(r.err, &timeout) || !timeout.Timeout() {
		e.Fatalf("%s = %d, %v; want os.ErrDeadlineExceeded", what, r.n, r.err)
	}
}

// wantStreamError expects the abort of a stream, and returns it.
func (e *env) wantStreamError(err error, id transport.StreamID, code transport.StreamErrorCode, remote bool, what string) *transport.StreamError {
	e.Helper()
	var got *transport.StreamError
	if !errors.As(err, &got) {
		e.Fatalf("%s: %v (%T), want *transport.StreamError", what, err, err)
	}
	if want := (transport.StreamError{StreamID: id, Code: code, Remote: remote}); *got != want {
		e.Fatalf("%s: %+v, want %+v", what, *got, want)
	}
	return got
}

// echo accepts streams at s until its end: bidirectional ones are answered with
// their own bytes, unidirectional ones with a unidirectional stream of the same.
func (e *env) echo(s transport.Session) {
	e.echoBidi(s)
	e.background.Go(func() {
		for {
			in, err := s.AcceptUniStream(context.Background())
			if err != nil {
				return
			}
			e.background.Go(func() {
				out, err := s.OpenUniStream(context.Background())
				if err != nil {
					return
				}
				echoStream(out, in)
			})
		}
	})
}

func (e *env) echoBidi(s transport.Session) {
	e.background.Go(func() {
		for {
			st, err := s.AcceptStream(context.Background())
			if err != nil {
				return
			}
			e.background.Go(func() { echoStream(st, st) })
		}
	})
}

// echoStream copies in to out and hands on how it ended.
func echoStream(out transport.SendStream, in transport.ReceiveStream) {
	_, err := io.Copy(out, in)
	if err == nil {
		out.Close()
		return
	}
	code := transport.StreamErrorCode(0)
	if se, ok := errors.AsType[*transport.StreamError](err); ok {
		code = se.Code
	}
	out.CancelWrite(code)
	in.CancelRead(code)
}

// wantAlive shows that the session still works: streams of both kinds, opened
// by both sides. Nobody else may be accepting.
func (e *env) wantAlive() {
	e.Helper()
	for _, side := range [][2]transport.Session{{e.a, e.b}, {e.b, e.a}} {
		from, to := side[0], side[1]
		if err := from.Context().Err(); err != nil {
			e.Fatalf("session ended: %v", context.Cause(from.Context()))
		}
		x := e.open(from)
		e.write(x, []byte("ping"))
		e.finish(x)
		y := e.accept(to)
		e.wantRest(y, []byte("ping"))
		e.write(y, []byte("pong"))
		e.finish(y)
		e.wantRest(x, []byte("pong"))
		u := e.openUni(from)
		e.write(u, []byte("post"))
		e.finish(u)
		e.wantRest(e.acceptUni(to), []byte("post"))
	}
}

// pattern returns n bytes that tell their position; more bytes of the same seed
// begin with the same.
func pattern(seed byte, n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(p)
	return p
}

// aHasEvenIDs reports whether bit 0 of the IDs of a's streams is to be 0.
func (e *env) aHasEvenIDs() bool { return e.aIsClient != e.caps.SwappedStreamIDs }
