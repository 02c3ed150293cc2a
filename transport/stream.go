package transport

import (
	"io"
	"time"
)

// A StreamID names a stream within its session. On HTTP/2 and WebSocket it is
// the draft's dense per-session ID, on HTTP/3 the QUIC stream ID. In all of
// them bit 0 says who opened the stream and bit 1 whether it is unidirectional. A
// peer of an older HTTP/2 draft may give bit 0 the opposite meaning, see
// DialectAuto; the ID is then the one on the wire.
type StreamID uint64

// ClientInitiated reports whether the client opened the stream.
func (id StreamID) ClientInitiated() bool { return id&1 == 0 }

// Uni reports whether the stream is unidirectional.
func (id StreamID) Uni() bool { return id&2 != 0 }

// A Stream is a bidirectional stream. Close ends the sending direction only.
type Stream interface {
	SendStream
	ReceiveStream
	// SetDeadline sets the read and the write deadline.
	SetDeadline(t time.Time) error
}

// A SendStream is the sending direction of a stream. Write may be called by one
// goroutine at a time; the other methods by any.
type SendStream interface {
	// Write copies p and returns once all of it is buffered for the transport;
	// it waits while the buffer or the peer's credit is used up. On failure it
	// returns how many bytes were accepted and: a [*StreamError] after
	// CancelWrite on this side or STOP_SENDING from the peer,
	// [os.ErrDeadlineExceeded], an error that matches [net.ErrClosed] after
	// Close, or the [*SessionError].
	io.Writer
	// Close ends the direction cleanly (FIN). It does not wait: what was
	// written before is still delivered, unless the peer asks to stop, which
	// Write alone reports. After Close or CancelWrite it returns nil; after the
	// session's end the SessionError.
	Close() error
	// CancelWrite aborts the direction (RESET) with a code for the peer and
	// drops what was not sent. After Close or an earlier CancelWrite it does
	// nothing, unless bytes are still unsent.
	CancelWrite(code StreamErrorCode)
	// SetWriteDeadline works as for net.Conn: it may be renewed, the zero time
	// means none, and it applies to a Write that is already waiting.
	SetWriteDeadline(t time.Time) error
	// SetPriority places the stream among the session's streams. It applies
	// to bytes that the transport has not taken yet, and may change any time.
	SetPriority(p Priority)
	// StreamID returns the stream's ID.
	StreamID() StreamID
}

// A ReceiveStream is the receiving direction of a stream. Read may be called by
// one goroutine at a time; the other methods by any.
type ReceiveStream interface {
	// Read waits for at least one byte. It returns io.EOF after a clean end
	// only; a [*StreamError] once the peer reset the stream (unread data is
	// discarded) or after CancelRead; [os.ErrDeadlineExceeded]; or the
	// [*SessionError].
	io.Reader
	// CancelRead asks the peer to stop sending (STOP_SENDING) with a code, and
	// discards what arrived and will arrive. After the end was read, or a
	// second time, it does nothing.
	CancelRead(code StreamErrorCode)
	// SetReadDeadline works as for net.Conn.
	SetReadDeadline(t time.Time) error
	// StreamID returns the stream's ID.
	StreamID() StreamID
}

// A Priority places a stream's bytes among those of its session's other
// streams, with the meaning of the W3C API's sendGroup and sendOrder: groups
// share the capacity fairly; within a group streams of a higher Order go first,
// streams of equal Order take turns. The zero Priority is order 0 in the nil
// group, which is a group like any other. How closely a backend follows is in
// the package documentation.
type Priority struct {
	Group *SendGroup
	Order int64
}

// A SendGroup is a set of streams that share one portion of a session's
// capacity. Its identity is all it has; sessions keep groups apart.
type SendGroup struct{ _ byte }

// NewSendGroup returns a new group.
func NewSendGroup() *SendGroup { return new(SendGroup) }
