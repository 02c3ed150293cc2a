package transport

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
)

// A SessionErrorCode is the application's 32-bit code of WT_CLOSE_SESSION.
type SessionErrorCode uint32

// A StreamErrorCode is the application's 32-bit code of a stream's reset or
// stop request.
type StreamErrorCode uint32

var (
	// ErrStreamLimit is returned by OpenStream and OpenUniStream when the
	// context has already ended and the peer's limit allows no stream now.
	ErrStreamLimit = errors.New("towpath: the peer allows no further stream now")
	// ErrUnsupported is returned for what a backend cannot do. The package
	// documentation lists every use.
	ErrUnsupported = fmt.Errorf("towpath: not possible on this transport: %w", errors.ErrUnsupported)
	// ErrNotWebTransport is returned by dialing when the server does not
	// announce WebTransport. Nothing was requested from it.
	ErrNotWebTransport = errors.New("towpath: the server does not offer WebTransport")
	// ErrUnconfirmed is returned by CloseWithError when a stream had been finished
	// with Close and the peer did not confirm the session's end within
	// Config.CloseTimeout, or closed the session itself meanwhile, or the
	// connection broke: everything was handed to the transport, and what came
	// last may never have been read.
	ErrUnconfirmed = errors.New("towpath: session closed, and the peer did not confirm it: what was sent last may be lost")
)

// A SessionError says how a session ended. It matches [net.ErrClosed].
type SessionError struct {
	// Code and Reason are what the close said: the application's, 0 and "idle"
	// of [Config.IdleTimeout], 0 and "" if nothing was said. Reason came from the
	// peer if Remote is set; Error escapes it.
	Code   SessionErrorCode
	Reason string
	// Remote says that the peer, or the network, ended the session.
	Remote bool
	// Err is nil if an application closed the session: with a code, or
	// cleanly without one. Otherwise it says what ended the session: a
	// [*ProtocolError], a [*LimitError], a [*ResetError], a [*DialectError], or
	// the connection's error.
	Err error
}

func (e *SessionError) Error() string {
	who := "locally"
	if e.Remote {
		who = "by the peer"
	}
	if e.Err != nil {
		return "towpath: session ended: " + e.Err.Error()
	}
	s := "towpath: session closed " + who + " with code " + strconv.FormatUint(uint64(e.Code), 10)
	if e.Reason != "" {
		s += " " + strconv.QuoteToGraphic(e.Reason)
	}
	return s
}

// Unwrap returns Err.
func (e *SessionError) Unwrap() error { return e.Err }

// Is matches net.ErrClosed.
func (e *SessionError) Is(target error) bool { return target == net.ErrClosed }

// A StreamError says that one direction of a stream was aborted.
type StreamError struct {
	StreamID StreamID
	// Code is the application's code, 0 if NoCode is set.
	Code StreamErrorCode
	// NoCode says that the stream was reset with a transport code that carries
	// no application code (HTTP/3 only).
	NoCode bool
	// Remote says that the peer aborted it.
	Remote bool
}

func (e *StreamError) Error() string {
	who := "locally"
	if e.Remote {
		who = "by the peer"
	}
	if e.NoCode {
		return fmt.Sprintf("towpath: stream %d aborted %s without a code", uint64(e.StreamID), who)
	}
	return fmt.Sprintf("towpath: stream %d aborted %s with code %d", uint64(e.StreamID), who, uint32(e.Code))
}

// A Violation names the kind of a protocol error, with the names of
// draft-ietf-webtrans-http2 "Session Errors" where it has one.
type Violation uint8

const (
	ViolationGeneric     Violation = iota // WT_ERROR
	ViolationMalformed                    // malformed message or capsule
	ViolationStreamState                  // WT_STREAM_STATE_ERROR
	ViolationFlowControl                  // WT_FLOW_CONTROL_ERROR
	ViolationALPN                         // WT_ALPN_ERROR: application protocol
	ViolationExcess                       // more of something than a limit of ours allows
)

// String returns the draft's name of the error.
func (v Violation) String() string {
	switch v {
	case ViolationGeneric:
		return "WT_ERROR"
	case ViolationMalformed:
		return "malformed message"
	case ViolationStreamState:
		return "WT_STREAM_STATE_ERROR"
	case ViolationFlowControl:
		return "WT_FLOW_CONTROL_ERROR"
	case ViolationALPN:
		return "WT_ALPN_ERROR"
	case ViolationExcess:
		return "excessive load"
	}
	return "unknown violation"
}

// A ProtocolError is a rule of the protocol that the peer broke, seen here.
type ProtocolError struct {
	Violation Violation
	Reason    string // for logs, never sent to the peer
	Limit     Limit  // the limit of this side that was reached, "" if none
}

func (e *ProtocolError) Error() string { return e.Violation.String() + ": " + e.Reason }

// ReachedLimit returns Limit; see [ReachedLimit].
func (e *ProtocolError) ReachedLimit() Limit { return e.Limit }

// A DialectError says that a session with [DialectAuto] found out too late that
// its peer speaks draft 15: what had been read or sent in the older drafts' way
// cannot be corrected, so that a stream may have been cut short on either side.
// It tells nothing of a mistake of the peer. Dialing again with the Config's
// Dialect set to [DialectDraft15] avoids it.
type DialectError struct {
	Evidence string // for logs
}

func (e *DialectError) Error() string {
	return "towpath: the peer turned out to speak draft 15, too late: " + e.Evidence
}

// A ResetError says that the peer, or the local transport, reset the session's
// CONNECT stream or the connection with a transport error code; or that the peer
// closed the session's WebSocket with a status that is an error.
type ResetError struct {
	Protocol   Protocol
	Code       uint64 // HTTP/2 or HTTP/3 error code, or status of a WebSocket's Close frame
	Name       string // its name, "" if unknown
	Connection bool   // the whole connection was ended
	Reason     string // for logs
	Limit      Limit  // the limit of this side that was reached, "" if none
}

// ReachedLimit returns Limit; see [ReachedLimit].
func (e *ResetError) ReachedLimit() Limit { return e.Limit }

func (e *ResetError) Error() string {
	name := e.Name
	if name == "" {
		name = "0x" + strconv.FormatUint(e.Code, 16)
	}
	what := "stream reset"
	if e.Connection {
		what = "connection closed"
	}
	s := e.Protocol.String() + " " + what + " with " + name
	if e.Reason != "" {
		s += ": " + strconv.QuoteToGraphic(e.Reason)
	}
	return s
}

// A DatagramTooLargeError is returned by SendDatagram.
type DatagramTooLargeError struct {
	Max int // the largest payload now, in bytes
}

func (e *DatagramTooLargeError) Error() string {
	return "towpath: datagram larger than " + strconv.Itoa(e.Max) + " bytes"
}

// An UnsentError is returned by CloseWithError: so many bytes of streams that
// were finished with Close were not handed to the transport in time. Bytes is 0
// if only the end of a stream was not.
type UnsentError struct{ Bytes uint64 }

func (e *UnsentError) Error() string {
	if e.Bytes == 0 {
		return "towpath: session closed with the end of a stream unsent"
	}
	return "towpath: session closed with " + strconv.FormatUint(e.Bytes, 10) + " bytes unsent"
}

// A MessageTooLargeError is returned by ReadMessage and ReceiveMessage.
type MessageTooLargeError struct{ Limit int }

func (e *MessageTooLargeError) Error() string {
	return "towpath: message longer than " + strconv.Itoa(e.Limit) + " bytes"
}

// A RejectedError is returned by dialing when the server answered the CONNECT
// with a final status other than 2xx. It is an answer, not a network failure.
type RejectedError struct {
	StatusCode int
	Header     http.Header
	// Body is the start of the response's body, at most 4 KiB.
	Body []byte
}

func (e *RejectedError) Error() string {
	s := "towpath: the server rejected the session with status " + strconv.Itoa(e.StatusCode)
	if t := http.StatusText(e.StatusCode); t != "" {
		s += " " + t
	}
	if l := e.Header.Get("Location"); l != "" {
		s += " (Location: " + strconv.QuoteToGraphic(l) + ", not followed)"
	}
	return s
}

// A NotProcessedError is returned by dialing when the server guarantees that it
// did not act on the request (REFUSED_STREAM, H3_REQUEST_REJECTED, GOAWAY), so
// that it may be sent again elsewhere.
type NotProcessedError struct{ Err error }

func (e *NotProcessedError) Error() string {
	return "towpath: request not processed: " + e.Err.Error()
}

// Unwrap returns Err.
func (e *NotProcessedError) Unwrap() error { return e.Err }
