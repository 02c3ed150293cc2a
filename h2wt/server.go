package h2wt

import (
	"crypto/tls"
	"errors"
	"net/http"
	"slices"
	"sync"

	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// ConfigureServer makes an http.Server serve HTTP/2 with this package: sessions
// and ordinary requests side by side on each connection, all through
// http.Server.Handler, where [Upgrade] accepts a session. HTTP/1.1 stays with
// package net/http. It must be called before the server begins to serve.
//
// It sets up TLSNextProto for "h2" and TLSConfig: "h2" and "http/1.1" in
// NextProtos, "h2" first unless both are there, and MinVersion TLS 1.3 unless MinVersion is set. With TLS 1.2
// sessions need the extended master secret, without it they are refused as
// malformed.
//
// The http.Server's ReadTimeout, ReadHeaderTimeout, WriteTimeout, IdleTimeout,
// MaxHeaderBytes, ConnState, BaseContext, ConnContext and ErrorLog mean what they
// mean for net/http's own HTTP/2, and win over the corresponding fields of cfg.
// They do not bound sessions and WebSockets once those are accepted.
//
// [http.Server.Shutdown] says GOAWAY on every connection and asks the peer of
// every session to wind down; it returns when all connections have ended, so
// when the last session has. [http.Server.Close] ends everything at once.
func ConfigureServer(hs *http.Server, cfg *Config) error {
	_, err := configure(hs, cfg)
	return err
}

func configure(hs *http.Server, cfg *Config) (*server, error) {
	if hs == nil {
		return nil, errors.New("h2wt: ConfigureServer without a server")
	}
	if hs.TLSConfig == nil {
		hs.TLSConfig = new(tls.Config)
	}
	if err := setupTLS(hs.TLSConfig); err != nil {
		return nil, err
	}
	s := &server{cfg: cfg.clone(), conns: make(map[*serverConn]struct{})}
	s.session = s.cfg.Session.WithDefaults()
	s.budget = newBudget(orNone(s.cfg.MaxServerMemory, DefaultMaxServerMemory), nil)
	if hs.TLSNextProto == nil {
		hs.TLSNextProto = make(map[string]func(*http.Server, *tls.Conn, http.Handler))
	}
	hs.TLSNextProto["h2"] = s.serve
	hs.RegisterOnShutdown(s.shutdown)
	return s, nil
}

func setupTLS(c *tls.Config) error {
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS13
	}
	if c.MaxVersion != 0 && c.MaxVersion < tls.VersionTLS12 {
		return errors.New("h2wt: HTTP/2 needs TLS 1.2 or later")
	}
	if !slices.Contains(c.NextProtos, "http/1.1") {
		c.NextProtos = append(c.NextProtos, "http/1.1")
	}
	if !slices.Contains(c.NextProtos, "h2") {
		// Behind it "h2" would never be chosen: every client that has it has both.
		c.NextProtos = slices.Insert(slices.Clone(c.NextProtos), slices.Index(c.NextProtos, "http/1.1"), "h2")
	}
	return nil
}

// server is what the connections of one http.Server share.
type server struct {
	cfg     *Config
	session transport.Config // cfg.Session with defaults
	budget  *sessionstate.Budget

	mu       sync.Mutex // guards the following
	conns    map[*serverConn]struct{}
	stopping bool
}

// serve runs one connection on the goroutine that net/http gave it. When it
// returns, net/http closes the connection.
func (s *server) serve(hs *http.Server, tc *tls.Conn, h http.Handler) {
	c := newServerConn(s, hs, tc, h)
	s.mu.Lock()
	s.conns[c] = struct{}{}
	stopping := s.stopping
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
	}()
	if stopping {
		c.shutdown()
	}
	c.serve()
}

// shutdown is called by http.Server.Shutdown, which then waits for serve to
// return for each connection.
func (s *server) shutdown() {
	s.mu.Lock()
	s.stopping = true
	conns := make([]*serverConn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.shutdown()
	}
}

// shutdown ends the connection when its last stream has ended.
func (c *serverConn) shutdown() {
	c.h2.GoAway()
	c.sessions.drain()
}
