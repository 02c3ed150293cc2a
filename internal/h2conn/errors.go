package h2conn

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/transport"
)

// ErrGoAway is returned by OpenStream once either side has said GOAWAY, and is
// what a StreamError for a stream the peer did not process wraps.
var ErrGoAway = errors.New("h2conn: connection takes no new streams")

// ErrStreamClosed is returned for a call on a stream whose sending side has
// ended.
var ErrStreamClosed = errors.New("h2conn: stream closed")

// ErrStreamLimit is returned by OpenStream when its context is done before the
// peer's stream limit allowed the stream.
var ErrStreamLimit = errors.New("h2conn: peer's stream limit reached")

// ConnError says why a connection ended. Every stream open at that time fails
// with it as cause.
type ConnError struct {
	Code   http2.ErrCode
	Remote bool   // GOAWAY with this code came from the peer
	Reason string // for logs; peer's text is escaped
	Cause  error  // I/O error, if that ended the connection
	// Limit is the limit of this side that was reached, "" if none: one of
	// transport's.
	Limit transport.Limit
}

func (e *ConnError) Error() string {
	who := "local"
	if e.Remote {
		who = "remote"
	}
	s := fmt.Sprintf("h2conn: connection ended (%s): %v", who, e.Code)
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

func (e *ConnError) Unwrap() error { return e.Cause }

// ReachedLimit returns Limit; see transport.ReachedLimit.
func (e *ConnError) ReachedLimit() transport.Limit { return e.Limit }

// Is reports a connection closed without error as net.ErrClosed.
func (e *ConnError) Is(target error) bool {
	return target == net.ErrClosed && e.Code == http2.ErrCodeNo
}

// StreamError says why one stream ended abruptly.
type StreamError struct {
	StreamID uint32
	Code     http2.ErrCode
	Remote   bool // RST_STREAM came from the peer
	// NotProcessed is set if the peer told that it did nothing with the stream
	// (REFUSED_STREAM, or GOAWAY with a lower last id): it may be tried again on
	// another connection.
	NotProcessed bool
	Reason       string // for logs
	Cause        error  // *ConnError if the connection ended
	// Limit is the limit of this side that was reached, "" if none.
	Limit transport.Limit
}

func (e *StreamError) Error() string {
	who := "local"
	if e.Remote {
		who = "remote"
	}
	s := fmt.Sprintf("h2conn: stream %d reset (%s): %v", e.StreamID, who, e.Code)
	if e.Reason != "" {
		s += ": " + e.Reason
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

func (e *StreamError) Unwrap() error { return e.Cause }

// ReachedLimit returns Limit, or that of the connection's end; see
// transport.ReachedLimit.
func (e *StreamError) ReachedLimit() transport.Limit {
	if ce, ok := e.Cause.(*ConnError); ok {
		return ce.Limit
	}
	return e.Limit
}
