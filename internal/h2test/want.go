package h2test

import (
	"testing/synctest"

	"golang.org/x/net/http2"
)

// WantFrame fails the test unless the next frame equals want. GOAWAY debug data
// is not compared.
func (p *Peer) WantFrame(why string, want Frame) {
	p.t.Helper()
	if f := p.Next(why); !same(f, want) {
		p.t.Fatalf("%s:\n got %v\nwant %v", why, f, want)
	}
}

// WantIdle fails the test if a frame has come.
func (p *Peer) WantIdle(why string) {
	p.t.Helper()
	if f, ok := p.Poll(); ok {
		p.t.Fatalf("want nothing (%s), got %v", why, f)
	}
}

// WantHeaders returns the next frame, which must be HEADERS of that stream.
func (p *Peer) WantHeaders(why string, id uint32) Headers {
	p.t.Helper()
	f := p.Next(why)
	h, ok := f.(Headers)
	if !ok || h.StreamID != id {
		p.t.Fatalf("%s:\n got %v\nwant HEADERS stream=%d", why, f, id)
	}
	return h
}

// WantData fails the test unless the next frame is this DATA without padding.
func (p *Peer) WantData(why string, id uint32, end bool, data string) {
	p.t.Helper()
	p.WantFrame(why, Data{StreamID: id, EndStream: end, Data: data})
}

// WantRST fails the test unless the next frame is this RST_STREAM.
func (p *Peer) WantRST(why string, id uint32, code http2.ErrCode) {
	p.t.Helper()
	p.WantFrame(why, RSTStream{StreamID: id, Code: code})
}

// WantGoAway returns the next frame, which must be GOAWAY with that code.
func (p *Peer) WantGoAway(why string, code http2.ErrCode) GoAway {
	p.t.Helper()
	f := p.Next(why)
	g, ok := f.(GoAway)
	if !ok || g.Code != code {
		p.t.Fatalf("%s:\n got %v\nwant GOAWAY %v", why, f, code)
	}
	return g
}

// WantClosed fails the test unless the connection has ended.
func (p *Peer) WantClosed(why string) {
	p.t.Helper()
	f := p.Next(why)
	if _, ok := f.(Closed); !ok {
		p.t.Fatalf("%s:\n got %v\nwant the connection closed", why, f)
	}
}

// WantConnError fails the test unless GOAWAY with that code and the end of the
// connection follow. Other frames before the GOAWAY are skipped.
func (p *Peer) WantConnError(why string, code http2.ErrCode) GoAway {
	p.t.Helper()
	for {
		f := p.Next(why)
		switch f := f.(type) {
		case GoAway:
			if f.Code != code {
				p.t.Fatalf("%s:\n got %v\nwant GOAWAY %v", why, f, code)
			}
			p.WantClosed(why)
			return f
		case Closed:
			p.t.Fatalf("%s: closed without GOAWAY, want %v", why, code)
		}
	}
}

// SkipUntil drops frames until one for which ok returns true, and returns it.
func (p *Peer) SkipUntil(why string, ok func(Frame) bool) Frame {
	p.t.Helper()
	for {
		if f := p.Next(why); ok(f) {
			return f
		}
	}
}

// Result is the outcome of a function that RunAsync started.
type Result[T any] struct {
	done chan struct{}
	v    T
	err  error
}

// RunAsync runs f on a goroutine of its own, which ends with f.
func RunAsync[T any](f func() (T, error)) *Result[T] {
	r := &Result[T]{done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.v, r.err = f()
	}()
	return r
}

// Done tells whether f has returned once everything is blocked.
func (r *Result[T]) Done() bool {
	synctest.Wait()
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// Result waits for f and returns what it returned.
func (r *Result[T]) Result() (T, error) {
	<-r.done
	return r.v, r.err
}
