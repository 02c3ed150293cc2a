package transporttest

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/towpath-go/towpath/transport"
)

var streamCases = append([]testCase{
	{name: "FW-10 bidirectional stream", run: func(e *env) {
		x := e.open(e.a)
		e.write(x, []byte("question"))
		y := e.accept(e.b)
		e.wantBytes(y, []byte("question"))
		e.write(y, []byte("answer"))
		e.wantBytes(x, []byte("answer"))
		e.finish(x)
		e.finish(y)
		e.wantEOF(y)
		e.wantEOF(x)
		for _, st := range []transport.Stream{x, y} {
			if id := st.StreamID(); id != x.StreamID() || id.Uni() || id.ClientInitiated() != e.aHasEvenIDs() {
				e.Fatalf("stream %d, opened as %d, by the client: %v", id, x.StreamID(), e.aIsClient)
			}
		}
	}},
	{name: "FW-10 unidirectional stream", run: func(e *env) {
		x := e.openUni(e.a)
		e.write(x, []byte("post"))
		e.finish(x)
		y := e.acceptUni(e.b)
		e.wantRest(y, []byte("post"))
		if id := y.StreamID(); id != x.StreamID() || !id.Uni() || id.ClientInitiated() != e.aHasEvenIDs() {
			e.Fatalf("stream %d, opened as %d, by the client: %v", id, x.StreamID(), e.aIsClient)
		}
	}},
	{name: "H2-111 stream ids", run: testStreamIDs},
	{name: "FW-18 half-close keeps the other direction", run: func(e *env) {
		x, y := e.pair()
		e.finish(x)
		e.wantEOF(y)
		big := pattern(1, 700*kib)
		sent := async(e, func() error {
			if _, err := y.Write(big); err != nil {
				return err
			}
			return y.Close()
		})
		e.wantRest(x, big)
		e.ok(<-sent, "writing after the peer's half-close")
		e.wantAlive()
	}},
	{name: "FW-18 a stream may be empty", run: func(e *env) {
		u := e.openUni(e.a)
		e.finish(u)
		e.wantEOF(e.acceptUni(e.b))
		x := e.open(e.a)
		e.finish(x)
		y := e.accept(e.b)
		e.wantEOF(y)
		e.finish(y)
		e.wantEOF(x)
		e.wantAlive()
	}},
	{name: "the peer learns of a stream with its first byte", run: func(e *env) {
		x := e.open(e.a)
		accepted := async(e, func() error {
			_, err := e.b.AcceptStream(e.Context())
			return err
		})
		stillWaiting(e, accepted, "nothing was sent on the stream")
		e.write(x, []byte{1})
		e.ok(<-accepted, "AcceptStream")
	}},
	{name: "an empty Write writes nothing", run: func(e *env) {
		x, y := e.uniPair()
		e.write(x, nil)
		e.write(x, []byte{})
		e.write(x, []byte("x"))
		e.finish(x)
		e.wantRest(y, []byte("x"))
	}},
	{name: "H2-127 partial reads", run: func(e *env) {
		x, y := e.uniPair()
		data := pattern(2, 10000)
		e.write(x, data)
		e.finish(x)
		for i := 0; len(data) > 0; i++ {
			n := min(len(data), []int{1, 3, 7, 0, 64, 1000}[i%6])
			e.wantBytes(y, data[:n])
			data = data[n:]
		}
		e.wantEOF(y)
	}},
	{name: "Write keeps no reference to its bytes", run: func(e *env) {
		x, y := e.uniPair()
		p := pattern(3, 20*kib)
		want := slices.Clone(p)
		e.write(x, p)
		clear(p)
		e.finish(x)
		e.wantRest(y, want)
	}},
	{name: "Write after Close", run: func(e *env) {
		x, y := e.pair()
		e.write(x, []byte("last"))
		e.finish(x)
		for range 2 {
			n, err := x.Write([]byte("more"))
			var session *transport.SessionError
			var stream *transport.StreamError
			if n != 0 || !errors.Is(err, net.ErrClosed) || errors.As(err, &session) || errors.As(err, &stream) {
				e.Fatalf("Write after Close = %d, %v; want 0 and net.ErrClosed alone", n, err)
			}
			e.ok(x.Close(), "a further Close")
		}
		e.wantRest(y, []byte("last"))
		e.wantAlive()
	}},
	{name: "Close ends a waiting Write", b: narrow, run: func(e *env) {
		x, y := e.uniPair()
		p := pattern(4, 4<<20)
		n := e.fill(x, p)
		w := asyncWrite(e, x, p[n:])
		stillWaiting(e, w, "the peer has not read")
		e.finish(x)
		r := <-w
		if !errors.Is(r.err, net.ErrClosed) {
			e.Fatalf("the Write returned %d, %v; want net.ErrClosed", r.n, r.err)
		}
		e.wantRest(y, p[:n+r.n])
		e.wantAlive()
	}},
	{name: "H2-154 FW-18 an unread stream holds up nothing else", b: narrow, run: func(e *env) {
		x, y := e.pair()
		p := pattern(5, 4<<20)
		n := e.fill(x, p)
		e.wantAlive()
		rest := asyncWrite(e, x, p[n:])
		e.wantBytes(y, p)
		if r := <-rest; r.err != nil {
			e.Fatalf("Write: %v", r.err)
		}
	}},
}, echoCases()...)

// narrow are limits that a few writes use up.
var narrow = transport.Config{
	InitialStreamWindow: 64 * kib, MaxStreamWindow: 64 * kib,
	InitialSessionWindow: 512 * kib, MaxSessionWindow: 512 * kib,
}

func testStreamIDs(e *env) {
	const n = 5
	want := func(class uint64, i int) transport.StreamID {
		if !e.aHasEvenIDs() {
			class |= 1
		}
		return transport.StreamID(uint64(i)<<2 | class)
	}
	var bidi, uni []transport.StreamID
	for range n {
		x, u := e.open(e.a), e.openUni(e.a)
		bidi, uni = append(bidi, x.StreamID()), append(uni, u.StreamID())
		e.finish(x)
		e.finish(u)
	}
	var gotBidi, gotUni []transport.StreamID
	for range n {
		gotBidi = append(gotBidi, e.accept(e.b).StreamID())
		gotUni = append(gotUni, e.acceptUni(e.b).StreamID())
	}
	if !e.caps.DenseStreamIDs {
		slices.Sort(gotBidi)
		slices.Sort(gotUni)
	}
	if !slices.Equal(bidi, gotBidi) || !slices.Equal(uni, gotUni) {
		e.Fatalf("opened %v and %v, accepted %v and %v", bidi, uni, gotBidi, gotUni)
	}
	for i := range n {
		if i > 0 && (bidi[i] <= bidi[i-1] || uni[i] <= uni[i-1]) {
			e.Fatalf("stream ids do not grow: %v, %v", bidi, uni)
		}
		if bidi[i]&3 != want(0, 0) || uni[i]&3 != want(2, 0) {
			e.Fatalf("stream ids of the wrong class: %v, %v", bidi, uni)
		}
		if e.caps.DenseStreamIDs && (bidi[i] != want(0, i) || uni[i] != want(2, i)) {
			e.Fatalf("stream ids leave gaps: %v, %v", bidi, uni)
		}
	}
}

// echoCases send each size there and back.
func echoCases() (cases []testCase) {
	for _, size := range []int{1, 2, 1023, 16384, 16385, 65536, 1<<20 + 1, 5 << 20} {
		cases = append(cases, testCase{
			name: fmt.Sprintf("FW-18 echo of %d bytes", size),
			run: func(e *env) {
				e.echo(e.b)
				p := pattern(6, size)
				x, u := e.open(e.a), e.openUni(e.a)
				for _, w := range []transport.SendStream{x, u} {
					sent := async(e, func() error {
						if _, err := w.Write(p); err != nil {
							return err
						}
						return w.Close()
					})
					var back transport.ReceiveStream = x
					if w == u {
						back = e.acceptUni(e.a)
					}
					e.wantRest(back, p)
					e.ok(<-sent, "Write")
				}
			},
		})
	}
	return cases
}
