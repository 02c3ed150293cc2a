package h3wt

import (
	"errors"
	"os"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// Why a stream is rejected, for logs.
var (
	errNoHeader    = errors.New("its header did not come in time")
	errNoSession   = errors.New("its session did not come in time")
	errSessionGone = errors.New("its session is over")
)

// inlineWait is how long an accept loop waits for the header of a stream. It is
// nearly always there when the stream is accepted, and read without a goroutine
// and in the order of opening; only a stream whose first packet came late makes
// the loop wait, and is then left to a goroutine of its own.
const inlineWait = time.Millisecond

// incoming is a stream of the peer whose session is not known yet: one of bidi
// and uni is set.
type incoming struct {
	bidi   *quic.Stream
	uni    *quic.ReceiveStream
	header int       // bytes before the application's
	since  time.Time // in awaited since
	begin  [16]byte  // for the header
}

func (in *incoming) recv() receiver {
	if in.bidi != nil {
		return in.bidi
	}
	return in.uni
}

// reject aborts the stream in every direction it has.
func (in *incoming) reject(code quic.StreamErrorCode) {
	in.recv().CancelRead(code)
	if in.bidi != nil {
		in.bidi.CancelWrite(code)
	}
}

// awaited is a session ID that may become a session.
type awaited struct {
	streams []*incoming
	// request says that the bidirectional stream with this ID is being read or
	// handled. Otherwise only streams have named the ID, and they wait no
	// longer than EarlyTimeout.
	request bool
	stream  *quic.Stream // the request's, on a server
	handled bool         // http3 has read the request's header
}

// dispatch reads the header of a stream and passes it on. It returns false if
// the header did not come in time for the accept loop, inline; otherwise it waits
// for EarlyTimeout and then aborts such a stream, unless it may be silent.
func (c *conn) dispatch(in *incoming, inline bool) bool {
	r := in.recv()
	wait := c.cfg.EarlyTimeout
	switch {
	case inline:
		wait = inlineWait
	case in.maySilent():
		r.SetReadDeadline(time.Time{})
		_, _ = r.Peek(make([]byte, 1)) // peekHeader says how it failed
	}
	r.SetReadDeadline(time.Now().Add(wait))
	wanted := uint64(uniStreamType)
	if in.bidi != nil {
		wanted = bidiStreamType
	}
	typ, session, n, err := peekHeader(r, in.begin[:], wanted)
	if errors.Is(err, os.ErrDeadlineExceeded) && inline {
		c.expect(in)
		return false
	}
	r.SetReadDeadline(time.Time{})
	switch {
	case n == 0 && err != nil:
		c.headless(in, err)
	case typ != wanted:
		c.expect(in)
		c.toHTTP3(in)
	case err != nil:
		c.headless(in, err)
	case session%4 != 0:
		// draft-ietf-webtrans-http3 "Session IDs": an ID that is no
		// client-initiated bidirectional stream's ends the connection.
		c.closeConn(http3.ErrCodeIDError, violation("session ID is not a client-initiated bidirectional stream's"))
	default:
		in.header, _ = r.Read(in.begin[:n]) // peeked, so all there
		c.forget(in)
		c.deliver(in, quic.StreamID(session))
	}
	return true
}

// maySilent says that nothing need come on a stream while the connection lasts.
// The first unidirectional streams of a peer may be those of QPACK. Chromium opens
// these at once and begins them when it has something to say; to stop one is
// H3_CLOSED_CRITICAL_STREAM to it and ends the connection. They show, and with them
// this wait, when it opens a later stream.
func (in *incoming) maySilent() bool {
	return in.uni != nil && int64(in.uni.StreamID())/4 < criticalStreams
}

// headless ends a stream that ended, was reset, or stayed silent before its
// header was complete.
func (c *conn) headless(in *incoming, err error) {
	c.forget(in)
	code := quic.StreamErrorCode(http3.ErrCodeRequestIncomplete)
	if in.bidi == nil {
		code = quic.StreamErrorCode(http3.ErrCodeStreamCreationError)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		code = codeBufferedStreamRejected
		c.log("stream rejected", transport.LimitEarlyStreams, errNoHeader)
	}
	in.reject(code)
	c.charge("stream without a header")
}

// toHTTP3 passes a stream that is not WebTransport's to http3. The goroutine
// ends with the stream or with the handler, at last with the connection.
func (c *conn) toHTTP3(in *incoming) {
	if in.bidi != nil {
		go c.handleBidi(in.bidi) // nobody waits for a handler
		return
	}
	c.loops.Go(func() { c.h3.HandleUnidirectionalStream(in.uni) })
}

// expect notes that a bidirectional stream of the client is, or may be, a request:
// its ID may become a session.
func (c *conn) expect(in *incoming) {
	if in.bidi == nil || !c.server {
		return
	}
	id := in.bidi.StreamID()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = max(c.next, id+4)
	c.awaitLocked(id).request = true
}

// forget notes that a bidirectional stream is not a request.
func (c *conn) forget(in *incoming) {
	if in.bidi == nil || !c.server {
		return
	}
	id := in.bidi.StreamID()
	c.mu.Lock()
	c.next = max(c.next, id+4)
	c.mu.Unlock()
	c.abandon(id, codeSessionGone)
}

// peekHeader looks at the type that a stream begins with and, if it is the one
// wanted, at the session ID behind it. N is the length of what was understood.
// It consumes nothing, and needs 16 bytes to work with.
func peekHeader(r receiver, b []byte, wanted uint64) (typ, session uint64, n int, err error) {
	typ, n, err = peekVarint(r, b, 0)
	if err != nil || typ != wanted {
		return typ, 0, n, err
	}
	session, m, err := peekVarint(r, b, n)
	return typ, session, n + m, err
}

func peekVarint(r receiver, b []byte, at int) (v uint64, n int, err error) {
	if _, err := r.Peek(b[:at+1]); err != nil {
		return 0, 0, err
	}
	n = 1 << (b[at] >> 6)
	if n > 1 {
		if _, err := r.Peek(b[:at+n]); err != nil {
			return 0, 0, err
		}
	}
	v, n = capsule.ParseVarint(b[at : at+n])
	return v, n, nil
}

func (c *conn) awaitLocked(id quic.StreamID) *awaited {
	a := c.awaited[id]
	if a == nil {
		a = new(awaited)
		c.awaited[id] = a
	}
	return a
}

// deliver hands a stream to its session, keeps it until the session is known,
// or rejects it.
func (c *conn) deliver(in *incoming, id quic.StreamID) {
	s, code := c.route(in, id)
	switch {
	case s != nil:
		s.addStream(in)
	case code == codeBufferedStreamRejected:
		c.log("stream rejected", transport.LimitEarlyStreams, nil)
		in.reject(code)
		c.charge("stream without a session")
	case code != 0:
		c.log("stream rejected", "", errSessionGone)
		in.reject(code)
	}
}

// route finds the session of a stream. Without one it says what to reject the
// stream with, or 0 if it was put by.
func (c *conn) route(in *incoming, id quic.StreamID) (*Session, quic.StreamErrorCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.sessions[id]; s != nil {
		return s, 0
	}
	a := c.awaited[id]
	switch {
	case a == nil && id < c.next:
		// The request was no session, or the session has ended: "IDs of
		// closed sessions are not invalid".
		return nil, codeSessionGone
	case a == nil && !c.server:
		return nil, codeBufferedStreamRejected // an ID that we never used
	case c.waiting >= c.cfg.MaxEarlyStreams:
		return nil, codeBufferedStreamRejected
	}
	a = c.awaitLocked(id)
	in.since = time.Now()
	a.streams = append(a.streams, in)
	c.waiting++
	if !a.request && c.sweep == nil {
		c.sweep = time.AfterFunc(c.cfg.EarlyTimeout, c.sweepEarly)
	}
	return nil, 0
}

// sweepEarly rejects the streams whose CONNECT did not come in time.
func (c *conn) sweepEarly() {
	now := time.Now()
	var late []*incoming
	c.mu.Lock()
	c.sweep = nil
	var wait time.Duration
	for id, a := range c.awaited {
		if a.request {
			continue
		}
		kept := a.streams[:0]
		for _, in := range a.streams {
			left := in.since.Add(c.cfg.EarlyTimeout).Sub(now)
			if left <= 0 {
				late = append(late, in)
				c.waiting--
				continue
			}
			kept = append(kept, in)
			if wait == 0 || left < wait {
				wait = left
			}
		}
		clear(a.streams[len(kept):])
		a.streams = kept
		if len(kept) == 0 {
			delete(c.awaited, id)
		}
	}
	if wait > 0 && c.qc.Context().Err() == nil {
		c.sweep = time.AfterFunc(wait, c.sweepEarly)
	}
	c.mu.Unlock()
	for _, in := range late {
		c.log("stream rejected", transport.LimitEarlyStreams, errNoSession)
		in.reject(codeBufferedStreamRejected)
		c.charge("stream without a session")
	}
}

// abandon notes that an ID will not become a session and rejects what waited.
func (c *conn) abandon(id quic.StreamID, code quic.StreamErrorCode) {
	c.mu.Lock()
	a := c.awaited[id]
	delete(c.awaited, id)
	var streams []*incoming
	if a != nil {
		streams = a.streams
		c.waiting -= len(streams)
	}
	c.mu.Unlock()
	for _, in := range streams {
		in.reject(code)
	}
}

// establish makes s the session of its ID and delivers what waited for it, in
// the order of arrival and before anything that comes later.
func (c *conn) establish(s *Session) {
	for {
		c.mu.Lock()
		a := c.awaited[s.id]
		if a == nil || len(a.streams) == 0 {
			delete(c.awaited, s.id)
			c.sessions[s.id] = s
			c.mu.Unlock()
			return
		}
		streams := a.streams
		a.streams = nil
		c.waiting -= len(streams)
		c.mu.Unlock()
		for _, in := range streams {
			s.addStream(in)
		}
	}
}

// stopSweep ends the timer when the connection is over.
func (c *conn) stopSweep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sweep != nil {
		c.sweep.Stop()
		c.sweep = nil
	}
	clear(c.awaited)
	c.waiting = 0
}
