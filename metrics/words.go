package metrics

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/towpath-go/towpath/transport"
)

// The closed sets that label values come from. What is in none of them becomes
// other, so that neither a peer nor a new version of a package can add series
// without end.

const other = "other"

// fold returns word if it is in the set, and other if it is not.
func fold(set []string, word string) string {
	if slices.Contains(set, word) {
		return word
	}
	return other
}

// Outcomes of sessions.
const (
	endClosed       = "closed"         // closed by the application here
	endClosedByPeer = "closed_by_peer" // closed by the application at the peer
	endIdle         = "idle"           // no data for IdleTimeout
	endLimit        = "limit"          // a limit of this side was reached
	endViolation    = "violation"      // the peer broke a rule
	endDialect      = "dialect"        // the peer's dialect showed too late
	endReset        = "reset"          // a reset of the stream or the connection with a code
	endLost         = "lost"           // the connection broke
)

var sessionOutcomes = []string{endClosed, endClosedByPeer, endIdle, endLimit, endViolation, endDialect, endReset, endLost, other}

// sessionOutcome says how a session ended by the cause of its context.
func sessionOutcome(cause error) (outcome string, limit transport.Limit) {
	e, ok := errors.AsType[*transport.SessionError](cause)
	if !ok {
		return other, ""
	}
	if limit, ok := transport.ReachedLimit(cause); ok {
		if limit == transport.LimitSessionIdle {
			return endIdle, limit
		}
		return endLimit, limit
	}
	if e.Err == nil {
		if e.Remote {
			return endClosedByPeer, ""
		}
		return endClosed, ""
	}
	if _, ok := errors.AsType[*transport.ProtocolError](e.Err); ok {
		return endViolation, ""
	}
	if _, ok := errors.AsType[*transport.DialectError](e.Err); ok {
		return endDialect, ""
	}
	if _, ok := errors.AsType[*transport.ResetError](e.Err); ok {
		return endReset, ""
	}
	return endLost, ""
}

// Outcomes of connections: endClosed, endLimit, and
const endError = "error"

var connectionOutcomes = []string{endClosed, endLimit, endError}

// limits are those of package transport.
var limits = []string{
	string(transport.LimitConnections),
	string(transport.LimitConnectionsPerAddress),
	string(transport.LimitConnectionRate),
	string(transport.LimitSessions),
	string(transport.LimitSessionsPerConnection),
	string(transport.LimitSessionsPerAddress),
	string(transport.LimitSessionRate),
	string(transport.LimitRequests),
	string(transport.LimitHandshakeTime),
	string(transport.LimitHeaderTime),
	string(transport.LimitHeaderSize),
	string(transport.LimitUpgradeTime),
	string(transport.LimitConnectionIdle),
	string(transport.LimitWriteTime),
	string(transport.LimitPingTime),
	string(transport.LimitCloseTime),
	string(transport.LimitMemory),
	string(transport.LimitFrames),
	string(transport.LimitFrameSize),
	string(transport.LimitStreamResets),
	string(transport.LimitReplies),
	string(transport.LimitMessageSize),
	string(transport.LimitEarlyStreams),
	string(transport.LimitSessionIdle),
	string(transport.LimitCapsules),
	string(transport.LimitControl),
	string(transport.LimitAborts),
	string(transport.LimitTinyDatagrams),
	string(transport.LimitDatagramRate),
	string(transport.LimitByteRate),
	string(transport.LimitFlowControl),
}

// limitWord is the label of a limit, "none" if there was none.
func limitWord(l transport.Limit) string {
	if l == "" {
		return "none"
	}
	return fold(limits, string(l))
}

// statuses are those with a label of their own.
var statuses = []int{200, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 407, 408, 413, 421, 426, 429, 431, 500, 501, 502, 503, 504}

// statusWord is the label of an answer's status: itself, or the class of one
// that is unusual. A request that was reset has none.
func statusWord(code int) string {
	switch {
	case code == 0:
		return "reset"
	case slices.Contains(statuses, code):
		return strconv.Itoa(code)
	case code >= 200 && code < 600:
		return strconv.Itoa(code/100) + "xx"
	}
	return other
}

// protocolWord is the label of a transport; dials have "none" where others have
// "unknown".
func protocolWord(p transport.Protocol, unknown string) string {
	switch p {
	case transport.HTTP3, transport.HTTP2, transport.WebSocket:
		return p.String()
	}
	return unknown
}

// dialOutcome says how a Dial ended.
func dialOutcome(d transport.Dialed) string {
	switch {
	case d.Outcome != "":
		return fold(transport.DialOutcomes(), d.Outcome)
	case d.Err == nil:
		return transport.DialConnected
	case errors.Is(d.Err, context.Canceled):
		return transport.DialCanceled
	case errors.Is(d.Err, context.DeadlineExceeded):
		return transport.DialTimeout
	}
	return other
}
