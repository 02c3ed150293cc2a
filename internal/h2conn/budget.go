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
}

func newBucket(r Rate) bucket {
	b := float64(r.Burst)
	return bucket{tokens: b, burst: b, perSecond: max(float64(r.PerSecond), 0)}
}

// off tells whether there is no limit.
func (b *bucket) off() bool { return b.burst < 0 }

// take pays n and tells whether there was enough.
func (b *bucket) take(now time.Time, n float64) bool {
	if b.off() {
		return true
	}
	if !b.last.IsZero() {
		b.tokens = min(b.burst, b.tokens+max(now.Sub(b.last).Seconds(), 0)*b.perSecond)
	}
	b.last = now
	if b.tokens < n {
		return false
	}
	b.tokens -= n
	return true
}

// skip leaves out the time to come when the tokens grow.
func (b *bucket) skip(d time.Duration) {
	if !b.last.IsZero() {
		b.last = b.last.Add(d)
	}
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

// A peer whose glitches come faster than toilPerSecond has nothing read for
// pauseTime after every maxToil; a reset counts as many of them as the default
// budgets suggest. The runtime looks for what came on other connections when no
// goroutine can run, and otherwise every 10 to 20 ms only. A read goroutine that
// yields and has more to read is one that can run, and two such peers on a processor
// would leave the others unheard. The pause is some times longer than the work it
// follows, with handlers, and does not refill the budgets.
const (
	maxToil       = 320
	toilPerSecond = 330
	resetToil     = 10
	pauseTime     = 5 * time.Millisecond
)

// toilLocked counts n glitches, unless their budget is off.
func (c *Conn) toilLocked(budget *bucket, n float64) {
	if !budget.off() {
		c.toil += n
	}
}

// restLocked forgets toil for the time since the last frame, and tells whether the
// read goroutine is to pause.
func (c *Conn) restLocked(now time.Time) bool {
	c.toil = max(c.toil-now.Sub(c.ping.heard).Seconds()*toilPerSecond, 0)
	return c.toil > maxToil
}

// pause is called on the read goroutine, between two frames.
func (c *Conn) pause() {
	c.mu.Lock()
	c.toil = 0
	c.resets.skip(pauseTime)
	c.glitches.skip(pauseTime)
	c.unlock()
	time.Sleep(pauseTime)
}

// glitchLocked charges n events without progress; over budget the connection
// ends.
func (c *Conn) glitchLocked(n float64) {
	c.toilLocked(&c.glitches, n)
	if !c.glitches.take(time.Now(), n) {
		c.endLocked(overLimit(transport.LimitFrames, "too many frames without progress"))
	}
}

// chargeResetLocked charges a reset that the peer made or caused; over budget the
// connection ends.
func (c *Conn) chargeResetLocked() {
	c.toilLocked(&c.resets, resetToil)
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
