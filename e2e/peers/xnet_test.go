package peers

//lint:file-ignore SA1019 deprecated or not, x/net/http2 is the client that these tests are about

import (
	"crypto/tls"
	"testing"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/e2e/clients"
	"github.com/towpath-go/towpath/transport"
)

const xnetModule = "go golang.org/x/net"

// The rows of x/net/http2's client, whose extended CONNECT carries capsules
// that are written and read by hand.
var (
	xnetLegacy  = &clients.Row{Name: "x/net http2 legacy", Table: foreign, Peer: "x/net/http2, capsules of drafts 07 and 08 by hand", End: "client", Transport: "HTTP/2", Module: xnetModule}
	xnetDraft15 = &clients.Row{Name: "x/net http2 draft 15", Table: foreign, Peer: "x/net/http2, capsules of draft 15 by hand", End: "client", Transport: "HTTP/2", Module: xnetModule,
		Configure: "`Config.Dialect: DialectDraft15`"}
)

func TestXNetHTTP2Sessions(t *testing.T) {
	t.Run("legacy", func(t *testing.T) {
		clients.Measure(t, xnetLegacy, newXNetLink(t, handLegacy, nil), thorough(nil))
	})
	t.Run("draft 15", func(t *testing.T) {
		clients.Measure(t, xnetDraft15, newXNetLink(t, handDraft15, &transport.Config{Dialect: transport.DialectDraft15}), thorough(nil))
	})
}

// An xnetLink has our server and x/net/http2's client, all sessions on one
// connection.
type xnetLink struct {
	server  *clients.TowpathServer
	conn    *http2.ClientConn
	dialect handDialect
}

func newXNetLink(t *testing.T, d handDialect, config *transport.Config) *xnetLink {
	t.Helper()
	l := &xnetLink{server: clients.NewTowpathServer(t, nil, config, transport.HTTP2), dialect: d}
	l.conn = newXNetConn(t, l.server.Addr, l.server.Cert.ClientConfig("127.0.0.1", "h2"))
	return l
}

// newXNetConn connects x/net/http2's client, for as long as the test.
func newXNetConn(t *testing.T, addr string, conf *tls.Config) *http2.ClientConn {
	t.Helper()
	c, err := (&tls.Dialer{Config: conf}).DialContext(clients.Limited(t), "tcp", addr)
	clients.Must(t, err)
	t.Cleanup(func() { c.Close() })
	cc, err := new(http2.Transport).NewClientConn(c)
	clients.Must(t, err)
	return cc
}

func (l *xnetLink) Session(t *testing.T, offer ...string) (client, server clients.End) {
	t.Helper()
	ctx := clients.Limited(t)
	s, err := dialByHand(ctx, l.conn, l.server.URL("/"), offer, l.dialect)
	clients.Must(t, err)
	t.Cleanup(func() { s.Close(ctx, 0, "") })
	return s, l.server.Accept(t, ctx)
}
