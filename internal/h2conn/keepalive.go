package h2conn

import (
	"encoding/binary"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/transport"
)

// timerID names a deadline of the connection.
type timerID uint8

const (
	timerPreface   timerID = iota // peer's preface and first SETTINGS
	timerSettings                 // peer's SETTINGS ACK
	timerHeader                   // end of the header block that has begun
	timerIdle                     // no streams
	timerKeepAlive                // no frame received
	timerPing                     // answer to a keep-alive PING
	timerGoAway                   // answer to the PING between two GOAWAY frames
	timerWriter                   // the write goroutine had nothing to write
	numTimers
)

// timers are all deadlines of a connection on one time.Timer. Guarded by Conn.mu.
type timers struct {
	began   time.Time                // what the following count from
	at      [numTimers]time.Duration // 0: not set
	armed   time.Duration            // when timer fires; 0: not armed
	timer   *time.Timer
	stopped bool
}

// setTimerLocked sets a deadline after d; 0 means none.
func (c *Conn) setTimerLocked(id timerID, d time.Duration) {
	t := &c.timers
	if d <= 0 || t.stopped {
		return
	}
	now := time.Since(t.began)
	t.at[id] = now + d
	if t.armed == 0 || t.at[id] < t.armed {
		c.armTimerLocked(now, t.at[id])
	}
}

func (c *Conn) clearTimerLocked(id timerID) { c.timers.at[id] = 0 }

func (c *Conn) armTimerLocked(now, at time.Duration) {
	t := &c.timers
	t.armed = at
	if t.timer == nil {
		// The function only sets state and wakes; endLocked stops it.
		t.timer = time.AfterFunc(at-now, c.onTimer)
	} else {
		t.timer.Reset(at - now)
	}
}

func (t *timers) stop() {
	t.stopped = true
	if t.timer != nil {
		t.timer.Stop()
	}
}

// onTimer acts on the deadlines that have passed and arms the timer for the next.
func (c *Conn) onTimer() {
	c.mu.Lock()
	defer c.unlock()
	t := &c.timers
	if t.stopped {
		return
	}
	t.armed = 0
	now := time.Now()
	since := now.Sub(t.began)
	for id := range numTimers {
		if at := t.at[id]; at != 0 && at <= since {
			t.at[id] = 0
			c.timeoutLocked(id, now)
		}
	}
	var next time.Duration
	for _, at := range t.at {
		if at != 0 && (next == 0 || at < next) {
			next = at
		}
	}
	if next != 0 && !t.stopped {
		c.armTimerLocked(since, next)
	}
}

func (c *Conn) timeoutLocked(id timerID, now time.Time) {
	switch id {
	case timerPreface:
		c.timedOutLocked(transport.LimitHandshakeTime, http2.ErrCodeSettingsTimeout, "no preface")
	case timerSettings:
		c.timedOutLocked(transport.LimitHandshakeTime, http2.ErrCodeSettingsTimeout, "SETTINGS not acknowledged")
	case timerHeader:
		c.timedOutLocked(transport.LimitHeaderTime, codeCalm, "header block takes too long")
	case timerIdle:
		if c.phase == phaseOpen {
			c.goAway.limit = transport.LimitConnectionIdle
		}
		c.goAwayLocked()
	case timerKeepAlive:
		c.checkAliveLocked(now)
	case timerPing:
		if c.ping.probing {
			c.timedOutLocked(transport.LimitPingTime, http2.ErrCodeInternal, "peer does not answer PING")
			return
		}
		c.checkAliveLocked(now)
	case timerGoAway:
		c.finalGoAwayLocked()
	case timerWriter:
		c.restWriterLocked()
	}
}

func (c *Conn) timedOutLocked(l transport.Limit, code http2.ErrCode, reason string) {
	c.endLocked(&ConnError{Code: code, Limit: l, Reason: reason})
}

// checkAliveLocked asks the peer for a sign of life if there was none for a while.
func (c *Conn) checkAliveLocked(now time.Time) {
	if len(c.streams) == 0 {
		return // the next stream sets the timer
	}
	if quiet := now.Sub(c.ping.heard); quiet < c.cfg.KeepAlive {
		c.setTimerLocked(timerKeepAlive, c.cfg.KeepAlive-quiet)
		return
	}
	c.ping.probing = true
	c.queuePingLocked(pingProbe)
	c.setTimerLocked(timerPing, c.cfg.PingTimeout)
}

// pingKind says what a PING of ours is for.
type pingKind uint8

const (
	pingProbe  pingKind = iota // liveness and round-trip time
	pingGoAway                 // one round trip between two GOAWAY frames
	numPings
)

// rttInterval is the time between measurements while data comes in.
const rttInterval = 2 * time.Second

// pingState is what we know from PINGs. At most one of each kind is on its way.
// Guarded by Conn.mu.
type pingState struct {
	due   [numPings]bool
	out   [numPings]bool
	sent  [numPings]time.Time
	count uint32 // makes each payload different

	heard   time.Time // last frame received
	probing bool      // keep-alive: nothing was heard since the PING was due

	rtt       time.Duration // smoothed; 0: not measured
	fromPings bool          // not only from the SETTINGS exchange
	measured  time.Time     // when a probe was last asked for
}

func (p *pingState) heardLocked(now time.Time) {
	p.heard = now
	p.probing = false
}

func (c *Conn) queuePingLocked(k pingKind) {
	if !c.ping.out[k] {
		c.ping.due[k] = true
		c.wakeLocked()
	}
}

// probeRTTLocked measures now and then while data comes in.
func (c *Conn) probeRTTLocked() {
	if now := c.ping.heard; now.Sub(c.ping.measured) >= rttInterval {
		if !c.ping.measured.IsZero() {
			c.queuePingLocked(pingProbe)
		}
		c.ping.measured = now
	}
}

func (p *pingState) payload(k pingKind) (b [8]byte) {
	copy(b[:3], "twp")
	b[3] = byte(k)
	binary.BigEndian.PutUint32(b[4:], p.count)
	return b
}

// answeredLocked takes a PING ACK; false if we sent no such PING.
func (c *Conn) answeredLocked(data [8]byte, now time.Time) bool {
	p := &c.ping
	for k := range numPings {
		if !p.out[k] || data != p.payload(k) {
			continue
		}
		p.out[k] = false
		p.sample(now.Sub(p.sent[k]), true)
		if k == pingGoAway {
			c.finalGoAwayLocked()
		}
		return true
	}
	return false
}

// sample takes a measured round-trip time. The SETTINGS exchange gives a first
// value, which the peer's start may have lengthened: the first PING replaces it.
func (p *pingState) sample(d time.Duration, ping bool) {
	d = max(d, time.Microsecond) // 0 means unknown
	switch {
	case p.rtt == 0 || ping && !p.fromPings:
		p.rtt = d
	case ping:
		p.rtt += (d - p.rtt) / 8
	}
	p.fromPings = p.fromPings || ping
}

// RTT returns the smoothed round-trip time, and whether it was measured: from the
// SETTINGS exchange, then from PINGs while data comes in.
func (c *Conn) RTT() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ping.rtt, c.ping.rtt > 0
}
