package h2conn

import (
	"strconv"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/transport"
)

// goAwayState is what was said about the end by either side. Guarded by Conn.mu.
type goAwayState struct {
	due   bool            // a GOAWAY with last and NO_ERROR is to be written
	said  bool            // one was written
	final bool            // last is final: streams above it were not looked at
	last  uint32          // the last id we named or are about to name
	limit transport.Limit // why we go away, if a limit of ours was reached

	received  bool
	peerLast  uint32
	peerCode  http2.ErrCode
	peerDebug string // escaped
}

// maxDebugData bounds the debug data of a GOAWAY that is kept for the log.
const maxDebugData = 256

// GoAway ends the connection gracefully: no new streams, and the connection
// closes when the last stream has ended. A server says GOAWAY with the highest
// id, waits one round trip for streams on their way, then says the final one. It
// does not wait.
func (c *Conn) GoAway() {
	c.mu.Lock()
	defer c.unlock()
	c.goAwayLocked()
}

func (c *Conn) goAwayLocked() {
	if c.phase != phaseOpen {
		return
	}
	if !c.server {
		// A server opens no streams, so there is nothing to wait for.
		c.setPhaseLocked(phaseClosing)
		c.sayGoAwayLocked(0)
		c.failWaitersLocked()
		c.checkDrainedLocked()
		return
	}
	c.setPhaseLocked(phaseDraining)
	c.sayGoAwayLocked(maxStreamID)
	c.queuePingLocked(pingGoAway)
	if c.cfg.GoAwayTimeout <= 0 {
		c.finalGoAwayLocked()
		return
	}
	c.setTimerLocked(timerGoAway, c.cfg.GoAwayTimeout)
}

func (c *Conn) sayGoAwayLocked(last uint32) {
	c.goAway.due, c.goAway.last = true, last
	c.wakeLocked()
}

// finalGoAwayLocked names the last stream that was accepted: "it will not accept
// any more" (section 6.8).
func (c *Conn) finalGoAwayLocked() {
	if c.phase != phaseDraining {
		return
	}
	c.setPhaseLocked(phaseClosing)
	c.clearTimerLocked(timerGoAway)
	c.goAway.final = true
	c.sayGoAwayLocked(c.maxPeerID)
	c.checkDrainedLocked()
}

// checkDrainedLocked ends a closing connection once its streams have ended.
func (c *Conn) checkDrainedLocked() {
	if len(c.streams) > 0 {
		return
	}
	if c.phase == phaseClosing || c.phase == phaseOpen && c.server && c.goAway.received {
		e := &ConnError{Code: http2.ErrCodeNo, Reason: "drained", Limit: c.goAway.limit}
		if g := &c.goAway; g.received && g.peerCode != http2.ErrCodeNo {
			e = &ConnError{Code: g.peerCode, Remote: true, Reason: g.peerDebug}
		}
		c.endLocked(e)
	}
}

// readGoAway notes that the peer goes away. A client fails the streams that the
// server has not looked at: they "can be retried" (section 6.8).
func (c *Conn) readGoAway(f *http2.GoAwayFrame) error {
	c.mu.Lock()
	g := &c.goAway
	if g.received && f.LastStreamID > g.peerLast {
		c.unlock()
		return connError(http2.ErrCodeProtocol, "GOAWAY names stream %d after %d", f.LastStreamID, g.peerLast)
	}
	if g.received {
		c.glitchLocked(1)
	}
	g.received, g.peerLast, g.peerCode = true, f.LastStreamID, f.ErrCode
	debug := f.DebugData()
	// Escaped: it goes to logs.
	g.peerDebug = strconv.QuoteToASCII(string(debug[:min(len(debug), maxDebugData)]))
	var failed []*Stream
	if !c.server {
		if c.phase < phaseClosing {
			c.setPhaseLocked(phaseClosing)
		}
		c.failWaitersLocked()
		for id, s := range c.streams {
			if id > f.LastStreamID {
				failed = append(failed, s)
			}
		}
	}
	errs := make([]*StreamError, len(failed))
	for i, s := range failed {
		errs[i] = &StreamError{StreamID: s.id, Code: http2.ErrCodeRefusedStream, Remote: true,
			NotProcessed: true, Cause: ErrGoAway}
		s.reason = errs[i]
		c.closeStreamLocked(s, closeByPeer)
	}
	c.checkDrainedLocked()
	c.unlock()
	for i, s := range failed {
		c.reset(s, errs[i])
	}
	if c.cfg.OnGoAway != nil {
		c.cfg.OnGoAway(f.LastStreamID, f.ErrCode)
	}
	return nil
}
