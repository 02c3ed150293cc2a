package peers

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
)

const failsModule = "npm @fails-components/webtransport"

// The rows of fails-components over HTTP/2, in Node.
var (
	failsClient = &row{
		name: "fails client h2", section: foreign, transport: "HTTP/2", module: failsModule,
		peer: "fails-components in Node, `forceReliable: true`", end: "client",
		configure: "`UpgradeOptions.AllowOriginWithoutScheme: true`",
	}
	failsServer = &row{
		name: "fails server h2", section: foreign, transport: "HTTP/2", module: failsModule,
		peer: "fails-components in Node, `Http2Server`", end: "server",
	}
)

const (
	failsCodes    = "Codes of streams above 255 arrive as 255 when fails-components sends them; what it receives is not cut."
	failsSessions = "Each session of fails-components' client has an HTTP/2 connection of its own."
)

func TestFailsComponentsClient(t *testing.T) {
	heard := &dialects{}
	opts := &transport.UpgradeOptions{Protocols: []string{"second"}, AllowOriginWithoutScheme: true}
	l := &failsClientLink{
		client: node(t, "fails-components.mjs"),
		server: newTowpathServer(t, opts, heard.config(transport.DialectAuto), transport.HTTP2),
	}
	defer heard.want(t, "legacy", "announced", "swapped")
	measure(t, failsClient, l, exceptions{
		resetCode: {partly: failsCodes, show: func(t *testing.T, l link) {
			resets(t, l, 254, wideCode)
			resetsLearnt(t, l, 256, wideCode, 255, wideCode)
		}},
		stopCode: {partly: failsCodes, show: func(t *testing.T, l link) {
			stops(t, l, 254, wideCode)
			stopsLearnt(t, l, 256, wideCode, 255, wideCode)
		}},
		severalSessions: {partly: failsSessions, show: func(t *testing.T, l link) {
			scenarios[severalSessions](t, l)
			_, a := l.session(t)
			_, b := l.session(t)
			if a, b := remote(a), remote(b); a == b {
				t.Errorf("two sessions came from %s", a)
			}
		}},
	})
}

// remote returns the address that a session of this library has as the peer's.
func remote(e end) string { return e.(towpathEnd).s.Info().RemoteAddr.String() }

// TestFailsComponentsOrigin: the client's Origin has no scheme, and without the
// option for it the answer is 403.
func TestFailsComponentsOrigin(t *testing.T) {
	server := newTowpathServer(t, nil, nil, transport.HTTP2)
	client := node(t, "fails-components.mjs")
	hash := server.cert.Hash()
	_, err := client.do(limited(t), order{Op: "dial", URL: server.url("/"), Hash: hash[:]})
	if err == nil || !strings.Contains(err.Error(), "status 403") {
		t.Errorf("the session: %v", err)
	}
}

// A failsClientLink has their client and our server.
type failsClientLink struct {
	client *process
	server *towpathServer
}

func (l *failsClientLink) session(t *testing.T, offer ...string) (client, server end) {
	t.Helper()
	ctx := limited(t)
	return failsDial(t, ctx, l.client, l.server.url("/"), l.server.cert.Hash(), offer), l.server.accept(t, ctx)
}

func TestFailsComponentsServer(t *testing.T) {
	heard := &dialects{}
	defer heard.want(t, "legacy", "announced", "swapped")
	measure(t, failsServer, newFailsServerLink(t, heard.config(transport.DialectAuto)), exceptions{
		resetCode: {partly: failsCodes, show: func(t *testing.T, l link) {
			resets(t, l, wideCode, 254)
			resetsLearnt(t, l, wideCode, 256, wideCode, 255)
		}},
		stopCode: {partly: failsCodes, show: func(t *testing.T, l link) {
			stops(t, l, wideCode, 254)
			stopsLearnt(t, l, wideCode, 256, wideCode, 255)
		}},
	})
}

// A failsServerLink has our client and their server.
type failsServerLink struct {
	server *process
	dialer *negotiate.Dialer
	url    string
}

func newFailsServerLink(t *testing.T, config *transport.Config) *failsServerLink {
	t.Helper()
	cert := testcert.New(t)
	l := &failsServerLink{dialer: newTowpathDialer(t, cert, config, transport.HTTP2)}
	l.server, l.url = failsListen(t, cert)
	return l
}

func (l *failsServerLink) session(t *testing.T, offer ...string) (client, server end) {
	t.Helper()
	ctx := limited(t)
	client = dialTowpath(t, ctx, l.dialer, l.url, offer)
	return client, failsAccept(t, ctx, l.server)
}

// TestFailsComponentsAlone has fails-components at both ends, so that what this
// peer and its drivers can do is known without Towpath.
func TestFailsComponentsAlone(t *testing.T) {
	l := newFailsLink(t)
	for c, show := range scenarios {
		switch column(c) {
		case resetCode:
			show = func(t *testing.T, l link) { resetsLearnt(t, l, 254, 256, 254, 255) }
		case stopCode:
			show = func(t *testing.T, l link) { stopsLearnt(t, l, 254, 256, 254, 255) }
		}
		t.Run(column(c).String(), func(t *testing.T) { show(t, l) })
	}
}

// A failsLink has fails-components at both ends.
type failsLink struct {
	client, server *process
	url            string
	hash           [sha256.Size]byte
}

func newFailsLink(t *testing.T) *failsLink {
	t.Helper()
	cert := testcert.New(t)
	l := &failsLink{client: node(t, "fails-components.mjs"), hash: cert.Hash()}
	l.server, l.url = failsListen(t, cert)
	return l
}

func (l *failsLink) session(t *testing.T, offer ...string) (client, server end) {
	t.Helper()
	ctx := limited(t)
	return failsDial(t, ctx, l.client, l.url, l.hash, offer), failsAccept(t, ctx, l.server)
}

// failsDial dials with their client, and closes the session when the test ends.
func failsDial(t *testing.T, ctx context.Context, p *process, url string, hash [sha256.Size]byte, offer []string) end {
	t.Helper()
	a, err := p.do(ctx, order{Op: "dial", URL: url, Hash: hash[:], Protocols: offer})
	must(t, err)
	e := p.end(a)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := e.close(ctx, 0, ""); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return e
}

// failsListen starts their server.
func failsListen(t *testing.T, cert *testcert.Cert) (p *process, url string) {
	t.Helper()
	p = node(t, "fails-components.mjs")
	certPEM, keyPEM := pemOf(t, cert)
	a, err := p.do(limited(t), order{Op: "listen", Cert: certPEM, Key: keyPEM, Protocols: []string{"second"}})
	must(t, err)
	return p, fmt.Sprintf("https://127.0.0.1:%d/", a.Result.Port)
}

// failsAccept returns the next session of their server.
func failsAccept(t *testing.T, ctx context.Context, p *process) end {
	t.Helper()
	a, err := p.do(ctx, order{Op: "session"})
	must(t, err)
	return p.end(a)
}

// pemOf returns a certificate and its key for other software.
func pemOf(t *testing.T, c *testcert.Cert) (cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.TLS.PrivateKey)
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Leaf.Raw})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
