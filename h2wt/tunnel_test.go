package h2wt

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/towpath-go/towpath/internal/session"
	"github.com/towpath-go/towpath/transport"
)

func TestTunnelEndsBeforeItsSession(t *testing.T) {
	for name, end := range map[string]func(tn *tunnel){
		"H2-180 by a reset":               func(tn *tunnel) { tn.over(io.ErrUnexpectedEOF) },
		"H2-180 by the session's own end": func(tn *tunnel) { carrier{tn}.stopped() },
	} {
		t.Run(name, func(t *testing.T) {
			tn := newTunnel(nil)
			tn.onEnd = func(error) {}
			tn.onClosed = func() { t.Error("onClosed without a session") }
			end(tn)
			s := session.New(session.Params{Carrier: noCarrier{}})
			if tn.attach(s) {
				t.Error("attached to a stream that has ended")
			}
			if tn.cause() == nil {
				t.Error("no cause")
			}
			select {
			case <-tn.done():
			default:
				t.Error("not ended")
			}
			s.Lost(tn.cause())
			if context.Cause(s.Context()) == nil {
				t.Error("the session lives on")
			}
		})
	}
}

// noCarrier is what a session without a stream has.
type noCarrier struct{ session.Carrier }

func (noCarrier) Wake()                     {}
func (noCarrier) Cancel()                   {}
func (noCarrier) Reset(transport.Violation) {}

func (noCarrier) RTT() (time.Duration, bool) { return 0, false }

func TestRecvBuffer(t *testing.T) {
	credit := 0
	b := newRecvBuffer(func(n int) { credit += n })
	if n := b.put([]byte("hello")); n != 0 {
		t.Errorf("put consumed %d", n)
	}
	p := make([]byte, 2)
	if n, err := b.Read(p); n != 2 || err != nil || credit != 2 {
		t.Errorf("Read = %d, %v, credit %d", n, err, credit)
	}
	gone := errors.New("gone")
	b.abandon(gone)
	if credit != 5 {
		t.Errorf("credit %d after abandon, want 5", credit)
	}
	if n := b.put([]byte("late")); n != 4 || credit != 5 {
		t.Errorf("put after abandon consumed %d, credit %d", n, credit)
	}
	b.end(io.EOF)
	b.abandon(errors.New("again"))
	if n, err := b.Read(p); n != 0 || err != gone {
		t.Errorf("Read = %d, %v", n, err)
	}

	b = newRecvBuffer(func(int) {})
	b.put([]byte("x"))
	b.end(io.EOF)
	b.end(io.ErrUnexpectedEOF)
	if n := b.put([]byte("y")); n != 1 {
		t.Errorf("put behind the end consumed %d", n)
	}
	if got, err := io.ReadAll(b); string(got) != "x" || err != nil {
		t.Errorf("ReadAll = %q, %v", got, err)
	}
	if n, err := b.Read(nil); n != 0 || err != nil {
		t.Errorf("Read of nothing = %d, %v", n, err)
	}
}

func TestSendBuffer(t *testing.T) {
	wakes := 0
	b := newSendBuffer(func() { wakes++ })
	dst := make([]byte, 3)
	if n, end := b.Fill(dst); n != 0 || end {
		t.Errorf("Fill = %d, %v", n, end)
	}
	if n, err := b.Write([]byte("hello")); n != 5 || err != nil || wakes != 1 {
		t.Errorf("Write = %d, %v, %d wakes", n, err, wakes)
	}
	b.close(nil)
	b.close(nil)
	if wakes != 2 {
		t.Errorf("%d wakes", wakes)
	}
	if _, err := b.Write([]byte("x")); err != errSendClosed || b.state() != errSendClosed {
		t.Errorf("Write after close: %v", err)
	}
	ended := 0
	b.onEnd = func() { ended++ }
	if n, end := b.Fill(dst); n != 3 || end {
		t.Errorf("Fill = %d, %v", n, end)
	}
	if n, end := b.Fill(dst); n != 2 || !end || ended != 1 {
		t.Errorf("Fill = %d, %v, ended %d", n, end, ended)
	}

	b = newSendBuffer(func() {})
	b.Write(make([]byte, sendBufferSize))
	b.fail(io.ErrClosedPipe)
	b.fail(io.EOF)
	if _, err := b.Write([]byte("x")); err != io.ErrClosedPipe || b.state() != io.ErrClosedPipe {
		t.Errorf("Write after fail: %v", err)
	}
	if n, end := b.Fill(dst); n != 0 || end {
		t.Errorf("Fill after fail = %d, %v", n, end)
	}
}
