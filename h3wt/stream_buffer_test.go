package h3wt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// scriptedSender is the sending part of a QUIC stream that keeps what it is given,
// and builds packets when the test says so.
type scriptedSender struct {
	sender          // what is not scripted is not called
	kept    int     // by TryWriteAll
	refuse  error   // what TryWriteAll returns
	asks    []int   // what the limiter is asked for, in turn
	got     []int   // its answers
	waiting []int   // lengths of the Writes that waited
	fail    []error // what such a Write returns in place of its result
}

func (q *scriptedSender) TryWriteAll(b []byte) error {
	if q.refuse == nil {
		q.kept += len(b)
	}
	return q.refuse
}

func (q *scriptedSender) WriteWithLimit(b []byte, limit func(int) int) (int, error) {
	q.waiting = append(q.waiting, len(b))
	if len(q.fail) > 0 {
		err := q.fail[0]
		q.fail = q.fail[1:]
		return 0, err
	}
	n := 0
	for n < len(b) {
		if len(q.asks) == 0 {
			panic("asked for more than the script has")
		}
		most := min(q.asks[0], len(b)-n)
		q.asks = q.asks[1:]
		m := limit(most)
		q.got = append(q.got, m)
		n += m
		if m < most {
			return n, quic.ErrWriteLimitReached
		}
	}
	return n, nil
}

func (*scriptedSender) Context() context.Context { return context.Background() }

func (*scriptedSender) SetPriority(int8, bool) {}

func (*scriptedSender) Close() error { return nil }

func (*scriptedSender) SetWriteDeadline(time.Time) error { return nil }

// scripted is the sending part of a stream with a scripted sender, under flow
// control with that much credit.
func scripted(credit uint64) (*sendPart, *scriptedSender) {
	s := &Session{
		ctx:          context.Background(),
		cfg:          &transport.Config{},
		flowControl:  true,
		sendCredit:   sessionstate.NewSendCredit(credit),
		creditRaised: make(chan struct{}),
		floods:       sessionstate.NewFloods(transport.Floods{}),
		streams:      make(map[quic.StreamID]*dataStream),
	}
	d := &dataStream{s: s}
	q := &scriptedSender{}
	d.send = new(sendPart)
	d.send.init(d, q, true)
	return d.send, q
}

func (p *sendPart) mustWrite(t *testing.T, n int) {
	t.Helper()
	if m, err := p.Write(make([]byte, n)); m != n || err != nil {
		t.Fatalf("Write of %d: %d, %v", n, m, err)
	}
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestSmallWrites(t *testing.T) {
	t.Run("do not wait until a packet's worth is kept", func(t *testing.T) {
		p, q := scripted(1 << 20)
		for range 14 {
			p.mustWrite(t, 100)
		}
		equal(t, "kept", q.kept, 1400)
		equal(t, "Writes that waited", len(q.waiting), 0)
		q.asks = []int{20} // what is left in the packet with what was kept
		p.mustWrite(t, 100)
		equal(t, "Writes that waited", len(q.waiting), 1)
		equal(t, "answer", q.got[0], 19) // the Write returns, and the rest is kept
		equal(t, "kept", q.kept, 1481)
		equal(t, "sent", p.d.s.stats.BytesSent, uint64(1500))
		equal(t, "credit used", p.d.s.sendCredit.Used(), uint64(1500))
	})
	t.Run("that would be alone in a packet wait for others", func(t *testing.T) {
		p, q := scripted(1 << 20)
		p.mustWrite(t, 1350)
		q.asks = []int{100}
		p.mustWrite(t, 100)
		equal(t, "answer", q.got[0], 0)
		equal(t, "kept", q.kept, 1450)
	})
	t.Run("a large one returns when its rest is kept", func(t *testing.T) {
		p, q := scripted(1 << 20)
		q.asks = []int{1390, 1390, 1390, 1390}
		p.mustWrite(t, 8000)
		equal(t, "answers", len(q.got), 3)
		equal(t, "kept", q.kept, 8000-1390-1390-1389)
		equal(t, "credit used", p.d.s.sendCredit.Used(), uint64(8000))
	})
	t.Run("of some size fill several packets", func(t *testing.T) {
		p, q := scripted(1 << 20)
		for range 4 {
			p.mustWrite(t, 1024)
		}
		equal(t, "kept", q.kept, 4096)
		q.asks = []int{1400}
		p.mustWrite(t, 1024)
		equal(t, "Writes that waited", len(q.waiting), 1)
	})
	t.Run("without QUIC's credit they wait, and the session's comes back", func(t *testing.T) {
		p, q := scripted(1000)
		q.refuse = quic.ErrWouldBlock
		q.asks = []int{60, 40}
		p.mustWrite(t, 100)
		equal(t, "answers", len(q.got), 2) // none is less than asked for
		equal(t, "credit used", p.d.s.sendCredit.Used(), uint64(100))
		equal(t, "sent", p.d.s.stats.BytesSent, uint64(100))
		q.fail = []error{&quic.StreamError{ErrorCode: streamCode(3), Remote: true}}
		_, err := p.Write(make([]byte, 100))
		if e, ok := errors.AsType[*transport.StreamError](err); !ok || e.Code != 3 {
			t.Errorf("Write: %v", err)
		}
		equal(t, "credit used", p.d.s.sendCredit.Used(), uint64(100))
	})
	t.Run("the last credit that comes back wakes who waits for it", func(t *testing.T) {
		p, q := scripted(100)
		q.refuse = quic.ErrWouldBlock
		raised := p.d.s.creditRaised
		q.fail = []error{&quic.StreamError{ErrorCode: streamCode(3), Remote: true}}
		p.Write(make([]byte, 100))
		select {
		case <-raised:
		default:
			t.Error("it does not")
		}
	})
	bubble(t, "within less credit than they need they take what there is", func(t *testing.T) {
		p, q := scripted(60)
		p.d.s.control.over = true // no CONNECT stream is here to say so on
		q.asks = []int{100}
		type result struct {
			n   int
			err error
		}
		done := make(chan result, 1)
		go func() {
			n, err := p.Write(make([]byte, 100))
			done <- result{n, err}
		}()
		synctest.Wait()
		if len(done) > 0 {
			t.Fatal("Write did not wait for credit")
		}
		p.Close()
		equal(t, "Write", <-done, result{60, net.ErrClosed})
		equal(t, "credit used", p.d.s.sendCredit.Used(), uint64(60))
	})
}

func TestResetsOfWhatIsKept(t *testing.T) {
	// Nothing of a stream behind all others goes out while those have data.
	behind := func(name string, test func(t *testing.T, x transport.SendStream, peer transport.ReceiveStream)) {
		bubble(t, name, func(t *testing.T) {
			windows := &transport.Config{InitialStreamWindow: 32 << 20, InitialSessionWindow: 64 << 20}
			c, s, stop := makePair(t, simulated(t), windows, windows)
			defer stop()
			ctx := context.Background()
			x, err := c.OpenUniStream(ctx)
			if err != nil {
				t.Fatal(err)
			}
			x.SetPriority(transport.Priority{Order: -1})
			x.Write([]byte("first"))
			peer, err := s.AcceptUniStream(ctx)
			if err != nil {
				t.Fatal(err)
			}
			mustRead(t, peer, make([]byte, 5))
			bulk, err := c.OpenUniStream(ctx)
			if err != nil {
				t.Fatal(err)
			}
			const size = 16 << 20
			written := make(chan error, 1)
			go func() {
				_, err := bulk.Write(make([]byte, size))
				bulk.Close()
				written <- err
			}()
			in, err := s.AcceptUniStream(ctx)
			if err != nil {
				t.Fatal(err)
			}
			mustRead(t, in, make([]byte, 1000)) // all that can be sent is, for now
			for range 3 {
				if _, err := x.Write(bytes.Repeat([]byte("x"), 100)); err != nil {
					t.Fatal(err)
				}
			}
			test(t, x, peer)
			n, err := io.Copy(io.Discard, in)
			if n != size-1000 || err != nil {
				t.Errorf("the other stream brought %d bytes, %v", n, err)
			}
			if err := <-written; err != nil {
				t.Errorf("Write: %v", err)
			}
			if c.Context().Err() != nil || s.Context().Err() != nil {
				t.Errorf("the session ended: %v, %v", context.Cause(c.Context()), context.Cause(s.Context()))
			}
			if sent, received := c.Stats().BytesSent, s.Stats().BytesReceived; sent != received {
				t.Errorf("%d bytes were counted as sent, %d as received", sent, received)
			}
		})
	}
	behind("a reset that crosses a request to stop keeps the connection", func(t *testing.T, x transport.SendStream, peer transport.ReceiveStream) {
		x.CancelWrite(1)
		peer.CancelRead(2)
	})
	behind("a reset reaches the peer", func(t *testing.T, x transport.SendStream, peer transport.ReceiveStream) {
		x.CancelWrite(1)
		_, err := io.Copy(io.Discard, peer)
		if e, ok := errors.AsType[*transport.StreamError](err); !ok || e.Code != 1 {
			t.Errorf("Read: %v", err)
		}
	})
	behind("a request to stop", func(t *testing.T, x transport.SendStream, peer transport.ReceiveStream) {
		peer.CancelRead(2)
		time.Sleep(time.Second)
		_, err := x.Write([]byte("x"))
		if e, ok := errors.AsType[*transport.StreamError](err); !ok || e.Code != 2 {
			t.Errorf("Write: %v", err)
		}
	})
	for _, ours := range []bool{true, false} {
		name := "the credit of streams that the peer stops comes back"
		if ours {
			name = "the credit of streams that are reset comes back"
		}
		bubble(t, name, func(t *testing.T) {
			narrow := &transport.Config{InitialSessionWindow: 20_000, MaxSessionWindow: 20_000}
			c, s, stop := makePair(t, simulated(t), narrow, narrow)
			defer stop()
			ctx := context.Background()
			for range 200 {
				x, err := c.OpenUniStream(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := x.Write(make([]byte, 700)); err != nil {
					t.Fatal(err)
				}
				if ours {
					x.CancelWrite(1)
				}
				peer, err := s.AcceptUniStream(ctx)
				if err != nil {
					t.Fatal(err)
				}
				peer.CancelRead(2)
				if !ours {
					x.Write(make([]byte, 700)) // may cross it
				}
			}
			time.Sleep(time.Second)
			if sent, received := c.Stats().BytesSent, s.Stats().BytesReceived; sent != received {
				t.Errorf("%d bytes were counted as sent, %d as received", sent, received)
			}
		})
	}
}
