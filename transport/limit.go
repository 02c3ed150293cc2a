package transport

import "errors"

// A Limit names a bound that a peer ran into. Its text is stable: it is a label
// of metrics, an attribute of log lines, and a row of docs/security.md, which
// has the defaults and where each is set.
type Limit string

// Limits of a server before there is a session.
const (
	LimitConnections           Limit = "connections"             // connections of the server
	LimitConnectionsPerAddress Limit = "connections-per-address" // connections of one client address
	LimitConnectionRate        Limit = "connection-rate"         // new connections per second of one client address
	LimitSessions              Limit = "sessions"                // sessions of the server
	LimitSessionsPerConnection Limit = "sessions-per-connection" // sessions of one connection
	LimitSessionsPerAddress    Limit = "sessions-per-address"    // sessions of one client address
	LimitSessionRate           Limit = "session-rate"            // requests for sessions per second
	LimitRequests              Limit = "requests"                // requests and their handlers of one connection
	LimitHandshakeTime         Limit = "handshake-time"          // TLS handshake, preface, SETTINGS
	LimitHeaderTime            Limit = "header-time"             // receiving one header
	LimitHeaderSize            Limit = "header-size"             // size or fields of one header
	LimitUpgradeTime           Limit = "upgrade-time"            // a handler's decision on a session
)

// Limits of a connection.
const (
	LimitConnectionIdle Limit = "connection-idle" // time without streams
	LimitWriteTime      Limit = "write-time"      // the peer takes no bytes
	LimitPingTime       Limit = "ping-time"       // the peer does not answer
	LimitCloseTime      Limit = "close-time"      // the peer does not answer a Close frame
	LimitMemory         Limit = "memory"          // bytes held for a connection or a server
	LimitFrames         Limit = "frames"          // frames without progress
	LimitFrameSize      Limit = "frame-size"      // one frame, or the settings in it
	LimitStreamResets   Limit = "stream-resets"   // transport streams reset, by the peer or because of it
	LimitReplies        Limit = "replies"         // replies that the peer causes and does not read
	LimitMessageSize    Limit = "message-size"    // a WebSocket message
	LimitEarlyStreams   Limit = "early-streams"   // streams and datagrams before their session
)

// Limits of a session.
const (
	LimitSessionIdle   Limit = "session-idle"   // time without data
	LimitCapsules      Limit = "capsules"       // capsules without effect
	LimitControl       Limit = "control"        // flow-control capsules
	LimitAborts        Limit = "aborts"         // WebTransport streams reset or stopped
	LimitTinyDatagrams Limit = "tiny-datagrams" // datagrams of a few bytes
	LimitDatagramRate  Limit = "datagram-rate"  // datagrams per second; those beyond are dropped
	LimitByteRate      Limit = "byte-rate"      // stream data per second; credit is withheld
	LimitFlowControl   Limit = "flow-control"   // what the protocol's own windows and stream limits allow
)

// ReachedLimit returns the limit that an error tells of, such as the cause of a
// session's end, and whether it tells of one. The limit was this side's own.
func ReachedLimit(err error) (Limit, bool) {
	var l interface{ ReachedLimit() Limit }
	if errors.As(err, &l) {
		if limit := l.ReachedLimit(); limit != "" {
			return limit, true
		}
	}
	return "", false
}

// A LimitError says that a limit of this side ended a session or a connection
// although the peer broke no rule.
type LimitError struct {
	Limit  Limit
	Reason string // for logs
}

func (e *LimitError) Error() string { return string(e.Limit) + ": " + e.Reason }

// ReachedLimit returns Limit; see [ReachedLimit].
func (e *LimitError) ReachedLimit() Limit { return e.Limit }
