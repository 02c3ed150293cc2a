package h2conn

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/transport"
)

// readSettings takes SETTINGS or their acknowledgement. New send windows count at
// once; the writer changes to the rest as it writes the acknowledgement, so that
// the peer sees both in one order.
func (c *Conn) readSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return c.readSettingsAck()
	}
	if f.NumSettings() > c.cfg.MaxSettings {
		return overLimit(transport.LimitFrameSize, "SETTINGS with %d entries", f.NumSettings())
	}
	c.mu.Lock()
	next, first := c.peer, !c.peerSettled
	c.unlock()
	minTable := next.HeaderTableSize
	// "The values MUST be processed in the order they appear": section 6.5.3.
	for i := range f.NumSettings() {
		v := f.Setting(i)
		if err := next.checkSetting(v, c.server, first); err != nil {
			return err
		}
		next = next.with(v, slices.Contains(c.cfg.KnownSettings, v.ID))
		minTable = min(minTable, next.HeaderTableSize)
	}
	if c.cfg.OnSettings != nil {
		if err := c.cfg.OnSettings(next); err != nil {
			return asConnError(err)
		}
	}
	c.mu.Lock()
	defer c.unlock()
	delta := int64(next.InitialWindowSize) - c.sendInitial
	c.peer, c.sendInitial = next, int64(next.InitialWindowSize)
	c.minTable = min(c.minTable, minTable)
	for _, s := range c.streams {
		if !s.send.add(delta) {
			return &ConnError{Code: http2.ErrCodeFlowControl, Limit: transport.LimitFlowControl,
				Reason: fmt.Sprintf("INITIAL_WINDOW_SIZE overflows stream %d", s.id)}
		}
		if delta > 0 {
			c.scheduleLocked(s)
		}
	}
	c.acksDue++
	c.glitchLocked(1)
	c.boundControlLocked()
	if first {
		c.peerSettled = true
		c.clearTimerLocked(timerPreface)
		c.settingsIn.Happen()
	}
	if c.phase == phaseOpen {
		c.grantLocked()
	}
	c.wakeLocked()
	return nil
}

// readSettingsAck makes the oldest of our SETTINGS that was not acknowledged
// binding for the peer.
func (c *Conn) readSettingsAck() error {
	c.mu.Lock()
	defer c.unlock()
	if len(c.settingsSent) == len(c.settingsOut) {
		return connError(http2.ErrCodeProtocol, "SETTINGS ACK without SETTINGS")
	}
	if c.acked.HeaderTableSize != c.settingsSent[0].HeaderTableSize {
		n := c.settingsSent[0].HeaderTableSize
		c.r.dec.SetAllowedMaxDynamicTableSize(n)
		if n < defaultTableSize {
			c.r.dec.SetMaxDynamicTableSize(n)
		}
	}
	c.acked = c.settingsSent[0]
	c.settingsSent = slices.Delete(c.settingsSent, 0, 1)
	c.resizeStreamsLocked()
	if c.ping.rtt == 0 {
		c.ping.sample(time.Since(c.timers.began)-c.settingsTime, false)
	}
	if len(c.settingsSent) == len(c.settingsOut) {
		c.clearTimerLocked(timerSettings)
	}
	return nil
}

func asConnError(err error) error {
	if ce, ok := err.(*ConnError); ok {
		return ce
	}
	return connError(http2.ErrCodeProtocol, "%v", err)
}

// readPing queues the answer; the queue is bounded, and a flood of PINGs is paid
// from the budget even if the answers are read.
func (c *Conn) readPing(f *http2.PingFrame) error {
	c.mu.Lock()
	defer c.unlock()
	if f.IsAck() {
		if !c.answeredLocked(f.Data, time.Now()) {
			c.glitchLocked(1)
		}
		return nil
	}
	c.pongs = append(c.pongs, f.Data)
	c.glitchLocked(1)
	c.boundControlLocked()
	c.wakeLocked()
	return nil
}
