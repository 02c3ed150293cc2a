package negotiate

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"net/http"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/h3wt"
	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/wswt"
)

// What each transport of a Server is configured with.

// setupHTTP2 adds HTTP/2 to the server on TCP, or takes it away.
func (s *Server) setupHTTP2() error {
	if !s.serves(transport.HTTP2) {
		// An empty map, unlike nil, keeps net/http from adding its own.
		s.tcp.TLSNextProto = make(map[string]func(*http.Server, *tls.Conn, http.Handler))
		s.setProtocols("http/1.1")
		return nil
	}
	s.setProtocols("h2", "http/1.1")
	c := h2wt.Config{}
	if s.H2 != nil {
		c = *s.H2
	}
	c.Session = s.sessionConfig(c.Session)
	c.MaxServerMemory = -1 // see setupWebSocket
	if c.Monitor == nil {
		c.Monitor = s.Monitor
	}
	if c.Logger == nil {
		c.Logger = s.Logger
	}
	return h2wt.ConfigureServer(s.tcp, &c)
}

// sessionConfig returns the limits of a transport's sessions, and the Server's
// Logger with those that name none. Own is what the transport's Config has.
func (s *Server) sessionConfig(own *transport.Config) *transport.Config {
	c := cmp.Or(own, s.Config)
	if s.Logger == nil || c != nil && c.Logger != nil {
		return c
	}
	var logged transport.Config
	if c != nil {
		logged = *c
	}
	logged.Logger = s.Logger
	return &logged
}

// setProtocols sets the application protocols over TCP, the best first: package
// tls takes the first that the client has too, so that a list which came with the
// caller's configuration would decide between HTTP/2 and HTTP/1.1. What else is in
// it, such as "acme-tls/1", stays behind them.
func (s *Server) setProtocols(ours ...string) {
	for _, p := range s.TLSConfig.NextProtos {
		if p != "h2" && p != "http/1.1" && p != "h3" {
			ours = append(ours, p)
		}
	}
	s.tcp.TLSConfig.NextProtos = ours
}

// setupWebSocket makes the server of sessions over WebSocket, which requests find
// by their contexts.
func (s *Server) setupWebSocket() {
	base := withoutWebSocket
	if s.serves(transport.WebSocket) {
		c := wswt.Config{}
		if s.WS != nil {
			c = *s.WS
		}
		c.Session = s.sessionConfig(c.Session)
		c.MaxServerMemory = -1 // the account below counts
		// The Server's own bounds are for all transports together.
		if c.MaxSessions == 0 {
			c.MaxSessions = -1
		}
		if c.MaxSessionsPerAddress == 0 {
			c.MaxSessionsPerAddress = -1
		}
		if c.SessionRate == 0 {
			c.SessionRate = -1
		}
		if c.Monitor == nil {
			c.Monitor = s.Monitor
		}
		if c.Logger == nil {
			c.Logger = s.Logger
		}
		s.ws = wswt.NewServer(&c)
		base = s.ws.Context
	}
	s.tcp.BaseContext = func(net.Listener) context.Context {
		ctx := base(context.Background())
		if s.memory != nil {
			// What HTTP/2 and WebSocket hold together.
			ctx = sessionstate.WithBudget(ctx, s.memory)
		}
		return ctx
	}
}

// setupHTTP3 makes the server on UDP.
func (s *Server) setupHTTP3(h http.Handler, headerBytes int, memory int64) {
	c := h3wt.Config{}
	if s.H3 != nil {
		c = *s.H3
	}
	c.Session = s.sessionConfig(c.Session)
	c.MaxServerMemory = memory
	if c.MaxHeaderBytes == 0 {
		c.MaxHeaderBytes = headerBytes
	}
	if c.Monitor == nil {
		c.Monitor = s.Monitor
	}
	if c.Logger == nil {
		c.Logger = s.Logger
	}
	qc := &quic.Config{}
	if s.QUICConfig != nil {
		qc = s.QUICConfig.Clone()
	}
	if qc.InitialPacketSize == 0 {
		qc.InitialPacketSize = minPacketSize
	}
	s.udp = &h3wt.Server{
		TLSConfig: s.TLSConfig.Clone(), QUICConfig: qc, Handler: h, Config: &c,
		Admit: s.admitQUIC, VerifyAddress: s.wouldRefuse,
	}
}
