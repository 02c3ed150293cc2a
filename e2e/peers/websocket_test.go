package peers

import (
	"context"
	"crypto/tls"
	"testing"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/wswt"
)

// The rows of this library with itself over WebSockets.
var (
	towpathWS1 = &row{name: "towpath ws http1", section: own, peer: "Towpath", end: "both", transport: "WebSocket over HTTP/1.1", module: "this library"}
	towpathWS2 = &row{name: "towpath ws http2", section: own, peer: "Towpath", end: "both", transport: "WebSocket over HTTP/2", module: "this library"}
)

func TestTowpathWebSocket(t *testing.T) {
	server := newTowpathServer(t, nil, nil, transport.HTTP2, transport.WebSocket)
	t.Run("HTTP1", func(t *testing.T) {
		d := newTowpathDialer(t, server.cert, nil, transport.WebSocket)
		measure(t, towpathWS1, &webSocketLink{server, func(ctx context.Context, opts *transport.DialOptions) (transport.Session, error) {
			s, _, err := d.Dial(ctx, server.url("/"), opts)
			return s, err
		}}, nil)
	})
	t.Run("HTTP2", func(t *testing.T) {
		d := tls.Dialer{Config: server.cert.ClientConfig("127.0.0.1", "h2")}
		conn, err := d.DialContext(limited(t), "tcp", server.addr)
		must(t, err)
		c, err := h2wt.NewClientConn(limited(t), conn.(*tls.Conn), &h2wt.Config{AcceptWebSocketOnly: true})
		must(t, err)
		defer c.Close()
		measure(t, towpathWS2, &webSocketLink{server, func(ctx context.Context, opts *transport.DialOptions) (transport.Session, error) {
			return wswt.DialHTTP2(ctx, c, server.url("/"), opts, nil)
		}}, nil)
	})
}

// A webSocketLink has this library at both ends.
type webSocketLink struct {
	server *towpathServer
	dial   func(ctx context.Context, opts *transport.DialOptions) (transport.Session, error)
}

func (l *webSocketLink) session(t *testing.T, offer ...string) (client, server end) {
	t.Helper()
	ctx := limited(t)
	s, err := l.dial(ctx, &transport.DialOptions{Protocols: offer})
	must(t, err)
	t.Cleanup(func() { s.CloseWithError(0, "") })
	if p := s.Info().Protocol; p != transport.WebSocket {
		t.Errorf("the session is over %v", p)
	}
	return towpathEnd{s}, l.server.accept(t, ctx)
}
