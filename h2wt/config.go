package h2wt

import (
	"log/slog"
	"time"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/transport"
)

// Config holds the limits of HTTP/2 connections that carry sessions, for both
// sides. The zero value of a field means its default; a negative value, where
// that is said, switches the limit off. It is copied when it is given, and a nil
// *Config is the zero Config.
type Config struct {
	// Session holds the limits of every session that is not given its own. They
	// are also what the connection's SETTINGS announce, so a session of its own
	// Config can have more, not less, as initial limits. Its Dialect also says
	// which servers a client accepts: with DialectDraft15 those that announce
	// WT_ENABLED = 1, and a value above 1 ends the connection; otherwise those
	// too that announce it as the drafts before 15 do. Nil means defaults.
	Session *transport.Config

	// MaxSessions bounds the sessions of one connection, those included that a
	// handler has not decided on yet. On a server another one is answered 429;
	// on a client Dial returns a *transport.NotProcessedError, also beyond the
	// number that a server of an older draft announces. Default 100; negative: as
	// many as the streams below allow.
	MaxSessions int
	// AcceptWebSocketOnly has NewClientConn accept a server that offers extended
	// CONNECT, but no WebTransport, and TLS 1.2 without the extended master
	// secret: OpenWebSocket works there, Dial returns
	// transport.ErrNotWebTransport. Client only.
	AcceptWebSocketOnly bool
	// MaxConcurrentStreams bounds what a client may have open at once on one
	// connection: sessions, requests and WebSockets, and handlers that still
	// run after their stream has ended. Default 250. Server only.
	MaxConcurrentStreams uint32
	// MaxHeaderBytes bounds a received header list, counting 32 bytes for each
	// field besides its name and value. Default 64 KiB. On a server a value in
	// http.Server.MaxHeaderBytes counts first.
	MaxHeaderBytes int

	// MaxConnectionMemory bounds the bytes that all sessions of one connection
	// hold: received and unread, written and unsent, and the header in Info. At
	// three quarters of it windows stop growing; at the limit no session gets new
	// credit, and the newest of those holding most is ended with
	// ENHANCE_YOUR_CALM. The unread bodies of ordinary requests, WebSockets and
	// undecided sessions have the same bound of their own: at it the client gets
	// no new credit on the connection, so that a window of at most 16 MiB may
	// come on top. Default 32 MiB; negative: none.
	MaxConnectionMemory int64
	// MaxServerMemory bounds the same for all connections of a server together,
	// sessions, bodies and the rest in one account; at the limit the newest of
	// those holding most is ended with ENHANCE_YOUR_CALM. Default 512 MiB;
	// negative: none. Server only.
	MaxServerMemory int64

	// UpgradeTimeout bounds how long a handler may leave a WebTransport or
	// WebSocket request undecided; then it is answered 503 and the request's
	// context ends. Default 30 s; negative: none. Server only.
	UpgradeTimeout time.Duration
	// PrefaceTimeout bounds the wait for the peer's preface and first SETTINGS.
	// Default 10 s; negative: none.
	PrefaceTimeout time.Duration
	// HeaderTimeout bounds the time from the first to the last frame of one
	// header list. Default 10 s; negative: none. On a server a value in
	// http.Server.ReadHeaderTimeout or ReadTimeout counts first.
	HeaderTimeout time.Duration
	// IdleTimeout ends a connection without any stream. Default 2 min on a
	// server, none on a client; negative: none. On a server a value in
	// http.Server.IdleTimeout or ReadTimeout counts first.
	IdleTimeout time.Duration
	// WriteTimeout bounds one write of at most 64 KiB to the socket; a
	// connection that takes longer is ended. Default 30 s; negative: none.
	WriteTimeout time.Duration
	// LingerTimeout bounds how long the last bytes of an ordinary response, at
	// most 64 KiB, may wait for the client's credit once the handler has
	// returned (server only), and how long a closed WebSocket waits for the
	// peer's end. Default 30 s; negative: none.
	LingerTimeout time.Duration
	// KeepAlive is the time without any frame from the peer after which a PING
	// asks whether it is there; without an answer within PingTimeout the
	// connection is ended. Defaults 15 s and 15 s; negative KeepAlive: none.
	KeepAlive   time.Duration
	PingTimeout time.Duration

	// StreamResets bounds the streams that the peer resets, or makes this side
	// reset, opens beyond the limit or malformed. A stream that ends normally
	// gives one back. More end the connection with ENHANCE_YOUR_CALM. Default 33
	// a second, burst 1,000; negative PerSecond: no limit.
	StreamResets transport.Rate
	// Glitches bounds the frames without progress: empty DATA and CONTINUATION,
	// PING, SETTINGS, PRIORITY, PRIORITY_UPDATE, frames of unknown type and on
	// closed streams, interim responses, window updates beyond those that the
	// data sent pays for (two for each frame and one for every 512 bytes), and
	// DATA frames of less than 64 bytes that a small window forced. A header list
	// over the limits counts as 32. More end the connection with
	// ENHANCE_YOUR_CALM. Default 330 a second, burst 10,000;
	// negative PerSecond: no limit.
	//
	// Before that, reading from a peer pauses for 5 ms whenever it has spent 320 of
	// them, with 10 for each of StreamResets, faster than 330 a second: other
	// connections are served meanwhile. What has no limit is not counted.
	Glitches transport.Rate

	// Monitor is told of connections and sessions; nil means nobody. See
	// docs/watching.md.
	Monitor transport.Monitor
	// Logger receives events of connections at level Debug; nil means silence.
	// Events of sessions go to Session.Logger.
	Logger *slog.Logger
}

// Defaults of Config.
const (
	DefaultMaxSessions          = 100
	DefaultMaxConcurrentStreams = 250
	DefaultMaxConnectionMemory  = 32 << 20
	DefaultMaxServerMemory      = 512 << 20
	DefaultUpgradeTimeout       = 30 * time.Second
	DefaultLingerTimeout        = 30 * time.Second
)

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

func (c *Config) maxSessions() int {
	switch {
	case c.MaxSessions == 0:
		return DefaultMaxSessions
	case c.MaxSessions < 0:
		return int(^uint(0) >> 1)
	}
	return c.MaxSessions
}

func (c *Config) maxStreams() uint32 {
	if c.MaxConcurrentStreams == 0 {
		return DefaultMaxConcurrentStreams
	}
	return c.MaxConcurrentStreams
}

// orNone returns a limit in bytes or a timeout, 0 for none.
func orNone[T int64 | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return max(v, 0)
}

func (c *Config) upgradeTimeout() time.Duration {
	return orNone(c.UpgradeTimeout, DefaultUpgradeTimeout)
}

func (c *Config) lingerTimeout() time.Duration {
	return orNone(c.LingerTimeout, DefaultLingerTimeout)
}

// maxConnWindow is what HTTP/2's window for a connection grows to.
const maxConnWindow = 16 << 20

// rate is a token bucket as the connection takes it.
func rate(r transport.Rate) h2conn.Rate {
	n := func(v int64) int { return int(min(v, 1<<30)) }
	switch {
	case r == transport.Rate{}:
		return h2conn.Rate{} // the default
	case r.PerSecond < 0:
		return h2conn.Rate{Burst: -1} // no limit
	case r.Burst <= 0:
		return h2conn.Rate{Burst: n(r.PerSecond), PerSecond: n(r.PerSecond)}
	case r.PerSecond == 0:
		return h2conn.Rate{Burst: n(r.Burst), PerSecond: -1} // nothing comes back
	}
	return h2conn.Rate{Burst: n(r.Burst), PerSecond: n(r.PerSecond)}
}

// h2 is the part of the configuration that the HTTP/2 connection takes.
func (c *Config) h2() *h2conn.Config {
	h := &h2conn.Config{
		Settings:       localSettings(c.Session),
		KnownSettings:  knownSettings,
		PrefaceTimeout: c.PrefaceTimeout,
		HeaderTimeout:  c.HeaderTimeout,
		IdleTimeout:    c.IdleTimeout,
		WriteTimeout:   c.WriteTimeout,
		KeepAlive:      c.KeepAlive,
		PingTimeout:    c.PingTimeout,
		MaxConnWindow:  maxConnWindow,
		Resets:         rate(c.StreamResets),
		Glitches:       rate(c.Glitches),
		Logger:         c.Logger,
	}
	if c.MaxHeaderBytes > 0 {
		h.MaxHeaderListSize = uint32(min(int64(c.MaxHeaderBytes), 16<<20))
	}
	if m := orNone(c.MaxConnectionMemory, DefaultMaxConnectionMemory); m > 0 {
		h.ReceiveBuffer = m
	} else {
		h.ReceiveBuffer = 1 << 62
	}
	return h
}
