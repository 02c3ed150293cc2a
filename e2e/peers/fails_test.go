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

	"github.com/towpath-go/towpath/e2e/clients"
	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
)

const failsModule = "npm @fails-components/webtransport"

// The rows of fails-components over HTTP/2, in Node.
var (
	failsClient = &clients.Row{
		Name: "fails client h2", Table: foreign, Transport: "HTTP/2", Module: failsModule,
		Peer: "fails-components in Node, `forceReliable: true`", End: "client",
		Configure: "`UpgradeOptions.AllowOriginWithoutScheme: true`",
	}
	failsServer = &clients.Row{
		Name: "fails server h2", Table: foreign, Transport: "HTTP/2", Module: failsModule,
		Peer: "fails-components in Node, `Http2Server`", End: "server",
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
		client: clients.Node(t, "fails-components.mjs"),
		server: clients.NewTowpathServer(t, opts, heard.config(transport.DialectAuto), transport.HTTP2),
	}
	defer heard.want(t, "legacy", "announced", "swapped")
	clients.Measure(t, failsClient, l, thorough(clients.Exceptions{
		clients.ServerStreams: {Partly: fmt.Sprintf(failsStreams, "initialBidirectionalSendStreams"), Show: func(t *testing.T, l clients.Link) {
			thorough(nil)[clients.ServerStreams].Show(t, l)
			wantLastStream(t, l, true)
		}},
		clients.ResetCode: {Partly: failsCodes, Show: func(t *testing.T, l clients.Link) {
			clients.Resets(t, l, 254, clients.WideCode)
			clients.ResetsLearnt(t, l, 256, clients.WideCode, 255, clients.WideCode)
		}},
		clients.StopCode: {Partly: failsCodes, Show: func(t *testing.T, l clients.Link) {
			clients.Stops(t, l, 254, clients.WideCode)
			clients.StopsLearnt(t, l, 256, clients.WideCode, 255, clients.WideCode)
		}},
		clients.SeveralSessions: {Partly: failsSessions, Show: func(t *testing.T, l clients.Link) {
			clients.Scenarios[clients.SeveralSessions](t, l)
			endBesideOthers(t, l, true)
			_, a := l.Session(t)
			_, b := l.Session(t)
			if a, b := remote(a), remote(b); a == b {
				t.Errorf("two sessions came from %s", a)
			}
		}},
	}))
}

// remote returns the address that a session of this library has as the peer's.
func remote(e clients.End) string { return e.(clients.TowpathEnd).S.Info().RemoteAddr.String() }

// TestFailsComponentsOrigin: the client's Origin has no scheme, and without the
// option for it the answer is 403.
func TestFailsComponentsOrigin(t *testing.T) {
	server := clients.NewTowpathServer(t, nil, nil, transport.HTTP2)
	client := clients.Node(t, "fails-components.mjs")
	hash := server.Cert.Hash()
	_, err := client.Do(clients.Limited(t), clients.Order{Op: "dial", URL: server.URL("/"), Hash: hash[:]})
	if err == nil || !strings.Contains(err.Error(), "status 403") {
		t.Errorf("the session: %v", err)
	}
}

// A failsClientLink has their client and our server.
type failsClientLink struct {
	client  *clients.Process
	server  *clients.TowpathServer
	streams int // as in order
}

func (l *failsClientLink) Session(t *testing.T, offer ...string) (client, server clients.End) {
	t.Helper()
	ctx := clients.Limited(t)
	return failsDial(t, ctx, l.client, l.server.URL("/"), l.server.Cert.Hash(), l.streams, offer), l.server.Accept(t, ctx)
}

func TestFailsComponentsServer(t *testing.T) {
	heard := &dialects{}
	defer heard.want(t, "legacy", "announced", "swapped")
	clients.Measure(t, failsServer, newFailsServerLink(t, heard.config(transport.DialectAuto), 0), thorough(clients.Exceptions{
		clients.Bidi: {Partly: fmt.Sprintf(failsStreams, "initialBidirectionalStreams"), Show: func(t *testing.T, l clients.Link) {
			thorough(nil)[clients.Bidi].Show(t, l)
			wantLastStream(t, l, false)
		}},
		clients.ResetCode: {Partly: failsCodes, Show: func(t *testing.T, l clients.Link) {
			clients.Resets(t, l, clients.WideCode, 254)
			clients.ResetsLearnt(t, l, clients.WideCode, 256, clients.WideCode, 255)
		}},
		clients.StopCode: {Partly: failsCodes, Show: func(t *testing.T, l clients.Link) {
			clients.Stops(t, l, clients.WideCode, 254)
			clients.StopsLearnt(t, l, clients.WideCode, 256, clients.WideCode, 255)
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
			ctx := clients.Limited(t)
			s, err := dial(ctx)
			clients.Must(t, err)
			defer s.CloseWithError(0, "")
			if p := s.Info().Protocol; p != transport.HTTP2 {
				t.Errorf("the session is over %v", p)
			}
			clients.Must(t, clients.Echo(ctx, clients.TowpathEnd{S: s}, failsAccept(t, ctx, server), false, "asked"))
		})
	}
}

// A failsServerLink has our client and their server.
type failsServerLink struct {
	server *clients.Process
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

func (l *failsServerLink) Session(t *testing.T, offer ...string) (client, server clients.End) {
	t.Helper()
	ctx := clients.Limited(t)
	client = dialTowpath(t, ctx, l.dialer, l.url, offer)
	return client, failsAccept(t, ctx, l.server)
}

// wantLastStream opens bidirectional streams, one after the other, until there
// can be no more. The one that opens them is Towpath.
func wantLastStream(t *testing.T, l clients.Link, byServer bool) {
	t.Helper()
	ctx := clients.Limited(t)
	asks, answers := l.Session(t)
	if byServer {
		asks, answers = answers, asks
	}
	for range 100 {
		clients.Must(t, clients.Echo(ctx, asks, answers, false, "asked"))
	}
	// What the other end has to say of the streams has come before this.
	clients.Must(t, clients.Datagram(ctx, answers, asks, "after all of them"))
	over, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := asks.Open(over, false); !errors.Is(err, transport.ErrStreamLimit) {
		t.Errorf("stream 101: %v", err)
	}
}

// TestFailsComponentsManyStreams opens more streams than the limits allow at
// once, one after the other: all limits grow but the one that is set here.
func TestFailsComponentsManyStreams(t *testing.T) {
	const count = 2*transport.DefaultMaxIncomingStreams + 1
	for name, l := range failsLinks(t, count) {
		t.Run(name, func(t *testing.T) {
			ctx := clients.Limited(t)
			client, server := l.Session(t)
			for range count {
				for _, dir := range [][2]clients.End{{client, server}, {server, client}} {
					clients.Must(t, clients.Echo(ctx, dir[0], dir[1], false, "asked"))
					clients.Must(t, clients.OneWay(ctx, dir[0], dir[1], "told"))
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
			ctx := clients.Limited(t)
			client, server := l.Session(t)
			clients.Asked(t, ctx, client, server)
			ours, theirs := client, server
			if p, ok := client.(clients.ProcessEnd); ok {
				ours, theirs = server, p
			}
			theirs.(clients.ProcessEnd).Process.Kill()
			_, _, err := ours.Closed(ctx)
			var ended *transport.SessionError
			if !errors.As(err, &ended) || !ended.Remote || ended.Err == nil {
				t.Errorf("the session ended with %v", err)
			}
		})
	}
}

// failsLinks are links of both rows. Streams is how many bidirectional streams
// fails-components takes, 0 for its default.
func failsLinks(t *testing.T, streams int) map[string]clients.Link {
	t.Helper()
	opts := &transport.UpgradeOptions{Protocols: []string{"second"}, AllowOriginWithoutScheme: true}
	return map[string]clients.Link{
		"client": &failsClientLink{
			client: clients.Node(t, "fails-components.mjs"), streams: streams,
			server: clients.NewTowpathServer(t, opts, nil, transport.HTTP2),
		},
		"server": newFailsServerLink(t, nil, streams),
	}
}

// TestFailsComponentsAlone has fails-components at both ends, so that what this
// peer and its drivers can do is known without Towpath.
func TestFailsComponentsAlone(t *testing.T) {
	l := newFailsLink(t)
	for c, show := range clients.Scenarios {
		switch clients.Column(c) {
		case clients.ResetCode:
			show = func(t *testing.T, l clients.Link) { clients.ResetsLearnt(t, l, 254, 256, 254, 255) }
		case clients.StopCode:
			show = func(t *testing.T, l clients.Link) { clients.StopsLearnt(t, l, 254, 256, 254, 255) }
		}
		t.Run(clients.Column(c).String(), func(t *testing.T) { show(t, l) })
	}
}

// A failsLink has fails-components at both ends.
type failsLink struct {
	client, server *clients.Process
	url            string
	hash           [sha256.Size]byte
}

func newFailsLink(t *testing.T) *failsLink {
	t.Helper()
	cert := testcert.New(t)
	l := &failsLink{client: clients.Node(t, "fails-components.mjs"), hash: cert.Hash()}
	l.server, l.url = failsListen(t, cert, 0)
	return l
}

func (l *failsLink) Session(t *testing.T, offer ...string) (client, server clients.End) {
	t.Helper()
	ctx := clients.Limited(t)
	return failsDial(t, ctx, l.client, l.url, l.hash, 0, offer), failsAccept(t, ctx, l.server)
}

// failsDial dials with their client, and closes the session when the test ends.
func failsDial(t *testing.T, ctx context.Context, p *clients.Process, url string, hash [sha256.Size]byte, streams int, offer []string) clients.End {
	t.Helper()
	a, err := p.Do(ctx, clients.Order{Op: "dial", URL: url, Hash: hash[:], Streams: streams, Protocols: offer})
	clients.Must(t, err)
	e := p.End(a)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), clients.Patience)
		defer cancel()
		if err := e.Close(ctx, 0, ""); err != nil && !p.Killed {
			t.Errorf("closing: %v", err)
		}
	})
	return e
}

// failsListen starts their server.
func failsListen(t *testing.T, cert *testcert.Cert, streams int) (p *clients.Process, url string) {
	t.Helper()
	p = clients.Node(t, "fails-components.mjs")
	certPEM, keyPEM := pemOf(t, cert)
	a, err := p.Do(clients.Limited(t), clients.Order{Op: "listen", Cert: certPEM, Key: keyPEM, Streams: streams, Protocols: []string{"second"}})
	clients.Must(t, err)
	return p, fmt.Sprintf("https://127.0.0.1:%d/", a.Result.Port)
}

// failsAccept returns the next session of their server.
func failsAccept(t *testing.T, ctx context.Context, p *clients.Process) clients.End {
	t.Helper()
	a, err := p.Do(ctx, clients.Order{Op: "session"})
	clients.Must(t, err)
	return p.End(a)
}

// pemOf returns a certificate and its key for other software.
func pemOf(t *testing.T, c *testcert.Cert) (cert, key string) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.TLS.PrivateKey)
	clients.Must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Leaf.Raw})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
