package h3wt

import (
	"log/slog"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/transport"
)

// Config holds the limits of HTTP/3 connections that carry sessions, for both
// sides. The zero value of a field means its default; a negative value, where
// that is said, switches the limit off. It is copied when it is given, and a
// nil *Config is the zero Config.
type Config struct {
	// Session holds the limits of every session that is not given its own.
	// They are also what the connection's SETTINGS announce, so a session with
	// its own Config can have higher limits, and lower ones only once the
	// announced ones are used up. Nil means defaults.
	Session *transport.Config

	// MinDraft is the oldest draft of WebTransport over HTTP/3 to speak. Older
	// ones are neither announced to the peer nor seen in what it announces; a
	// peer that speaks no other is refused: by a client with an error that
	// matches transport.ErrNotWebTransport, by a server with H3_MESSAGE_ERROR.
	// Draft15 alone also makes a server refuse the older :protocol,
	// "webtransport", with 501. Default: all from Draft02 on. See
	// docs/http3-drafts.md.
	MinDraft Draft

	// MaxSessions bounds the sessions of one connection, those included that a
	// handler has not decided on yet. On a server another one is refused with
	// H3_REQUEST_REJECTED; on a client Dial returns a
	// *transport.NotProcessedError. A peer without session flow control has one
	// whatever this says, and a client no more than the server's SETTINGS allow
	// (drafts up to 14). Default 32.
	MaxSessions int
	// SessionRate bounds the CONNECT requests per second of one connection,
	// with bursts of twice as many; beyond it they are answered 429. Default
	// 100; negative: none. Server only.
	SessionRate int
	// MaxRequests bounds the ordinary requests of one connection whose handlers
	// run at once. With twice MaxSessions it also bounds all requests that are
	// being read or handled, so that handlers that outlive their sessions do not
	// pile up. More are refused with H3_REQUEST_REJECTED. Default 100. Server
	// only.
	MaxRequests int

	// MaxEarlyStreams bounds the streams of one connection that wait for their
	// session: for its CONNECT on a server, for the answer on a client. More
	// are reset with WT_BUFFERED_STREAM_REJECTED. Default 64.
	MaxEarlyStreams int
	// EarlyTimeout bounds how long a stream waits for its session's CONNECT,
	// for its own header, and a request for its header. The first 8
	// unidirectional streams of a peer, which may be those of HTTP/3 itself,
	// may stay silent for as long as they like. Default 5 s.
	EarlyTimeout time.Duration
	// SettingsTimeout bounds how long a CONNECT waits for the client's
	// SETTINGS. Default 5 s. Server only.
	SettingsTimeout time.Duration
	// UpgradeTimeout bounds how long a handler may leave a WebTransport request
	// undecided; then its stream is reset and the request's context ends.
	// Default 30 s; negative: none. Server only.
	UpgradeTimeout time.Duration

	// UnverifiedHandshakes bounds the handshakes with clients whose address is
	// not verified: as many in progress, for all connections of the server, and as
	// many begun per second. Above it a client has to prove its address by Retry
	// (RFC 9000 section 8.1.2), which costs it a round trip and the server no
	// memory. Default 128; negative: every client has to. Server only; it holds
	// for [Server.Serve].
	UnverifiedHandshakes int
	// IdleTimeout ends a connection without any session and request. (QUIC's own
	// quic.Config.MaxIdleTimeout ends one without packets.) Default 2 min;
	// negative: none. Server only.
	IdleTimeout time.Duration
	// MaxHeaderBytes bounds a received header list. Default 64 KiB.
	MaxHeaderBytes int
	// MaxConnectionMemory bounds the bytes of a peer that one connection makes this
	// side hold: it is the largest QUIC connection window, and bounds the datagrams
	// queued besides. What quic-go needs to hold tiny STREAM frames is more; see the
	// package documentation. Default 32 MiB.
	MaxConnectionMemory int64
	// MaxServerMemory is the same for all connections of a server together.
	// quic-go does not tell what it holds, so windows may grow by three quarters
	// of it in all, and a quarter is for datagrams queued: when that is full, the
	// newest of the sessions that hold most ends. The initial windows come on top,
	// for each connection. It is no account in common with other transports:
	// windows are credit, which is never taken back, and those of peers whose data
	// is read at once would leave no room for the bytes that others really hold.
	// Default 512 MiB; negative: no limit on growth. Server only.
	MaxServerMemory int64

	// Monitor is told of connections and sessions; nil means nobody. See
	// docs/watching.md.
	Monitor transport.Monitor
	// Logger receives events of connections at level Debug; nil means silence.
	// Events of sessions go to Session.Logger.
	Logger *slog.Logger

	// session is Session with defaults, once settled.
	session *transport.Config

	// noFlowControl has SETTINGS announce no limits, for tests: both ends do
	// without session flow control then.
	noFlowControl bool
}

// Defaults of Config.
const (
	DefaultMaxSessions          = 32
	DefaultSessionRate          = 100
	DefaultMaxRequests          = 100
	DefaultMaxEarlyStreams      = 64
	DefaultEarlyTimeout         = 5 * time.Second
	DefaultSettingsTimeout      = 5 * time.Second
	DefaultUpgradeTimeout       = 30 * time.Second
	DefaultUnverifiedHandshakes = 128
	DefaultIdleTimeout          = 2 * time.Minute
	DefaultMaxHeaderBytes       = 64 << 10
	DefaultMaxConnectionMemory  = 32 << 20
	DefaultMaxServerMemory      = 512 << 20
)

const (
	// pooledWindow is what SETTINGS offer each of several sessions of a
	// connection as initial data. A session gets the rest of its initial window
	// by capsule, if the connection's window has room for it.
	pooledWindow = 64 << 10
	// windowReserve is the part of a connection's window that no session gets:
	// it keeps CONNECT streams and ordinary requests moving while the data of
	// all sessions stands unread.
	windowReserve = 256 << 10
	// criticalStreams are the unidirectional streams that HTTP/3 itself uses,
	// and a few of unknown type.
	criticalStreams = 8
	// keepAlive is how often a client shows that it is there, so that a session
	// without traffic outlives idle timeouts.
	keepAlive = 15 * time.Second
)

// settle returns a copy in which every field has its value.
func (c *Config) settle() Config {
	var d Config
	if c != nil {
		d = *c
	}
	session := transport.Config{}
	if d.Session != nil {
		session = *d.Session
	}
	d.Session = &session
	settled := session.WithDefaults()
	d.session = &settled
	if d.MinDraft == 0 {
		d.MinDraft = Draft02
	}
	d.MaxSessions = positive(d.MaxSessions, DefaultMaxSessions)
	d.MaxRequests = positive(d.MaxRequests, DefaultMaxRequests)
	d.MaxEarlyStreams = positive(d.MaxEarlyStreams, DefaultMaxEarlyStreams)
	d.EarlyTimeout = positive(d.EarlyTimeout, DefaultEarlyTimeout)
	d.SettingsTimeout = positive(d.SettingsTimeout, DefaultSettingsTimeout)
	d.MaxHeaderBytes = positive(d.MaxHeaderBytes, DefaultMaxHeaderBytes)
	d.MaxConnectionMemory = positive(d.MaxConnectionMemory, DefaultMaxConnectionMemory)
	d.SessionRate = orNone(d.SessionRate, DefaultSessionRate)
	d.UpgradeTimeout = orNone(d.UpgradeTimeout, DefaultUpgradeTimeout)
	d.UnverifiedHandshakes = orNone(d.UnverifiedHandshakes, DefaultUnverifiedHandshakes)
	d.IdleTimeout = orNone(d.IdleTimeout, DefaultIdleTimeout)
	d.MaxServerMemory = orNone(d.MaxServerMemory, DefaultMaxServerMemory)
	return d
}

// positive is for limits that cannot be switched off.
func positive[T int | int64 | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// orNone is for limits that a negative value switches off; 0 is then none.
func orNone[T int | int64 | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return max(v, 0)
}

// limits are what SETTINGS announce. At least one of them is not zero, since
// that asks for session flow control.
func (c *Config) limits() initialLimits {
	if c.noFlowControl {
		return initialLimits{}
	}
	session := c.Session.WithDefaults()
	l := initialLimits{
		maxData:        uint64(session.InitialSessionWindow),
		maxStreamsUni:  uint64(session.MaxIncomingUniStreams),
		maxStreamsBidi: uint64(session.MaxIncomingStreams),
	}
	if c.MaxSessions > 1 {
		l.maxData = min(l.maxData, pooledWindow)
	}
	if l == (initialLimits{}) {
		// One byte that no stream can carry: the peer may open none.
		l.maxData = 1
	}
	return l
}

// connectionWindow is the initial QUIC window of a connection: it holds the
// full initial window of one session, what SETTINGS offer to the others, and
// the reserve.
func (c *Config) connectionWindow() int64 {
	session := c.Session.WithDefaults()
	first := max(session.InitialSessionWindow, int64(c.limits().maxData))
	w := first + int64(c.MaxSessions-1)*int64(c.limits().maxData) + windowReserve
	return min(w, c.MaxConnectionMemory)
}

// quicConfig completes base, which may be nil and is not changed. What
// WebTransport needs is set whatever base says; 0-RTT is off, so that no
// CONNECT can be replayed; where base is silent the session's limits decide.
func (c *Config) quicConfig(base *quic.Config, server bool) *quic.Config {
	q := &quic.Config{}
	if base != nil {
		q = base.Clone()
	}
	session := c.Session.WithDefaults()
	q.EnableDatagrams = true
	q.EnableStreamResetPartialDelivery = true
	q.Allow0RTT = false
	window := func(v *uint64, n int64) {
		if *v == 0 {
			*v = uint64(max(n, 1))
		}
	}
	window(&q.InitialStreamReceiveWindow, session.InitialStreamWindow)
	window(&q.MaxStreamReceiveWindow, session.MaxStreamWindow)
	window(&q.InitialConnectionReceiveWindow, c.connectionWindow())
	window(&q.MaxConnectionReceiveWindow, c.MaxConnectionMemory)
	// Sessions with flow control have their own limits; this one, which they
	// share, leaves room for two at theirs. Without flow control the session
	// itself holds back what is above its limit.
	streams := func(v *int64, n int64) {
		switch {
		case *v != 0:
		case n == 0:
			*v = -1
		default:
			*v = n
		}
	}
	bidi := 2 * session.MaxIncomingStreams
	if server {
		bidi += int64(c.MaxSessions) + int64(c.MaxRequests)
	}
	streams(&q.MaxIncomingStreams, bidi)
	streams(&q.MaxIncomingUniStreams, 2*session.MaxIncomingUniStreams+criticalStreams)
	if !server && q.KeepAlivePeriod == 0 {
		q.KeepAlivePeriod = keepAlive
	}
	return q
}
