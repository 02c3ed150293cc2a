package link

import (
	"math"
	"testing"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// spans lists the lengths of a model's whole periods until a time, in units of
// their mean.
func spans(b lab.Burst, seed uint64, until time.Duration) (good, bad []float64) {
	p := newPeriods(b, seed)
	for first := true; p.end < until; first = false {
		begin := p.end
		p.bad(begin)
		for p.end == begin { // an empty one
			p.bad(begin)
		}
		if first {
			continue
		}
		if p.isBad {
			bad = append(bad, float64(p.end-begin)/float64(b.Bad))
		} else {
			good = append(good, float64(p.end-begin)/float64(b.Good))
		}
	}
	return good, bad
}

func TestPeriodsLengths(t *testing.T) {
	b := lab.Burst{Good: 980 * time.Millisecond, Bad: 20 * time.Millisecond, Loss: 1}
	good, bad := spans(b, 5, 10_000*time.Second)
	share := func(x float64) float64 { return 1 - math.Exp(-x) }
	for name, lengths := range map[string][]float64{"good": good, "bad": bad} {
		// 10,000 s are 10,000 pairs, give or take 5 of their deviations.
		if n := len(lengths); n < 9300 || n > 10700 {
			t.Errorf("%d %s periods", n, name)
		}
		if d := farthest(lengths, share); d > farthestAllowed {
			t.Errorf("%s periods: distance %v from the exponential distribution", name, d)
		}
	}
}

func TestPeriodsBeginAnywhere(t *testing.T) {
	const seeds = 20_000
	b := lab.Burst{Good: 70 * time.Millisecond, Bad: 30 * time.Millisecond, Loss: 1}
	for _, at := range []time.Duration{0, time.Millisecond, time.Second} {
		n := 0
		for seed := range uint64(seeds) {
			if newPeriods(b, seed).bad(at) {
				n++
			}
		}
		if share := float64(n) / seeds; math.Abs(share-0.3) > 5*math.Sqrt(0.3*0.7/seeds) {
			t.Errorf("after %v, %v of the seeds are in a bad period, want 0.3", at, share)
		}
	}
}

func TestPeriodsNeedNoPackets(t *testing.T) {
	b := lab.Burst{Good: 50 * time.Millisecond, Bad: 50 * time.Millisecond, Loss: 1}
	often, seldom := newPeriods(b, 9), newPeriods(b, 9)
	for i := range 100_000 {
		now := time.Duration(i) * time.Millisecond
		is := often.bad(now)
		if i%997 == 0 && seldom.bad(now) != is {
			t.Fatalf("after %v, it depends on how often one asks", now)
		}
	}
}

func TestNoPeriods(t *testing.T) {
	p := newPeriods(lab.Burst{Bad: time.Second, Loss: 1}, 1)
	for _, now := range []time.Duration{0, time.Second, 1000 * time.Hour} {
		if p.bad(now) {
			t.Errorf("bad after %v", now)
		}
	}
}
