package sessionstate

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/towpath-go/towpath/transport"
)

func TestPace(t *testing.T) {
	t.Run("no rate is no limit", func(t *testing.T) {
		for _, r := range []transport.Rate{{}, {PerSecond: -1}, {Burst: 5}} {
			p := NewPace(start, r)
			if n, wait := p.Take(start, math.MaxUint64); p != nil || n != math.MaxUint64 || wait != 0 {
				t.Errorf("%+v: %d, %v", r, n, wait)
			}
		}
	})
	t.Run("the burst at once, and then steps", func(t *testing.T) {
		p := NewPace(start, transport.Rate{PerSecond: 1000, Burst: 300})
		for _, c := range []struct {
			at   time.Duration
			want uint64
			n    uint64
			wait time.Duration
		}{
			{0, 100, 100, 0},
			{0, 500, 200, 50 * time.Millisecond},
			{0, 500, 0, 50 * time.Millisecond},
			{20 * time.Millisecond, 500, 0, 30 * time.Millisecond},
			{50 * time.Millisecond, 500, 50, 50 * time.Millisecond},
			{60 * time.Millisecond, 3, 3, 0}, // less than a step, and all that is wanted
			{60 * time.Millisecond, 10, 0, 3 * time.Millisecond},
			{time.Hour, 1000, 300, 50 * time.Millisecond},
		} {
			if n, wait := p.Take(start.Add(c.at), c.want); n != c.n || wait != c.wait {
				t.Fatalf("at %v of %d: %d and %v, want %d and %v", c.at, c.want, n, wait, c.n, c.wait)
			}
		}
	})
	t.Run("random calls get the burst and the rate, and nothing is lost to rounding", func(t *testing.T) {
		for range 300 {
			seed := rand.Uint64()
			rng := rand.New(rand.NewPCG(seed, 0))
			r := transport.Rate{PerSecond: 1 + rng.Int64N(1<<rng.IntN(40)), Burst: 1 + rng.Int64N(1<<rng.IntN(40))}
			p := NewPace(start, r)
			now, given := start, uint64(0)
			for range 500 {
				want := 1 + rng.Uint64N(1<<20)
				n, wait := p.Take(now, want)
				given += n
				elapsed := now.Sub(start)
				if most := float64(r.Burst) + float64(r.PerSecond)*elapsed.Seconds(); float64(given) > most+1 {
					t.Fatalf("seed %#x: %+v gave %d in %v", seed, r, given, elapsed)
				}
				if wait < 0 || wait > time.Second || (n == want) != (wait == 0) {
					t.Fatalf("seed %#x: %+v gave %d of %d, to wait %v", seed, r, n, want, wait)
				}
				if n == 0 {
					// At the time that was told there is something, and not before.
					early, _ := p.Take(now.Add(wait-1), want)
					due, _ := p.Take(now.Add(wait), want)
					if early != 0 || due == 0 {
						t.Fatalf("seed %#x: %+v gave %d before the time and %d then", seed, r, early, due)
					}
					given += due
					now = now.Add(wait)
				}
			}
		}
	})
	t.Run("a peer that always wants gets all of it", func(t *testing.T) {
		for _, perSecond := range []int64{1, 7, 999, 12_345, 1 << 30, 1 << 50} {
			p := NewPace(start, transport.Rate{PerSecond: perSecond, Burst: 1})
			now, given := start, uint64(0)
			for now.Sub(start) < 100*time.Second {
				n, wait := p.Take(now, math.MaxUint64)
				given += n
				now = now.Add(wait)
			}
			if most := 1 + 100*uint64(perSecond); given > most || given < most-max(uint64(perSecond)/20, 1)-1 {
				t.Errorf("%d a second: %d in 100 s", perSecond, given)
			}
		}
	})
	t.Run("extreme rates do not overflow", func(t *testing.T) {
		p := NewPace(start, transport.Rate{PerSecond: math.MaxInt64, Burst: math.MaxInt64})
		for i := range 3 {
			if n, wait := p.Take(start.AddDate(100*i, 0, 0), math.MaxUint64); n < math.MaxInt64 || wait < 0 || wait > time.Second {
				t.Errorf("%d, %v", n, wait)
			}
		}
	})
}

func TestFloodsOfConfig(t *testing.T) {
	count := func(f func() error) (n int, limit transport.Limit) {
		for ; n < 1_000_000; n++ {
			if err := f(); err != nil {
				limit, _ = transport.ReachedLimit(err)
				return n, limit
			}
		}
		return n, ""
	}
	one := transport.Rate{PerSecond: 1, Burst: 1}
	for _, c := range []struct {
		name                   string
		f                      transport.Floods
		glitch, reset, control int
		tiny                   int
	}{
		{"H2-185 the defaults", transport.Floods{}, 1000, 1000, 10_000, 100_000},
		{"H2-185 others", transport.Floods{Glitches: one, Resets: one, Control: one, TinyDatagrams: one}, 1, 1, 1, 1},
		{"a burst of 0 is a second's worth", transport.Floods{Glitches: transport.Rate{PerSecond: 7}}, 7, 1000, 10_000, 100_000},
		{"a rate of 0 is the default", transport.Floods{Glitches: transport.Rate{Burst: 7}}, 7, 1000, 10_000, 100_000},
		{"a negative rate is none", transport.Floods{Glitches: transport.Rate{PerSecond: -1}}, 1_000_000, 1000, 10_000, 100_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := NewFloods(c.f)
			for _, k := range []struct {
				name  string
				f     func() error
				want  int
				limit transport.Limit
			}{
				{"glitches", func() error { return f.Glitch(start, "x") }, c.glitch, transport.LimitCapsules},
				{"resets", func() error { return f.Reset(start) }, c.reset, transport.LimitAborts},
				{"control", func() error { return f.FlowControl(start) }, c.control, transport.LimitControl},
				{"tiny datagrams", func() error { return f.TinyDatagram(start) }, c.tiny, transport.LimitTinyDatagrams},
			} {
				n, limit := count(k.f)
				if n != k.want || n < 1_000_000 && limit != k.limit {
					t.Errorf("%s: %d passed, limit %q; want %d, %q", k.name, n, limit, k.want, k.limit)
				}
			}
		})
	}
}
