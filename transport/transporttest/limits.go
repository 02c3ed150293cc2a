package transporttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// credit is the data that narrow allows a stream of the other side.
const credit = 64 * kib

var fewStreams = transport.Config{MaxIncomingStreams: 2, MaxIncomingUniStreams: 2}

var limitCases = append([]testCase{
	{name: "H2-140 a stream's window holds the writer", b: narrow, run: func(e *env) {
		x, y := e.uniPair()
		p := pattern(1, 2<<20)
		n := e.fill(x, p)
		if got := e.b.Stats().BytesReceived; got > credit+1 {
			e.Fatalf("%d unread bytes received, the window is %d", got, credit)
		}
		if limit := credit + 1 + transport.DefaultStreamSendBuffer; n > limit { // HTTP/3's own buffer is smaller
			e.Fatalf("Write took %d bytes, window and send buffer are %d", n, limit)
		}
		if n < credit/2 {
			e.Fatalf("Write took only %d bytes of a window of %d", n, credit)
		}
		rest := asyncWrite(e, x, p[n:])
		stillWaiting(e, rest, "the peer has not read")
		e.wantBytes(y, p)
		if r := <-rest; r.err != nil {
			e.Fatalf("Write: %v", r.err)
		}
	}},
	{name: "H2-140 the session's window holds all writers",
		b: transport.Config{InitialSessionWindow: credit, MaxSessionWindow: credit}, skip: needsLimits,
		run: func(e *env) {
			var in []transport.ReceiveStream
			var out []transport.SendStream
			for range 3 {
				x, y := e.uniPair()
				out, in = append(out, x), append(in, y)
			}
			p := pattern(2, 2<<20)
			var took [3]int
			for i, x := range out {
				took[i] = e.fill(x, p)
			}
			if n, limit := took[0]+took[1]+took[2], credit+3+3*transport.DefaultStreamSendBuffer; n > limit {
				e.Fatalf("three Writes took %d bytes, window and send buffers are %d", n, limit)
			}
			if got := e.b.Stats().BytesReceived; got > credit+3 {
				e.Fatalf("%d unread bytes received, the session's window is %d", got, credit)
			}
			var written [3]<-chan result
			for i, x := range out {
				written[i] = asyncWrite(e, x, p[took[i]:])
			}
			stillWaiting(e, written[0], "the peer has not read")
			var read [3]<-chan content
			for i, y := range in {
				read[i] = async(e, func() content {
					got := make([]byte, len(p))
					_, err := io.ReadFull(y, got)
					return content{got, err}
				})
			}
			for i := range out {
				e.wantContent(<-read[i], p)
				if r := <-written[i]; r.err != nil {
					e.Fatalf("Write: %v", r.err)
				}
			}
		}},
	{name: "H2-126 H2-153 an unread stream holds the session's credit until it is read or cancelled",
		b: transport.Config{InitialSessionWindow: credit, MaxSessionWindow: credit}, skip: needsLimits,
		run: func(e *env) {
			p, q := pattern(4, 2<<20), pattern(5, 1<<20)
			for _, cancel := range []bool{true, false} {
				x, y := e.uniPair()
				z, w := e.uniPair()
				n := e.fill(x, p)
				written := asyncWrite(e, z, q)
				read := async(e, func() content {
					got := make([]byte, len(q))
					_, err := io.ReadFull(w, got)
					return content{got, err}
				})
				stillWaiting(e, written, "an unread stream holds the session's window")
				if cancel {
					y.CancelRead(1)
				} else {
					e.wantBytes(y, p[:n])
				}
				e.wantContent(<-read, q)
				if r := <-written; r.err != nil {
					e.Fatalf("Write: %v", r.err)
				}
			}
		}},
	{name: "H2-126 H2-153 discarded data returns the session's credit",
		b: transport.Config{InitialSessionWindow: credit, MaxSessionWindow: credit},
		run: func(e *env) {
			p := pattern(3, credit/2)
			for i := range 60 { // 30 times the window
				x, y := e.uniPair()
				e.write(x, p)
				switch i % 3 {
				case 0: // the receiver discards
					y.CancelRead(1)
				case 1: // the sender discards
					x.CancelWrite(2)
					e.wantStreamError(readError(y).err, x.StreamID(), 2, true, "Read")
				case 2: // the receiver discards after the end
					e.finish(x)
					y.CancelRead(3)
				}
			}
			e.wantAlive()
		}},
	{name: "no streams are allowed where the limit is negative",
		b: transport.Config{MaxIncomingStreams: -1, MaxIncomingUniStreams: -1}, skip: needsLimits,
		run: func(e *env) {
			if _, err := e.a.OpenStream(ended()); !errors.Is(err, transport.ErrStreamLimit) {
				e.Fatalf("OpenStream: %v, want ErrStreamLimit", err)
			}
			if _, err := e.a.OpenUniStream(ended()); !errors.Is(err, transport.ErrStreamLimit) {
				e.Fatalf("OpenUniStream: %v, want ErrStreamLimit", err)
			}
			x := e.open(e.b) // the other side has its default
			e.write(x, []byte("x"))
			e.wantBytes(e.accept(e.a), []byte("x"))
		}},
	{name: "the limits of the kinds are separate", b: fewStreams, skip: needsLimits, run: func(e *env) {
		for range 2 {
			e.open(e.a)
		}
		for range 2 {
			e.openUni(e.a)
		}
		if _, err := e.a.OpenStream(ended()); !errors.Is(err, transport.ErrStreamLimit) {
			e.Fatalf("third bidirectional stream: %v", err)
		}
		if _, err := e.a.OpenUniStream(ended()); !errors.Is(err, transport.ErrStreamLimit) {
			e.Fatalf("third unidirectional stream: %v", err)
		}
	}},
	{name: "a context that ends bounds its call alone", run: func(e *env) {
		calls := map[string]func(context.Context) error{
			"AcceptStream":    func(ctx context.Context) error { _, err := e.b.AcceptStream(ctx); return err },
			"AcceptUniStream": func(ctx context.Context) error { _, err := e.b.AcceptUniStream(ctx); return err },
			"ReceiveDatagram": func(ctx context.Context) error { _, err := e.b.ReceiveDatagram(ctx); return err },
		}
		for name, call := range calls {
			if err := call(ended()); !errors.Is(err, context.Canceled) {
				e.Fatalf("%s with an ended context: %v, want context.Canceled", name, err)
			}
			ctx, cancel := context.WithTimeout(e.Context(), short)
			err := call(ctx)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				e.Fatalf("%s: %v, want context.DeadlineExceeded", name, err)
			}
			ctx, cancel = context.WithCancel(e.Context())
			waiting := async(e, func() error { return call(ctx) })
			stillWaiting(e, waiting, "nothing was sent")
			cancel()
			if err := <-waiting; !errors.Is(err, context.Canceled) {
				e.Fatalf("%s: %v, want context.Canceled", name, err)
			}
		}
		e.wantAlive()
		e.wantDatagram(e.a, e.b, []byte("still"))
	}},
	{name: "what need not wait succeeds with an ended context", run: func(e *env) {
		x, err := e.a.OpenStream(ended())
		e.ok(err, "OpenStream")
		u, err := e.a.OpenUniStream(ended())
		e.ok(err, "OpenUniStream")
		e.write(x, []byte("x"))
		e.write(u, []byte("u"))
		e.eventually("a stream and a unidirectional stream are accepted", func() bool {
			y, err := e.b.AcceptStream(ended())
			if err == nil {
				e.wantBytes(y, []byte("x"))
			}
			return err == nil
		})
		e.eventually("a unidirectional stream is accepted", func() bool {
			v, err := e.b.AcceptUniStream(ended())
			if err == nil {
				e.wantBytes(v, []byte("u"))
			}
			return err == nil
		})
		e.eventually("a datagram is received", func() bool {
			e.ok(e.a.SendDatagram([]byte("d")), "SendDatagram")
			_, err := e.b.ReceiveDatagram(ended())
			return err == nil
		})
	}},
}, streamLimitCases()...)

// A streamKind opens and accepts streams of one kind by their common methods.
type streamKind struct {
	name   string
	open   func(transport.Session, context.Context) (transport.SendStream, error)
	accept func(transport.Session, context.Context) (transport.ReceiveStream, error)
}

var streamKinds = []streamKind{
	{"bidirectional",
		func(s transport.Session, ctx context.Context) (transport.SendStream, error) { return s.OpenStream(ctx) },
		func(s transport.Session, ctx context.Context) (transport.ReceiveStream, error) {
			return s.AcceptStream(ctx)
		}},
	{"unidirectional",
		func(s transport.Session, ctx context.Context) (transport.SendStream, error) {
			return s.OpenUniStream(ctx)
		},
		func(s transport.Session, ctx context.Context) (transport.ReceiveStream, error) {
			return s.AcceptUniStream(ctx)
		}},
}

// streamEnds are the ways in which a stream ends; each returns its credit. w is
// the opener's end, r the other one's.
var streamEnds = []struct {
	name string
	end  func(e *env, w transport.SendStream, r transport.ReceiveStream)
}{
	{"finished", func(e *env, w transport.SendStream, r transport.ReceiveStream) {
		e.finish(w)
		e.wantEOF(r)
		if y, ok := bothWays(r); ok {
			e.finish(y)
			e.wantEOF(w.(transport.Stream))
		}
	}},
	{"aborted by the opener", func(e *env, w transport.SendStream, r transport.ReceiveStream) {
		w.CancelWrite(1)
		if x, ok := bothWays(w); ok {
			x.CancelRead(1)
			writeError(r.(transport.Stream))
		}
		readError(r)
	}},
	{"aborted by the acceptor", func(e *env, w transport.SendStream, r transport.ReceiveStream) {
		r.CancelRead(1)
		if y, ok := bothWays(r); ok {
			y.CancelWrite(1)
			readError(w.(transport.Stream))
		}
		writeError(w)
	}},
	{"finished and never read", func(e *env, w transport.SendStream, r transport.ReceiveStream) {
		e.write(w, []byte("unread"))
		e.finish(w)
		r.CancelRead(1)
		if y, ok := bothWays(r); ok {
			e.write(y, []byte("unread"))
			e.finish(y)
			w.(transport.Stream).CancelRead(1)
		}
	}},
}

// bothWays returns the whole stream of one of its directions, if there is a
// whole. The id tells, not the type: one type may serve streams of all kinds.
func bothWays(direction interface{ StreamID() transport.StreamID }) (transport.Stream, bool) {
	if direction.StreamID().Uni() {
		return nil, false
	}
	return direction.(transport.Stream), true
}

func needsLimits(caps Caps) string {
	if !caps.FixedLimits {
		return ""
	}
	return "Caps.FixedLimits is set: limits this low cannot be announced"
}

func streamLimitCases() (cases []testCase) {
	for _, kind := range streamKinds {
		cases = append(cases, testCase{
			name: fmt.Sprintf("FW-21 H3-049 the limit of %s streams holds the opener", kind.name), b: fewStreams, skip: needsLimits,
			run: func(e *env) { testStreamLimit(e, kind) },
		})
		for _, how := range streamEnds {
			cases = append(cases, testCase{
				name: fmt.Sprintf("H2-152 H3-056 a %s stream %s returns its credit", kind.name, how.name), b: fewStreams,
				run: func(e *env) {
					for i := range 20 { // ten times the limit
						w, err := kind.open(e.a, e.Context())
						e.ok(err, fmt.Sprintf("opening stream %d", i))
						e.write(w, []byte("x"))
						r, err := kind.accept(e.b, e.Context())
						e.ok(err, fmt.Sprintf("accepting stream %d", i))
						e.wantBytes(r, []byte("x"))
						how.end(e, w, r)
					}
					e.wantAlive()
				},
			})
		}
	}
	return cases
}

func testStreamLimit(e *env, kind streamKind) {
	var first transport.SendStream
	for i := range 2 {
		w, err := kind.open(e.a, ended()) // with credit it does not wait
		e.ok(err, "opening within the limit")
		e.write(w, []byte("x"))
		if i == 0 {
			first = w
		}
	}
	for range 2 {
		if _, err := kind.open(e.a, ended()); !errors.Is(err, transport.ErrStreamLimit) {
			e.Fatalf("opening beyond the limit with an ended context: %v, want ErrStreamLimit", err)
		}
	}
	start := time.Now()
	ctx, cancel := context.WithTimeout(e.Context(), short)
	defer cancel()
	_, err := kind.open(e.a, ctx)
	late := !e.caps.Bubble && errors.Is(err, transport.ErrStreamLimit) // the context ended before the call
	if !errors.Is(err, context.DeadlineExceeded) && !late {
		e.Fatalf("opening beyond the limit: %v, want the context's error", err)
	}
	e.wantAfter(start, short, "opening")

	type opened struct {
		w   transport.SendStream
		err error
	}
	third := async(e, func() opened {
		w, err := kind.open(e.a, e.Context())
		return opened{w, err}
	})
	stillWaiting(e, third, "the limit is reached")
	r, err := kind.accept(e.b, e.Context())
	e.ok(err, "accepting")
	for r.StreamID() != first.StreamID() {
		r, err = kind.accept(e.b, e.Context())
		e.ok(err, "accepting")
	}
	e.wantBytes(r, []byte("x"))
	streamEnds[0].end(e, first, r)
	got := <-third
	e.ok(got.err, "opening when a stream has ended")
	e.write(got.w, []byte("y"))
	for r.StreamID() != got.w.StreamID() {
		r, err = kind.accept(e.b, e.Context())
		e.ok(err, "accepting")
	}
	e.wantBytes(r, []byte("y"))
	if _, err := kind.open(e.a, ended()); !errors.Is(err, transport.ErrStreamLimit) {
		e.Fatalf("one ended stream allowed more than one: %v", err)
	}
}
