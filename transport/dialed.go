package transport

import (
	"slices"
	"time"
)

// Dialed is the outcome of a Dial.
type Dialed struct {
	// Protocol is the way that was taken, ProtocolUnknown if none was.
	Protocol Protocol
	// Elapsed is how long it took.
	Elapsed time.Duration
	// Outcome is DialConnected if there is a session, otherwise one of the other
	// words of DialOutcomes. Package negotiate always sets it.
	Outcome string
	// Fallbacks are the better ways that were not taken, at most one for each
	// protocol, if there is a session.
	Fallbacks []Fallback
	// Err is nil if there is a session.
	Err error
}

// Outcomes of a Dial. They are stable: labels of metrics, attributes of log lines.
const (
	DialConnected   = "connected"   // there is a session
	DialRejected    = "rejected"    // the server answered with another status
	DialViolation   = "violation"   // the server's answer broke the rules, or selected no protocol
	DialCertificate = "certificate" // one side refused the other's certificate
	DialProxy       = "proxy"       // the proxy refused, or could not be used
	DialResolve     = "resolve"     // the name has no address
	DialNoWay       = "no_way"      // no way to the server was open
	DialTimeout     = "timeout"     // the time was over
	DialCanceled    = "canceled"    // the caller did not wait, or closed the Dialer
	DialInvalid     = "invalid"     // nothing was sent: the URL, the options, no transport left
)

var dialOutcomes = []string{
	DialConnected, DialRejected, DialViolation, DialCertificate, DialProxy, DialResolve, DialNoWay, DialTimeout,
	DialCanceled, DialInvalid,
}

// DialOutcomes returns all outcomes of a Dial.
func DialOutcomes() []string { return slices.Clone(dialOutcomes) }

// A Fallback is a way that a Dial did not take, and a stable word for why.
type Fallback struct {
	Protocol Protocol
	Reason   string
}

// Reasons of a Fallback. They are stable as those of DialOutcomes are.
const (
	FallbackUDPSilent      = "udp_silent"      // UDP: nothing came back
	FallbackUDPRefused     = "udp_refused"     // UDP: the network or this host refused to send
	FallbackUDPDead        = "udp_dead"        // UDP: the path died after the handshake
	FallbackSlow           = "slow"            // it answered, but another way was there first
	FallbackRemembered     = "remembered"      // UDP to the server is marked broken
	FallbackPending        = "pending"         // another dial is finding out about UDP
	FallbackProxy          = "proxy"           // a proxy carries TCP only
	FallbackHandshake      = "handshake"       // the connection was there, but its handshake failed
	FallbackNoHTTP2        = "no_http2"        // the server chose HTTP/1.1
	FallbackNoWebTransport = "no_webtransport" // the server announces no WebTransport
	FallbackRefused501     = "refused_501"     // the answer was 501 (Not Implemented)
	FallbackRefused421     = "refused_421"     // the answer was 421 (Misdirected Request)
	FallbackNotProcessed   = "not_processed"   // the server did not act on the request
	FallbackReset          = "reset"           // the request or the connection was reset
	FallbackTimeout        = "timeout"         // it took too long
	FallbackUnreachable    = "unreachable"     // no connection could be made
	FallbackOther          = "other"           // another error
)

var fallbackReasons = []string{
	FallbackUDPSilent, FallbackUDPRefused, FallbackUDPDead, FallbackSlow, FallbackRemembered, FallbackPending,
	FallbackProxy, FallbackHandshake, FallbackNoHTTP2, FallbackNoWebTransport, FallbackRefused501,
	FallbackRefused421, FallbackNotProcessed, FallbackReset, FallbackTimeout, FallbackUnreachable, FallbackOther,
}

// FallbackReasons returns all reasons of a Fallback.
func FallbackReasons() []string { return slices.Clone(fallbackReasons) }
