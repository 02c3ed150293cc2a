package session

import (
	"time"

	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// Limits bound what a peer may do that costs work and brings nothing. They are
// token buckets. The zero value of a field means its default.
type Limits struct {
	// Glitches are empty WT_STREAM capsules without FIN on a stream that is
	// open already, *_BLOCKED and WT_MAX_* that repeat what is known, repeated
	// WT_DRAIN_SESSION, PADDING, and capsules of unknown type. 256 bytes of
	// stream data and datagrams give one back, since PADDING is there to hide
	// them. More end the session with WT_ERROR. Default 1,000 and 100 a second.
	Glitches Rate
	// Resets are WT_RESET_STREAM, if this side did not ask for it, and
	// WT_STOP_SENDING. A stream of the peer that ends cleanly gives one back.
	// More end the session as excessive load.
	// Default 1,000 and 100 a second.
	Resets Rate
	// Control are all flow-control capsules. Each capsule sent gives two back,
	// and each 512 bytes of it another one, since a peer that reads has to
	// return credit. More end the session with WT_ERROR. Default 10,000 and
	// 1,000 a second.
	Control Rate
	// TinyDatagrams are datagrams of less than 16 bytes. More end the session
	// with WT_ERROR. Default 100,000 and 50,000 a second.
	TinyDatagrams Rate
}

// A Rate is the size of a token bucket and its refill, both at most a billion.
type Rate struct {
	Burst     int
	PerSecond int
}

func (r Rate) or(burst, perSecond int) Rate {
	if r.Burst <= 0 {
		r.Burst = burst
	}
	if r.PerSecond <= 0 {
		r.PerSecond = perSecond
	}
	return r
}

// tinyDatagram is the size below which a datagram counts as tiny.
const tinyDatagram = 16

// An abuse counts what a peer does that brings nothing.
type abuse struct {
	glitches, resets, control, tiny *sessionstate.FloodGuard
}

// back is what one capsule costs in the useful bytes that a FloodGuard takes.
const back = sessionstate.DefaultFloodCredit

func newAbuse(l Limits, now time.Time) abuse {
	guard := func(r Rate) *sessionstate.FloodGuard {
		return sessionstate.NewFloodGuard(now, r.Burst, r.PerSecond)
	}
	return abuse{
		glitches: guard(l.Glitches.or(1000, 100)),
		resets:   guard(l.Resets.or(1000, 100)),
		control:  guard(l.Control.or(10_000, 1000)),
		tiny:     guard(l.TinyDatagrams.or(100_000, 50_000)),
	}
}

// sent returns what a capsule of n bytes, sent to the peer, entitles it to.
func (a *abuse) sent(n int) { a.control.Progress(2*back + n/512*back) }

// received returns what useful bytes of the peer entitle it to.
func (a *abuse) received(n int) { a.glitches.Progress(n) }

// endedCleanly returns what a stream of the peer that ended by FIN entitles it to.
func (a *abuse) endedCleanly() { a.resets.Progress(back) }

func (a *abuse) glitch(now time.Time, what string) error {
	if a.glitches.Charge(now) {
		return nil
	}
	return violation(transport.ViolationGeneric, "too many capsules without effect, the last: %s", what)
}

func (a *abuse) reset(now time.Time) error {
	if a.resets.Charge(now) {
		return nil
	}
	return violation(transport.ViolationExcess, "too many streams reset or stopped")
}

func (a *abuse) flowControl(now time.Time) error {
	if a.control.Charge(now) {
		return nil
	}
	return violation(transport.ViolationGeneric, "too many flow-control capsules")
}

func (a *abuse) tinyDatagram(now time.Time) error {
	if a.tiny.Charge(now) {
		return nil
	}
	return violation(transport.ViolationGeneric, "too many tiny datagrams")
}
