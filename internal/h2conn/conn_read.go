package h2conn

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/towpath-go/towpath/transport"
)

// A reader is the state of the read goroutine.
type reader struct {
	in    input
	fr    *http2.Framer
	dec   *hpack.Decoder
	block headerBlock
	turn  int32 // bytes of frames since others had the processor
	pause bool  // as of the last frame, the peer is to wait
	inRun bool  // between HEADERS without END_HEADERS and the end of the block
}

// readTurn is how many bytes of frames are read before other goroutines have the
// processor. A peer that always has more to send would keep it until it is taken
// away, which takes the runtime 10 ms and more: as long for each such peer as the
// others wait. Requests do not count: their resets, if they follow, are to be read
// before their handlers begin.
const readTurn = 64 << 10

func (r *reader) init(c *Conn) {
	r.in.nc = c.nc
	// One Framer for both directions, which do not touch each other's fields.
	r.fr = http2.NewFramer(&c.w, &r.in)
	r.fr.SetReuseFrames()
	r.fr.SetMaxReadFrameSize(c.cfg.MaxFrameSize)
	r.dec = hpack.NewDecoder(defaultTableSize, r.block.add)
	r.dec.SetAllowedMaxDynamicTableSize(uint32(max(defaultTableSize, c.cfg.HeaderTableSize)))
	r.dec.SetMaxStringLength(int(c.cfg.blockLimit()))
	r.block.init(&c.cfg, r.dec)
}

func connError(code http2.ErrCode, format string, args ...any) *ConnError {
	return &ConnError{Code: code, Reason: fmt.Sprintf(format, args...)}
}

// read reads frames until the connection ends. It returns a *ConnError for an
// error of the peer, errEnding, or what the socket said.
func (c *Conn) read() error {
	if c.server {
		if err := c.readPreface(); err != nil {
			return err
		}
	}
	for first := true; ; first = false {
		c.r.in.await()
		if err := c.readFrame(first); err != nil {
			return err
		}
		switch {
		case c.r.pause:
			c.r.turn = 0
			c.pause()
		case c.r.turn >= readTurn:
			c.r.turn = 0
			runtime.Gosched()
		}
	}
}

// readPreface checks the client's preface byte by byte, so that the beginning of
// an HTTP/1 request is refused without waiting for more of it.
func (c *Conn) readPreface() error {
	var b [1]byte
	for i := range len(http2.ClientPreface) {
		if _, err := c.r.in.Read(b[:]); err != nil {
			return err
		}
		if b[0] != http2.ClientPreface[i] {
			return connError(http2.ErrCodeProtocol, "no HTTP/2 preface")
		}
	}
	return nil
}

// readFrame reads one frame and acts on it.
func (c *Conn) readFrame(first bool) error {
	fr := c.r.fr
	fh, err := fr.ReadFrameHeader()
	if errors.Is(err, http2.ErrFrameTooLarge) {
		if first {
			return connError(http2.ErrCodeProtocol, "first frame is not SETTINGS")
		}
		return c.frameTooLarge(fh)
	}
	if err != nil {
		return c.framerError(err, fh)
	}
	if fh.Type != http2.FrameHeaders {
		c.r.turn += frameHeaderLen + int32(fh.Length)
	}
	if first && (fh.Type != http2.FrameSettings || fh.Flags.Has(http2.FlagSettingsAck)) {
		return connError(http2.ErrCodeProtocol, "first frame is not SETTINGS")
	}
	switch fh.Type {
	case http2.FrameData:
		return c.readData(fh)
	case http2.FramePriority:
		return c.readPriority(fh)
	case http2.FramePushPromise:
		// "A client cannot push", and our client forbids it: sections 8.4, 6.6.
		return connError(http2.ErrCodeProtocol, "PUSH_PROMISE")
	case http2.FramePriorityUpdate:
		if !c.server {
			return connError(http2.ErrCodeProtocol, "PRIORITY_UPDATE from a server")
		}
	}
	if fh.Type > http2.FrameContinuation && fh.Type != http2.FramePriorityUpdate {
		// "Implementations MUST ignore and discard frames of unknown types":
		// section 4.1.
		return c.discardFrame(fh, 1)
	}
	f, err := fr.ReadFrameForHeader(fh)
	if err != nil {
		return c.framerError(err, fh)
	}
	if !c.heard() {
		return errEnding
	}
	switch f := f.(type) {
	case *http2.HeadersFrame:
		return c.readHeaders(f)
	case *http2.ContinuationFrame:
		return c.readContinuation(f)
	case *http2.WindowUpdateFrame:
		return c.readWindowUpdate(f)
	case *http2.RSTStreamFrame:
		return c.readRST(f)
	case *http2.SettingsFrame:
		return c.readSettings(f)
	case *http2.PingFrame:
		return c.readPing(f)
	case *http2.GoAwayFrame:
		return c.readGoAway(f)
	case *http2.PriorityUpdateFrame:
		return c.readPriorityUpdate(f)
	}
	panic(fmt.Sprintf("BUG: h2conn: frame type %v", fh.Type))
}

// heard notes that a frame came; false if the connection is ending.
func (c *Conn) heard() bool {
	c.mu.Lock()
	defer c.unlock()
	return c.heardLocked()
}

func (c *Conn) heardLocked() bool {
	now := time.Now()
	c.r.pause = c.restLocked(now)
	c.ping.heardLocked(now)
	return c.phase != phaseEnding
}

// discardFrame drops the payload of a frame that is ignored, charging n glitches.
func (c *Conn) discardFrame(fh http2.FrameHeader, n float64) error {
	if err := c.r.in.discard(int(fh.Length)); err != nil {
		return err
	}
	if !c.heard() {
		return errEnding
	}
	c.mu.Lock()
	defer c.unlock()
	c.glitchLocked(n)
	return nil
}

// framerError turns an error of the Framer into ours.
func (c *Conn) framerError(err error, fh http2.FrameHeader) error {
	var se http2.StreamError
	var ce http2.ConnectionError
	switch {
	case errors.As(err, &ce):
		reason := fh.Type.String()
		if d := c.r.fr.ErrorDetail(); d != nil {
			reason = d.Error()
		}
		return connError(http2.ErrCode(ce), "%s", reason)
	case errors.As(err, &se):
		if fh.Type == http2.FrameHeaders {
			// Padding that exceeds the frame; the Framer is milder than
			// section 6.2, and the header block is lost.
			return connError(http2.ErrCodeProtocol, "HEADERS padding exceeds the frame")
		}
		// WINDOW_UPDATE of 0.
		return c.streamFault(se.StreamID, se.Code, fh.Type.String())
	case errors.Is(err, io.ErrUnexpectedEOF) && c.readAll(fh):
		// A field that is missing in a complete frame: the Framer says
		// ErrUnexpectedEOF for both.
		return connError(http2.ErrCodeFrameSize, "%v too short", fh.Type)
	}
	return err
}

// readAll tells whether the whole payload of a frame that could not be parsed was
// there: frames that are too short for their own fields are at most 5 bytes long.
func (c *Conn) readAll(fh http2.FrameHeader) bool {
	if fh.Type != http2.FrameHeaders {
		return false
	}
	need := uint32(0)
	if fh.Flags.Has(http2.FlagHeadersPadded) {
		need++
	}
	if fh.Flags.Has(http2.FlagHeadersPriority) {
		need += 5
	}
	return fh.Length < need
}

// frameTooLarge reacts to a frame above our MAX_FRAME_SIZE: "A frame size error in
// a frame that could alter the state of the entire connection MUST be treated as
// a connection error" (section 4.2).
func (c *Conn) frameTooLarge(fh http2.FrameHeader) error {
	if c.r.inRun {
		return connError(http2.ErrCodeProtocol, "%v inside a header block", fh.Type)
	}
	tooLarge := connError(http2.ErrCodeFrameSize, "%v of %d bytes", fh.Type, fh.Length)
	tooLarge.Limit = transport.LimitFrameSize
	if fh.StreamID == 0 {
		return tooLarge
	}
	switch {
	case fh.Type == http2.FrameData, fh.Type == http2.FramePriority,
		fh.Type > http2.FrameContinuation && fh.Type != http2.FramePriorityUpdate:
	default:
		return tooLarge
	}
	c.mu.Lock()
	idle := c.idleLocked(fh.StreamID)
	inWindow := true
	if fh.Type == http2.FrameData && !idle {
		inWindow = c.takeConnLocked(int64(fh.Length))
	}
	c.unlock()
	switch {
	case idle && fh.Type == http2.FrameData:
		return connError(http2.ErrCodeProtocol, "DATA on idle stream %d", fh.StreamID)
	case idle:
		return tooLarge // RST_STREAM cannot be sent for an idle stream
	case !inWindow:
		return errConnWindow
	}
	if err := c.discardFrame(fh, 1); err != nil {
		return err
	}
	if fh.Type == http2.FrameData {
		c.mu.Lock()
		c.giveConnLocked(int64(fh.Length))
		c.unlock()
	}
	return c.streamFails(&StreamError{StreamID: fh.StreamID, Code: http2.ErrCodeFrameSize, Limit: transport.LimitFrameSize, Reason: tooLarge.Reason})
}

// idleLocked tells whether the stream was never used by either side. Server
// streams do not exist here: nothing is pushed.
func (c *Conn) idleLocked(id uint32) bool {
	if id%2 == 0 {
		return true
	}
	if c.server {
		return id > c.maxPeerID
	}
	return id > c.maxSentID
}

// streamFault is streamFails for an error that is not about a limit.
func (c *Conn) streamFault(id uint32, code http2.ErrCode, reason string) error {
	return c.streamFails(&StreamError{StreamID: id, Code: code, Reason: reason})
}

// streamFails resets a stream for an error of the peer, once per stream. On an
// idle stream that is a connection error (section 5.1).
func (c *Conn) streamFails(e *StreamError) error {
	c.mu.Lock()
	if c.idleLocked(e.StreamID) {
		c.unlock()
		return connError(http2.ErrCodeProtocol, "%s on idle stream %d", e.Reason, e.StreamID)
	}
	s := c.streams[e.StreamID]
	if s == nil {
		c.lateFrameLocked(e.StreamID, e.Code)
		c.unlock()
		return nil
	}
	if c.resetLocked(s, e) {
		c.chargeResetLocked()
	}
	c.unlock()
	c.reset(s, e)
	return nil
}

// lateFrameLocked reacts to a frame that is an error on a closed stream. What was
// on its way when we reset the stream is ignored; otherwise the peer is told once
// (section 5.1).
func (c *Conn) lateFrameLocked(id uint32, code http2.ErrCode) {
	switch c.closed.reason(id) {
	case closeEnded, closeByPeer:
		c.closed.add(id, closeByUs)
		c.queueRSTLocked(id, code)
		c.chargeResetLocked()
	case closeByUs, closeUnknown:
		c.glitchLocked(1)
	}
}

// readPriority ignores PRIORITY (section 5.3.2) but for its length, and for a
// stream that depends on itself, which RFC 7540 forbids.
func (c *Conn) readPriority(fh http2.FrameHeader) error {
	if fh.StreamID == 0 {
		return connError(http2.ErrCodeProtocol, "PRIORITY on stream 0")
	}
	if fh.Length != 5 {
		if err := c.discardFrame(fh, 1); err != nil {
			return err
		}
		c.mu.Lock()
		idle := c.idleLocked(fh.StreamID)
		c.unlock()
		if idle {
			return connError(http2.ErrCodeFrameSize, "PRIORITY of %d bytes", fh.Length)
		}
		return c.streamFault(fh.StreamID, http2.ErrCodeFrameSize, "PRIORITY")
	}
	f, err := c.r.fr.ReadFrameForHeader(fh)
	if err != nil {
		return c.framerError(err, fh)
	}
	if !c.heard() {
		return errEnding
	}
	c.mu.Lock()
	c.glitchLocked(1)
	c.unlock()
	if f.(*http2.PriorityFrame).StreamDep == fh.StreamID {
		return c.streamFault(fh.StreamID, http2.ErrCodeProtocol, "PRIORITY on itself")
	}
	return nil
}

// readPriorityUpdate hands on a priority signal of RFC 9218, section 7.1.
func (c *Conn) readPriorityUpdate(f *http2.PriorityUpdateFrame) error {
	id := f.PrioritizedStreamID
	if id%2 == 0 {
		return connError(http2.ErrCodeProtocol, "PRIORITY_UPDATE for stream %d", id)
	}
	c.mu.Lock()
	c.glitchLocked(1)
	s, idle := c.streams[id], c.idleLocked(id)
	keep := len(f.Priority) <= maxPriorityValue
	var err error
	if idle && keep {
		err = c.idlePriorityLocked(id, f.Priority)
	}
	c.unlock()
	if s == nil || !keep {
		return err
	}
	if p, ok := s.recvr.(PriorityReceiver); ok {
		p.PriorityUpdate(f.Priority)
	}
	return nil
}

// idlePriorityLocked keeps a priority for a stream to come. "Servers ... MUST
// respond with a connection error of type PROTOCOL_ERROR" if those streams and
// the active ones exceed the stream limit.
func (c *Conn) idlePriorityLocked(id uint32, value string) error {
	if _, ok := c.idlePrio[id]; !ok && uint64(len(c.idlePrio)+len(c.streams)) >= uint64(c.local.MaxConcurrentStreams) {
		e := connError(http2.ErrCodeProtocol, "PRIORITY_UPDATE beyond the stream limit")
		e.Limit = transport.LimitRequests
		return e
	}
	if c.idlePrio == nil {
		c.idlePrio = make(map[uint32]string)
	}
	c.idlePrio[id] = value
	return nil
}

// maxPriorityValue bounds a priority field value that is kept; longer ones are
// ignored.
const maxPriorityValue = 256

// readRST ends a stream that the peer has reset.
func (c *Conn) readRST(f *http2.RSTStreamFrame) error {
	c.mu.Lock()
	if c.idleLocked(f.StreamID) {
		c.unlock()
		return connError(http2.ErrCodeProtocol, "RST_STREAM on idle stream %d", f.StreamID)
	}
	s := c.streams[f.StreamID]
	if s == nil {
		// Crossed ours, or came after the end: no answer (section 5.4.2).
		c.glitchLocked(1)
		c.unlock()
		return nil
	}
	e := &StreamError{StreamID: s.id, Code: f.ErrCode, Remote: true,
		NotProcessed: !c.server && f.ErrCode == http2.ErrCodeRefusedStream}
	s.reason = e
	c.closeStreamLocked(s, closeByPeer)
	if c.server {
		// Only a client can open streams in order to reset them.
		c.chargeResetLocked()
	}
	c.unlock()
	c.reset(s, e)
	return nil
}
