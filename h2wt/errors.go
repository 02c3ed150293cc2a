package h2wt

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/transport"
)

// violationCodes are the RST_STREAM codes for what a peer did wrong.
// draft-ietf-webtrans-http2 "HTTP/2 Error Codes" names WT_ERROR,
// WT_STREAM_STATE_ERROR and WT_FLOW_CONTROL_ERROR but no number is assigned to
// them yet; until then these codes of RFC 9113 stand for them. A receiver treats
// every code as an abrupt end.
var violationCodes = [...]http2.ErrCode{
	transport.ViolationGeneric:     http2.ErrCodeProtocol,        // WT_ERROR
	transport.ViolationMalformed:   http2.ErrCodeProtocol,        // malformed message
	transport.ViolationStreamState: http2.ErrCodeStreamClosed,    // WT_STREAM_STATE_ERROR
	transport.ViolationFlowControl: http2.ErrCodeFlowControl,     // WT_FLOW_CONTROL_ERROR
	transport.ViolationALPN:        http2.ErrCodeProtocol,        // usually WT_CLOSE_SESSION says it
	transport.ViolationExcess:      http2.ErrCodeEnhanceYourCalm, // a limit of ours
}

func violationCode(v transport.Violation) http2.ErrCode {
	if int(v) < len(violationCodes) {
		return violationCodes[v]
	}
	return http2.ErrCodeProtocol
}

// A limitError says that something ended, or was refused, because a limit of this
// side was reached.
type limitError struct {
	limit transport.Limit
	text  string
	err   error // what it is besides; may be nil
}

func (e *limitError) Error() string { return "h2wt: " + e.text }

// Unwrap returns what the error is besides.
func (e *limitError) Unwrap() error { return e.err }

// ReachedLimit returns the limit; see transport.ReachedLimit.
func (e *limitError) ReachedLimit() transport.Limit { return e.limit }

var (
	errSendClosed    = errors.New("h2wt: write after the end")
	errNotH2         = errors.New("h2wt: the TLS connection did not negotiate h2")
	errNotUpgradable = errors.New("h2wt: the request does not ask for a WebTransport session over HTTP/2")
	errWrapped       = errors.New("h2wt: Upgrade: the ResponseWriter is not this package's: the server is not set up by it, or middleware hides it behind a type without Unwrap() http.ResponseWriter")
	errAnswered      = errors.New("h2wt: Upgrade after the response")
	errSessionReset  = errors.New("h2wt: the session has reset its stream")
	errHijackLate    = errors.New("h2wt: Hijack after the response")
	errWithdrawn     = errors.New("h2wt: WebTransport is not offered any more")
	errBornClosed    = errors.New("h2wt: a request for a session with END_STREAM")
	errHandlerDone   = errors.New("h2wt: the handler has returned")
	errWriteTimeout  = fmt.Errorf("h2wt: write deadline: %w", os.ErrDeadlineExceeded)

	errMaxSessions = &limitError{limit: transport.LimitSessionsPerConnection,
		text: "the connection has as many sessions as Config.MaxSessions and the server allow"}
	errUndecided = &limitError{limit: transport.LimitUpgradeTime, text: "the handler did not decide in time"}
	errLingered  = &limitError{limit: transport.LimitWriteTime, text: "the client did not take the end of the response", err: os.ErrDeadlineExceeded}
)

// lostError turns the end of a stream into what a session reports: a
// *transport.ResetError, with the connection's error underneath if there is one.
func lostError(err error) error {
	var ce *h2conn.ConnError
	if errors.As(err, &ce) {
		if ce.Cause != nil && ce.Limit == "" {
			return ce.Cause
		}
		return &transport.ResetError{
			Protocol:   transport.HTTP2,
			Code:       uint64(ce.Code),
			Name:       codeName(ce.Code),
			Connection: true,
			Reason:     ce.Reason,
			Limit:      ce.Limit,
		}
	}
	var se *h2conn.StreamError
	if errors.As(err, &se) {
		return &transport.ResetError{
			Protocol: transport.HTTP2,
			Code:     uint64(se.Code),
			Name:     codeName(se.Code),
			Reason:   se.Reason,
			Limit:    se.Limit,
		}
	}
	return err
}

// dialError turns the end of a CONNECT without an answer into what Dial returns.
func dialError(err error) error {
	var se *h2conn.StreamError
	if errors.As(err, &se) && se.NotProcessed || errors.Is(err, h2conn.ErrGoAway) {
		return &transport.NotProcessedError{Err: lostError(err)}
	}
	return lostError(err)
}

// codeName is RFC 9113's name of a code, empty if it has none.
func codeName(c http2.ErrCode) string {
	if c > http2.ErrCodeHTTP11Required {
		return ""
	}
	return c.String()
}
