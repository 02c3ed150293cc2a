package negotiate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/transport"
)

// judge is the verdict on an attempt's error. Nobody can tell by the answer to a
// WebSocket whether the server knew what it was asked for, so that is not final
// while a better way may come up. Who asked twice, since the server takes its time,
// may be refused the second place for having the first.
func (j *job) judge(a Attempt, err error) verdict {
	v := judgeError(err)
	switch {
	case a.Protocol == transport.HTTP2 && v == tryNext && (j.reached.Load() || a.Heard && isCut(err)):
		return tryBelow
	case a.Protocol == transport.WebSocket && isAnswer(err):
		return lastWord
	case v == answer && isTooMany(err):
		return noRoom
	}
	return v
}

// isCut reports whether something ended a connection without a word. In the
// middle of a TLS handshake that may be one that does not let HTTP/2 pass, or the
// first connection to a server that it does not know yet.
func isCut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || slices.ContainsFunc(resets, func(e error) bool { return errors.Is(err, e) })
}

// isAnswer reports whether an error is what the server, or something before it
// that answers 407, made of a request.
func isAnswer(err error) bool {
	_, rejected := errors.AsType[*transport.RejectedError](err)
	_, wrong := errors.AsType[*transport.ProtocolError](err)
	return rejected || wrong
}

// isTooMany reports whether the server has no room for another session of this client.
func isTooMany(err error) bool {
	r, ok := errors.AsType[*transport.RejectedError](err)
	return ok && r.StatusCode == http.StatusTooManyRequests
}

// judgeError says which errors are answers of the server (or of the caller's
// own rules), which every way would give, and which say that a way is not open.
func judgeError(err error) verdict {
	if isCertificateError(err) {
		return answer
	}
	if r, ok := errors.AsType[*transport.RejectedError](err); ok {
		switch r.StatusCode {
		case http.StatusNotImplemented, http.StatusMisdirectedRequest:
			return tryNext
		}
		return answer
	}
	if isALPNError(err) {
		return answer
	}
	return tryNext
}

// isALPNError reports whether an accepted session had no application protocol in
// common, and was closed for that.
func isALPNError(err error) bool {
	p, ok := errors.AsType[*transport.ProtocolError](err)
	return ok && p.Violation == transport.ViolationALPN
}

// isCertificateError reports whether either side refused the other's certificate.
func isCertificateError(err error) bool {
	if _, ok := errors.AsType[*PinError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return true
	}
	if te, ok := errors.AsType[*quic.TransportError](err); ok && te.ErrorCode.IsCryptoError() {
		return slices.Contains(certificateAlerts, tls.AlertError(uint64(te.ErrorCode)-0x100))
	}
	return sentAlert(err, certificateAlerts...)
}

// certificateAlerts say that the peer did not accept a certificate, or the lack of
// one (RFC 8446 section 6.2): bad_certificate (42) to certificate_unknown (46),
// unknown_ca (48), and certificate_required (116).
var certificateAlerts = []tls.AlertError{42, 43, 44, 45, 46, 48, 116}

// sentAlert reports whether the peer ended a TLS connection over TCP with one of
// the alerts. Package tls has no type of its own for those that it received.
func sentAlert(err error, alerts ...tls.AlertError) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error" && slices.ContainsFunc(alerts, func(a tls.AlertError) bool { return op.Err.Error() == a.Error() })
}

// marksUDP reports whether a QUIC attempt's failure says that UDP does not work
// to that server: not so if the server answered, or asked to come elsewhere.
func marksUDP(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if _, ok := errors.AsType[*transport.NotProcessedError](err); ok {
		return false
	}
	if _, ok := errors.AsType[*transport.RejectedError](err); ok {
		return false
	}
	return judgeError(err) != answer
}
