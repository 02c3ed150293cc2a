package sessionstate

import (
	"testing"
	"time"

	"github.com/towpath-go/towpath/transport"
)

var start = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func TestReceiveWindow(t *testing.T) {
	t.Run("H2-141 H2-142 one byte beyond the limit is a flow-control error", func(t *testing.T) {
		for _, limit := range []uint64{0, 1, 1000, MaxOffset} {
			w := NewStreamWindow(limit, 1000, 1000)
			wantViolation(t, w.Receive(limit+1), transport.ViolationFlowControl, "limit + 1 at once")
			if err := w.Receive(limit); err != nil {
				t.Errorf("limit %d: %v", limit, err)
			}
			wantViolation(t, w.Receive(1), transport.ViolationFlowControl, "one more")
			if w.Received() != limit || w.Unread() != limit {
				t.Errorf("limit %d: received %d, unread %d", limit, w.Received(), w.Unread())
			}
		}
	})
	t.Run("H2-152 a stream's credit comes back by quarters", func(t *testing.T) {
		w := NewStreamWindow(1000, 1000, 1000)
		must(t, w.Receive(1000))
		w.Consume(249)
		if _, ok := w.Update(start, 0, PressureNone); ok || w.Due() {
			t.Error("announced for less than a quarter")
		}
		w.Consume(1)
		wantUpdate(t, &w, start, 0, PressureNone, 1250)
		if _, ok := w.Update(start, 0, PressureNone); ok {
			t.Error("announced twice")
		}
		must(t, w.Receive(250))
		wantViolation(t, w.Receive(1), transport.ViolationFlowControl, "beyond the new limit")
	})
	t.Run("H2-151 H2-152 a session's credit reaches the peer whoever holds the rest", func(t *testing.T) {
		// 990 bytes are never read. The other 10 must be enough to carry on.
		w := NewSessionWindow(1000, 1000, 1000)
		must(t, w.Receive(990))
		for i := range uint64(100) {
			must(t, w.Receive(10))
			w.Consume(10)
			wantUpdate(t, &w, start, 0, PressureNone, 1000+(i+1)*10)
		}
	})
	t.Run("H2-079 a limit never given is raised at once", func(t *testing.T) {
		w := NewStreamWindow(0, 1000, 1000)
		wantUpdate(t, &w, start, 0, PressureNone, 1000)
	})
	t.Run("a limit given beyond the window is not lowered", func(t *testing.T) {
		w := NewStreamWindow(5000, 1000, 1000)
		must(t, w.Receive(4000))
		w.Consume(4000)
		if l, ok := w.Update(start, 0, PressureNone); ok {
			t.Errorf("announced %d", l)
		}
		must(t, w.Receive(1000))
		w.Consume(300)
		wantUpdate(t, &w, start, 0, PressureNone, 5300)
	})
	t.Run("a window of 0 never opens", func(t *testing.T) {
		w := NewSessionWindow(0, 0, 0)
		if l, ok := w.Update(start, time.Second, PressureNone); ok {
			t.Errorf("announced %d", l)
		}
	})
	t.Run("the smallest window works", func(t *testing.T) {
		w := NewStreamWindow(1, 1, 1)
		for i := range uint64(10) {
			must(t, w.Receive(1))
			w.Consume(1)
			wantUpdate(t, &w, start, 0, PressureNone, i+2)
		}
	})
	t.Run("limits stop at 62 bits", func(t *testing.T) {
		w := NewStreamWindow(MaxOffset-10, 1000, 1000)
		must(t, w.Receive(MaxOffset-10))
		w.Consume(MaxOffset - 10)
		if l, ok := w.Update(start, 0, PressureNone); ok {
			t.Errorf("announced %d, which gives back less than a quarter", l)
		}
		s := NewSessionWindow(MaxOffset-10, 1000, 1000)
		must(t, s.Receive(MaxOffset-10))
		s.Consume(MaxOffset - 10)
		wantUpdate(t, &s, start, 0, PressureNone, MaxOffset)
		must(t, s.Receive(10))
		s.Consume(10)
		if l, ok := s.Update(start, 0, PressureNone); ok {
			t.Errorf("announced %d", l)
		}
	})
	t.Run("consuming what was not received panics", func(t *testing.T) {
		w := NewStreamWindow(1000, 1000, 1000)
		must(t, w.Receive(10))
		wantPanic(t, "11 of 10", func() { w.Consume(11) })
	})
	t.Run("DS-19 pressure", func(t *testing.T) {
		w := NewStreamWindow(1000, 1000, 8000)
		must(t, w.Receive(1000))
		w.Consume(1000)
		if l, ok := w.Update(start, time.Second, PressureFull); ok {
			t.Errorf("announced %d at the cap", l)
		}
		if !w.Due() {
			t.Error("what was withheld is no longer due")
		}
		wantUpdate(t, &w, start, time.Second, PressureHigh, 2000)
		must(t, w.Receive(1000))
		w.Consume(1000)
		wantUpdate(t, &w, start.Add(time.Millisecond), time.Second, PressureHigh, 3000)
		if w.Window() != 1000 {
			t.Errorf("window grew to %d under pressure", w.Window())
		}
		must(t, w.Receive(1000))
		w.Consume(1000)
		wantUpdate(t, &w, start.Add(2*time.Millisecond), time.Second, PressureNone, 5000)
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantUpdate(t testing.TB, w *ReceiveWindow, now time.Time, rtt time.Duration, p Pressure, want uint64) {
	t.Helper()
	if got, ok := w.Update(now, rtt, p); !ok || got != want || w.Limit() != want {
		t.Fatalf("Update = %d, %v, limit %d; want %d", got, ok, w.Limit(), want)
	}
}

// TestReceiveWindowGrowth simulates a path: the sender may have as much in
// flight as the limit allows and rate lets pass, and limits take half a round
// trip. It measures what window comes out.
func TestReceiveWindowGrowth(t *testing.T) {
	const kib, mib = 1 << 10, 1 << 20
	for _, c := range []struct {
		name      string
		rtt       time.Duration
		known     bool // whether the receiver knows the rtt
		rate      uint64
		atLeast   uint64
		atMost    uint64
		roundtrip int
	}{
		{"a long fat path gets the maximum", 100 * time.Millisecond, true, 1000 * mib, 4 * mib, 4 * mib, 40},
		{"a short path keeps a small window", time.Millisecond, true, 50 * mib, 256 * kib, 256 * kib, 4000},
		{"the window covers the bandwidth-delay product", 10 * time.Millisecond, true, 100 * mib, mib, 2 * mib, 400},
		{"an unknown round trip changes nothing", 100 * time.Millisecond, false, 1000 * mib, 256 * kib, 256 * kib, 40},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := NewStreamWindow(256*kib, 256*kib, 4*mib)
			rtt := time.Duration(0)
			if c.known {
				rtt = c.rtt
			}
			// Time goes in steps of a hundredth of a round trip. Limits that
			// were announced wait in a list until the sender knows them; the
			// other half of the round trip is put there, too.
			step := c.rtt / 100
			perStep := c.rate * uint64(step) / uint64(time.Second)
			type notice struct {
				at    int
				limit uint64
			}
			var notices []notice
			known := w.Limit()
			for i := range 100 * c.roundtrip {
				for len(notices) > 0 && notices[0].at <= i {
					known = notices[0].limit
					notices = notices[1:]
				}
				n := min(perStep, known-w.Received())
				must(t, w.Receive(n))
				w.Consume(n)
				if l, ok := w.Update(start.Add(time.Duration(i)*step), rtt, PressureNone); ok {
					notices = append(notices, notice{i + 100, l})
				}
			}
			if got := w.Window(); got < c.atLeast || got > c.atMost {
				t.Errorf("window %d KiB, want %d to %d KiB", got/kib, c.atLeast/kib, c.atMost/kib)
			}
		})
	}
}

// runWindow checks ReceiveWindow against a model that keeps byte counts and
// every announcement: no limit falls, none is exceeded, no more than the
// largest window is ever unread, and a peer out of credit gets some.
func runWindow(t *testing.T, prog []byte) {
	o := ops(prog)
	kind, _ := o.next(4)
	size, ok := o.next(100)
	if !ok {
		return
	}
	window, most := uint64(size), uint64(size)*4
	w := NewStreamWindow(window, window, most)
	shared := kind&1 == 1
	if shared {
		w = NewSessionWindow(window, window, most)
	}
	limit, received, consumed := window, uint64(0), uint64(0)
	now := start
	for {
		op, ok := o.next(4)
		if !ok {
			break
		}
		arg, _ := o.next(64)
		n := uint64(arg)
		now = now.Add(time.Duration(arg) * time.Millisecond)
		switch op {
		case 0, 1:
			err := w.Receive(n)
			if (err != nil) != (received+n > limit) {
				t.Fatalf("Receive(%d) after %d of %d: %v", n, received, limit, err)
			}
			if err == nil {
				received += n
			}
		case 2:
			n = min(n, received-consumed)
			w.Consume(n)
			consumed += n
		case 3:
			p := Pressure(n % 3)
			next, ok := w.Update(now, time.Duration(n)*time.Millisecond, p)
			switch {
			case ok && p == PressureFull:
				t.Fatal("announced at the cap")
			case ok && next <= limit:
				t.Fatalf("announced %d after %d", next, limit)
			case ok && next > consumed+most:
				t.Fatalf("announced %d with %d consumed and windows up to %d", next, consumed, most)
			case ok:
				limit = next
			}
		}
		if w.Limit() != limit || w.Received() != received || w.Unread() != received-consumed {
			t.Fatalf("limit %d, received %d, unread %d; model %d, %d, %d",
				w.Limit(), w.Received(), w.Unread(), limit, received, received-consumed)
		}
		if w.Unread() > most {
			t.Fatalf("%d bytes unread with windows up to %d", w.Unread(), most)
		}
	}
	// Whatever happened: once everything is read, the peer can go on.
	w.Consume(w.Unread())
	w.Update(now, 0, PressureNone)
	if window > 0 && w.Limit() == w.Received() {
		t.Fatalf("everything read and no credit: limit %d, window %d", w.Limit(), w.Window())
	}
}

func TestReceiveWindowModel(t *testing.T) {
	for range 100 {
		runWindow(t, program(t))
	}
}

func FuzzReceiveWindow(f *testing.F) {
	addPrograms(f)
	f.Fuzz(runWindow)
}

func TestWindowRest(t *testing.T) {
	w := NewSessionWindow(1000, 1000, 4000)
	if w.Remainder() {
		t.Error("a full window has something to give back")
	}
	w.Receive(100)
	w.Consume(100)
	if w.Due() || !w.Remainder() || w.Consumed() != 100 {
		t.Errorf("due %v, remainder %v, consumed %d after a tenth", w.Due(), w.Remainder(), w.Consumed())
	}
	if limit, ok := w.Rest(PressureFull); ok {
		t.Errorf("limit %d announced under full pressure", limit)
	}
	if limit, ok := w.Rest(PressureHigh); limit != 1100 || !ok || w.Limit() != 1100 || w.Window() != 1000 {
		t.Errorf("limit %d, %v, want 1100; limit in force %d, window %d", limit, ok, w.Limit(), w.Window())
	}
	if limit, ok := w.Rest(PressureNone); ok || w.Remainder() {
		t.Errorf("limit %d announced twice, remainder %v", limit, w.Remainder())
	}
	w.Receive(250)
	w.Consume(250)
	if !w.Due() || w.Remainder() {
		t.Errorf("due %v, remainder %v after a quarter", w.Due(), w.Remainder())
	}
}
