package sessionstate

import (
	"testing"
	"time"
)

func TestFloodGuard(t *testing.T) {
	charge := func(g *FloodGuard, now time.Time, n int) (accepted int) {
		for range n {
			if g.Charge(now) {
				accepted++
			}
		}
		return accepted
	}
	t.Run("DS-17 the burst passes and one more does not", func(t *testing.T) {
		for _, burst := range []int{1, 100, DefaultFloodBurst} {
			g := NewFloodGuard(start, burst, 10)
			if got := charge(g, start, 2*burst); got != burst {
				t.Errorf("burst %d: %d passed", burst, got)
			}
		}
	})
	t.Run("DS-17 line rate is stopped", func(t *testing.T) {
		g := NewFloodGuard(start, DefaultFloodBurst, DefaultFloodRate)
		// A million capsules in a second.
		passed := 0
		for i := range 1_000_000 {
			if !g.Charge(start.Add(time.Duration(i) * time.Microsecond)) {
				break
			}
			passed++
		}
		if passed < DefaultFloodBurst || passed > DefaultFloodBurst+DefaultFloodRate {
			t.Errorf("%d passed", passed)
		}
	})
	t.Run("DS-17 a keep-alive never adds up", func(t *testing.T) {
		g := NewFloodGuard(start, 1, 1)
		for i := range 100_000 {
			if !g.Charge(start.Add(time.Duration(i) * time.Second)) {
				t.Fatalf("capsule %d refused at the allowed rate", i)
			}
		}
	})
	t.Run("DS-17 useful bytes pay for limits", func(t *testing.T) {
		g := NewFloodGuard(start, 1, 1)
		for i := range 1000 {
			if !g.Charge(start) {
				t.Fatalf("capsule %d refused after %d useful bytes", i, i*DefaultFloodCredit)
			}
			g.Progress(DefaultFloodCredit)
		}
	})
	t.Run("DS-17 useful bytes do not pile up", func(t *testing.T) {
		g := NewFloodGuard(start, 10, 1)
		for range 1000 {
			g.Progress(1 << 30)
		}
		if got := charge(g, start, 100); got != 10 {
			t.Errorf("%d passed, want the burst of 10", got)
		}
	})
	t.Run("refill is exact and stops at the burst", func(t *testing.T) {
		g := NewFloodGuard(start, 10, 4)
		charge(g, start, 10)
		if got := charge(g, start.Add(249*time.Millisecond), 1); got != 0 {
			t.Error("refilled too early")
		}
		if got := charge(g, start.Add(250*time.Millisecond), 2); got != 1 {
			t.Errorf("%d passed after a quarter of a second, want 1", got)
		}
		if got := charge(g, start.Add(1000*time.Hour), 100); got != 10 {
			t.Errorf("%d passed after a long time, want 10", got)
		}
	})
	t.Run("extreme settings do not overflow", func(t *testing.T) {
		for _, c := range [][2]int{{1e9, 1}, {1e9, 1e9}, {1, 1e9}} {
			g := NewFloodGuard(start, c[0], c[1])
			g.Progress(1 << 30)
			if !g.Charge(start.AddDate(200, 0, 0)) || !g.Charge(start.AddDate(250, 0, 0)) {
				t.Errorf("burst %d, rate %d: refused", c[0], c[1])
			}
		}
	})
	t.Run("a long silence at a high rate does not overflow", func(t *testing.T) {
		// 10 s times a billion per second is more than 63 bits of nanoseconds.
		g := NewFloodGuard(start, 1, 1e9)
		if !g.Charge(start) || !g.Charge(start.Add(10*time.Second)) {
			t.Error("refused at the allowed rate")
		}
	})
	t.Run("settings out of range panic", func(t *testing.T) {
		wantPanic(t, "burst 0", func() { NewFloodGuard(start, 0, 1) })
		wantPanic(t, "rate 0", func() { NewFloodGuard(start, 1, 0) })
		wantPanic(t, "burst above", func() { NewFloodGuard(start, 1e9+1, 1) })
	})
}
