package transporttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/towpath-go/towpath/transport"
)

var closingCases = append([]testCase{
	{name: "FW-12 FW-15 H2-181 after the end every call returns the session's error", run: func(e *env) {
		x, y := e.pair()
		u, v := e.uniPair()
		e.ok(e.a.CloseWithError(5, "over"), "CloseWithError")
		here := e.wantEnd(e.a, 5, "over", false)
		there := e.wantEnd(e.b, 5, "over", true)
		e.wantDead(e.a, here)
		e.wantDead(e.b, there)
		for range 2 {
			e.wantEndError(here, "Read", call(x.Read))
			e.wantEndError(here, "Write", call(x.Write))
			e.wantEndError(here, "Write", call(u.Write))
			e.wantEndError(here, "Close", u.Close())
			e.wantEndError(there, "Read", call(y.Read))
			e.wantEndError(there, "Read", call(v.Read))
			e.wantEndError(there, "Write", call(y.Write))
			e.wantEndError(there, "Close", y.Close())
		}
		x.CancelRead(1) // no panic, no effect
		x.CancelWrite(1)
		y.CancelRead(1)
		y.CancelWrite(1)
		x.SetPriority(transport.Priority{Order: 1})
	}},
	{name: "only the first close counts", run: func(e *env) {
		e.ok(e.a.CloseWithError(6, "first"), "CloseWithError")
		e.ok(e.a.CloseWithError(7, "second"), "a further CloseWithError")
		e.wantEnd(e.a, 6, "first", false)
		e.wantEnd(e.b, 6, "first", true)
		e.b.CloseWithError(8, "too late")
		e.wantEnd(e.b, 6, "first", true)
	}},
	{name: "H2-181 the end wakes every waiting call", b: wakeLimits, skip: needsLimits, run: func(e *env) {
		// Each side waits in every call that can wait.
		waitingAt := func(s transport.Session, x transport.Stream) map[string]<-chan error {
			ctx := context.Background()
			return map[string]<-chan error{
				"AcceptStream":    async(e, func() error { _, err := s.AcceptStream(ctx); return err }),
				"AcceptUniStream": async(e, func() error { _, err := s.AcceptUniStream(ctx); return err }),
				"ReceiveDatagram": async(e, func() error { _, err := s.ReceiveDatagram(ctx); return err }),
				"Read":            async(e, func() error { return call(x.Read) }),
			}
		}
		x, _ := e.pair()
		_, z := e.pair()
		big := pattern(1, 4<<20)
		n := e.fill(x, big)
		atA, atB := waitingAt(e.a, x), waitingAt(e.b, z)
		atA["Write"] = async(e, func() error { _, err := x.Write(big[n:]); return err })
		atA["OpenStream"] = async(e, func() error { _, err := e.a.OpenStream(context.Background()); return err })
		for name, c := range atA {
			stillWaiting(e, c, name+" has nothing to return")
		}
		for name, c := range atB {
			stillWaiting(e, c, name+" has nothing to return")
		}
		e.ok(e.a.CloseWithError(9, "wake"), "CloseWithError")
		here, there := e.wantEnd(e.a, 9, "wake", false), e.wantEnd(e.b, 9, "wake", true)
		for name, c := range atA {
			e.wantEndError(here, name, <-c)
		}
		for name, c := range atB {
			e.wantEndError(there, name, <-c)
		}
	}},
	{name: "FW-20 CloseWithError delivers finished streams", a: transport.Config{CloseTimeout: time.Minute}, b: narrow, run: func(e *env) {
		x, y := e.uniPair()
		p := pattern(2, 1<<20)
		read := asyncReadAll(e, y)
		e.write(x, p)
		e.finish(x)
		e.ok(e.a.CloseWithError(10, "done"), "CloseWithError")
		e.wantContent(<-read, p)
		e.wantEnd(e.b, 10, "done", true)
	}},
	{name: "FW-20 CloseWithError waits for credit", a: transport.Config{CloseTimeout: time.Minute}, b: narrow, skip: needsSendBuffer, run: func(e *env) {
		x, y := e.uniPair()
		p := pattern(2, credit+40*kib) // the rest fits the send buffer
		e.write(x, p)
		e.finish(x)
		closing := async(e, func() error { return e.a.CloseWithError(10, "done") })
		stillWaiting(e, closing, "the peer has not read")
		e.wantRest(y, p)
		e.ok(<-closing, "CloseWithError")
		e.wantEnd(e.b, 10, "done", true)
	}},
	{name: "H2-181 a finished stream stays readable after the end", run: func(e *env) {
		var in []transport.ReceiveStream
		p := pattern(3, 50*kib)
		for range 3 {
			x, y := e.uniPair()
			e.write(x, p)
			e.finish(x)
			in = append(in, y)
		}
		x, y := e.pair()
		e.write(x, p)
		e.finish(x)
		e.ok(e.a.CloseWithError(11, "read on"), "CloseWithError")
		there := e.wantEnd(e.b, 11, "read on", true)
		for _, y := range in {
			e.wantRest(y, p)
		}
		e.wantRest(y, p)
		e.wantEndError(there, "Write", call(y.Write))
	}},
	{name: "H2-181 an unfinished stream is not ended cleanly by the end", run: func(e *env) {
		x, y := e.pair()
		u, v := e.uniPair()
		e.write(x, pattern(4, 10*kib))
		e.write(u, pattern(4, 10*kib))
		e.ok(e.a.CloseWithError(12, "cut"), "CloseWithError")
		there := e.wantEnd(e.b, 12, "cut", true)
		e.wantEndError(there, "Read", readError(y).err)
		e.wantEndError(there, "Read", readError(v).err)
	}},
	{name: "the close arrives past streams that nobody reads", b: narrow, run: func(e *env) {
		for range 3 {
			x, _ := e.uniPair()
			e.fill(x, pattern(5, 4<<20))
		}
		e.ok(e.a.CloseWithError(13, "past"), "CloseWithError")
		e.wantEnd(e.b, 13, "past", true)
	}},
	{name: "what could not be sent is reported", a: transport.Config{CloseTimeout: 300 * time.Millisecond}, b: narrow, run: func(e *env) {
		x, _ := e.uniPair()
		n := uint64(e.fill(x, pattern(6, 4<<20))) + 1 // one byte opened the stream
		e.finish(x)
		start := time.Now()
		err := e.a.CloseWithError(14, "short")
		unsent, ok := errors.AsType[*transport.UnsentError](err)
		if err != nil && !ok {
			e.Fatalf("CloseWithError: %v", err)
		}
		if sent := e.a.Stats().BytesSent; e.caps.SendBuffer && (!ok || unsent.Bytes == 0 || unsent.Bytes != n-sent) {
			e.Fatalf("CloseWithError: %v; %d bytes were accepted and %d sent", err, n, sent)
		}
		// The flush and the peer's answer are waited for, each within the bound.
		if d := time.Since(start); e.caps.Bubble && d > 600*time.Millisecond {
			e.Fatalf("CloseWithError took %v with a CloseTimeout of 300ms", d)
		}
		e.wantEnd(e.b, 14, "short", true)
	}},
	{name: "both sides close at once", both: true, run: func(e *env) {
		a := async(e, func() error { return e.a.CloseWithError(15, "from a") })
		b := async(e, func() error { return e.b.CloseWithError(16, "from b") })
		<-a
		<-b
		for _, s := range []struct {
			transport.Session
			own, other transport.SessionErrorCode
		}{{e.a, 15, 16}, {e.b, 16, 15}} {
			<-s.Context().Done()
			got, ok := errors.AsType[*transport.SessionError](context.Cause(s.Context()))
			if !ok || got.Err != nil || got.Code != s.own && got.Code != s.other || got.Remote != (got.Code == s.other) {
				e.Fatalf("ended with %+v", got)
			}
			e.wantDead(s.Session, got)
		}
	}},
	{name: "Info and Stats answer after the end", run: func(e *env) {
		x, y := e.pair()
		e.write(x, []byte("counted"))
		e.wantBytes(y, []byte("counted"))
		before := e.b.Info()
		e.ok(e.a.CloseWithError(0, ""), "CloseWithError")
		e.wantEnd(e.b, 0, "", true)
		after := e.b.Info()
		if after.Protocol != before.Protocol || after.ID != before.ID || after.RemoteAddr.String() != before.RemoteAddr.String() {
			e.Errorf("Info was %+v and is %+v", before, after)
		}
		if st := e.b.Stats(); st.BytesRead != 8 || st.StreamsAccepted != 1 {
			e.Errorf("Stats are %+v", st)
		}
	}},
	{name: "Trace.Closed is called once", both: true, run: func(e *env) {
		var calls [2]atomic.Int32
		var errs [2]atomic.Pointer[transport.SessionError]
		var configs [2]transport.Config
		for i := range configs {
			configs[i].Trace = &transport.Trace{Closed: func(err *transport.SessionError) {
				errs[i].Store(err)
				calls[i].Add(1) // last, since the test waits for it
			}}
		}
		c, s, stop := e.mk(e.TB, &configs[0], &configs[1])
		e.ok(c.CloseWithError(17, "traced"), "CloseWithError")
		for i, session := range []transport.Session{c, s} {
			want := e.wantEnd(session, 17, "traced", i == 1)
			e.eventually("Trace.Closed is called", func() bool { return calls[i].Load() > 0 })
			if errs[i].Load() != want {
				e.Errorf("Trace.Closed got %v, the session ended with %v", errs[i].Load(), want)
			}
		}
		stop()
		for i := range calls {
			if n := calls[i].Load(); n != 1 {
				e.Errorf("Trace.Closed was called %d times", n)
			}
		}
	}},
	{name: "FW-04 sessions are independent", both: true, run: func(e *env) {
		c, s, stop := e.mk(e.TB, nil, nil)
		defer stop()
		e.ok(c.CloseWithError(18, "one of two"), "CloseWithError")
		e.wantEnd(s, 18, "one of two", true)
		e.wantAlive()
	}},
	{name: "FW-13 H2-173 H3-040 drain tells the peer and ends nothing", run: func(e *env) {
		select {
		case <-e.b.Draining():
			e.Fatal("draining from the start")
		default:
		}
		x, y := e.pair()
		e.ok(e.a.Drain(), "Drain")
		<-e.b.Draining()
		e.ok(e.a.Drain(), "a further Drain")
		e.settle()
		select {
		case <-e.a.Draining():
			e.Fatal("the side that drains was told to drain")
		default:
		}
		e.write(x, []byte("running on"))
		e.wantBytes(y, []byte("running on"))
		e.wantAlive()
		e.wantDatagram(e.a, e.b, []byte("running on"))
		e.wantDatagram(e.b, e.a, []byte("running on"))
		e.ok(e.b.Drain(), "the peer's Drain")
		<-e.a.Draining()
		e.wantAlive()
		e.ok(e.a.CloseWithError(19, "drained"), "CloseWithError")
		e.wantEnd(e.b, 19, "drained", true)
	}},
}, reasonCases()...)

// wakeLimits let one stream of each kind wait for everything.
var wakeLimits = transport.Config{
	InitialStreamWindow: 64 * kib, MaxStreamWindow: 64 * kib,
	MaxIncomingStreams: 2, MaxIncomingUniStreams: 2,
}

// call makes Read and Write calls with one byte.
func call(f func([]byte) (int, error)) error {
	_, err := f(make([]byte, 1))
	return err
}

func reasonCases() (cases []testCase) {
	for _, c := range []struct {
		what, reason, want string
		code               transport.SessionErrorCode
	}{
		{"no reason", "", "", 0},
		{"code 1", "bye", "bye", 1},
		{"the largest code", "größe ☃ 終わり 🚢", "größe ☃ 終わり 🚢", 0xffffffff},
		{"control characters", "a\x00b\r\nc", "a\x00b\r\nc", 2},
		{"1024 bytes", strings.Repeat("a", 1024), strings.Repeat("a", 1024), 3},
		{"1025 bytes", strings.Repeat("a", 1025), strings.Repeat("a", 1024), 4},
		{"a rune that ends at 1024", strings.Repeat("a", 1022) + "éx", strings.Repeat("a", 1022) + "é", 5},
		{"a rune across 1024", strings.Repeat("a", 1023) + "€", strings.Repeat("a", 1023), 6},
		{"a long rune across 1024", strings.Repeat("a", 1021) + "🚢", strings.Repeat("a", 1021), 7},
		{"100000 bytes", strings.Repeat("b", 100000), strings.Repeat("b", 1024), 8},
	} {
		cases = append(cases, testCase{
			name: fmt.Sprintf("FW-11 FW-15 H2-176 H2-177 H3-061 close with %s", c.what),
			run: func(e *env) {
				e.ok(e.a.CloseWithError(c.code, c.reason), "CloseWithError")
				e.wantEnd(e.b, c.code, c.want, true)
				if here, ok := errors.AsType[*transport.SessionError](context.Cause(e.a.Context())); !ok || here.Code != c.code || here.Remote || here.Err != nil {
					e.Fatalf("the closing side ended with %+v", here)
				}
			},
		})
	}
	return append(cases, testCase{
		name: "FW-11 a reason that is not UTF-8 is still an orderly close",
		run: func(e *env) {
			e.ok(e.a.CloseWithError(20, "bad \xff\xfe bytes"), "CloseWithError")
			<-e.b.Context().Done()
			got, ok := errors.AsType[*transport.SessionError](context.Cause(e.b.Context()))
			if !ok || got.Code != 20 || !got.Remote || got.Err != nil || !utf8.ValidString(got.Reason) {
				e.Fatalf("the peer ended with %+v", got)
			}
		},
	})
}

// wantEnd waits for the session's end and expects how it ended.
func (e *env) wantEnd(s transport.Session, code transport.SessionErrorCode, reason string, remote bool) *transport.SessionError {
	e.Helper()
	<-s.Context().Done()
	cause := context.Cause(s.Context())
	got, ok := errors.AsType[*transport.SessionError](cause)
	if !ok {
		e.Fatalf("the session ended with %v (%T), want *transport.SessionError", cause, cause)
	}
	if want := (transport.SessionError{Code: code, Reason: reason, Remote: remote}); *got != want {
		e.Fatalf("the session ended with %+v, want %+v", *got, want)
	}
	return got
}

// wantEndError expects err to be the session's own error, the same value.
func (e *env) wantEndError(want *transport.SessionError, what string, err error) {
	e.Helper()
	got, ok := errors.AsType[*transport.SessionError](err)
	if !ok || got != want {
		e.Fatalf("%s: %v (%T), want the error that ended the session", what, err, err)
	}
	if !errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
		e.Fatalf("%s: %v matches io.EOF or does not match net.ErrClosed", what, err)
	}
}

// wantDead expects every method of an ended session to return its error.
func (e *env) wantDead(s transport.Session, want *transport.SessionError) {
	e.Helper()
	for _, ctx := range []context.Context{e.Context(), ended()} {
		_, err := s.OpenStream(ctx)
		e.wantEndError(want, "OpenStream", err)
		_, err = s.OpenUniStream(ctx)
		e.wantEndError(want, "OpenUniStream", err)
		_, err = s.AcceptStream(ctx)
		e.wantEndError(want, "AcceptStream", err)
		_, err = s.AcceptUniStream(ctx)
		e.wantEndError(want, "AcceptUniStream", err)
		_, err = s.ReceiveDatagram(ctx)
		e.wantEndError(want, "ReceiveDatagram", err)
	}
	e.wantEndError(want, "SendDatagram", s.SendDatagram([]byte("x")))
	e.wantEndError(want, "Drain", s.Drain())
	_, err := s.ExportKeyingMaterial("label", nil, 32)
	e.wantEndError(want, "ExportKeyingMaterial", err)
}
