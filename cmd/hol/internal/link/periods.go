package link

import (
	"math"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// periods are the good and bad periods of a Gilbert-Elliott model by the clock.
// They depend on the seed alone. Whether the first one is bad has the probability
// of any moment to be bad, so that a short run sees the right share.
type periods struct {
	burst lab.Burst
	seed  uint64
	n     uint64        // of the current period, which ends at end
	end   time.Duration // since the link's beginning
	isBad bool
}

func newPeriods(b lab.Burst, seed uint64) *periods {
	p := &periods{burst: b, seed: seed}
	if b.Good == 0 {
		p.end = math.MaxInt64
		return p
	}
	share := float64(b.Bad) / (float64(b.Good) + float64(b.Bad))
	p.isBad = draw(seed, 0, streamPeriods, 0) < share
	p.n, p.end = 1, p.length(1)
	return p
}

func (p *periods) length(n uint64) time.Duration {
	mean := p.burst.Good
	if p.isBad {
		mean = p.burst.Bad
	}
	return time.Duration(float64(mean) * exponential(draw(p.seed, 0, streamPeriods, n)))
}

// bad says whether it is a bad period at now, which must not go back.
func (p *periods) bad(now time.Duration) bool {
	for now >= p.end {
		p.isBad = !p.isBad
		p.n++
		p.end += p.length(p.n)
	}
	return p.isBad
}
