package sessionstate

import (
	"time"

	"github.com/towpath-go/towpath/transport"
)

// Defaults of a FloodGuard.
const (
	DefaultFloodBurst  = 4096 // capsules
	DefaultFloodRate   = 512  // capsules per second
	DefaultFloodCredit = 256  // bytes that pay for one capsule
)

// A FloodGuard bounds how many capsules a peer may send that bring nothing
// forward: limits, blocked signals, padding, unknown types, empty WT_STREAMs,
// tiny datagrams. It is a bucket of burst capsules that refills with time and
// with useful bytes, so that neither an idle session with a keep-alive nor a
// busy one with many limits is taken for a flood. The nil FloodGuard lets
// everything pass.
type FloodGuard struct {
	burst int64
	rate  int64 // per second
	level int64 // capsules left, in floodUnit
	last  time.Time
}

// floodUnit is one capsule: the level counts billionths of one, so that a rate
// per second times nanoseconds needs no division.
const floodUnit = int64(time.Second)

// NewFloodGuard returns a full bucket. Burst and rate must be positive and at
// most a billion.
func NewFloodGuard(now time.Time, burst, rate int) *FloodGuard {
	if burst < 1 || rate < 1 || burst > maxFlood || rate > maxFlood {
		panic("BUG: sessionstate: FloodGuard out of range")
	}
	return &FloodGuard{burst: int64(burst), rate: int64(rate), level: int64(burst) * floodUnit, last: now}
}

// maxFlood is the largest burst and rate of a FloodGuard.
const maxFlood = 1e9

// NewRateGuard returns a full bucket as r says, with a PerSecond of 0 as def
// says; a Burst of 0 is one second's worth. Both are cut to a billion. It is nil
// if the rate is negative: there is no limit.
func NewRateGuard(now time.Time, r, def transport.Rate) *FloodGuard {
	if r.PerSecond == 0 {
		if r.Burst <= 0 {
			r.Burst = def.Burst
		}
		r.PerSecond = def.PerSecond
	}
	if r.PerSecond <= 0 {
		return nil
	}
	if r.Burst <= 0 {
		r.Burst = r.PerSecond
	}
	return NewFloodGuard(now, int(min(r.Burst, maxFlood)), int(min(r.PerSecond, maxFlood)))
}

// Charge counts one capsule. It reports false if the peer has sent too many;
// the session is to be ended for it.
func (g *FloodGuard) Charge(now time.Time) bool {
	if g == nil {
		return true
	}
	// A bucket is full after burst/rate seconds; longer times would overflow.
	idle := min(now.Sub(g.last), time.Duration(g.burst*floodUnit/g.rate)+1)
	if idle > 0 {
		g.add(int64(idle) * g.rate)
		g.last = now
	}
	if g.level < floodUnit {
		return false
	}
	g.level -= floodUnit
	return true
}

// Progress counts useful bytes. [DefaultFloodCredit] of them pay for one
// capsule.
func (g *FloodGuard) Progress(bytes int) {
	if g == nil {
		return
	}
	g.add(int64(min(bytes, 1<<30)) * (floodUnit / DefaultFloodCredit))
}

func (g *FloodGuard) add(n int64) { g.level = min(g.level+n, g.burst*floodUnit) }
