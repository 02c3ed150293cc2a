package h2conn

import (
	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/transport"
)

var errConnWindow = &ConnError{Code: http2.ErrCodeFlowControl, Limit: transport.LimitFlowControl, Reason: "connection window exceeded"}

// takeConnLocked counts received bytes on the connection's window.
func (c *Conn) takeConnLocked(n int64) bool { return c.recv.take(n) }

// giveConnLocked returns connection credit; a WINDOW_UPDATE is written once it is
// worth it.
func (c *Conn) giveConnLocked(n int64) {
	c.recv.give(n)
	if c.recv.due() {
		c.wakeLocked()
	}
}

// creditLocked returns flow-control credit for n bytes of s that are no longer
// held.
func (c *Conn) creditLocked(s *Stream, n int64) {
	if n == 0 {
		return
	}
	s.unconsumed -= n
	s.recv.give(n)
	c.queueUpdateLocked(s)
	c.consumedLocked(n)
}

// consumedLocked counts n bytes out of those all Receivers hold. Connection credit
// was returned when they came, unless there were too many.
func (c *Conn) consumedLocked(n int64) {
	c.unconsumed -= n
	if c.withheld > 0 && c.unconsumed <= c.cfg.ReceiveBuffer {
		w := c.withheld
		c.withheld = 0
		c.giveConnLocked(w)
	}
}

// queueUpdateLocked has a WINDOW_UPDATE written for s if one is due.
func (c *Conn) queueUpdateLocked(s *Stream) {
	if s.updating || s.hold || !s.state.canRecv() || !s.recv.due() {
		return
	}
	s.updating = true
	c.updates = append(c.updates, s)
	c.wakeLocked()
}

// readData takes a DATA frame. Its whole payload counts, padding included, on
// both windows (section 6.1); on the connection's also if the stream is closed.
func (c *Conn) readData(f *http2.DataFrame) error {
	n, data := int64(f.Length), f.Data()
	c.mu.Lock()
	if c.idleLocked(f.StreamID) {
		c.unlock()
		return connError(http2.ErrCodeProtocol, "DATA on idle stream %d", f.StreamID)
	}
	if !c.takeConnLocked(n) {
		c.unlock()
		return errConnWindow
	}
	s := c.streams[f.StreamID]
	if s == nil {
		c.giveConnLocked(n)
		c.lateDataLocked(f)
		c.unlock()
		return nil
	}
	if e := c.checkDataLocked(s, f); e != nil {
		c.giveConnLocked(n)
		c.unlock()
		return c.streamFails(e)
	}
	if len(data) == 0 && !f.StreamEnded() {
		c.glitchLocked(1)
	}
	// Padding is consumed here.
	pad := n - int64(len(data))
	s.unconsumed += n
	c.unconsumed += n
	if c.unconsumed <= c.cfg.ReceiveBuffer {
		c.giveConnLocked(n)
	} else {
		c.withheld += n
	}
	c.creditLocked(s, pad)
	c.probeRTTLocked()
	c.unlock()

	s.received += int64(len(data))
	if len(data) > 0 {
		used := s.recvr.Data(data)
		if used < 0 || used > len(data) {
			panic("BUG: h2conn: Receiver consumed more than it got")
		}
		c.mu.Lock()
		if s.state != streamClosed {
			// Data may have called Consume for some of the rest already.
			c.creditLocked(s, min(int64(used), s.unconsumed))
		}
		c.unlock()
	}
	if f.StreamEnded() {
		return c.recvEnd(s, nil)
	}
	return nil
}

// checkDataLocked returns the stream error that a DATA frame is, or nil.
func (c *Conn) checkDataLocked(s *Stream, f *http2.DataFrame) *StreamError {
	e := &StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol}
	switch {
	case !s.state.canRecv():
		e.Code, e.Reason = http2.ErrCodeStreamClosed, "DATA after END_STREAM"
	case !s.recv.take(int64(f.Length)):
		e.Code, e.Limit, e.Reason = http2.ErrCodeFlowControl, transport.LimitFlowControl, "stream window exceeded"
	case !c.server && !s.gotFinal:
		e.Reason = "DATA before the response"
	case s.declared >= 0 && s.received+int64(len(f.Data())) > s.declared:
		e.Reason = "more DATA than content-length"
	default:
		return nil
	}
	return e
}

// lateDataLocked reacts to DATA on a closed stream.
func (c *Conn) lateDataLocked(f *http2.DataFrame) {
	if c.closed.reason(f.StreamID) == closeByUs && f.Length > 0 {
		return // it was on its way; the windows bound how much
	}
	c.lateFrameLocked(f.StreamID, http2.ErrCodeStreamClosed)
}

// recvEnd ends the receiving side of s, with trailers if they are not nil.
func (c *Conn) recvEnd(s *Stream, trailers *Header) error {
	if s.declared >= 0 && s.received != s.declared {
		// Section 8.1.1.
		return c.streamFault(s.id, http2.ErrCodeProtocol, "content-length does not match")
	}
	c.mu.Lock()
	if s.state == streamClosed {
		c.unlock()
		return nil // reset while it was handed on
	}
	c.moveLocked(s, eventRecvEnd)
	c.unlock()
	if trailers != nil {
		s.recvr.Trailers(trailers)
	} else {
		s.recvr.End()
	}
	return nil
}

// readWindowUpdate opens a send window.
func (c *Conn) readWindowUpdate(f *http2.WindowUpdateFrame) error {
	c.mu.Lock()
	if f.StreamID != 0 && c.idleLocked(f.StreamID) {
		c.unlock()
		return connError(http2.ErrCodeProtocol, "WINDOW_UPDATE on idle stream %d", f.StreamID)
	}
	// An update that no data of ours has asked for is work without use.
	if c.updateCredit >= 1 {
		c.updateCredit--
	} else {
		c.glitchLocked(1)
	}
	w, s := &c.send, c.streams[f.StreamID]
	switch {
	case f.StreamID == 0:
	case s != nil:
		w = &s.send
	default:
		c.unlock()
		return nil // may well come after the end (section 5.1)
	}
	ok := w.add(int64(f.Increment))
	if ok && s != nil {
		c.scheduleLocked(s)
	}
	c.wakeLocked()
	c.unlock()
	switch {
	case ok:
		return nil
	case s != nil:
		return c.streamFails(&StreamError{StreamID: s.id, Code: http2.ErrCodeFlowControl, Limit: transport.LimitFlowControl,
			Reason: "stream window above 2^31-1"})
	}
	return &ConnError{Code: http2.ErrCodeFlowControl, Limit: transport.LimitFlowControl, Reason: "connection window above 2^31-1"}
}
