package session

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// A tester is the scripted peer of one session. It plays the carrier too: it
// gives the session bytes and asks it for bytes only when the script says so.
// It works inside a bubble.
type tester struct {
	testing.TB
	s       *Session
	carrier *testCarrier
	dialect capsule.Dialect

	dst     []byte // what Fill writes to
	decoder capsule.Decoder
	heard   []any // decoded and not yet expected by the script
	stream  wtStream
	dgram   []byte
	ended   bool // Fill said so
	sent    int  // bytes that Fill gave

	openBefore transport.SendStream // one that a script keeps
}

// How WT_STREAM, DATAGRAM and PADDING look in a script; the other capsules are
// those of package capsule.
type (
	wtStream struct {
		id   uint64
		fin  bool
		data string
	}
	datagram string
	raw      []byte // bytes as they are
)

type testCarrier struct {
	wakes   atomic.Int32 // also by timers
	resets  []transport.Violation
	cancels atomic.Int32 // also by timers
	rtt     time.Duration
	onWake  func()
}

func (c *testCarrier) Wake() {
	c.wakes.Add(1)
	if c.onWake != nil {
		c.onWake()
	}
}
func (c *testCarrier) Reset(v transport.Violation) { c.resets = append(c.resets, v) }
func (c *testCarrier) Cancel()                     { c.cancels.Add(1) }
func (c *testCarrier) RTT() (time.Duration, bool)  { return c.rtt, c.rtt > 0 }
func (c *testCarrier) ExportKeyingMaterial(label string, context []byte, length int) ([]byte, error) {
	return fmt.Appendf(nil, "%s %x %d", label, context, length), nil
}

// bubble runs a script in virtual time, as the peer of a server session.
func bubble(t *testing.T, f func(*tester), change ...func(*Params)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { script(t, f, change...) })
}

// script is bubble without the bubble.
func script(t *testing.T, f func(*tester), change ...func(*Params)) {
	t.Helper()
	c := &testCarrier{}
	p := Params{
		Config:  &transport.Config{},
		Carrier: c,
		Info:    transport.Info{ID: 1},
		Dialect: transport.DialectDraft15,
	}
	p.Local, p.Peer = limitsOf(nil), limitsOf(nil)
	for _, change := range change {
		change(&p)
	}
	tt := &tester{TB: t, carrier: c, dialect: readingOf(p.Dialect).codec(), dst: make([]byte, 16<<10)}
	tt.decoder.Dialect = tt.dialect
	tt.s = New(p)
	f(tt)
	tt.s.Lost(errors.New("end of the script"))
}

// asClient makes the session under test the client's.
func asClient(p *Params) { p.Client = true }

// withConfig changes the session's Config and publishes the limits it makes.
func withConfig(c transport.Config) func(*Params) {
	return func(p *Params) {
		p.Config = &c
		p.Local = limitsOf(&c)
	}
}

// peerAllows sets what the scripted peer has published.
func peerAllows(l InitialLimits) func(*Params) {
	return func(p *Params) { p.Peer = l }
}

func (t *tester) Stream(id uint64, fin bool, size uint64) error {
	t.stream = wtStream{id: id, fin: fin}
	return nil
}

func (t *tester) StreamData(p []byte, last bool) error {
	t.stream.data += string(p)
	if last {
		t.heard = append(t.heard, t.stream)
	}
	return nil
}

func (t *tester) Datagram(size uint64) (bool, error) { return true, nil }

func (t *tester) DatagramData(p []byte, last bool) error {
	t.dgram = append(t.dgram, p...)
	if last {
		t.heard = append(t.heard, datagram(t.dgram))
		t.dgram = nil
	}
	return nil
}

func (t *tester) Control(c capsule.Capsule) error {
	t.heard = append(t.heard, c)
	return nil
}

func (t *tester) Skipped(typ capsule.Type, n uint64) error {
	if n == 0 {
		t.Fatalf("the session sent a capsule of type %v", typ)
	}
	return nil
}

// fill asks the session for bytes once.
func (t *tester) fill() int {
	t.Helper()
	n, end := t.s.Fill(t.dst)
	if end && t.ended {
		t.Fatal("END_STREAM for the second time")
	}
	if n > 0 && t.ended {
		t.Fatal("bytes after END_STREAM")
	}
	t.ended = t.ended || end
	t.sent += n
	if err := t.decoder.Feed(t.dst[:n], t); err != nil {
		t.Fatalf("the session sent %v", err)
	}
	return n
}

// hear waits until nothing moves and returns the next capsule, nil if there is
// none.
func (t *tester) hear() any {
	t.Helper()
	synctest.Wait()
	for len(t.heard) == 0 {
		if t.fill() == 0 {
			return nil
		}
	}
	c := t.heard[0]
	t.heard = t.heard[1:]
	return c
}

// wantCapsule expects the session to send want next.
func (t *tester) wantCapsule(why string, want any) {
	t.Helper()
	switch got := t.hear(); {
	case got == nil:
		t.Fatalf("%s: nothing was sent, want %v", why, want)
	case !reflect.DeepEqual(got, want):
		t.Fatalf("%s: sent %T %.200v, want %T %.200v", why, got, got, want, want)
	}
}

// wantIdle expects the session to have nothing to send, and to be alive.
func (t *tester) wantIdle(why string) {
	t.Helper()
	if got := t.hear(); got != nil {
		t.Fatalf("%s: sent %T %.200v, want nothing", why, got, got)
	}
	if t.ended {
		t.Fatalf("%s: END_STREAM was sent", why)
	}
	t.wantAlive(why)
}

// wantAlive expects that the session has not ended.
func (t *tester) wantAlive(why string) {
	t.Helper()
	if err := context.Cause(t.s.Context()); err != nil {
		t.Fatalf("%s: the session ended: %v", why, err)
	}
}

// wantEndStream expects END_STREAM, and no capsule before it.
func (t *tester) wantEndStream(why string) {
	t.Helper()
	if got := t.hear(); got != nil {
		t.Fatalf("%s: sent %T %.200v, want END_STREAM alone", why, got, got)
	}
	if !t.ended || t.decoder.Partial() {
		t.Fatalf("%s: END_STREAM %t, inside a capsule %t", why, t.ended, t.decoder.Partial())
	}
}

// wantViolation expects the session to have ended for a broken rule.
func (t *tester) wantViolation(why string, v transport.Violation) {
	t.Helper()
	synctest.Wait()
	pe, ok := errors.AsType[*transport.ProtocolError](context.Cause(t.s.Context()))
	if !ok {
		t.Fatalf("%s: the session's end is %v, want %v", why, context.Cause(t.s.Context()), v)
	}
	if pe.Violation != v {
		t.Fatalf("%s: ended with %v, want %v", why, pe, v)
	}
	if len(t.carrier.resets) != 1 || t.carrier.resets[0] != v {
		t.Fatalf("%s: Carrier.Reset was called with %v, want once with %v", why, t.carrier.resets, v)
	}
	if n, end := t.s.Fill(t.dst); n != 0 || end {
		t.Fatalf("%s: Fill gives %d, %t after the reset", why, n, end)
	}
}

// encode returns capsules as bytes.
func (t *tester) encode(cs ...any) []byte {
	t.Helper()
	var b []byte
	for _, c := range cs {
		switch c := c.(type) {
		case capsule.Capsule:
			b = c.Append(b)
		case wtStream:
			b = capsule.AppendStreamHeader(b, c.fin, t.dialect, c.id, uint64(len(c.data)))
			b = append(b, c.data...)
		case datagram:
			b = capsule.AppendDatagramHeader(b, uint64(len(c)))
			b = append(b, c...)
		case raw:
			b = append(b, c...)
		default:
			t.Fatalf("no capsule: %T", c)
		}
	}
	return b
}

// writeCapsule gives capsules to the session.
func (t *tester) writeCapsule(cs ...any) {
	t.Helper()
	t.s.Data(t.encode(cs...))
}

// ok fails the test for an error.
func (t *tester) ok(err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (t *tester) accept() transport.Stream {
	t.Helper()
	st, err := t.s.AcceptStream(done())
	t.ok(err)
	return st
}

func (t *tester) acceptUni() transport.ReceiveStream {
	t.Helper()
	st, err := t.s.AcceptUniStream(done())
	t.ok(err)
	return st
}

func (t *tester) open() transport.Stream {
	t.Helper()
	st, err := t.s.OpenStream(done())
	t.ok(err)
	return st
}

func (t *tester) openUni() transport.SendStream {
	t.Helper()
	st, err := t.s.OpenUniStream(done())
	t.ok(err)
	return st
}

func (t *tester) send(w transport.SendStream, data string) {
	t.Helper()
	n, err := w.Write([]byte(data))
	if n != len(data) || err != nil {
		t.Fatalf("Write = %d, %v", n, err)
	}
}

// streamError is the error of an aborted stream.
func streamError(id uint64, code uint32, remote bool) error {
	return &transport.StreamError{StreamID: transport.StreamID(id), Code: transport.StreamErrorCode(code), Remote: remote}
}

// done is a context that has ended: with it, a call does not wait.
func done() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// async is a call on a goroutine of its own.
type async[T any] struct {
	t *tester
	c chan T
}

func runAsync[T any](t *tester, f func() T) async[T] {
	a := async[T]{t, make(chan T, 1)}
	go func() { a.c <- f() }() // ends with f; the bubble waits for it
	return a
}

// result waits for the call to return.
func (a async[T]) result() T { return <-a.c }

// wantWaiting expects that the call has not returned.
func (a async[T]) wantWaiting(why string) {
	a.t.Helper()
	synctest.Wait()
	select {
	case got := <-a.c:
		a.t.Fatalf("%s: the call returned %v", why, got)
	default:
	}
}
