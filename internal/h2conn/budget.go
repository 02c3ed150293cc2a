package h2conn

import (
	"fmt"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// overLimit is the end of a connection whose peer went beyond a limit of ours.
func overLimit(l transport.Limit, format string, args ...any) *ConnError {
	return &ConnError{Code: codeCalm, Limit: l, Reason: fmt.Sprintf(format, args...)}
}

// A bucket is a token bucket.
type bucket struct {
	tokens, burst, perSecond float64
	last                     time.Time
	off                      bool
}

func newBucket(r Rate) bucket {
	b := float64(r.Burst)
	return bucket{tokens: b, burst: b, perSecond: max(float64(r.PerSecond), 0), off: r.Burst < 0}
}

// take pays n and tells whether there was enough.
func (b *bucket) take(now time.Time, n float64) bool {
	if b.off {
		return true
	}
	if !b.last.IsZero() {
		b.tokens = min(b.burst, b.tokens+now.Sub(b.last).Seconds()*b.perSecond)
	}
	b.last = now
	if b.tokens < n {
		return false
	}
	b.tokens -= n
	return true
}

// refund gives n back.
func (b *bucket) refund(n float64) { b.tokens = min(b.burst, b.tokens+n) }

// Window updates are paid for with the data sent: two for each DATA frame, for a
// stream and the connection, and one more for every updatePer bytes. Those beyond
// count as glitches.
const (
	updatesPerFrame = 2
	updatePer       = 512
	maxUpdateCredit = 10000
	// A DATA frame below dribbleSize that a window forced earns nothing and is a
	// glitch: the peer makes us work by granting a few bytes at a time.
	dribbleSize = 64
)

// glitchLocked charges n events without progress; over budget the connection
// ends.
func (c *Conn) glitchLocked(n float64) {
	if !c.glitches.take(time.Now(), n) {
		c.endLocked(overLimit(transport.LimitFrames, "too many frames without progress"))
	}
}

// chargeResetLocked charges a reset that the peer made or caused; over budget the
// connection ends.
func (c *Conn) chargeResetLocked() {
	if !c.resets.take(time.Now(), 1) {
		c.endLocked(overLimit(transport.LimitStreamResets, "too many streams reset"))
	}
}

// queuedControlLocked is how many frames that the peer caused wait to be written.
func (c *Conn) queuedControlLocked() int {
	return c.acksDue + len(c.pongs) + len(c.rsts)
}

// boundControlLocked ends the connection if they are too many: the peer makes us
// answer and does not read.
func (c *Conn) boundControlLocked() {
	if c.queuedControlLocked() > c.cfg.MaxQueuedControl {
		c.endLocked(overLimit(transport.LimitReplies, "too many replies queued"))
	}
}
