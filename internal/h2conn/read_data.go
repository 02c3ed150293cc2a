package h2conn

import (
	"io"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/block"
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

// A dataFrame is a DATA frame of which only the payload's data and the padding
// behind it are left to be read.
type dataFrame struct {
	id      uint32
	payload int64 // its length, which counts on both windows (section 6.1)
	data    int   // bytes of data
	padding int   // bytes behind them
	end     bool
}

// readPadLength reads what comes before the data.
func (c *Conn) readPadLength(fh http2.FrameHeader) (dataFrame, error) {
	f := dataFrame{id: fh.StreamID, payload: int64(fh.Length), data: int(fh.Length), end: fh.Flags.Has(http2.FlagDataEndStream)}
	if f.id == 0 {
		return f, connError(http2.ErrCodeProtocol, "DATA on stream 0")
	}
	if !fh.Flags.Has(http2.FlagDataPadded) {
		return f, nil
	}
	if fh.Length == 0 {
		return f, connError(http2.ErrCodeFrameSize, "DATA too short")
	}
	var n [1]byte
	if _, err := c.r.in.Read(n[:]); err != nil {
		return f, err
	}
	f.padding = int(n[0])
	f.data -= 1 + f.padding
	if f.data < 0 {
		return f, connError(http2.ErrCodeProtocol, "DATA padding exceeds the frame")
	}
	return f, nil
}

// readData reads a DATA frame behind its header. Its payload counts on the
// connection's window also if the stream is closed.
func (c *Conn) readData(fh http2.FrameHeader) error {
	f, err := c.readPadLength(fh)
	if err != nil {
		return err
	}
	s, err := c.beginData(f)
	if err != nil {
		return err
	}
	if s == nil {
		return c.dropData(f.data + f.padding)
	}
	if err := c.readBlocks(s, f.data); err != nil {
		return err
	}
	if f.padding > 0 || f.data == 0 {
		if err := c.dropData(f.padding); err != nil {
			return err
		}
	}
	if f.end {
		return c.recvEnd(s, nil)
	}
	return nil
}

// beginData accounts for a DATA frame and returns its stream, or nil if the
// payload is to be dropped.
func (c *Conn) beginData(f dataFrame) (*Stream, error) {
	c.mu.Lock()
	if c.phase == phaseEnding {
		c.unlock()
		return nil, errEnding
	}
	if c.idleLocked(f.id) {
		c.unlock()
		return nil, connError(http2.ErrCodeProtocol, "DATA on idle stream %d", f.id)
	}
	if !c.takeConnLocked(f.payload) {
		c.unlock()
		return nil, errConnWindow
	}
	s := c.streams[f.id]
	if s == nil {
		c.giveConnLocked(f.payload)
		c.lateDataLocked(f)
		c.unlock()
		return nil, nil
	}
	if e := c.checkDataLocked(s, f); e != nil {
		c.giveConnLocked(f.payload)
		c.unlock()
		return nil, c.streamFails(e)
	}
	if f.data == 0 && !f.end {
		c.glitchLocked(1)
	}
	s.unconsumed += f.payload
	c.unconsumed += f.payload
	if c.unconsumed <= c.cfg.ReceiveBuffer {
		c.giveConnLocked(f.payload)
	} else {
		c.withheld += f.payload
	}
	// Padding is consumed here.
	c.creditLocked(s, f.payload-int64(f.data))
	c.unlock()
	s.received += int64(f.data)
	return s, nil
}

// readBlocks reads n bytes of data and hands them to the Receiver of s, which may
// keep the memory they are in.
func (c *Conn) readBlocks(s *Stream, n int) error {
	for n > 0 {
		b := block.Get()
		p := b[:min(n, block.Size)]
		if _, err := io.ReadFull(&c.r.in, p); err != nil {
			block.Put(b)
			return err
		}
		n -= len(p)
		used, kept := deliver(s.recvr, b, p)
		if used < 0 || used > len(p) {
			panic("BUG: h2conn: Receiver consumed more than it got")
		}
		if !kept {
			block.Put(b)
		}
		c.mu.Lock()
		open, closed := c.heardLocked(), s.state == streamClosed
		c.probeRTTLocked()
		if !closed {
			// Data may have called Consume for some of the rest already.
			c.creditLocked(s, min(int64(used), s.unconsumed))
		}
		c.unlock()
		if !open {
			return errEnding
		}
		if closed {
			return c.dropData(n)
		}
	}
	return nil
}

// deliver hands p, which is in b, to r.
func deliver(r Receiver, b *block.Block, p []byte) (used int, kept bool) {
	if br, ok := r.(BlockReceiver); ok {
		return br.DataBlock(b, p)
	}
	return r.Data(p), false
}

// dropData reads n bytes of a DATA frame that nobody wants.
func (c *Conn) dropData(n int) error {
	if err := c.r.in.discard(n); err != nil {
		return err
	}
	if !c.heard() {
		return errEnding
	}
	return nil
}

// checkDataLocked returns the stream error that a DATA frame is, or nil.
func (c *Conn) checkDataLocked(s *Stream, f dataFrame) *StreamError {
	fault := func(code http2.ErrCode, l transport.Limit, reason string) *StreamError {
		return &StreamError{StreamID: s.id, Code: code, Limit: l, Reason: reason}
	}
	switch {
	case !s.state.canRecv():
		return fault(http2.ErrCodeStreamClosed, "", "DATA after END_STREAM")
	case !s.recv.take(f.payload):
		return fault(http2.ErrCodeFlowControl, transport.LimitFlowControl, "stream window exceeded")
	case !c.server && !s.gotFinal:
		return fault(http2.ErrCodeProtocol, "", "DATA before the response")
	case s.declared >= 0 && s.received+int64(f.data) > s.declared:
		return fault(http2.ErrCodeProtocol, "", "more DATA than content-length")
	}
	return nil
}

// lateDataLocked reacts to DATA on a closed stream.
func (c *Conn) lateDataLocked(f dataFrame) {
	if c.closed.reason(f.id) == closeByUs && f.payload > 0 {
		return // it was on its way; the windows bound how much
	}
	c.lateFrameLocked(f.id, http2.ErrCodeStreamClosed)
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
