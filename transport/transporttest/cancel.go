package transporttest

import (
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/towpath-go/towpath/transport"
)

var cancelCases = append([]testCase{
	{name: "CancelWrite ends a waiting Write", b: narrow, run: func(e *env) {
		x, y := e.uniPair()
		p := pattern(1, 4<<20)
		n := e.fill(x, p)
		w := asyncWrite(e, x, p[n:])
		stillWaiting(e, w, "the peer has not read")
		x.CancelWrite(3)
		e.wantStreamError((<-w).err, x.StreamID(), 3, false, "the Write")
		e.wantStreamError(readError(y).err, y.StreamID(), 3, true, "the peer's Read")
		e.wantAlive()
	}},
	{name: "CancelRead ends a waiting Read", run: func(e *env) {
		x, y := e.pair()
		r := asyncRead(e, x, 1)
		stillWaiting(e, r, "nothing was written")
		x.CancelRead(4)
		e.wantStreamError((<-r).err, x.StreamID(), 4, false, "the Read")
		e.wantStreamError(writeError(y).err, y.StreamID(), 4, true, "the peer's Write")
		e.wantAlive()
	}},
	{name: "FW-20 H2-121 the peer's CancelRead ends a waiting Write", b: narrow, run: func(e *env) {
		x, y := e.uniPair()
		p := pattern(2, 4<<20)
		n := e.fill(x, p)
		w := asyncWrite(e, x, p[n:])
		stillWaiting(e, w, "the peer has not read")
		y.CancelRead(5)
		e.wantStreamError((<-w).err, x.StreamID(), 5, true, "the Write")
		e.wantAlive()
	}},
	{name: "FW-20 the peer's CancelWrite ends a waiting Read", run: func(e *env) {
		x, y := e.pair()
		r := asyncRead(e, y, 1)
		stillWaiting(e, r, "nothing was written")
		x.CancelWrite(6)
		e.wantStreamError((<-r).err, y.StreamID(), 6, true, "the Read")
		e.wantAlive()
	}},
	{name: "a reset discards unread data", run: func(e *env) {
		x, y := e.uniPair()
		e.write(x, pattern(3, 10*kib))
		e.settle()
		x.CancelWrite(7)
		e.settle()
		r := readError(y)
		e.wantStreamError(r.err, y.StreamID(), 7, true, "Read")
		if e.caps.Bubble && r.n > 0 { // in real time the reset may be on its way still
			e.Fatalf("read %d bytes after the reset had arrived", r.n)
		}
	}},
	{name: "CancelRead discards what arrived", run: func(e *env) {
		x, y := e.uniPair()
		e.write(x, pattern(3, 10*kib))
		e.settle()
		y.CancelRead(7)
		n, err := y.Read(make([]byte, 100))
		if n != 0 {
			e.Fatalf("read %d bytes after CancelRead", n)
		}
		e.wantStreamError(err, y.StreamID(), 7, false, "Read")
	}},
	{name: "FW-18 the directions are aborted independently", run: func(e *env) {
		x, y := e.pair()
		x.CancelWrite(8)
		e.wantStreamError(readError(y).err, y.StreamID(), 8, true, "Read")
		e.write(y, []byte("still"))
		e.wantBytes(x, []byte("still"))
		e.finish(y)
		e.wantEOF(x)

		x, y = e.pair()
		x.CancelRead(9)
		e.wantStreamError(writeError(y).err, y.StreamID(), 9, true, "Write")
		e.write(x, []byte("still"))
		e.wantBytes(y, []byte("still"))
		e.finish(x)
		e.wantEOF(y)
		e.wantAlive()
	}},
	{name: "both directions aborted by one side", run: func(e *env) {
		x, y := e.pair()
		x.CancelRead(10)
		x.CancelWrite(11)
		e.wantStreamError(readError(y).err, y.StreamID(), 11, true, "Read")
		e.wantStreamError(writeError(y).err, y.StreamID(), 10, true, "Write")
		e.wantAlive()
	}},
	{name: "both sides abort the same direction", run: func(e *env) {
		x, y := e.uniPair()
		x.CancelWrite(12)
		y.CancelRead(13)
		e.wantStreamError(writeError(x).err, x.StreamID(), 12, false, "Write")
		// The reset may have been there before CancelRead, or not.
		if err := readError(y).err; !errors.As(err, new(*transport.StreamError)) {
			e.Fatalf("Read: %v", err)
		}
		e.wantAlive()
	}},
	{name: "the first abort counts", run: func(e *env) {
		x, y := e.pair()
		x.CancelWrite(14)
		x.CancelWrite(15)
		x.CancelRead(16)
		x.CancelRead(17)
		e.ok(x.Close(), "Close after CancelWrite")
		e.wantStreamError(writeError(x).err, x.StreamID(), 14, false, "own Write")
		e.wantStreamError(readError(x).err, x.StreamID(), 16, false, "own Read")
		e.wantStreamError(readError(y).err, y.StreamID(), 14, true, "the peer's Read")
		e.wantStreamError(writeError(y).err, y.StreamID(), 16, true, "the peer's Write")
		e.wantAlive()
	}},
	{name: "CancelRead after the end does nothing", run: func(e *env) {
		x, y := e.pair()
		e.write(x, []byte("all"))
		e.finish(x)
		e.wantRest(y, []byte("all"))
		y.CancelRead(18)
		e.wantEOF(y)
		e.write(y, []byte("reply"))
		e.finish(y)
		e.wantRest(x, []byte("reply"))
		e.wantAlive()
	}},
	{name: "CancelWrite after a delivered end does nothing", run: func(e *env) {
		x, y := e.pair()
		e.write(x, []byte("all"))
		e.finish(x)
		e.wantRest(y, []byte("all"))
		x.CancelWrite(19)
		e.settle()
		e.wantEOF(y)
		if _, err := x.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			e.Fatalf("Write: %v, want net.ErrClosed", err)
		}
		e.wantAlive()
	}},
	{name: "CancelWrite after Close drops what is unsent", b: narrow, skip: needsSendBuffer, run: func(e *env) {
		x, y := e.uniPair()
		e.fill(x, pattern(4, 4<<20))
		e.finish(x)
		x.CancelWrite(20)
		e.wantStreamError(readError(y).err, y.StreamID(), 20, true, "the peer's Read")
		e.wantAlive()
	}},
	{name: "H2-122 CancelRead when the peer has finished", run: func(e *env) {
		x, y := e.pair()
		e.write(y, []byte("all"))
		e.finish(y)
		e.settle()
		x.CancelRead(21)
		e.wantStreamError(readError(x).err, x.StreamID(), 21, false, "Read")
		e.write(x, []byte("go on"))
		e.finish(x)
		e.wantRest(y, []byte("go on"))
		e.wantAlive()
	}},
	{name: "H2-129 H3-029 a stream aborted before it was used", run: func(e *env) {
		x, u := e.open(e.a), e.openUni(e.a)
		x.CancelWrite(22)
		u.CancelWrite(23)
		y, v := e.accept(e.b), e.acceptUni(e.b)
		e.wantStreamError(readError(y).err, x.StreamID(), 22, true, "Read")
		e.wantStreamError(readError(v).err, u.StreamID(), 23, true, "Read")
		e.write(y, []byte("still"))
		e.finish(y)
		e.wantRest(x, []byte("still"))
		e.wantAlive()
	}},
	{name: "CancelRead before the first Write", run: func(e *env) {
		x := e.open(e.a)
		x.CancelRead(24)
		e.write(x, []byte("one way"))
		e.finish(x)
		y := e.accept(e.b)
		e.wantRest(y, []byte("one way"))
		e.wantStreamError(writeError(y).err, x.StreamID(), 24, true, "Write")
		e.wantAlive()
	}},
}, codeCases()...)

func needsSendBuffer(caps Caps) string {
	if caps.SendBuffer {
		return ""
	}
	return "Caps.SendBuffer is not set: what Write accepts and the transport has not taken is not known"
}

// codeCases show that the ends of the range of codes arrive as they are.
func codeCases() (cases []testCase) {
	for _, code := range []transport.StreamErrorCode{0, 1, 0xffffffff} {
		cases = append(cases,
			testCase{name: fmt.Sprintf("FW-18 FW-20 FW-22 H2-128 H3-030 CancelWrite %d", code), run: func(e *env) {
				x, y := e.pair()
				u, v := e.uniPair()
				for _, s := range []struct {
					w transport.SendStream
					r transport.ReceiveStream
				}{{x, y}, {u, v}} {
					e.write(s.w, []byte("doomed"))
					s.w.CancelWrite(code)
					here := e.wantStreamError(writeError(s.w).err, s.w.StreamID(), code, false, "Write")
					there := e.wantStreamError(readError(s.r).err, s.w.StreamID(), code, true, "the peer's Read")
					e.wantSameError(here, func() error { return writeError(s.w).err })
					e.wantSameError(there, func() error { return readError(s.r).err })
				}
				e.wantAlive()
			}},
			testCase{name: fmt.Sprintf("FW-18 FW-19 FW-20 FW-22 H2-128 H3-030 CancelRead %d", code), run: func(e *env) {
				x, y := e.pair()
				u, v := e.uniPair()
				for _, s := range []struct {
					w transport.SendStream
					r transport.ReceiveStream
				}{{x, y}, {u, v}} {
					s.r.CancelRead(code)
					here := e.wantStreamError(readError(s.r).err, s.w.StreamID(), code, false, "Read")
					there := e.wantStreamError(writeError(s.w).err, s.w.StreamID(), code, true, "the peer's Write")
					e.wantSameError(here, func() error { return readError(s.r).err })
					e.wantSameError(there, func() error { return writeError(s.w).err })
				}
				e.wantAlive()
			}})
	}
	return cases
}

// wantSameError expects later calls to return the very error of the first.
func (e *env) wantSameError(first error, call func() error) {
	e.Helper()
	for range 2 {
		err := call()
		if err == io.EOF {
			e.Fatal("an abort became a clean end")
		}
		if !errors.Is(err, first) {
			e.Fatalf("a later call returned %v (%T), want the same %v", err, err, first)
		}
	}
}
