package peers

import (
	"context"
	"crypto/tls"
	"testing"

	"github.com/towpath-go/towpath/e2e/clients"
	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/wswt"
)

// The rows of this library with itself over WebSockets.
var (
	towpathWS1 = &clients.Row{Name: "towpath ws http1", Table: own, Peer: "Towpath", End: "both", Transport: "WebSocket over HTTP/1.1", Module: "this library"}
	towpathWS2 = &clients.Row{Name: "towpath ws http2", Table: own, Peer: "Towpath", End: "both", Transport: "WebSocket over HTTP/2", Module: "this library"}
)

func TestTowpathWebSocket(t *testing.T) {
	server := clients.NewTowpathServer(t, nil, nil, transport.HTTP2, transport.WebSocket)
	t.Run("HTTP1", func(t *testing.T) {
		d := newTowpathDialer(t, server.Cert, nil, transport.WebSocket)
		clients.Measure(t, towpathWS1, &webSocketLink{server, func(ctx context.Context, opts *transport.DialOptions) (transport.Session, error) {
			s, _, err := d.Dial(ctx, server.URL("/"), opts)
			return s, err
		}}, nil)
	})
	t.Run("HTTP2", func(t *testing.T) {
		d := tls.Dialer{Config: server.Cert.ClientConfig("127.0.0.1", "h2")}
		conn, err := d.DialContext(clients.Limited(t), "tcp", server.Addr)
		clients.Must(t, err)
		c, err := h2wt.NewClientConn(clients.Limited(t), conn.(*tls.Conn), &h2wt.Config{AcceptWebSocketOnly: true})
		clients.Must(t, err)
		defer c.Close()
		clients.Measure(t, towpathWS2, &webSocketLink{server, func(ctx context.Context, opts *transport.DialOptions) (transport.Session, error) {
			return wswt.DialHTTP2(ctx, c, server.URL("/"), opts, nil)
		}}, nil)
	})
}

// A webSocketLink has this library at both ends.
type webSocketLink struct {
	server *clients.TowpathServer
	dial   func(ctx context.Context, opts *transport.DialOptions) (transport.Session, error)
}

func (l *webSocketLink) Session(t *testing.T, offer ...string) (client, server clients.End) {
	t.Helper()
	ctx := clients.Limited(t)
	s, err := l.dial(ctx, &transport.DialOptions{Protocols: offer})
	clients.Must(t, err)
	t.Cleanup(func() { s.CloseWithError(0, "") })
	if p := s.Info().Protocol; p != transport.WebSocket {
		t.Errorf("the session is over %v", p)
	}
	return clients.TowpathEnd{S: s}, l.server.Accept(t, ctx)
}
