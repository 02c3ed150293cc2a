package wswt

import (
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/transport"
)

// statusName is RFC 6455's name of a status of a Close frame, that of the
// registry it began, or docs/websocket.md's; empty if it has none.
func statusName(s ws.StatusCode) string {
	switch s {
	case ws.StatusNormalClosure:
		return "normal closure"
	case ws.StatusGoingAway:
		return "going away"
	case ws.StatusProtocolError:
		return "protocol error"
	case ws.StatusUnsupportedData:
		return "unsupported data"
	case ws.StatusInvalidFramePayloadData:
		return "invalid frame payload data"
	case ws.StatusPolicyViolation:
		return "policy violation"
	case ws.StatusMessageTooBig:
		return "message too big"
	case ws.StatusMandatoryExt:
		return "mandatory extension"
	case ws.StatusInternalServerError:
		return "internal error"
	case statusServiceRestart:
		return "service restart"
	case statusTryAgainLater:
		return "try again later"
	case statusBadGateway:
		return "bad gateway"
	case statusPageViolation:
		return "protocol violation seen by a page"
	case statusPageText:
		return "text message to a page"
	case statusPageExcess:
		return "too much for a page"
	case statusPageTooBig:
		return "message too big for a page"
	case statusPageFailure:
		return "internal error of a page"
	}
	return ""
}

// Statuses registered after RFC 6455.
const (
	statusServiceRestart ws.StatusCode = 1012
	statusTryAgainLater  ws.StatusCode = 1013
	statusBadGateway     ws.StatusCode = 1014
)

// Statuses with which a page gives up, since it cannot send those below 3000:
// section 5 of docs/websocket.md.
const (
	statusPageViolation ws.StatusCode = 4002
	statusPageText      ws.StatusCode = 4003
	statusPageExcess    ws.StatusCode = 4008
	statusPageTooBig    ws.StatusCode = 4009
	statusPageFailure   ws.StatusCode = 4011
)

// clean reports whether a peer's Close frame ends a session like the end of its
// stream, without an error: 1000, 1001 and no status at all.
func clean(s ws.StatusCode) bool {
	return s == 0 || s == ws.StatusNormalClosure || s == ws.StatusGoingAway
}

// violationStatus is the status of the Close frame that tells a peer that it
// broke a rule of the capsule stream, or ran into a limit of ours. What flow
// control allows is a rule: the peer was told its limits.
func violationStatus(v transport.Violation, limit transport.Limit) ws.StatusCode {
	switch {
	case v == transport.ViolationExcess, limit != "" && limit != transport.LimitFlowControl:
		return ws.StatusPolicyViolation
	}
	return ws.StatusProtocolError
}

// blames reports whether a Close frame with a status says that the peer did
// something that it must not.
func blames(s ws.StatusCode) bool {
	switch s {
	case ws.StatusProtocolError, ws.StatusUnsupportedData, ws.StatusInvalidFramePayloadData,
		ws.StatusPolicyViolation, ws.StatusMessageTooBig:
		return true
	}
	return false
}

// A fault is a rule of RFC 6455 or of the subprotocol that the peer broke.
type fault struct {
	status ws.StatusCode
	reason string // for the peer: fixed text of at most 123 bytes
	what   transport.Violation
	limit  transport.Limit // that was reached, "" if none
}

func (f *fault) Error() string { return f.reason }

// protocolError is what the session reports.
func (f *fault) protocolError() *transport.ProtocolError {
	return &transport.ProtocolError{Violation: f.what, Reason: f.reason, Limit: f.limit}
}

func malformed(reason string) *fault {
	return &fault{status: ws.StatusProtocolError, reason: reason, what: transport.ViolationMalformed}
}

func excess(status ws.StatusCode, reason string, limit transport.Limit) *fault {
	return &fault{status: status, reason: reason, what: transport.ViolationExcess, limit: limit}
}

var (
	faultText      = &fault{status: ws.StatusUnsupportedData, reason: "text message", what: transport.ViolationMalformed}
	faultTooBig    = excess(ws.StatusMessageTooBig, "message too big", transport.LimitMessageSize)
	faultFlood     = excess(ws.StatusPolicyViolation, "too many small frames", transport.LimitFrames)
	faultLength    = malformed("bad length")
	faultCloseSize = malformed("Close frame of 1 byte")
	faultCloseCode = malformed("bad status")
	faultCloseText = &fault{status: ws.StatusInvalidFramePayloadData, reason: "reason is not UTF-8", what: transport.ViolationMalformed}
)

// parseClose reads the payload of a Close frame: RFC 6455 section 5.5.1. Without
// a status it is 0.
func parseClose(p []byte) (status ws.StatusCode, reason string, err error) {
	if len(p) == 0 {
		return 0, "", nil
	}
	if len(p) == 1 {
		return 0, "", faultCloseSize
	}
	status, reason = ws.ParseCloseFrameData(p)
	// Section 7.4.2: 3000 to 4999 are for libraries and applications.
	if !status.In(ws.StatusCodeRange{Min: 3000, Max: 4999}) && statusName(status) == "" {
		return 0, "", faultCloseCode
	}
	if !utf8.ValidString(reason) {
		return 0, "", faultCloseText
	}
	return status, reason, nil
}

// closedByPeer is what a session reports if the peer's Close frame says that
// something is wrong.
func closedByPeer(status ws.StatusCode, reason string) error {
	return &transport.ResetError{
		Protocol:   transport.WebSocket,
		Code:       uint64(status),
		Name:       statusName(status),
		Connection: true,
		Reason:     reason,
	}
}

var (
	errNoClose    = fmt.Errorf("wswt: the connection ended without a Close frame: %w", io.ErrUnexpectedEOF)
	errServerDown = errors.New("wswt: the server is being closed")
	errOver       = errors.New("wswt: the connection has ended")
	errNoExporter = fmt.Errorf("wswt: TLS ended in front of this server, so there is no exporter: %w", transport.ErrUnsupported)
)
