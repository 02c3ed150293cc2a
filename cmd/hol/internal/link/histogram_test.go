package link

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

func TestHistogramBuckets(t *testing.T) {
	values := []time.Duration{math.MaxInt64, math.MaxInt64 - 1}
	for d := time.Duration(1); d > 0; d *= 2 {
		values = append(values, d-1, d, d+1, d+d/2)
	}
	for _, d := range values {
		d = max(d, 0)
		b := bucket(d)
		if b < 0 || b >= len(histogram{}.counts) {
			t.Fatalf("%d is in bucket %d", d, b)
		}
		if top(b) < d || float64(top(b)) > float64(d)*17/16 {
			t.Errorf("%d is in bucket %d, whose top is %d", d, b, top(b))
		}
		if b > 0 && top(b-1) >= d {
			t.Errorf("%d is in bucket %d, but that before has the top %d", d, b, top(b-1))
		}
	}
}

func TestLateness(t *testing.T) {
	if got := new(histogram).lateness(); got != (lab.Lateness{}) {
		t.Errorf("of nothing: %+v", got)
	}
	const seed = 1
	random := rand.New(rand.NewPCG(seed, seed))
	for _, n := range []int{1, 2, 99, 100, 101, 12_345} {
		h := new(histogram)
		var all []time.Duration
		var sum time.Duration
		for range n {
			d := time.Duration(math.Exp(random.NormFloat64()*2) * 50_000)
			h.add(d)
			all, sum = append(all, d), sum+d
		}
		slices.Sort(all)
		got, p99 := h.lateness(), all[(n*99+99)/100-1]
		if got.Mean != sum/time.Duration(n) || got.Max != all[n-1] {
			t.Errorf("%d values: %+v", n, got)
		}
		if got.P99 < p99 || float64(got.P99) > float64(p99)*17/16 || got.P99 > got.Max {
			t.Errorf("%d values: p99 %v, want %v or up to 1/16 more", n, got.P99, p99)
		}
	}
	h := new(histogram)
	h.stall(time.Second)
	h.stall(time.Millisecond)
	if got := h.lateness(); got != (lab.Lateness{Max: time.Second}) {
		t.Errorf("of a stall without packets: %+v", got)
	}
	h.add(time.Millisecond)
	if got := h.lateness(); got.Mean != time.Millisecond || got.Max != time.Second || got.P99 > time.Millisecond*17/16 {
		t.Errorf("of a stall and a packet: %+v", got)
	}
	h = new(histogram)
	h.add(-time.Second) // a clock that is read earlier than the packet was due
	if got := h.lateness(); got != (lab.Lateness{}) {
		t.Errorf("of less than nothing: %+v", got)
	}
}
