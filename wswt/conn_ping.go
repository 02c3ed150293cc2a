package wswt

import (
	"encoding/binary"
	"time"
)

// rttInterval is the time between measurements while data comes in.
const rttInterval = 2 * time.Second

// pingState is what is known from our pings, of which one is on its way at most.
// Guarded by conn.mu.
type pingState struct {
	due      bool
	out      bool
	sent     time.Time
	count    uint64 // makes each payload different
	heard    time.Time
	probing  bool // keep-alive: nothing was heard since probe
	probe    time.Time
	rtt      time.Duration // smoothed; 0: not measured
	measured time.Time     // when a measurement was last asked for
}

// pingSize is the payload of our pings.
const pingSize = 8

func (p *pingState) dueLocked() {
	if !p.out {
		p.due = true
	}
}

// takeLocked returns the payload of the ping that is due.
func (p *pingState) takeLocked(now time.Time) (payload [pingSize]byte) {
	p.due, p.out, p.sent = false, true, now
	p.count++
	binary.BigEndian.PutUint64(payload[:], p.count)
	return payload
}

// heard notes that n bytes came, so that the peer is alive, and measures the
// round-trip time now and then while data comes in. It reports false if they are
// more than is taken behind a Close frame.
func (c *conn) heard(now time.Time, n int) bool {
	c.mu.Lock()
	if c.send != sendOpen && blames(c.status) {
		c.late += n
	}
	patient := c.late <= maxLate
	p := &c.ping
	p.heard, p.probing = now, false
	ask := c.send == sendOpen && (p.measured.IsZero() || now.Sub(p.measured) >= rttInterval)
	if ask {
		p.measured = now
		p.dueLocked()
	}
	c.mu.Unlock()
	if ask {
		c.signal()
	}
	return patient
}

// answered takes a pong. One that answers nothing is allowed: RFC 6455 section
// 5.5.3.
func (c *conn) answered(payload []byte, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &c.ping
	if !p.out || len(payload) != pingSize || binary.BigEndian.Uint64(payload) != p.count {
		return
	}
	p.out = false
	d := max(now.Sub(p.sent), time.Microsecond) // 0 means unknown
	if p.rtt == 0 {
		p.rtt = d
	} else {
		p.rtt += (d - p.rtt) / 8
	}
}
