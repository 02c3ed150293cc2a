package peers

//lint:file-ignore SA1019 deprecated or not, x/net/http2 is the client that these tests are about

import (
	"crypto/tls"
	"testing"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/transport"
)

const xnetModule = "go golang.org/x/net"

// The rows of x/net/http2's client, whose extended CONNECT carries capsules
// that are written and read by hand.
var (
	xnetLegacy  = &row{name: "x/net http2 legacy", peer: "x/net/http2, capsules of drafts 07 and 08 by hand", end: "client", transport: "HTTP/2", module: xnetModule}
	xnetDraft15 = &row{name: "x/net http2 draft 15", peer: "x/net/http2, capsules of draft 15 by hand", end: "client", transport: "HTTP/2", module: xnetModule,
		configure: "`Config.Dialect: DialectDraft15`"}
)

func TestXNetHTTP2Sessions(t *testing.T) {
	t.Run("legacy", func(t *testing.T) {
		measure(t, xnetLegacy, newXNetLink(t, handLegacy, nil), thorough(nil))
	})
	t.Run("draft 15", func(t *testing.T) {
		measure(t, xnetDraft15, newXNetLink(t, handDraft15, &transport.Config{Dialect: transport.DialectDraft15}), thorough(nil))
	})
}

// An xnetLink has our server and x/net/http2's client, all sessions on one
// connection.
type xnetLink struct {
	server  *towpathServer
	conn    *http2.ClientConn
	dialect handDialect
}

func newXNetLink(t *testing.T, d handDialect, config *transport.Config) *xnetLink {
	t.Helper()
	l := &xnetLink{server: newTowpathServer(t, nil, config, transport.HTTP2), dialect: d}
	l.conn = newXNetConn(t, l.server.addr, l.server.cert.ClientConfig("127.0.0.1", "h2"))
	return l
}

// newXNetConn connects x/net/http2's client, for as long as the test.
func newXNetConn(t *testing.T, addr string, conf *tls.Config) *http2.ClientConn {
	t.Helper()
	c, err := (&tls.Dialer{Config: conf}).DialContext(limited(t), "tcp", addr)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	cc, err := new(http2.Transport).NewClientConn(c)
	must(t, err)
	return cc
}

func (l *xnetLink) session(t *testing.T, offer ...string) (client, server end) {
	t.Helper()
	ctx := limited(t)
	s, err := dialByHand(ctx, l.conn, l.server.url("/"), offer, l.dialect)
	must(t, err)
	t.Cleanup(func() { s.close(ctx, 0, "") })
	return s, l.server.accept(t, ctx)
}
