package h2conn

import (
	"errors"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/towpath-go/towpath/transport"
)

// A headerBlock is the header block being received. The Framer guarantees that
// its frames are adjacent; everything else about it is bounded here.
type headerBlock struct {
	cfg *Config
	dec *hpack.Decoder

	id        uint32
	endStream bool
	local     Settings // ours that the peer had acknowledged before it
	extended  bool     // we have announced ENABLE_CONNECT_PROTOCOL
	fields    []hpack.HeaderField
	size      uint64 // of the list, as far as it was decoded
	bytes     uint64 // compressed
	frames    int    // CONTINUATION frames
	tooLarge  bool   // the list is over a limit; decoding goes on without it
}

// tooLargeGlitches is what a header list over the limits is charged: it is decoded
// to its end for the table's sake, which is as much work as that many frames
// without use.
const tooLargeGlitches = 32

// tooLargeWork is what it counts for against readTurn.
const tooLargeWork = readTurn / 32

func (b *headerBlock) init(cfg *Config, dec *hpack.Decoder) { b.cfg, b.dec = cfg, dec }

func (b *headerBlock) begin(id uint32, endStream bool, local Settings) {
	clear(b.fields)
	*b = headerBlock{cfg: b.cfg, dec: b.dec, id: id, endStream: endStream, local: local, fields: b.fields[:0]}
	b.dec.SetEmitEnabled(true)
}

// add is called by the decoder for each field. Fields count with 32 bytes of
// overhead (section 6.5.2), so that empty ones are not free.
func (b *headerBlock) add(f hpack.HeaderField) {
	b.size += uint64(f.Size())
	if b.size > uint64(b.cfg.MaxHeaderListSize) || len(b.fields) >= b.cfg.MaxHeaderFields {
		b.tooLarge = true
		b.dec.SetEmitEnabled(false)
		return
	}
	b.fields = append(b.fields, f)
}

// write decodes a fragment: the dynamic table must follow even if the list is not
// wanted (section 4.3).
func (b *headerBlock) write(p []byte) *ConnError {
	b.bytes += uint64(len(p))
	if b.bytes > b.cfg.blockLimit() {
		return overLimit(transport.LimitHeaderSize, "header block over %d bytes", b.cfg.blockLimit())
	}
	if _, err := b.dec.Write(p); err != nil {
		if errors.Is(err, hpack.ErrStringLength) {
			return overLimit(transport.LimitHeaderSize, "header field over %d bytes", b.cfg.blockLimit())
		}
		return connError(http2.ErrCodeCompression, "%v", err)
	}
	return nil
}

func (c *Conn) readHeaders(f *http2.HeadersFrame) error {
	id := f.StreamID
	c.mu.Lock()
	local, idle := c.acked, c.idleLocked(id)
	how := closeUnknown
	if !idle && c.streams[id] == nil {
		how = c.closed.reason(id)
	}
	switch {
	case id%2 == 0, idle && !c.server:
		// A server opens no streams here; a client only knows its own.
		c.unlock()
		return connError(http2.ErrCodeProtocol, "HEADERS on stream %d", id)
	case c.server && !idle && c.streams[id] == nil && how == closeUnknown:
		// "The identifier of a newly established stream MUST be numerically
		// greater than all streams that the initiating endpoint has opened":
		// section 5.1.1.
		c.unlock()
		return connError(http2.ErrCodeProtocol, "stream %d after %d", id, c.maxPeerID)
	case how == closeEnded:
		c.unlock()
		return connError(http2.ErrCodeStreamClosed, "HEADERS on closed stream %d", id)
	}
	selfDependent := f.HasPriority() && f.Priority.StreamDep == id
	c.unlock()

	b := &c.r.block
	b.begin(id, f.StreamEnded(), local)
	if err := b.write(f.HeaderBlockFragment()); err != nil {
		return err
	}
	if f.HeadersEnded() {
		return c.headersEnd(selfDependent)
	}
	if selfDependent {
		return connError(http2.ErrCodeProtocol, "stream %d depends on itself", id)
	}
	c.r.inRun = true
	c.mu.Lock()
	defer c.unlock()
	if len(f.HeaderBlockFragment()) == 0 {
		c.glitchLocked(1)
	}
	c.setTimerLocked(timerHeader, c.cfg.HeaderTimeout)
	return nil
}

func (c *Conn) readContinuation(f *http2.ContinuationFrame) error {
	b := &c.r.block
	b.frames++
	if b.frames > c.cfg.MaxContinuations {
		return overLimit(transport.LimitHeaderSize, "over %d CONTINUATION frames", c.cfg.MaxContinuations)
	}
	if len(f.HeaderBlockFragment()) == 0 {
		c.mu.Lock()
		c.glitchLocked(1)
		c.unlock()
	}
	if err := b.write(f.HeaderBlockFragment()); err != nil {
		return err
	}
	if !f.HeadersEnded() {
		return nil
	}
	c.r.inRun = false
	c.mu.Lock()
	c.clearTimerLocked(timerHeader)
	c.unlock()
	return c.headersEnd(false)
}

// headersEnd acts on a complete header block.
func (c *Conn) headersEnd(selfDependent bool) error {
	b := &c.r.block
	if err := b.dec.Close(); err != nil {
		return connError(http2.ErrCodeCompression, "%v", err)
	}
	c.mu.Lock()
	if b.tooLarge {
		c.glitchLocked(tooLargeGlitches)
		c.r.turn += tooLargeWork
	}
	s, idle := c.streams[b.id], c.idleLocked(b.id)
	if s == nil && !idle {
		// Decoded for the table's sake; otherwise a late frame.
		c.lateFrameLocked(b.id, http2.ErrCodeStreamClosed)
		c.unlock()
		return nil
	}
	var refused bool
	if s == nil {
		s, refused = c.acceptLocked(b)
	}
	c.unlock()
	switch {
	case refused:
		c.refused(b, 0, transport.LimitRequests)
		return nil
	case idle && s == nil:
		return nil // after the last GOAWAY
	case selfDependent:
		return c.rejectHeaders(s, idle, http2.ErrCodeProtocol, "depends on itself")
	case idle:
		return c.request(s, b)
	}
	return c.moreHeaders(s, b)
}

// refused tells the owner of a request that ServerHandler does not get. Its
// pseudo-header fields come first, and are there even if the list is too large.
func (c *Conn) refused(b *headerBlock, status int, limit transport.Limit) {
	if c.cfg.OnRefused == nil {
		return
	}
	protocol := ""
	for _, f := range b.fields {
		if f.Name == ":protocol" {
			protocol = f.Value
			break
		}
	}
	c.cfg.OnRefused(protocol, status, limit)
}

// acceptLocked makes the stream of a request, or returns nil if it is not to be:
// refused because there are too many, or ignored.
func (c *Conn) acceptLocked(b *headerBlock) (s *Stream, refused bool) {
	c.maxPeerID = b.id
	b.extended = c.local.ConnectProtocol
	prio := c.idlePrio[b.id]
	for id := range c.idlePrio {
		if id <= b.id { // the ids between are closed now (section 5.1.1)
			delete(c.idlePrio, id)
		}
	}
	if c.phase >= phaseClosing {
		// Above the last id we named: "discard frames on streams initiated by
		// the receiver with identifiers higher" (section 6.8).
		c.closed.add(b.id, closeByUs)
		c.glitchLocked(1)
		return nil, false
	}
	if c.fullLocked() {
		c.closed.add(b.id, closeByUs)
		c.queueRSTLocked(b.id, http2.ErrCodeRefusedStream)
		if len(c.settingsSent) == 0 {
			c.chargeResetLocked() // it knew the limit
		}
		return nil, true
	}
	s = c.newStreamLocked(b.id)
	s.state = streamOpen
	s.prio = prio
	s.recvr = discard{}
	if b.endStream {
		c.moveLocked(s, eventRecvEnd)
	}
	return s, false
}

// rejectHeaders resets a stream for a malformed header list; nobody has seen it
// yet if it is new.
func (c *Conn) rejectHeaders(s *Stream, isNew bool, code http2.ErrCode, reason string) error {
	if isNew {
		s.recvr = discard{}
		c.refused(&c.r.block, 0, "")
	}
	return c.streamFault(s.id, code, reason)
}

// request hands a new stream to the handler.
func (c *Conn) request(s *Stream, b *headerBlock) error {
	if b.tooLarge {
		c.refused(b, 431, transport.LimitHeaderSize)
		return c.answerTooLarge(s)
	}
	h, length, reason := parseRequest(b)
	if reason != "" {
		return c.rejectHeaders(s, true, http2.ErrCodeProtocol, reason)
	}
	if b.endStream && length > 0 {
		return c.rejectHeaders(s, true, http2.ErrCodeProtocol, "content-length without content")
	}
	s.declared = length
	h.Priority = s.prio
	c.mu.Lock()
	s.owned = true
	c.unlock()
	r := c.handler.Request(s, h)
	if r != nil {
		s.recvr = r
		return nil
	}
	c.mu.Lock()
	defer c.unlock()
	if s.state == streamClosed {
		if !s.done {
			s.done = true
			c.releaseLocked(s)
		}
		return nil
	}
	s.owned = false
	c.resetLocked(s, &StreamError{StreamID: s.id, Code: http2.ErrCodeRefusedStream, Reason: "refused by the handler"})
	return nil
}

// answerTooLarge refuses a request by RFC 6585, section 5: the connection's state
// is intact.
func (c *Conn) answerTooLarge(s *Stream) error {
	c.mu.Lock()
	defer c.unlock()
	s.done = true
	c.queueHeadersLocked(&headersOut{st: s, end: true,
		fields: []hpack.HeaderField{{Name: ":status", Value: "431"}}})
	return nil
}

// moreHeaders takes a header list on a stream that exists: a response, or
// trailers.
func (c *Conn) moreHeaders(s *Stream, b *headerBlock) error {
	c.mu.Lock()
	open := s.state.canRecv()
	c.unlock()
	switch {
	case !open:
		return c.streamFault(s.id, http2.ErrCodeStreamClosed, "HEADERS after END_STREAM")
	case b.tooLarge:
		return c.streamFails(&StreamError{StreamID: s.id, Code: codeCalm, Limit: transport.LimitHeaderSize, Reason: "header list too large"})
	case c.server || s.gotFinal:
		return c.trailers(s, b)
	}
	h, length, reason := parseResponse(b)
	if reason != "" {
		return c.streamFault(s.id, http2.ErrCodeProtocol, reason)
	}
	if h.Status < 200 {
		c.mu.Lock()
		c.glitchLocked(1) // any number of them may come
		c.unlock()
		s.recvr.Headers(h)
		return nil
	}
	s.gotFinal = true
	switch {
	case s.method == "HEAD", h.Status == 304, h.Status == 204, s.method == "CONNECT" && h.Status < 300:
		// The field does not describe this content (RFC 9110, section 8.6).
	default:
		s.declared = length
	}
	if b.endStream && s.declared > 0 {
		return c.streamFault(s.id, http2.ErrCodeProtocol, "content-length without content")
	}
	if b.endStream {
		c.mu.Lock()
		if s.state == streamClosed {
			c.unlock()
			return nil
		}
		c.moveLocked(s, eventRecvEnd)
		c.unlock()
	}
	s.recvr.Headers(h)
	return nil
}

func (c *Conn) trailers(s *Stream, b *headerBlock) error {
	if !b.endStream {
		return c.streamFault(s.id, http2.ErrCodeProtocol, "second header list without END_STREAM")
	}
	h, reason := parseTrailers(b)
	if reason != "" {
		return c.streamFault(s.id, http2.ErrCodeProtocol, reason)
	}
	return c.recvEnd(s, h)
}

// discard is the Receiver of a stream that nobody owns.
type discard struct{}

func (discard) Headers(*Header)                  {}
func (discard) Data(p []byte) int                { return len(p) }
func (discard) Trailers(*Header)                 {}
func (discard) End()                             {}
func (discard) Reset(http2.ErrCode, bool, error) {}
