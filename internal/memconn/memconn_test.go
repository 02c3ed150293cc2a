package memconn

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"
)

func TestPipeIsANetConn(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		a, b := Pipe(nil)
		return a, b, func() { a.Close(); b.Close() }, nil
	})
}

func TestWriteWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(&Options{Buffer: 4})
		done := make(chan error, 1)
		go func() {
			_, err := a.Write([]byte("abcdef"))
			done <- err
		}()
		synctest.Wait()
		if got := a.Buffered(); got != 4 {
			t.Fatalf("buffered %d bytes, want the bound 4", got)
		}
		select {
		case err := <-done:
			t.Fatalf("Write returned (%v) with a full buffer", err)
		default:
		}
		p := make([]byte, 3)
		if _, err := io.ReadFull(b, p); err != nil || string(p) != "abc" {
			t.Fatalf("read %q, %v", p, err)
		}
		if err := <-done; err != nil {
			t.Fatalf("Write: %v", err)
		}
	})
}

func TestMaxRead(t *testing.T) {
	a, b := Pipe(&Options{MaxRead: 1})
	a.Write([]byte("xy"))
	p := make([]byte, 8)
	for _, want := range []string{"x", "y"} {
		if n, err := b.Read(p); n != 1 || err != nil || string(p[:n]) != want {
			t.Fatalf("Read = %q, %v; want %q", p[:n], err, want)
		}
	}
}

func TestCloseLetsThePeerRead(t *testing.T) {
	a, b := Pipe(nil)
	a.Write([]byte("last words"))
	a.Close()
	got, err := io.ReadAll(b)
	if err != nil || string(got) != "last words" {
		t.Fatalf("peer read %q, %v", got, err)
	}
	if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Fatalf("write to a closed peer: %v, want EPIPE", err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("read after own close: %v, want net.ErrClosed", err)
	}
}

func TestCloseWriteKeepsReading(t *testing.T) {
	a, b := Pipe(nil)
	a.CloseWrite()
	if _, err := b.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("peer reads %v, want io.EOF", err)
	}
	b.Write([]byte("answer"))
	b.Close()
	if got, err := io.ReadAll(a); err != nil || string(got) != "answer" {
		t.Fatalf("read %q, %v after CloseWrite", got, err)
	}
	if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("write after CloseWrite: %v, want net.ErrClosed", err)
	}
}

func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("boom")
		a, b := Pipe(&Options{Buffer: 1})
		b.Write([]byte("x")) // unread: lost
		errs := make(chan error, 2)
		go func() {
			_, err := a.Write([]byte("full"))
			errs <- err
		}()
		go func() {
			b.StallReads(true)
			_, err := b.Read(make([]byte, 1))
			errs <- err
		}()
		synctest.Wait()
		b.Cut(boom)
		b.Cut(nil) // only the first counts
		for range 2 {
			if err := <-errs; !errors.Is(err, boom) {
				t.Fatalf("waiting call got %v, want the cut's error", err)
			}
		}
		if n, err := a.Read(make([]byte, 1)); n != 0 || !errors.Is(err, boom) {
			t.Fatalf("Read after the cut = %d, %v", n, err)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, boom) {
			t.Fatalf("Write after the cut: %v", err)
		}
	})
}

func TestStall(t *testing.T) {
	for _, end := range []string{"reader", "writer"} {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := Pipe(nil)
				stall := b.StallReads
				if end == "writer" {
					stall = a.StallWrites
				}
				stall(true)
				got := make(chan string, 1)
				go a.Write([]byte("hi"))
				go func() {
					p := make([]byte, 2)
					io.ReadFull(b, p)
					got <- string(p)
				}()
				synctest.Wait()
				select {
				case s := <-got:
					t.Fatalf("read %q through a stall", s)
				default:
				}
				stall(false)
				if s := <-got; s != "hi" {
					t.Fatalf("read %q", s)
				}
			})
		})
	}
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ms = time.Millisecond
		a, b := Pipe(&Options{Latency: 20 * ms})
		start := time.Now()
		a.Write([]byte("one"))
		time.Sleep(5 * ms)
		a.Write([]byte("two"))
		a.Close()
		if got := a.Buffered(); got != 6 {
			t.Fatalf("%d bytes on the way, want 6", got)
		}
		p := make([]byte, 9)
		n, err := b.Read(p)
		if at := time.Since(start); string(p[:n]) != "one" || err != nil || at != 20*ms {
			t.Fatalf("first read %q, %v at %v; want \"one\" at 20ms", p[:n], err, at)
		}
		rest, err := io.ReadAll(b)
		if at := time.Since(start); string(rest) != "two" || err != nil || at != 25*ms {
			t.Fatalf("then %q, %v at %v; want \"two\" at 25ms", rest, err, at)
		}
	})
}

// TestLatencyKeepsOrder sends many segments of the same moment: their timers
// fire together, in no particular order.
func TestLatencyKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(&Options{Latency: time.Millisecond})
		var want []byte
		for i := range 1000 {
			want = append(want, byte(i), byte(i>>8))
			a.Write(want[2*i:])
		}
		a.Close()
		if got, err := io.ReadAll(b); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("read %d bytes, %v; want %d in order", len(got), err, len(want))
		}
	})
}

func TestDeadlineWakesAWaitingCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := Pipe(&Options{Buffer: 1})
		start := time.Now()
		errs := make(chan error, 2)
		go func() {
			_, err := a.Read(make([]byte, 1))
			errs <- err
		}()
		go func() {
			_, err := a.Write([]byte("xx"))
			errs <- err
		}()
		synctest.Wait()
		a.SetDeadline(start.Add(time.Hour))
		a.SetReadDeadline(start.Add(time.Second)) // renewed
		for _, want := range []time.Duration{time.Second, time.Hour} {
			if err := <-errs; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != want {
				t.Fatalf("%v after %v, want the deadline at %v", err, time.Since(start), want)
			}
		}
		a.SetDeadline(time.Time{})
		go func() {
			time.Sleep(time.Hour)
			a.Close()
		}()
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("cleared deadline: %v, want net.ErrClosed from Close", err)
		}
	})
}

func TestListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		l := Listen(&Options{Latency: 10 * time.Millisecond})
		start := time.Now()
		c, err := l.DialContext(ctx, "tcp", "anywhere:443")
		if err != nil || time.Since(start) != 20*time.Millisecond {
			t.Fatalf("dial: %v after %v, want one round trip", err, time.Since(start))
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if s.LocalAddr().String() != l.Addr().String() || c.RemoteAddr().String() != l.Addr().String() {
			t.Fatalf("addresses: %v, %v; listener %v", c, s, l.Addr())
		}
		c.Write([]byte("x"))
		if n, err := s.Read(make([]byte, 2)); n != 1 || err != nil {
			t.Fatalf("Read = %d, %v", n, err)
		}

		done, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := l.Dial(done); !errors.Is(err, context.Canceled) {
			t.Fatalf("dial with ended context: %v", err)
		}
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		if _, err := l.Dial(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("dial with short context: %v", err)
		}

		unaccepted, err := l.Dial(ctx)
		if err != nil {
			t.Fatal(err)
		}
		accept := make(chan error)
		l2 := Listen(nil)
		go func() {
			_, err := l2.Accept()
			accept <- err
		}()
		synctest.Wait()
		if err := errors.Join(l.Close(), l2.Close()); err != nil {
			t.Fatal(err)
		}
		if err := <-accept; !errors.Is(err, net.ErrClosed) {
			t.Fatalf("waiting Accept: %v", err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("Accept after Close: %v", err)
		}
		if c, err := l.DialContext(ctx, "", ""); c != nil || !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("DialContext after Close = %v, %v", c, err)
		}
		if _, err := unaccepted.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("connection nobody accepted: %v, want ECONNRESET", err)
		}
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("second Close: %v", err)
		}
	})
}

func TestBacklogMakesDialWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := Listen(nil)
		for range backlog {
			if _, err := l.Dial(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := l.Dial(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("dial beyond the backlog: %v", err)
		}
		if _, err := l.Accept(); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Dial(t.Context()); err != nil {
			t.Fatalf("dial after Accept: %v", err)
		}
	})
}
