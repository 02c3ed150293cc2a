package peer

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
)

// A muxSession is either end of what a multiplexer makes of a connection.
type muxSession interface {
	open(ctx context.Context) (Stream, error)
	accept() (Stream, error)
	Close() error
}

// muxLacks is what multiplexers do not do.
func muxLacks() map[Feature]string {
	return map[Feature]string{Uni: "its streams have two directions", Datagrams: "it has no datagrams"}
}

// listenMux serves a multiplexer on TLS.
func listenMux(c Config, server func(net.Conn) (muxSession, error)) (Server, error) {
	return listenTLS(c.TLS, func(tc *tls.Conn) {
		if tc.Handshake() != nil {
			return
		}
		m, err := server(tc)
		if err != nil {
			return
		}
		var wg sync.WaitGroup
		for {
			st, err := m.accept()
			if err != nil {
				break
			}
			wg.Go(func() { // ends with the handler
				c.Handler.Stream(st)
				_ = st.CloseWrite()
				_ = st.Close()
			})
		}
		_ = m.Close()
		wg.Wait()
	})
}

// muxConn is a client's multiplexer.
type muxConn struct {
	noUni
	noDatagrams
	m muxSession
}

func dialMux(ctx context.Context, addr string, conf *tls.Config, client func(net.Conn) (muxSession, error)) (Conn, error) {
	tc, err := dialTLS(ctx, addr, conf, nil)
	if err != nil {
		return nil, err
	}
	m, err := client(tc)
	if err != nil {
		tc.Close()
		return nil, err
	}
	return &muxConn{m: m}, nil
}

func (c *muxConn) Open(ctx context.Context) (Stream, error) { return c.m.open(ctx) }
func (c *muxConn) OpenPooled(ctx context.Context) error     { return pooledStream(ctx, c) }
func (c *muxConn) Close() error                             { return c.m.Close() }

// pooledStream opens a stream to idle. The server's handler answers the byte that
// makes the stream known to it.
func pooledStream(ctx context.Context, c Conn) error {
	s, err := c.Open(ctx)
	if err != nil {
		return err
	}
	return Ping(s)
}
