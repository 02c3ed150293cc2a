package adapter

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/h3wt"
	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/wswt"
)

// initialPacketSize is negotiate's: what every path for QUIC carries, in bytes
// of UDP payload. Larger ones are found by probing.
const initialPacketSize = 1200

// Dial opens the session on a connection of its own.
func (s *sessionServer) Dial(ctx context.Context) (Conn, error) {
	rawURL := fmt.Sprintf("https://%s/lab", s.addr)
	opts := &transport.DialOptions{Config: s.kind.config(s.env)}
	var dial func(context.Context, string, *transport.DialOptions) (transport.Session, func(), error)
	switch s.kind.protocol {
	case transport.HTTP3:
		dial = s.dialHTTP3
	case transport.HTTP2:
		dial = s.dialHTTP2
	default:
		dial = s.dialWebSocket
	}
	session, end, err := dial(ctx, rawURL, opts)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	return newSessionConn(s.kind, s.env, session, false, end), nil
}

// dialHTTP3 returns the session and what ends its connection.
func (s *sessionServer) dialHTTP3(ctx context.Context, rawURL string, opts *transport.DialOptions) (transport.Session, func(), error) {
	pc, err := s.env.Client.ListenUDP(0)
	if err != nil {
		return nil, nil, err
	}
	tr := &quic.Transport{Conn: pc}
	closeSocket := func() {
		_ = tr.Close()
		_ = pc.Close()
	}
	cfg := &h3wt.Config{Session: opts.Config, MaxSessions: 1, Logger: s.env.Log}
	qc, err := tr.Dial(ctx, net.UDPAddrFromAddrPort(s.addr), s.clientTLS("h3"), cfg.QUIC(&quic.Config{InitialPacketSize: initialPacketSize}))
	if err != nil {
		closeSocket()
		return nil, nil, err
	}
	conn, err := h3wt.NewClientConn(ctx, qc, cfg)
	if err != nil {
		closeSocket()
		return nil, nil, err
	}
	end := func() {
		_ = conn.Close()
		closeSocket()
	}
	session, err := conn.Dial(ctx, rawURL, opts)
	if err != nil {
		end()
		return nil, nil, err
	}
	return session, end, nil
}

func (s *sessionServer) dialHTTP2(ctx context.Context, rawURL string, opts *transport.DialOptions) (transport.Session, func(), error) {
	tc, err := s.dialTLS(ctx, "h2")
	if err != nil {
		return nil, nil, err
	}
	conn, err := h2wt.NewClientConn(ctx, tc, &h2wt.Config{Session: opts.Config, Logger: s.env.Log})
	if err != nil {
		return nil, nil, err
	}
	session, err := conn.Dial(ctx, rawURL, opts)
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return session, func() { _ = conn.Close() }, nil
}

// dialWebSocket returns a session that owns its connection.
func (s *sessionServer) dialWebSocket(ctx context.Context, rawURL string, opts *transport.DialOptions) (transport.Session, func(), error) {
	tc, err := s.dialTLS(ctx, "http/1.1")
	if err != nil {
		return nil, nil, err
	}
	session, err := wswt.DialConn(ctx, tc, rawURL, opts, &wswt.Config{Session: opts.Config, Logger: s.env.Log})
	return session, nil, err
}

func (s *sessionServer) dialTLS(ctx context.Context, alpn string) (*tls.Conn, error) {
	nc, err := s.env.Client.DialTCP(ctx, s.addr)
	if err != nil {
		return nil, err
	}
	tc := tls.Client(h2wt.Cork(nc), s.clientTLS(alpn))
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = nc.Close()
		return nil, err
	}
	return tc, nil
}

func (s *sessionServer) clientTLS(alpn string) *tls.Config {
	conf := s.env.ClientTLS(alpn)
	conf.ServerName = s.addr.Addr().String()
	return conf
}
