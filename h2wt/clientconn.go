package h2wt

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/cork"
	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// A ClientConn is a client's HTTP/2 connection to a server that offers
// WebTransport. It may carry any number of sessions, and of WebSockets. Its methods may be called
// from any goroutine.
type ClientConn struct {
	cfg      *Config
	tc       *tls.Conn
	tls      tls.ConnectionState
	tlsErr   error // why no session may be here, or nil
	h2       *h2conn.Conn
	budget   *sessionstate.Budget
	watch    *watch
	sessions sessionSet

	mu    sync.Mutex // guards the following
	inUse int        // sessions, and Dials under way
}

// Cork wraps a connection that a client will run TLS on, so that large
// transfers need fewer system calls. [NewClientConn] finds it under the
// tls.Conn. Everything works without it.
func Cork(nc net.Conn) net.Conn { return cork.New(nc) }

// NewClientConn makes a client's connection of tc, which must offer "h2" by ALPN
// and TLS 1.3, or 1.2 with the extended master secret; it runs the handshake if
// that was not done. It returns when the server's SETTINGS show WebTransport, or at
// least extended CONNECT if cfg.AcceptWebSocketOnly is set.
// Ctx bounds only this call. It owns tc: on error tc is closed, after GOAWAY and
// without waiting for that.
//
// Errors: [transport.ErrNotWebTransport] if the server does not announce
// WebTransport, the error of the handshake or of the connection, or the context's
// cause.
func NewClientConn(ctx context.Context, tc *tls.Conn, cfg *Config) (*ClientConn, error) {
	if err := tc.HandshakeContext(ctx); err != nil {
		tc.Close()
		return nil, fmt.Errorf("h2wt: TLS handshake: %w", err)
	}
	c := &ClientConn{cfg: cfg.clone(), tc: tc, tls: tc.ConnectionState()}
	err := checkALPN(&c.tls)
	if err == nil {
		err = checkCipher(&c.tls)
	}
	c.tlsErr = checkWebTransportTLS(&c.tls, c.tls.ExportKeyingMaterial)
	if err == nil && !c.cfg.AcceptWebSocketOnly {
		err = c.tlsErr
	}
	if err != nil {
		tc.Close()
		return nil, err
	}
	c.budget = newBudget(orNone(c.cfg.MaxConnectionMemory, DefaultMaxConnectionMemory), nil)
	c.watch = c.cfg.watch(transport.ClientSide, tc.RemoteAddr().String())
	h2cfg := c.cfg.h2()
	h2cfg.OnSettings = c.settingsCheck()
	h2cfg.OnEnd = c.watch.ended
	h2cfg.OnGoAway = func(uint32, http2.ErrCode) { c.sessions.peerAway() }
	c.h2 = h2conn.Client(cork.NewTLSConn(tc), h2cfg)
	select {
	case <-c.h2.SettingsReceived():
	case <-c.h2.Done():
		err = lostError(c.h2.Err())
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err == nil && !c.OffersWebTransport() && !(c.cfg.AcceptWebSocketOnly && c.PeerSettings().ConnectProtocol) {
		err = transport.ErrNotWebTransport
		if connErr := c.h2.Err(); connErr != nil {
			err = lostError(connErr)
		}
	}
	if err != nil {
		// The server is told, but its answer is not waited for: whoever dials
		// has another way to try.
		c.h2.Abort(http2.ErrCodeNo, "closed")
		return nil, err
	}
	c.watch.opened()
	return c, nil
}

// settingsCheck returns the check of the server's SETTINGS, which runs on the
// read goroutine.
func (c *ClientConn) settingsCheck() func(h2conn.Settings) error {
	var before h2conn.Settings
	return func(now h2conn.Settings) error {
		err := checkServerSettings(before, now, dialectOf(c.cfg.Session))
		before = now
		return err
	}
}

// OffersWebTransport tells whether the connection may carry sessions: the server's
// latest SETTINGS offer them, and so does the version of TLS.
func (c *ClientConn) OffersWebTransport() bool {
	s, ok := c.h2.PeerSettings()
	return ok && c.tlsErr == nil && offersWebTransport(s, dialectOf(c.cfg.Session))
}

// CanTakeNewSession tells whether Dial would be able to ask for a session now,
// without waiting.
func (c *ClientConn) CanTakeNewSession() bool {
	limit := c.maxSessions()
	c.mu.Lock()
	full := c.inUse >= limit
	c.mu.Unlock()
	return !full && c.OffersWebTransport() && c.h2.CanOpen()
}

// maxSessions is how many sessions the connection may have now.
func (c *ClientConn) maxSessions() int {
	s, _ := c.h2.PeerSettings()
	return min(c.cfg.maxSessions(), maxSessionsOf(s, dialectOf(c.cfg.Session)))
}

// reserve counts a session against maxSessions.
func (c *ClientConn) reserve() bool {
	limit := c.maxSessions()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inUse >= limit {
		return false
	}
	c.inUse++
	return true
}

func (c *ClientConn) unreserve() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inUse--
}

// Done is closed when the connection has ended.
func (c *ClientConn) Done() <-chan struct{} { return c.h2.Done() }

// Err returns why the connection has ended, nil while it lives.
func (c *ClientConn) Err() error {
	if err := c.h2.Err(); err != nil {
		return lostError(err)
	}
	return nil
}

// Close ends the connection at once, and its sessions with it; close those
// first. It returns when the connection's goroutines have ended. It must not be
// called from a [transport.Trace] function.
func (c *ClientConn) Close() error { return c.h2.Close() }

// CloseAfter closes the connection when session s, its last one, has ended and
// the peer has been told. It does not wait.
func (c *ClientConn) CloseAfter(s transport.Session) {
	context.AfterFunc(s.Context(), c.h2.GoAway) // which closes once no stream is left
}

// RTT returns the smoothed round-trip time of the connection, and whether it was
// measured yet.
func (c *ClientConn) RTT() (time.Duration, bool) { return c.h2.RTT() }

// ConnectionState returns the state of the connection's TLS session.
func (c *ClientConn) ConnectionState() tls.ConnectionState { return c.tls }

// PeerSettings returns the server's latest SETTINGS as far as they concern
// sessions.
func (c *ClientConn) PeerSettings() PeerSettings {
	s, _ := c.h2.PeerSettings()
	p := PeerSettings{ConnectProtocol: s.ConnectProtocol, MaxConcurrentStreams: s.MaxConcurrentStreams}
	p.Enabled, _ = s.Value(settingEnabled)
	p.InitialMaxData, _ = s.Value(settingMaxData)
	p.InitialMaxStreamDataUni, _ = s.Value(settingMaxDataUni)
	p.InitialMaxStreamDataBidiLocal, _ = s.Value(settingMaxDataBidiLocal)
	p.InitialMaxStreamDataBidiRemote, p.HasBidiRemote = s.Value(settingMaxDataBidiRemote)
	p.InitialMaxStreamsUni, _ = s.Value(settingMaxStreamsUni)
	p.InitialMaxStreamsBidi, _ = s.Value(settingMaxStreamsBidi)
	return p
}

// PeerSettings are a server's SETTINGS as far as they concern sessions, with the
// names of draft-ietf-webtrans-http2. What the server did not give is 0.
type PeerSettings struct {
	ConnectProtocol      bool   // SETTINGS_ENABLE_CONNECT_PROTOCOL
	MaxConcurrentStreams uint32 // 2^32-1: no limit
	Enabled              uint32 // SETTINGS_WT_ENABLED; above 1 a number of sessions, as before draft 13

	InitialMaxData                 uint32
	InitialMaxStreamDataUni        uint32
	InitialMaxStreamDataBidiLocal  uint32
	InitialMaxStreamDataBidiRemote uint32
	HasBidiRemote                  bool // the one before was given: draft 14 or later
	InitialMaxStreamsUni           uint32
	InitialMaxStreamsBidi          uint32
}
