package h2conn

import (
	"errors"
	"log/slog"
	"slices"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/towpath-go/towpath/internal/block"
)

// ServerHandler learns of requests.
type ServerHandler interface {
	// Request is called on the read goroutine for every well-formed request
	// whose stream fits the limit. It must not block. A nil Receiver refuses the
	// stream (REFUSED_STREAM: nothing was processed). Unless it is refused, the
	// owner must call Stream.Done once it has stopped working on it.
	//
	// Malformed requests are reset, and too large ones answered 431, without
	// this call.
	Request(st *Stream, h *Header) Receiver
}

// Receiver is the receiving side of one stream. Its methods are called on the
// read goroutine, one at a time, and must not block. Slices and the Header's
// Fields are only lent for the call; the Header's strings may be kept.
type Receiver interface {
	// Headers brings the response on a client: any number of interim ones (1xx),
	// then the final one. Never called on a server.
	Headers(h *Header)
	// Data brings bytes. It returns how many of them are consumed already; the
	// flow-control credit of the rest is returned by Stream.Consume.
	Data(p []byte) (consumed int)
	// Trailers brings trailer fields; the stream's receiving side has ended.
	Trailers(h *Header)
	// End is called when END_STREAM came with a DATA frame.
	End()
	// Reset is called at most once, as the last call, if the stream ended
	// abruptly: by the peer's RST_STREAM (remote), by an error of the peer that
	// made us reset it, or with the connection. err is a *StreamError. It is not
	// called after the owner's own Stream.Reset, nor once both sides have ended.
	Reset(code http2.ErrCode, remote bool, err error)
}

// BlockReceiver is implemented by a Receiver that can keep the memory in which
// bytes came.
type BlockReceiver interface {
	// DataBlock is called instead of Data. p is a part of b. If kept is true, b is
	// the Receiver's, who gives it back with block.Put.
	DataBlock(b *block.Block, p []byte) (consumed int, kept bool)
}

// PriorityReceiver is implemented by a Receiver on a server that wants
// PRIORITY_UPDATE frames (RFC 9218, section 7.1).
type PriorityReceiver interface {
	PriorityUpdate(value string)
}

// Source is the sending side of one stream.
type Source interface {
	// Fill is called on the write goroutine to get the next bytes, when they can
	// go out at once. It writes at most len(dst) bytes and returns their number,
	// and end if nothing follows them. 0, false means nothing now: Fill is next
	// called after Stream.Wake. dst may be empty if only END_STREAM could be
	// sent, and must not be kept. It must not block. It may be called once more
	// after the stream was reset.
	Fill(dst []byte) (n int, end bool)
}

// TrailerSource is implemented by a Source that ends with trailers. Its method has
// the name of the Receiver's, so one type cannot be both.
type TrailerSource interface {
	// Trailers is called after Fill returned end. If it returns fields,
	// END_STREAM goes on them.
	Trailers() []hpack.HeaderField
}

// Stream is one HTTP/2 stream. Its methods do not block.
type Stream struct {
	conn *Conn
	id   uint32

	recvr    Receiver // read goroutine; set before the stream is in Conn.streams or by it
	declared int64    // read goroutine: content-length, or -1
	received int64    // read goroutine: body bytes so far
	gotFinal bool     // read goroutine, client: the final response came
	prio     string   // read goroutine, server: PRIORITY_UPDATE before the stream
	method   string   // client: of the request

	// The following is guarded by Conn.mu.
	state    streamState
	reason   *StreamError // why it was closed, if abruptly
	owned    bool         // server: given to the handler, which will call Done
	done     bool         // server: Done was called
	lingers  bool         // server: in Conn.lingering
	hold     bool         // no WINDOW_UPDATE
	updating bool         // in Conn.updates
	unsent   bool         // failed before its HEADERS were written

	recv       recvWindow
	unconsumed int64 // bytes the Receiver holds
	send       sendWindow

	headersOut int  // header lists queued
	answered   bool // server: the final response is among them, or written
	sendEnds   bool // the last one queued or the Source's end: nothing may follow
	ready      bool // the final header list is written: the Source may be asked
	src        Source
	woken      bool // the Source may have something
	probing    bool // in Conn.probes
	urgency    uint8
	link       link
}

const maxStreamID = 1<<31 - 1

// newStreamLocked adds a stream.
func (c *Conn) newStreamLocked(id uint32) *Stream {
	s := &Stream{
		conn: c, id: id, declared: -1, urgency: defaultUrgency,
		recv: newRecvWindow(c.recvInitial, int64(c.cfg.MaxStreamWindow)),
		send: sendWindow(c.sendInitial),
	}
	if len(c.streams) == 0 {
		c.clearTimerLocked(timerIdle)
		c.setTimerLocked(timerKeepAlive, c.cfg.KeepAlive)
	}
	c.streams[id] = s
	if c.server {
		c.charged++
	}
	return s
}

// moveLocked applies an event to the state, and takes the stream out of the
// connection when it closes without an error.
func (c *Conn) moveLocked(s *Stream, e streamEvent) {
	next, ok := s.state.after(e)
	if !ok {
		panic("BUG: h2conn: event on a stream " + s.state.String())
	}
	if next != streamClosed {
		s.state = next
		return
	}
	c.closeStreamLocked(s, closeEnded)
	c.resets.refund(1)
}

// closeStreamLocked takes s out of the connection.
func (c *Conn) closeStreamLocked(s *Stream, r closeReason) {
	if s.state == streamClosed {
		return
	}
	s.state = streamClosed
	delete(c.streams, s.id)
	c.closed.add(s.id, r)
	c.sched.remove(s)
	if s.headersOut > 0 {
		c.headersOut = slices.DeleteFunc(c.headersOut, func(h *headersOut) bool { return h.st == s })
		s.headersOut = 0
	}
	if s.updating {
		c.updates = slices.DeleteFunc(c.updates, func(u *Stream) bool { return u == s })
	}
	s.src = nil
	switch {
	case !s.owned || s.done:
		c.unchargeLocked()
	case r != closeEnded:
		s.lingers = true
		c.lingering++
	}
	n := s.unconsumed
	s.unconsumed = 0
	c.consumedLocked(n)
	if len(c.streams) == 0 {
		c.clearTimerLocked(timerKeepAlive)
		c.setTimerLocked(timerIdle, c.cfg.IdleTimeout)
	}
	c.grantLocked()
	c.checkDrainedLocked()
}

// unchargeLocked follows the end of a stream that nobody works on.
func (c *Conn) unchargeLocked() {
	if c.server {
		c.charged--
	}
}

// fullLocked tells whether a server must refuse a new stream. Streams that were
// reset count until their handler has stopped, or resetting them would start any
// number of handlers. Those that ended normally do not, since the client may open
// the next as soon as it sees the end; their handlers are bounded all the same.
func (c *Conn) fullLocked() bool {
	limit := uint64(c.local.MaxConcurrentStreams)
	return uint64(len(c.streams)+c.lingering) >= limit || uint64(c.charged) >= 2*limit
}

// ID returns the stream identifier. A client's stream has it when OpenStream
// returns.
func (s *Stream) ID() uint32 { return s.id }

// Conn returns the stream's connection.
func (s *Stream) Conn() *Conn { return s.conn }

// WriteHeaders sends a header list, pseudo-header fields first: on a server an
// interim response, then the final one. Names must be in lower case. end makes it
// the last thing sent. Lists are written in the order of the calls, before any
// byte of the Source; nothing is taken from the Source before the final response.
// Fields named cookie, set-cookie, authorization or proxy-authorization are never
// indexed, like those marked Sensitive. fields must not be changed afterwards.
//
// onWrite, if not nil, is called on the write goroutine when the frames are about
// to be encoded: peer are the settings we have acknowledged before them.
//
// It returns ErrStreamClosed, the *StreamError that ended the stream, or what is
// wrong with the fields.
func (s *Stream) WriteHeaders(fields []hpack.HeaderField, end bool, onWrite func(peer Settings)) error {
	c := s.conn
	if !c.server {
		return errors.New("h2conn: a client's headers go with OpenStream")
	}
	if err := checkOwnFields(fields, responseFields); err != nil {
		return err
	}
	interim := fields[0].Value[0] == '1'
	if interim && end {
		return errors.New("h2conn: an interim response cannot be the end")
	}
	c.mu.Lock()
	defer c.unlock()
	switch {
	case s.reason != nil:
		return s.reason
	case !s.state.canSend() || s.sendEnds:
		return ErrStreamClosed
	case s.answered:
		return errors.New("h2conn: the final response was sent already")
	}
	s.answered = !interim
	c.queueHeadersLocked(&headersOut{st: s, fields: fields, end: end, onWrite: onWrite})
	return nil
}

// SetSource gives the stream what to send after its headers, and wakes it. It is
// called at most once.
func (s *Stream) SetSource(src Source) {
	s.conn.mu.Lock()
	defer s.conn.unlock()
	if s.state == streamClosed {
		return
	}
	if s.src != nil {
		panic("BUG: h2conn: SetSource called twice")
	}
	s.src = src
	s.conn.wakeSourceLocked(s)
}

// Wake says that the Source has something to give, or has ended.
func (s *Stream) Wake() {
	s.conn.mu.Lock()
	defer s.conn.unlock()
	s.conn.wakeSourceLocked(s)
}

// Consume returns flow-control credit for n bytes that Data did not count as
// consumed.
func (s *Stream) Consume(n int) {
	c := s.conn
	c.mu.Lock()
	defer c.unlock()
	if s.state == streamClosed {
		return // returned when it closed
	}
	if n < 0 || int64(n) > s.unconsumed {
		panic("BUG: h2conn: Consume of bytes not received")
	}
	c.creditLocked(s, int64(n))
}

// HoldCredit stops WINDOW_UPDATE frames for the stream (not for the connection)
// until ReleaseCredit: the peer can send one initial window and no more.
func (s *Stream) HoldCredit() {
	s.conn.mu.Lock()
	defer s.conn.unlock()
	s.hold = true
}

// ReleaseCredit ends HoldCredit. Credit that became due meanwhile is sent.
func (s *Stream) ReleaseCredit() {
	s.conn.mu.Lock()
	defer s.conn.unlock()
	s.hold = false
	s.conn.queueUpdateLocked(s)
}

// Reset ends both sides of the stream at once with RST_STREAM. What was not
// written is dropped, and so is a client's stream of which nothing was written.
// It does nothing on a stream that has ended.
func (s *Stream) Reset(code http2.ErrCode) {
	s.conn.mu.Lock()
	defer s.conn.unlock()
	s.conn.resetLocked(s, &StreamError{StreamID: s.id, Code: code, Reason: "reset by its owner"})
}

// Fault is Reset for an error that the peer made. It is charged to
// Config.Resets; beyond that the connection ends with ENHANCE_YOUR_CALM.
func (s *Stream) Fault(code http2.ErrCode) {
	s.conn.mu.Lock()
	defer s.conn.unlock()
	if s.conn.resetLocked(s, &StreamError{StreamID: s.id, Code: code, Reason: "error of the peer"}) {
		s.conn.chargeResetLocked()
	}
}

// resetLocked closes s and queues RST_STREAM; false if it was closed.
func (c *Conn) resetLocked(s *Stream, e *StreamError) bool {
	if s.state == streamClosed {
		return false
	}
	s.reason = e
	written := s.state != streamIdle
	c.closeStreamLocked(s, closeByUs)
	if written {
		c.queueRSTLocked(s.id, e.Code)
	}
	return true
}

func (c *Conn) queueRSTLocked(id uint32, code http2.ErrCode) {
	c.rsts = append(c.rsts, rstOut{id, code})
	c.boundControlLocked()
	c.wakeLocked()
}

// reset tells the Receiver that its stream has ended abruptly. Read goroutine.
func (c *Conn) reset(s *Stream, e *StreamError) {
	c.logStream("transport stream ended", s.id, slog.Any("error", e))
	s.recvr.Reset(e.Code, e.Remote, e)
}

// Done tells that the owner has stopped working on a server's stream: one that was
// reset counts against Config.MaxConcurrentStreams until then. If the response is complete and the request is
// not, the stream is then reset with NO_ERROR (RFC 9113, section 8.1). It has no
// effect on a client.
func (s *Stream) Done() {
	c := s.conn
	if !c.server {
		return
	}
	c.mu.Lock()
	defer c.unlock()
	if s.done {
		return
	}
	s.done = true
	if s.state == streamClosed {
		c.releaseLocked(s)
		return
	}
	c.stopRequestLocked(s)
}

// releaseLocked follows Done on a stream that has ended.
func (c *Conn) releaseLocked(s *Stream) {
	if s.owned {
		c.unchargeLocked()
	}
	if s.lingers {
		c.lingering--
	}
}

// stopRequestLocked asks the client to stop sending a request that was answered
// and that nobody reads.
func (c *Conn) stopRequestLocked(s *Stream) {
	if c.server && s.done && s.state == streamHalfClosedLocal {
		c.resetLocked(s, &StreamError{StreamID: s.id, Code: http2.ErrCodeNo, Reason: "answered"})
	}
}

// SetPriority sets the urgency, 0 (first) to 7, default 3. Streams of one urgency
// share the connection fairly by bytes; a lower number goes strictly first.
func (s *Stream) SetPriority(urgency uint8) {
	s.conn.mu.Lock()
	defer s.conn.unlock()
	s.conn.sched.move(s, min(urgency, urgencies-1))
}
