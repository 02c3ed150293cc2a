package negotiate

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

var testTarget = target{network: "home", host: "example.com", port: "443"}

// mid makes the jitter vanish.
func midMemory() *memory {
	m := newMemory(NewStore())
	m.jitter = func() float64 { return 0.5 }
	return m
}

func wantDecision(t *testing.T, m *memory, tg target, why string, memory Memory, probe bool) {
	t.Helper()
	if d := m.decide(tg); d.memory != memory || d.probe != probe {
		t.Errorf("%s: %v, probe %v; want %v, probe %v", why, d.memory, d.probe, memory, probe)
	}
}

func TestMemoryMark(t *testing.T) {
	t.Run("a mark lasts 60 s, then one dial probes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := midMemory()
			wantDecision(t, m, testTarget, "nothing known", MemoryNone, false)
			start := time.Now()
			if until := m.broken(testTarget); until.Sub(start) != time.Minute {
				t.Errorf("the first mark lasts %v, want 1m", until.Sub(start))
			}
			wantDecision(t, m, testTarget, "marked", MemoryBroken, false)
			time.Sleep(time.Minute - 1)
			wantDecision(t, m, testTarget, "just before expiry", MemoryBroken, false)
			time.Sleep(time.Nanosecond)
			wantDecision(t, m, testTarget, "expired", MemoryExpired, true)
			wantDecision(t, m, testTarget, "one probe at a time", MemoryExpired, false)
			m.probed(testTarget)
			wantDecision(t, m, testTarget, "the probe found nothing and ended", MemoryExpired, true)
		})
	})
	t.Run("marks double up to 24 h", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := midMemory()
			want := time.Minute
			for i := range 40 {
				got := time.Until(m.broken(testTarget))
				if got != want {
					t.Fatalf("mark %d lasts %v, want %v", i, got, want)
				}
				time.Sleep(got)
				want = min(want*2, 24*time.Hour)
			}
		})
	})
	t.Run("jitter of 20 % either way", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			for _, c := range []struct {
				jitter float64
				want   time.Duration
			}{{0, 48 * time.Second}, {1, 72 * time.Second}} {
				m := newMemory(NewStore())
				m.jitter = func() float64 { return c.jitter }
				if got := time.Until(m.broken(testTarget)); got != c.want {
					t.Errorf("jitter %v: mark of %v, want %v", c.jitter, got, c.want)
				}
			}
			m := newMemory(NewStore())
			for range 1000 {
				if j := m.jitter(); j < 0 || j >= 1 {
					t.Fatalf("the default jitter gave %v", j)
				}
			}
		})
	})
	t.Run("findings while a mark stands count once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := midMemory()
			first := m.broken(testTarget)
			time.Sleep(time.Second)
			if again := m.broken(testTarget); !again.Equal(first) {
				t.Errorf("the mark moved from %v to %v", first, again)
			}
		})
	})
}

func TestMemoryClear(t *testing.T) {
	t.Run("success clears the mark and starts over", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := midMemory()
			m.broken(testTarget)
			time.Sleep(time.Minute)
			m.broken(testTarget)
			m.works(testTarget, 30*time.Millisecond)
			if d := m.decide(testTarget); d.memory != MemoryWorks || d.rtt != 30*time.Millisecond {
				t.Errorf("after success: %+v", d)
			}
			m.works(testTarget, 0)
			if d := m.decide(testTarget); d.rtt != 30*time.Millisecond {
				t.Errorf("an unknown round trip replaced the known one: %v", d.rtt)
			}
			if got := time.Until(m.broken(testTarget)); got != time.Minute {
				t.Errorf("the mark after a success lasts %v, want 1m", got)
			}
		})
	})
	t.Run("another network voids the mark, and coming back does too", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := midMemory()
			m.broken(testTarget)
			away := testTarget
			away.network = "cafe"
			wantDecision(t, m, away, "network changed", MemoryNone, false)
			wantDecision(t, m, testTarget, "back again", MemoryNone, false)
		})
	})
	t.Run("API", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := midMemory()
			m.broken(testTarget)
			m.forget("example.com", "443")
			wantDecision(t, m, testTarget, "forgotten", MemoryNone, false)
		})
	})
	t.Run("other hosts and ports are their own", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := midMemory()
			m.broken(testTarget)
			wantDecision(t, m, target{"home", "example.com", "8443"}, "port", MemoryNone, false)
			wantDecision(t, m, target{"home", "example.org", "443"}, "host", MemoryNone, false)
		})
	})
}

func TestMemoryPending(t *testing.T) {
	m := midMemory()
	m.begin(testTarget)
	m.begin(testTarget)
	wantDecision(t, m, testTarget, "an outcome is pending", MemoryPending, false)
	m.end(testTarget)
	wantDecision(t, m, testTarget, "one of two is still pending", MemoryPending, false)
	m.end(testTarget)
	wantDecision(t, m, testTarget, "none is pending", MemoryNone, false)
	if len(m.pending) != 0 {
		t.Errorf("%d counters stayed", len(m.pending))
	}
}

func TestStoreBound(t *testing.T) {
	s := NewStore().(*memoryStore)
	for i := range storeSize {
		s.Save(fmt.Sprint(i), Entry{Failures: i})
	}
	s.Load("0") // used, so 1 is the oldest now
	s.Save("one more", Entry{})
	if len(s.entries) != storeSize || s.order.Len() != storeSize {
		t.Fatalf("%d and %d entries, want %d", len(s.entries), s.order.Len(), storeSize)
	}
	if _, ok := s.Load("1"); ok {
		t.Error("the entry used longest ago is still there")
	}
	if e, ok := s.Load("0"); !ok || e.Failures != 0 {
		t.Error("the entry used lately is gone")
	}
	s.Save("2", Entry{Failures: 7})
	if e, _ := s.Load("2"); e.Failures != 7 || len(s.entries) != storeSize {
		t.Error("saving again did not replace")
	}
	s.Delete("2")
	s.Delete("2")
	if _, ok := s.Load("2"); ok || s.order.Len() != storeSize-1 {
		t.Error("deleting left something")
	}
}

func TestFingerprint(t *testing.T) {
	loop := netip.MustParseAddrPort("127.0.0.1:9")
	a := fingerprint(loop)
	if len(a) != 16 {
		t.Errorf("fingerprint %q, want 16 hexadecimal digits", a)
	}
	if b := fingerprint(loop); a != b {
		t.Errorf("two readings differ: %q, %q", a, b)
	}
	if hashFacts([]string{"a", "b", "a"}) != hashFacts([]string{"b", "a"}) {
		t.Error("order or repetition changes the hash")
	}
	if hashFacts([]string{"10.0.0.0/24", "source 10.0.0.2"}) == hashFacts([]string{"10.0.0.0/24", "source 10.0.0.3"}) {
		t.Error("the source address does not count")
	}
	if hashFacts([]string{"ab"}) == hashFacts([]string{"a", "b"}) {
		t.Error("facts run into each other")
	}
}
