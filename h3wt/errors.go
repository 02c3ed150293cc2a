package h3wt

import (
	"errors"
	"net"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/towpath-go/towpath/transport"
)

// Error codes of draft-ietf-webtrans-http3 "HTTP/3 Error Code Registration".
// They may appear on streams and, as application error codes, on connections.
const (
	codeBufferedStreamRejected = 0x3994bd84 // WT_BUFFERED_STREAM_REJECTED
	codeSessionGone            = 0x170d7b68 // WT_SESSION_GONE
	codeFlowControl            = 0x045d4487 // WT_FLOW_CONTROL_ERROR
	codeALPN                   = 0x0817b3dd // WT_ALPN_ERROR
	codeRequirementsNotMet     = 0x212c0d48 // WT_REQUIREMENTS_NOT_MET
)

// The range of WT_APPLICATION_ERROR. Within it every 31st code point is
// reserved (RFC 9114 section 8.1: 0x1f * N + 0x21) and carries no code.
const (
	firstApplicationCode = 0x52e4a40fa8db
	lastApplicationCode  = 0x52e5ac983162
)

// streamCode maps an application's code to the HTTP/3 code of a reset
// (draft-ietf-webtrans-http3 "Resetting Data Streams").
func streamCode(code transport.StreamErrorCode) quic.StreamErrorCode {
	n := uint64(code)
	return quic.StreamErrorCode(firstApplicationCode + n + n/30)
}

// applicationCode is the inverse. It is not ok for a code outside the range and
// for a reserved code point: such a reset carries no application code.
func applicationCode(code quic.StreamErrorCode) (_ transport.StreamErrorCode, ok bool) {
	h := uint64(code)
	if h < firstApplicationCode || h > lastApplicationCode || (h-0x21)%31 == 0 {
		return 0, false
	}
	shifted := h - firstApplicationCode
	return transport.StreamErrorCode(shifted - shifted/31), true
}

// codeName returns the name of an HTTP/3 error code, "" if it is not known.
func codeName(code uint64) string {
	switch code {
	case codeBufferedStreamRejected:
		return "WT_BUFFERED_STREAM_REJECTED"
	case codeSessionGone:
		return "WT_SESSION_GONE"
	case codeFlowControl:
		return "WT_FLOW_CONTROL_ERROR"
	case codeALPN:
		return "WT_ALPN_ERROR"
	case codeRequirementsNotMet:
		return "WT_REQUIREMENTS_NOT_MET"
	case uint64(http3.ErrCodeDatagramError):
		return "H3_DATAGRAM_ERROR"
	case uint64(http3.ErrCodeNoError):
		return "H3_NO_ERROR"
	case uint64(http3.ErrCodeGeneralProtocolError):
		return "H3_GENERAL_PROTOCOL_ERROR"
	case uint64(http3.ErrCodeInternalError):
		return "H3_INTERNAL_ERROR"
	case uint64(http3.ErrCodeStreamCreationError):
		return "H3_STREAM_CREATION_ERROR"
	case uint64(http3.ErrCodeClosedCriticalStream):
		return "H3_CLOSED_CRITICAL_STREAM"
	case uint64(http3.ErrCodeFrameUnexpected):
		return "H3_FRAME_UNEXPECTED"
	case uint64(http3.ErrCodeFrameError):
		return "H3_FRAME_ERROR"
	case uint64(http3.ErrCodeExcessiveLoad):
		return "H3_EXCESSIVE_LOAD"
	case uint64(http3.ErrCodeIDError):
		return "H3_ID_ERROR"
	case uint64(http3.ErrCodeSettingsError):
		return "H3_SETTINGS_ERROR"
	case uint64(http3.ErrCodeMissingSettings):
		return "H3_MISSING_SETTINGS"
	case uint64(http3.ErrCodeRequestRejected):
		return "H3_REQUEST_REJECTED"
	case uint64(http3.ErrCodeRequestCanceled):
		return "H3_REQUEST_CANCELLED"
	case uint64(http3.ErrCodeRequestIncomplete):
		return "H3_REQUEST_INCOMPLETE"
	case uint64(http3.ErrCodeMessageError):
		return "H3_MESSAGE_ERROR"
	case uint64(http3.ErrCodeConnectError):
		return "H3_CONNECT_ERROR"
	}
	return ""
}

// violationCode is the code that a session's CONNECT stream is reset with when
// the peer broke a rule: the one function that turns a violation into wire form.
func violationCode(v transport.Violation) quic.StreamErrorCode {
	switch v {
	case transport.ViolationFlowControl:
		return codeFlowControl
	case transport.ViolationALPN:
		return codeALPN
	case transport.ViolationExcess:
		return quic.StreamErrorCode(http3.ErrCodeExcessiveLoad)
	case transport.ViolationGeneric:
		return quic.StreamErrorCode(http3.ErrCodeGeneralProtocolError)
	}
	return quic.StreamErrorCode(http3.ErrCodeMessageError)
}

// resetError turns what quic-go and http3 report about a peer into a
// *transport.ResetError; nil if err tells of no error code of the peer.
func resetError(err error) *transport.ResetError {
	if e, ok := errors.AsType[*quic.StreamError](err); ok && e.Remote {
		return newResetError(uint64(e.ErrorCode), false, "")
	}
	if e, ok := errors.AsType[*quic.ApplicationError](err); ok && e.Remote {
		return newResetError(uint64(e.ErrorCode), true, e.ErrorMessage)
	}
	return nil
}

func newResetError(code uint64, connection bool, reason string) *transport.ResetError {
	return &transport.ResetError{
		Protocol:   transport.HTTP3,
		Code:       code,
		Name:       codeName(code),
		Connection: connection,
		Reason:     reason,
	}
}

// lostError is the error of a session whose connection ended with err.
func lostError(err error) *transport.SessionError {
	if r := resetError(err); r != nil {
		return &transport.SessionError{Remote: true, Err: r}
	}
	if e, ok := errors.AsType[*quic.ApplicationError](err); ok && !e.Remote {
		// Closed here: by ClientConn.Close, Server.Close or the owner of
		// the quic.Conn.
		if e.ErrorCode == quic.ApplicationErrorCode(http3.ErrCodeNoError) {
			return &transport.SessionError{Err: net.ErrClosed}
		}
		return &transport.SessionError{Err: err}
	}
	return &transport.SessionError{Remote: true, Err: err}
}

// isHandshakeTimeout reports whether a connection ended because its handshake
// took too long.
func isHandshakeTimeout(err error) bool {
	if _, ok := errors.AsType[*quic.HandshakeTimeoutError](err); ok {
		return true
	}
	_, ok := errors.AsType[*quic.IdleTimeoutError](err)
	return ok
}
