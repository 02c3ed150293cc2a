package peer

import (
	"context"
	"crypto/tls"
	"io"
	"sync"
)

// rawTLS is what the others are measured against: crypto/tls on a TCP connection,
// which carries one stream.
var rawTLS = Peer{
	Name: "tls",
	Lacks: map[Feature]string{
		Streams: "a TLS connection is one stream", Uni: "a TLS connection is one stream", Pool: "a TLS connection is one stream",
		Datagrams: "TLS over TCP has no datagrams",
	},
	Note:   "crypto/tls alone; the reference",
	Listen: listenRawTLS,
	Dial: func(ctx context.Context, addr string, conf *tls.Config) (Conn, error) {
		tc, err := dialTLS(ctx, addr, conf, nil)
		if err != nil {
			return nil, err
		}
		return &tlsConn{tc: tc}, nil
	},
}

// rawTLS16 has a connection for each stream.
var rawTLS16 = Peer{
	Name:   "tls16",
	Lacks:  muxLacks(),
	Only:   []string{"streams16"},
	Note:   "16 connections of crypto/tls",
	Listen: listenRawTLS,
	Dial: func(_ context.Context, addr string, conf *tls.Config) (Conn, error) {
		return &tlsConns{addr: addr, conf: conf}, nil
	},
}

func listenRawTLS(c Config) (Server, error) {
	return listenTLS(c.TLS, func(tc *tls.Conn) {
		c.Handler.Stream(tlsStream{tc})
		// A close with unread data would be a reset, by which the client could lose
		// what was sent last.
		if tc.CloseWrite() == nil {
			_, _ = io.Copy(io.Discard, tc)
		}
		_ = tc.Close()
	})
}

// tlsStream is a connection as a stream.
type tlsStream struct{ *tls.Conn }

// tlsConn is a client's connection with its one stream.
type tlsConn struct {
	noUni
	noDatagrams
	tc *tls.Conn
}

func (c *tlsConn) Open(context.Context) (Stream, error) { return tlsStream{c.tc}, nil }
func (c *tlsConn) OpenPooled(context.Context) error     { return errLacking }

func (c *tlsConn) Close() error {
	_ = c.tc.Close() // also closed as a stream
	return nil
}

// tlsConns dials for each stream.
type tlsConns struct {
	noUni
	noDatagrams
	addr string
	conf *tls.Config

	mu    sync.Mutex // guards the following
	conns []*tls.Conn
}

func (c *tlsConns) Open(ctx context.Context) (Stream, error) {
	tc, err := dialTLS(ctx, c.addr, c.conf, nil)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.conns = append(c.conns, tc)
	c.mu.Unlock()
	return tlsStream{tc}, nil
}

func (c *tlsConns) OpenPooled(context.Context) error { return errLacking }

func (c *tlsConns) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, tc := range c.conns {
		_ = tc.Close() // also closed as a stream
	}
	return nil
}
