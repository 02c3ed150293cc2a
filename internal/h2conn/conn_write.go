package h2conn

import (
	"bytes"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/towpath-go/towpath/transport"
)

const (
	frameHeaderLen = 9
	minWriteBuffer = 4 << 10
	// minDataRoom is the least room worth beginning a DATA frame in: below it the
	// buffer is written first.
	minDataRoom = 1 << 10
)

// A writer is the state of the write goroutine.
type writer struct {
	out    []byte        // frames encoded for the next write
	room   int           // bytes of out that may be encoded now
	fr     *http2.Framer // writes to out; the reader's
	enc    *hpack.Encoder
	block  bytes.Buffer
	frame  int // largest payload the peer takes
	pooled *[]byte

	begun   bool // the write goroutine ran
	greeted bool // the first SETTINGS are written
	mayGrow bool // what Config.MayGrow said last
}

func (w *writer) init(c *Conn) {
	w.room = c.cfg.WriteBuffer
	w.fr = c.r.fr
	w.enc = hpack.NewEncoder(&w.block)
	w.enc.SetMaxDynamicTableSizeLimit(uint32(min(c.cfg.HeaderTableSize, defaultTableSize)))
	w.frame = minMaxFrameSize
}

// Write appends a frame of the Framer to out.
func (w *writer) Write(p []byte) (int, error) {
	w.out = append(w.out, p...)
	return len(p), nil
}

// buffers are for one write at a time: an idle connection keeps none.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

func (w *writer) getBuffer(size int) {
	if w.pooled == nil {
		w.pooled = buffers.Get().(*[]byte)
		if cap(*w.pooled) < size {
			*w.pooled = make([]byte, 0, size)
		}
		w.out = (*w.pooled)[:0]
	}
}

func (w *writer) putBuffer(size int) {
	if w.pooled != nil {
		if cap(w.out) <= 2*size { // not one that a large header list grew
			*w.pooled = w.out[:0]
			buffers.Put(w.pooled)
		}
		w.pooled, w.out = nil, nil
	}
}

// writerRest is how long the write goroutine has nothing to write before it ends:
// that long to twice that.
const writerRest = 250 * time.Millisecond

// writeLoop encodes what is due and writes it, until there is nothing for a while
// or the connection ends.
func (c *Conn) writeLoop() {
	w := &c.w
	if !w.begun {
		w.begun = true
		w.getBuffer(c.cfg.WriteBuffer)
		if !c.server {
			w.out = append(w.out, http2.ClientPreface...)
		}
	}
	c.mu.Lock()
	wake := c.wake
	c.mu.Unlock()
	for {
		w.getBuffer(c.cfg.WriteBuffer)
		err := c.awaitRoom()
		last := c.gather()
		if len(w.out) > 0 {
			if err == nil {
				err = c.write(w.out)
			}
			w.out = w.out[:0]
			if err != nil {
				e := &ConnError{Code: http2.ErrCodeInternal, Reason: "cannot write", Cause: err}
				if isTimeout(err) {
					// Of WriteTimeout: the shorter one of an end that has begun
					// changes nothing.
					e.Limit = transport.LimitWriteTime
				}
				c.end(e)
				c.closeSocket()
				close(c.writeDone)
				return
			}
			if !last {
				continue
			}
		}
		if last {
			break
		}
		w.putBuffer(c.cfg.WriteBuffer)
		<-wake
		if c.leaves() {
			return
		}
	}
	defer close(c.writeDone)
	w.putBuffer(c.cfg.WriteBuffer)
	// GOAWAY is out. The peer closes now, or is closed on.
	if cw, ok := c.nc.(interface{ CloseWrite() error }); ok {
		cw.CloseWrite()
	}
	t := time.NewTimer(c.cfg.GoAwayTimeout)
	defer t.Stop()
	select {
	case <-c.readDone:
	case <-t.C:
	}
	c.closeSocket()
}

// closeSocket closes the socket below TLS first: the TLS connection would try to
// say goodbye once more, and wait for a peer that does not read.
func (c *Conn) closeSocket() {
	if t, ok := c.nc.(interface{ NetConn() net.Conn }); ok {
		t.NetConn().Close()
	}
	c.nc.Close()
}

// write writes to the socket within the write timeout.
func (c *Conn) write(p []byte) error {
	if d := c.cfg.WriteTimeout; d > 0 {
		c.setWriteDeadline(time.Now().Add(d))
	}
	_, err := c.nc.Write(p)
	if err == nil {
		// TLS writes by itself too, when the peer changes keys, and a deadline
		// that has passed would fail that and everything after it.
		c.setWriteDeadline(time.Time{})
	}
	return err
}

// setWriteDeadline sets the deadline of writes, zero for none. One that unlock has
// set meanwhile is renewed.
func (c *Conn) setWriteDeadline(t time.Time) {
	c.nc.SetWriteDeadline(t)
	c.mu.Lock()
	ending := c.phase == phaseEnding
	c.mu.Unlock()
	if ending {
		c.nc.SetWriteDeadline(time.Now().Add(c.cfg.GoAwayTimeout))
	}
}

// gather fills the buffer with frames, and tells whether they are the last:
// control frames, then header lists, then data.
func (c *Conn) gather() (last bool) {
	c.w.mayGrow = c.cfg.MayGrow == nil || c.cfg.MayGrow()
	for {
		c.mu.Lock()
		if c.phase == phaseEnding {
			c.encodeEndLocked()
			c.unlock()
			return true
		}
		c.encodeControlLocked()
		if len(c.w.out) >= c.w.room {
			c.unlock()
			return false
		}
		if h := c.nextHeadersLocked(); h != nil {
			peer := c.peerAcked
			c.unlock()
			c.encodeHeaders(h, peer)
			continue
		}
		s, room := c.nextDataLocked()
		c.unlock()
		if s == nil {
			return false
		}
		c.encodeData(s, room)
	}
}

// encodeControlLocked encodes all control frames that are due. It writes to
// memory only; an encoding error is a bug of ours.
func (c *Conn) encodeControlLocked() {
	if !c.controlDueLocked() {
		return
	}
	fr := c.w.fr
	now := time.Now()
	for _, list := range c.settingsOut {
		must(fr.WriteSettings(list...))
		c.settingsTime = now.Sub(c.timers.began)
		c.setTimerLocked(timerSettings, c.cfg.SettingsTimeout)
		if n := c.recv.limit - defaultInitialWindow; !c.w.greeted && n > 0 {
			must(fr.WriteWindowUpdate(0, uint32(n)))
		}
		c.w.greeted = true
	}
	c.settingsOut = nil
	if c.acksDue > 0 {
		c.applyPeerLocked()
		for ; c.acksDue > 0; c.acksDue-- {
			must(fr.WriteSettingsAck())
		}
	}
	for _, data := range c.pongs {
		must(fr.WritePing(true, data))
	}
	c.pongs = c.pongs[:0]
	for _, r := range c.rsts {
		must(fr.WriteRSTStream(r.id, r.code))
	}
	c.rsts = c.rsts[:0]
	c.encodeUpdatesLocked(now)
	if c.goAway.due {
		c.goAway.due, c.goAway.said = false, true
		must(fr.WriteGoAway(c.goAway.last, http2.ErrCodeNo, nil))
	}
	for k := range numPings {
		if p := &c.ping; p.due[k] {
			p.due[k] = false
			if !p.out[pingProbe] && !p.out[pingGoAway] {
				p.count++
			}
			p.out[k], p.sent[k] = true, now
			must(fr.WritePing(false, p.payload(k)))
		}
	}
}

// controlDueLocked tells whether there is any control frame to encode.
func (c *Conn) controlDueLocked() bool {
	p := &c.ping
	return len(c.settingsOut)+c.acksDue+len(c.pongs)+len(c.rsts)+len(c.updates) > 0 ||
		c.recv.due() || c.goAway.due || p.due[pingProbe] || p.due[pingGoAway]
}

// applyPeerLocked makes the peer's settings binding for us: the acknowledgement
// follows at once.
func (c *Conn) applyPeerLocked() {
	c.peerAcked = c.peer
	c.w.frame = int(c.peer.MaxFrameSize)
	// The smallest value since the last time must be signalled too (RFC 7541,
	// section 4.2); the encoder remembers it.
	own := uint32(c.cfg.HeaderTableSize)
	c.w.enc.SetMaxDynamicTableSizeLimit(min(c.minTable, own))
	c.w.enc.SetMaxDynamicTableSizeLimit(min(c.peer.HeaderTableSize, own))
	c.w.enc.SetMaxDynamicTableSize(min(c.peer.HeaderTableSize, own))
	c.minTable = c.peer.HeaderTableSize
}

// encodeUpdatesLocked encodes the WINDOW_UPDATE frames that are due: at most one
// for the connection and one for each stream, however often credit came back.
func (c *Conn) encodeUpdatesLocked(now time.Time) {
	if !c.recv.due() && len(c.updates) == 0 {
		return
	}
	rtt, grow := c.ping.rtt, c.w.mayGrow && c.unconsumed < c.cfg.ReceiveBuffer/4*3
	if c.recv.due() {
		must(c.w.fr.WriteWindowUpdate(0, c.recv.announce(now, rtt, grow)))
	}
	for _, s := range c.updates {
		s.updating = false
		if s.state.canRecv() && !s.hold && s.recv.due() {
			must(c.w.fr.WriteWindowUpdate(s.id, s.recv.announce(now, rtt, grow)))
		}
	}
	clear(c.updates)
	c.updates = c.updates[:0]
}

// encodeEndLocked encodes the last frames: resets, and GOAWAY with the reason. One
// that repeats the last GOAWAY is left out.
func (c *Conn) encodeEndLocked() {
	fr := c.w.fr
	for _, list := range c.settingsOut {
		must(fr.WriteSettings(list...)) // nothing may come before the first
	}
	for _, r := range c.rsts {
		must(fr.WriteRSTStream(r.id, r.code))
	}
	c.settingsOut, c.rsts = nil, nil
	code := c.err.Code
	if c.err.Remote {
		code = http2.ErrCodeNo // it was the peer's error, not ours
	}
	last := c.maxPeerID
	if c.goAway.final {
		last = c.goAway.last
	}
	if g := &c.goAway; g.said && !g.due && g.last == last && code == http2.ErrCodeNo {
		return
	}
	must(fr.WriteGoAway(last, code, nil))
}

func must(err error) {
	if err != nil {
		panic("BUG: h2conn: " + err.Error())
	}
}
