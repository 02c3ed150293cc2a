package negotiate

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/transport"
)

// What a Dialer tells its Monitor: a Report in a few words that do not change.

// tell tells the Monitor of a Dial. ctx is the one that bounded it.
func (d *Dialer) tell(ctx context.Context, r *Report) {
	if d.Monitor == nil {
		return
	}
	d.Monitor.Dialed(transport.Dialed{
		Protocol: r.Winner, Elapsed: r.Elapsed, Outcome: r.outcome(ctx.Err()), Fallbacks: r.Fallbacks(), Err: r.Err,
	})
}

// outcome is one of transport.DialOutcomes; over is the error of the Dial's context.
func (r *Report) outcome(over error) string {
	err := r.Err
	_, noWay := errors.AsType[*DialError](err)
	switch {
	case err == nil:
		return transport.DialConnected
	case is[*ProxyError](err):
		return transport.DialProxy
	case errors.Is(err, errDialerClosed), errors.Is(over, context.Canceled):
		return transport.DialCanceled
	case over != nil:
		return transport.DialTimeout
	case noWay && len(r.Attempts) == 0:
		return transport.DialResolve
	case noWay:
		return transport.DialNoWay
	case isCertificateError(err):
		return transport.DialCertificate
	case is[*transport.RejectedError](err):
		return transport.DialRejected
	case is[*transport.ProtocolError](err):
		return transport.DialViolation
	case len(r.Attempts) == 0:
		return transport.DialInvalid
	}
	return transport.DialNoWay
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// Fallbacks are the ways better than the winner that were not taken, one for each
// protocol, and why. A Dial without a session has none, and so has one that found a
// connection to share.
func (r *Report) Fallbacks() (all []transport.Fallback) {
	if r.Winner == transport.ProtocolUnknown || r.Reused {
		return nil
	}
	if r.byProxy {
		all = append(all, transport.Fallback{Protocol: transport.HTTP3, Reason: transport.FallbackProxy})
	}
	for _, p := range []transport.Protocol{transport.HTTP3, transport.HTTP2} {
		if p == r.Winner {
			break
		}
		best, found := -1, ""
		for _, a := range r.Attempts {
			if a.Protocol != p {
				continue
			}
			// Of two families what came further tells more.
			reason, came := r.reason(a)
			if came > best {
				best, found = came, reason
			}
		}
		if found != "" {
			all = append(all, transport.Fallback{Protocol: p, Reason: found})
		}
	}
	return all
}

// How far an attempt came.
const (
	cameNowhere = iota // not started
	cameOut            // refused on this side of the server
	cameSilent         // sent, without an answer
	cameBack           // something came back
)

// reason says why an attempt does not carry the session.
func (r *Report) reason(a Attempt) (reason string, came int) {
	udp := a.Protocol == transport.HTTP3
	came = cameSilent
	if a.Heard {
		came = cameBack
	}
	switch {
	case a.Outcome == NotStarted && (r.Memory == MemoryBroken || r.Memory == MemoryExpired):
		return transport.FallbackRemembered, cameNowhere
	case a.Outcome == NotStarted:
		return transport.FallbackSlow, cameNowhere
	case a.Err != nil && !a.Heard && udp && !isTimeout(a.Err):
		return transport.FallbackUDPRefused, cameOut
	case a.Err != nil && !(udp && !a.Heard):
		return errorReason(a.Err), came
	case a.Heard:
		return transport.FallbackSlow, came
	case r.Memory == MemoryPending:
		return transport.FallbackPending, came
	case udp:
		return transport.FallbackUDPSilent, came
	}
	return transport.FallbackTimeout, came
}

// errorReason is the word for an attempt's error.
func errorReason(err error) string {
	if r, ok := errors.AsType[*transport.RejectedError](err); ok {
		switch r.StatusCode {
		case http.StatusNotImplemented:
			return transport.FallbackRefused501
		case http.StatusMisdirectedRequest:
			return transport.FallbackRefused421
		}
		return transport.FallbackOther
	}
	switch {
	case errors.Is(err, errNoProgress):
		return transport.FallbackUDPDead
	case errors.Is(err, transport.ErrNotWebTransport):
		return transport.FallbackNoWebTransport
	case errors.Is(err, ErrNoHTTP2):
		return transport.FallbackNoHTTP2
	case is[*transport.NotProcessedError](err):
		return transport.FallbackNotProcessed
	case is[*transport.ResetError](err), is[*quic.ApplicationError](err):
		return transport.FallbackReset
	case isTimeout(err):
		return transport.FallbackTimeout
	case isCertificateError(err), is[*quic.TransportError](err), is[*quic.VersionNegotiationError](err),
		is[tls.RecordHeaderError](err), is[tls.AlertError](err), isRemoteAlert(err):
		return transport.FallbackHandshake
	case isDialing(err):
		return transport.FallbackUnreachable
	}
	return transport.FallbackOther
}

// isTimeout reports whether the error is that time was over.
func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

// isRemoteAlert reports whether the peer ended a TLS handshake over TCP with an alert.
func isRemoteAlert(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

// isDialing reports whether no TCP connection came about.
func isDialing(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}
