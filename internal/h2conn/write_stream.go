package h2conn

import (
	"encoding/binary"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// headersOut is a header list to write: a client's request, which has open, or a
// server's response.
type headersOut struct {
	st      *Stream
	fields  []hpack.HeaderField
	end     bool
	open    *Open
	onWrite func(peer Settings)
}

// final tells whether the Source may follow.
func (h *headersOut) final() bool {
	return h.open != nil || h.fields[0].Value[0] != '1'
}

func (c *Conn) queueHeadersLocked(h *headersOut) {
	h.st.headersOut++
	h.st.sendEnds = h.st.sendEnds || h.end
	c.headersOut = append(c.headersOut, h)
	c.wakeLocked()
}

// nextHeadersLocked takes the next header list. A client's stream counts as
// written from here: whoever resets it now must send RST_STREAM.
func (c *Conn) nextHeadersLocked() *headersOut {
	if len(c.headersOut) == 0 {
		return nil
	}
	h := c.headersOut[0]
	c.headersOut[0] = nil
	c.headersOut = c.headersOut[1:]
	h.st.headersOut--
	if h.open != nil {
		c.moveLocked(h.st, eventHeaders)
		c.maxSentID = h.st.id
	}
	return h
}

// encodeHeaders encodes a header list as HEADERS and CONTINUATION frames, which
// nothing may come between, and moves the stream on.
func (c *Conn) encodeHeaders(h *headersOut, peer Settings) {
	s := h.st
	if h.open != nil && h.open.OnWrite != nil {
		if err := h.open.OnWrite(s, peer); err != nil {
			c.withdraw(s, err)
			return
		}
	}
	if h.onWrite != nil {
		h.onWrite(peer)
	}
	c.w.headers(s.id, h.fields, h.end)
	c.mu.Lock()
	defer c.unlock()
	if s.state == streamClosed {
		return // RST_STREAM follows
	}
	if h.end {
		c.sentEndLocked(s)
		return
	}
	if h.final() {
		s.ready = true
		c.scheduleLocked(s)
	}
}

// withdraw closes a client's stream of which nothing was sent.
func (c *Conn) withdraw(s *Stream, err error) {
	c.mu.Lock()
	defer c.unlock()
	// A reset that came meanwhile must not be sent: the stream is idle for the
	// peer.
	for i, r := range c.rsts {
		if r.id == s.id {
			c.rsts = append(c.rsts[:i], c.rsts[i+1:]...)
			break
		}
	}
	s.reason = &StreamError{StreamID: s.id, Code: http2.ErrCodeCancel, NotProcessed: true, Cause: err}
	c.closeStreamLocked(s, closeByUs)
}

// sentEndLocked follows END_STREAM.
func (c *Conn) sentEndLocked(s *Stream) {
	s.ready, s.woken, s.src = false, false, nil
	c.sched.remove(s)
	c.moveLocked(s, eventSendEnd)
	c.stopRequestLocked(s)
}

// headers encodes one header list.
func (w *writer) headers(id uint32, fields []hpack.HeaderField, end bool) {
	w.block.Reset()
	for _, f := range fields {
		f.Sensitive = f.Sensitive || secret(f.Name)
		must(w.enc.WriteField(f))
	}
	rest := w.block.Bytes()
	for first := true; first || len(rest) > 0; first = false {
		part := rest[:min(len(rest), w.frame)]
		rest = rest[len(part):]
		if first {
			must(w.fr.WriteHeaders(http2.HeadersFrameParam{
				StreamID: id, BlockFragment: part, EndStream: end, EndHeaders: len(rest) == 0}))
		} else {
			must(w.fr.WriteContinuation(id, len(rest) == 0, part))
		}
	}
}

// wakeSourceLocked has the Source asked, if only for END_STREAM.
func (c *Conn) wakeSourceLocked(s *Stream) {
	if s.src == nil || !s.state.canSend() && s.state != streamIdle {
		return
	}
	s.woken = true
	c.scheduleLocked(s)
}

// scheduleLocked queues s for sending if it has something and may send: its turn
// for data, or, with a closed window, the question whether it ends.
func (c *Conn) scheduleLocked(s *Stream) {
	if !s.woken || !s.ready || s.src == nil || !s.state.canSend() {
		return
	}
	if s.send > 0 {
		c.sched.add(s)
	}
	if (s.send <= 0 || c.send <= 0) && !s.probing {
		s.probing = true
		c.probes = append(c.probes, s)
	}
	c.wakeLocked()
}

// nextDataLocked returns the stream whose Source is to be asked next, and for how
// much: 0 if its window or the connection's is closed and it may only end.
func (c *Conn) nextDataLocked() (*Stream, int) {
	for len(c.probes) > 0 {
		s := c.probes[0]
		c.probes[0] = nil
		c.probes = c.probes[1:]
		s.probing = false
		if s.woken && s.ready && s.src != nil && s.state.canSend() && (s.send <= 0 || c.send <= 0) {
			return s, 0
		}
	}
	room := c.w.room - len(c.w.out) - frameHeaderLen
	if c.send <= 0 || room < minDataRoom {
		return nil, 0
	}
	for {
		s := c.sched.front()
		if s == nil {
			return nil, 0
		}
		if s.send <= 0 {
			c.sched.remove(s) // until its window opens
			continue
		}
		s.woken = false // a Wake during Fill is seen
		turn := max(s.link.deficit, minDataRoom)
		if room-turn-frameHeaderLen < minDataRoom {
			turn = room // what is left would not be used
		}
		return s, min(room, c.w.frame, turn, int(min(s.send, c.send)))
	}
}

// encodeData asks the Source for at most room bytes, in place behind a frame
// header, and accounts for what it gave.
func (c *Conn) encodeData(s *Stream, room int) {
	w := &c.w
	c.mu.Lock()
	src := s.src
	c.unlock()
	if src == nil {
		return // closed meanwhile
	}
	start := len(w.out)
	w.out = append(w.out, make([]byte, frameHeaderLen)...)
	body := w.out[len(w.out) : len(w.out)+room]
	n, end := src.Fill(body)
	if n < 0 || n > room {
		panic("BUG: h2conn: Source gave more than asked for")
	}
	var trailers []hpack.HeaderField
	var trailerErr error
	if t, ok := src.(TrailerSource); ok && end {
		trailers = t.Trailers()
		trailerErr = checkOwnFields(trailers, trailerFields)
	}

	c.mu.Lock()
	defer c.unlock()
	if trailerErr != nil {
		c.resetLocked(s, &StreamError{StreamID: s.id, Code: http2.ErrCodeInternal, Cause: trailerErr})
	}
	if s.state == streamClosed || n == 0 && !end {
		w.out = w.out[:start]
		c.idleSourceLocked(s, room)
		return
	}
	w.out = w.out[:len(w.out)+n]
	endFlag := end && len(trailers) == 0
	if n == 0 && !endFlag {
		w.out = w.out[:start]
	} else {
		putDataHeader(w.out[start:], s.id, n, endFlag)
	}
	c.sentDataLocked(s, n, room, end)
	if len(trailers) > 0 {
		w.headers(s.id, trailers, true)
	}
	if end {
		s.sendEnds = true
		c.sentEndLocked(s)
	}
}

// idleSourceLocked takes a stream whose Source gave nothing out of the queue. If
// it was asked for bytes, it is asked again after a Wake.
func (c *Conn) idleSourceLocked(s *Stream, room int) {
	if room > 0 && !s.woken {
		c.sched.remove(s)
	}
}

// sentDataLocked accounts for a DATA frame with n bytes.
func (c *Conn) sentDataLocked(s *Stream, n, room int, end bool) {
	if n == 0 {
		return
	}
	forced := n == room && (int64(n) == int64(s.send) || int64(n) == int64(c.send))
	s.send -= sendWindow(n)
	c.send -= sendWindow(n)
	if forced && n < dribbleSize && !end {
		c.glitchLocked(1)
	} else {
		c.updateCredit = min(maxUpdateCredit, c.updateCredit+updatesPerFrame+float64(n)/updatePer)
	}
	c.sched.sent(s, n)
	if !end {
		s.woken = true
		c.scheduleLocked(s)
	}
}

// putDataHeader writes the header of a DATA frame (section 6.1) into b: with the
// payload already behind it nothing is copied.
func putDataHeader(b []byte, id uint32, n int, end bool) {
	b[0], b[1], b[2] = byte(n>>16), byte(n>>8), byte(n)
	b[3], b[4] = byte(http2.FrameData), 0
	if end {
		b[4] = byte(http2.FlagDataEndStream)
	}
	binary.BigEndian.PutUint32(b[5:9], id)
}
