package peers

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/towpath-go/towpath/h2wt"
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
	failsStreams  = "Towpath can open 100 bidirectional streams in one session, ever: fails-components allows no others for those that have ended. Its option `%s` sets the number."
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
	measure(t, failsClient, l, thorough(exceptions{
		serverStreams: {partly: fmt.Sprintf(failsStreams, "initialBidirectionalSendStreams"), show: func(t *testing.T, l link) {
			thorough(nil)[serverStreams].show(t, l)
			wantLastStream(t, l, true)
		}},
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
			endBesideOthers(t, l, true)
			_, a := l.session(t)
			_, b := l.session(t)
			if a, b := remote(a), remote(b); a == b {
				t.Errorf("two sessions came from %s", a)
			}
		}},
	}))
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
	client  *process
	server  *towpathServer
	streams int // as in order
}

func (l *failsClientLink) session(t *testing.T, offer ...string) (client, server end) {
	t.Helper()
	ctx := limited(t)
	return failsDial(t, ctx, l.client, l.server.url("/"), l.server.cert.Hash(), l.streams, offer), l.server.accept(t, ctx)
}

func TestFailsComponentsServer(t *testing.T) {
	heard := &dialects{}
	defer heard.want(t, "legacy", "announced", "swapped")
	measure(t, failsServer, newFailsServerLink(t, heard.config(transport.DialectAuto), 0), thorough(exceptions{
		bidi: {partly: fmt.Sprintf(failsStreams, "initialBidirectionalStreams"), show: func(t *testing.T, l link) {
			thorough(nil)[bidi].show(t, l)
			wantLastStream(t, l, false)
		}},
		resetCode: {partly: failsCodes, show: func(t *testing.T, l link) {
			resets(t, l, wideCode, 254)
			resetsLearnt(t, l, wideCode, 256, wideCode, 255)
		}},
		stopCode: {partly: failsCodes, show: func(t *testing.T, l link) {
			stops(t, l, wideCode, 254)
			stopsLearnt(t, l, wideCode, 256, wideCode, 255)
		}},
	}))
}

// TestFailsComponentsServerWays: their server is reached by h2wt.Dial, and by a
// Dialer that has all ways, of which it chooses HTTP/2.
func TestFailsComponentsServerWays(t *testing.T) {
	cert := testcert.New(t)
	server, url := failsListen(t, cert, 0)
	for name, dial := range map[string]func(ctx context.Context) (transport.Session, error){
		"h2wt": func(ctx context.Context) (transport.Session, error) {
			return h2wt.Dial(ctx, url, cert.ClientConfig("127.0.0.1"), nil)
		},
		"negotiate": func(ctx context.Context) (transport.Session, error) {
			d := &negotiate.Dialer{TLSClientConfig: cert.ClientConfig("127.0.0.1"), Proxy: http.ProxyURL(nil)}
			t.Cleanup(func() { d.Close() })
			s, _, err := d.Dial(ctx, url, nil)
			return s, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := limited(t)
			s, err := dial(ctx)
			must(t, err)
			defer s.CloseWithError(0, "")
			if p := s.Info().Protocol; p != transport.HTTP2 {
				t.Errorf("the session is over %v", p)
			}
			must(t, echo(ctx, towpathEnd{s}, failsAccept(t, ctx, server), false, "asked"))
		})
	}
}

// A failsServerLink has our client and their server.
type failsServerLink struct {
	server *process
	dialer *negotiate.Dialer
	url    string
}

func newFailsServerLink(t *testing.T, config *transport.Config, streams int) *failsServerLink {
	t.Helper()
	cert := testcert.New(t)
	l := &failsServerLink{dialer: newTowpathDialer(t, cert, config, transport.HTTP2)}
	l.server, l.url = failsListen(t, cert, streams)
	return l
}

func (l *failsServerLink) session(t *testing.T, offer ...string) (client, server end) {
	t.Helper()
	ctx := limited(t)
	client = dialTowpath(t, ctx, l.dialer, l.url, offer)
	return client, failsAccept(t, ctx, l.server)
}

// wantLastStream opens bidirectional streams, one after the other, until there
// can be no more. The one that opens them is Towpath.
func wantLastStream(t *testing.T, l link, byServer bool) {
	t.Helper()
	ctx := limited(t)
	asks, answers := l.session(t)
	if byServer {
		asks, answers = answers, asks
	}
	for range 100 {
		must(t, echo(ctx, asks, answers, false, "asked"))
	}
	// What the other end has to say of the streams has come before this.
	must(t, datagram(ctx, answers, asks, "after all of them"))
	over, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := asks.open(over, false); !errors.Is(err, transport.ErrStreamLimit) {
		t.Errorf("stream 101: %v", err)
	}
}

// TestFailsComponentsManyStreams opens more streams than the limits allow at
// once, one after the other: all limits grow but the one that is set here.
func TestFailsComponentsManyStreams(t *testing.T) {
	const count = 2*transport.DefaultMaxIncomingStreams + 1
	for name, l := range failsLinks(t, count) {
		t.Run(name, func(t *testing.T) {
			ctx := limited(t)
			client, server := l.session(t)
			for range count {
				for _, dir := range [][2]end{{client, server}, {server, client}} {
					must(t, echo(ctx, dir[0], dir[1], false, "asked"))
					must(t, oneWay(ctx, dir[0], dir[1], "told"))
				}
			}
		})
	}
}

// TestFailsComponentsDies: the session of a process that dies ends with an error
// that says so.
func TestFailsComponentsDies(t *testing.T) {
	for name, l := range failsLinks(t, 0) {
		t.Run(name, func(t *testing.T) {
			ctx := limited(t)
			client, server := l.session(t)
			asked(t, ctx, client, server)
			ours, theirs := client, server
			if p, ok := client.(processEnd); ok {
				ours, theirs = server, p
			}
			theirs.(processEnd).p.kill()
			_, _, err := ours.closed(ctx)
			var ended *transport.SessionError
			if !errors.As(err, &ended) || !ended.Remote || ended.Err == nil {
				t.Errorf("the session ended with %v", err)
			}
		})
	}
}

// failsLinks are links of both rows. Streams is how many bidirectional streams
// fails-components takes, 0 for its default.
func failsLinks(t *testing.T, streams int) map[string]link {
	t.Helper()
	opts := &transport.UpgradeOptions{Protocols: []string{"second"}, AllowOriginWithoutScheme: true}
	return map[string]link{
		"client": &failsClientLink{
			client: node(t, "fails-components.mjs"), streams: streams,
			server: newTowpathServer(t, opts, nil, transport.HTTP2),
		},
		"server": newFailsServerLink(t, nil, streams),
	}
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
	l.server, l.url = failsListen(t, cert, 0)
	return l
}

func (l *failsLink) session(t *testing.T, offer ...string) (client, server end) {
	t.Helper()
	ctx := limited(t)
	return failsDial(t, ctx, l.client, l.url, l.hash, 0, offer), failsAccept(t, ctx, l.server)
}

// failsDial dials with their client, and closes the session when the test ends.
func failsDial(t *testing.T, ctx context.Context, p *process, url string, hash [sha256.Size]byte, streams int, offer []string) end {
	t.Helper()
	a, err := p.do(ctx, order{Op: "dial", URL: url, Hash: hash[:], Streams: streams, Protocols: offer})
	must(t, err)
	e := p.end(a)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := e.close(ctx, 0, ""); err != nil && !p.killed {
			t.Errorf("closing: %v", err)
		}
	})
	return e
}

// failsListen starts their server.
func failsListen(t *testing.T, cert *testcert.Cert, streams int) (p *process, url string) {
	t.Helper()
	p = node(t, "fails-components.mjs")
	certPEM, keyPEM := pemOf(t, cert)
	a, err := p.do(limited(t), order{Op: "listen", Cert: certPEM, Key: keyPEM, Streams: streams, Protocols: []string{"second"}})
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
