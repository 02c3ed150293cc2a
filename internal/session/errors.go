package session

import (
	"errors"
	"fmt"
	"net"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

var errWriteAfterClose = fmt.Errorf("towpath: write on a stream that was closed: %w", net.ErrClosed)

// violation returns the error of a rule that the peer broke. Every violation
// ends the session: draft-ietf-webtrans-http2 knows no error that ends a single
// stream.
func violation(v transport.Violation, format string, args ...any) error {
	return &transport.ProtocolError{Violation: v, Reason: fmt.Sprintf(format, args...)}
}

func stateError(format string, args ...any) error {
	return violation(transport.ViolationStreamState, format, args...)
}

func flowError(format string, args ...any) error {
	return violation(transport.ViolationFlowControl, format, args...)
}

// errDecodingOver ends the decoding without being a violation: the session
// closed on the capsule at hand.
var errDecodingOver = errors.New("session: no capsules are read any more")

// protocolError turns what the decoder or its handler returned into what the
// application sees and the carrier maps to a wire code.
func protocolError(err error) *transport.ProtocolError {
	var pe *transport.ProtocolError
	if errors.As(err, &pe) {
		return pe
	}
	v := transport.ViolationMalformed
	var se *capsule.SyntaxError
	if errors.As(err, &se) && se.Fault == capsule.FaultCloseMessage {
		// draft-ietf-webtrans-http2 "WT_CLOSE_SESSION Capsule": a message that
		// is too long is the session error WT_ERROR.
		v = transport.ViolationGeneric
	}
	return &transport.ProtocolError{Violation: v, Reason: err.Error()}
}
