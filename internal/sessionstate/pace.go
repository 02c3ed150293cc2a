package sessionstate

import (
	"math"
	"math/bits"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// A Pace withholds credit, so that a peer sends no faster than a transport.Rate
// allows: as many bytes of credit as Burst, and PerSecond more each second. It
// counts credit and not bytes, since what was given cannot be taken back. The nil
// Pace withholds nothing.
//
// A peer that is slowed down is given credit in steps of a twentieth of a second's
// worth, so that it is not sent a limit for every byte.
type Pace struct {
	perSecond uint64
	step      uint64 // what is waited for, at least
	most      uint64 // of level
	level     uint64 // bytes that may be given
	rest      uint64 // of a byte, in billionths
	last      time.Time
}

// NewPace returns a Pace whose burst has not been used; nil if the rate is no
// limit.
func NewPace(now time.Time, r transport.Rate) *Pace {
	if r.PerSecond <= 0 {
		return nil
	}
	burst := r.Burst
	if burst <= 0 {
		burst = r.PerSecond
	}
	p := &Pace{perSecond: uint64(r.PerSecond), level: uint64(burst), last: now}
	p.step = max(p.perSecond/20, 1)
	// Twice the step, or what comes while a timer is late would be lost to the
	// peer if the burst is shorter.
	p.most = max(p.level, 2*p.step)
	return p
}

// Take takes up to want bytes of credit and returns how many may be given now.
// If those are fewer, wait is how long to wait before it is asked again: at most
// a second or, if the rate is above 20 bytes a second, a twentieth of one. Now
// must not go back.
func (p *Pace) Take(now time.Time, want uint64) (n uint64, wait time.Duration) {
	if p == nil || want == 0 {
		return want, 0
	}
	p.refill(now)
	step := min(want, p.step)
	if p.level < step {
		return 0, p.until(step)
	}
	n = min(want, p.level)
	p.level -= n
	if n < want {
		wait = p.until(min(want-n, p.step))
	}
	return n, wait
}

// Return gives back what was taken and not used.
func (p *Pace) Return(n uint64) {
	if p != nil {
		p.level = min(p.level+min(n, p.most), p.most)
	}
}

func (p *Pace) refill(now time.Time) {
	elapsed := now.Sub(p.last)
	if elapsed <= 0 {
		return
	}
	p.last = now
	hi, lo := bits.Mul64(uint64(elapsed), p.perSecond)
	lo, carry := bits.Add64(lo, p.rest, 0)
	hi += carry
	if hi >= uint64(time.Second) { // the quotient has more than 64 bits
		p.level, p.rest = p.most, 0
		return
	}
	gained, rest := bits.Div64(hi, lo, uint64(time.Second))
	if gained >= p.most-min(p.level, p.most) {
		p.level, p.rest = p.most, 0
		return
	}
	p.level, p.rest = p.level+gained, rest
}

// until returns how long it takes until level is n, which it is less than.
func (p *Pace) until(n uint64) time.Duration {
	if n <= p.level {
		return 1
	}
	hi, lo := bits.Mul64(n-p.level, uint64(time.Second))
	lo, borrow := bits.Sub64(lo, p.rest, 0)
	hi -= borrow
	wait, rest := bits.Div64(hi, lo, p.perSecond) // n-level <= perSecond
	if rest > 0 {
		wait++
	}
	return time.Duration(min(max(wait, 1), math.MaxInt64))
}
