package wswt

import (
	"log/slog"
	"math"
	"time"

	"github.com/towpath-go/towpath/internal/quota"
	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// Config holds the limits of WebSocket connections that carry sessions, for both
// sides. The zero value of a field means its default; a negative value, where
// that is said, switches the limit off. It is copied when it is given, and a nil
// *Config is the zero Config.
type Config struct {
	// Session holds the limits of every session that is not given its own. Nil
	// means defaults. The subprotocol fixes what the peer may send before the
	// first capsule: 1 MiB in a session, 64 KiB in a stream, 100 streams of each
	// kind. Limits above these are announced by the first capsules; limits below
	// them cannot be, so that the fixed ones hold in their place.
	Session *transport.Config

	// MaxMessageSize bounds a received message, in bytes of payload over all of
	// its frames; a longer one ends the session with status 1009. Nothing is
	// held for the rest of a message that is under way. Default 1 MiB, and never
	// below 64 KiB, which the subprotocol has every receiver take.
	MaxMessageSize int64
	// MaxSessions bounds the sessions of a Server, those being accepted
	// included; another one is answered 429. Default 10,000; negative: none, and
	// then the next two limits know 4,096 addresses at a time: those beyond share
	// the quota of one. Server only.
	MaxSessions int
	// MaxSessionsPerAddress bounds the sessions that one client address has at
	// the same time, those being accepted included; SessionRate bounds those that
	// it opens per second, with bursts of twice as many. An IPv6 client is its
	// /64. Beyond either it is answered 429. Defaults 1,000 each; none if
	// TLSTerminated is set, where the address is the proxy's; negative: none.
	// Server only.
	MaxSessionsPerAddress int
	SessionRate           int

	// MaxConnectionMemory bounds the bytes that one session holds: received and
	// unread, or written and unsent. At three quarters of it windows stop
	// growing; at the limit no credit is given and the session is ended with
	// status 1008. Default 32 MiB; negative: none.
	MaxConnectionMemory int64
	// MaxServerMemory is the same for all sessions of a Server together; the
	// newest of those holding most is ended. Default 512 MiB; negative: none.
	// Server only.
	MaxServerMemory int64

	// HandshakeTimeout bounds the opening handshake: on a client from the first
	// byte of the request to the last one of the response, on a server the
	// writing of the response. Default 10 s; negative: none.
	HandshakeTimeout time.Duration
	// WriteTimeout bounds one write of at most 64 KiB to the connection; a
	// session whose peer takes longer is ended. Default 30 s; negative: none.
	WriteTimeout time.Duration
	// KeepAlive is the time without any byte from the peer after which a ping
	// asks whether it is there; without an answer within PingTimeout the session
	// is ended. Defaults 15 s and 15 s; negative KeepAlive: none.
	KeepAlive   time.Duration
	PingTimeout time.Duration

	// TLSTerminated says that a proxy in front of the server ends TLS and passes
	// on requests in the clear over a network that is trusted. Without it a
	// request that did not come by TLS is refused with 403. Such sessions have
	// no Info.TLS and export no keying material, and their RemoteAddr is the
	// proxy's, so that nothing is bounded per client address unless
	// MaxSessionsPerAddress or SessionRate say so. The proxy has to pass Host on as it got it, since an Origin is
	// compared with it, or UpgradeOptions.Origins to name the public host.
	// Server only.
	TLSTerminated bool

	// RefuseKDraft switches off the subprotocols webtransport_kDraft1 and
	// webtransport_kDraft2, by which the browser build of
	// @fails-components/webtransport reaches a server where it cannot use the
	// browser's own WebTransport. Server only.
	RefuseKDraft bool

	// Monitor is told of connections and sessions; nil means nobody. See
	// docs/watching.md.
	Monitor transport.Monitor
	// Logger receives events of connections at level Debug; nil means silence.
	// Events of sessions go to Session.Logger.
	Logger *slog.Logger

	initial *initialLimits // for tests; nil: those of the subprotocol
}

// Defaults of Config.
const (
	DefaultMaxMessageSize        = 1 << 20
	DefaultMaxSessions           = 10_000
	DefaultMaxSessionsPerAddress = 1000
	DefaultSessionRate           = 1000 // per second
	DefaultMaxConnectionMemory   = sessionstate.DefaultConnectionBudget
	DefaultMaxServerMemory       = sessionstate.DefaultServerBudget
	DefaultHandshakeTimeout      = 10 * time.Second
	DefaultWriteTimeout          = 30 * time.Second
	DefaultKeepAlive             = 15 * time.Second
	DefaultPingTimeout           = 15 * time.Second
)

// minMessageSize is what every receiver of the subprotocol takes in one message.
const minMessageSize = 64 << 10

// clone returns a copy that nobody else holds; nil gives the zero Config.
func (c *Config) clone() *Config {
	var d Config
	if c != nil {
		d = *c
	}
	if d.Session != nil {
		s := *d.Session
		d.Session = &s
	}
	return &d
}

// orNone returns a limit in bytes or a timeout, 0 for none.
func orNone[T int | int64 | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return max(v, 0)
}

func (c *Config) maxMessageSize() int64 {
	if c.MaxMessageSize == 0 {
		return DefaultMaxMessageSize
	}
	return max(c.MaxMessageSize, minMessageSize)
}

// perAddress returns a bound that is one for each client address, 0 for none.
func (c *Config) perAddress(v, def int) int {
	if c.TLSTerminated {
		def = 0
	}
	return orNone(v, def)
}

// quota returns the bounds of each client address.
func (c *Config) quota() quota.Limits {
	return quota.Limits{
		Open:          orNone(c.MaxSessions, DefaultMaxSessions),
		OpenPerClient: c.perAddress(c.MaxSessionsPerAddress, DefaultMaxSessionsPerAddress),
		Rate:          c.perAddress(c.SessionRate, DefaultSessionRate),
	}
}

func (c *Config) handshakeTimeout() time.Duration {
	return orNone(c.HandshakeTimeout, DefaultHandshakeTimeout)
}

func (c *Config) writeTimeout() time.Duration { return orNone(c.WriteTimeout, DefaultWriteTimeout) }

func (c *Config) keepAlive() time.Duration { return orNone(c.KeepAlive, DefaultKeepAlive) }

func (c *Config) pingTimeout() time.Duration {
	if c.PingTimeout <= 0 {
		return DefaultPingTimeout
	}
	return c.PingTimeout
}

// newBudget returns a budget with a cap in bytes; 0 means none.
func newBudget(limit int64, parent *sessionstate.Budget) *sessionstate.Budget {
	if limit == 0 {
		limit = math.MaxInt64 / 2
	}
	return sessionstate.NewBudget(limit, parent)
}
