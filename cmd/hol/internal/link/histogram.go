package link

import (
	"math/bits"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// histogram counts durations in buckets whose bounds lie at most 1/16 apart.
type histogram struct {
	counts [64 * 16]int64
	n      int64
	sum    time.Duration
	max    time.Duration
}

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(d)]++
	h.n++
	h.sum += d
	h.max = max(h.max, d)
}

// stall raises the maximum alone.
func (h *histogram) stall(d time.Duration) { h.max = max(h.max, d) }

// bucket is d itself below 32 ns, and else 16 buckets for each power of 2.
func bucket(d time.Duration) int {
	shift := max(0, bits.Len64(uint64(d))-5)
	return shift*16 + int(d>>shift)
}

// top is the largest duration of a bucket.
func top(b int) time.Duration {
	shift := max(0, b/16-1)
	return time.Duration(b-shift*16+1)<<shift - 1
}

// lateness has a P99 that is at most 1/16 too large.
func (h *histogram) lateness() lab.Lateness {
	if h.n == 0 {
		return lab.Lateness{Max: h.max}
	}
	rank := (h.n*99 + 99) / 100 // of the value that 99 % do not exceed
	l := lab.Lateness{Mean: h.sum / time.Duration(h.n), Max: h.max}
	for b, c := range h.counts {
		if rank -= c; rank <= 0 {
			l.P99 = min(top(b), h.max)
			break
		}
	}
	return l
}
