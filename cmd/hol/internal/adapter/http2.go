package adapter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
)

// http2Streams has one POST per channel on one HTTP/2 connection of net/http, for
// which there is nothing to install. Both ends have net/http's defaults, but that
// the client waits where the server takes no further stream, instead of failing.
var http2Streams = Adapter{
	Name:  "http2-streams",
	Title: "HTTP/2 streams",
	Traits: Traits{
		Connections: 1,
		Ordered:     true,
		Shared:      true,
		Reliable:    true,
		Calls:       true,
		Library:     "net/http",
		Recovery:    "tcp",
	},
	Listen: listenHTTP2,
}

// defaultHTTP2Streams is how many streams net/http's server takes by default.
const defaultHTTP2Streams = 250

func onlyHTTP2() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP2(true)
	return p
}

func listenHTTP2(_ context.Context, env Env) (Server, error) {
	ln, err := env.Server.ListenTCP(env.Port)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := newRequestServer(env)
	s.addr = localAddr(env.Server, ln.Addr())
	hs := &http.Server{
		Handler:   s,
		TLSConfig: env.ServerTLS("h2"),
		Protocols: onlyHTTP2(),
		HTTP2:     &http.HTTP2Config{},
		ErrorLog:  standardLog(env.Log),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			s.connected(func() { _ = c.Close() })
			return ctx
		},
	}
	if n := env.Channels + requestsSpare; n > defaultHTTP2Streams {
		hs.HTTP2.MaxConcurrentStreams = n
	}
	served := make(chan struct{})
	go func() { // ends by close, which waits for it
		defer close(served)
		if err := hs.ServeTLS(ln, "", ""); !errors.Is(err, http.ErrServerClosed) {
			logTo(env.Log).Error("the server ended", "err", err)
		}
	}()
	s.close = func() error {
		err := ignoreClosed(hs.Close())
		<-served
		return err
	}
	s.dial = dialHTTP2
	return s, nil
}

// http2Client is a client's connection outside of the pool of its Transport, so
// that there is certainly one.
type http2Client struct {
	*http.ClientConn
	transport *http.Transport
}

func dialHTTP2(ctx context.Context, s *requestServer) (requester, error) {
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return s.env.Client.DialTCP(ctx, s.addr)
		},
		TLSClientConfig: s.env.ClientTLS("h2"),
		Protocols:       onlyHTTP2(),
		HTTP2:           &http.HTTP2Config{StrictMaxConcurrentRequests: true},
	}
	c, err := t.NewClientConn(ctx, "https", s.addr.String())
	if err != nil {
		return nil, err
	}
	return http2Client{c, t}, nil
}

func (c http2Client) Close() error {
	err := c.ClientConn.Close()
	c.transport.CloseIdleConnections()
	return err
}
