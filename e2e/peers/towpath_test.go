package peers

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/towpath-go/towpath/e2e/clients"
	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/h3wt"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/wswt"
)

// The rows of this library with itself.
var (
	towpathH3 = &clients.Row{Name: "towpath h3", Table: own, Peer: "Towpath", End: "both", Transport: "HTTP/3", Module: "this library"}
	towpathH2 = &clients.Row{Name: "towpath h2", Table: own, Peer: "Towpath, each recognising the other", End: "both", Transport: "HTTP/2", Module: "this library"}

	towpathH2Draft15 = &clients.Row{Name: "towpath h2 draft 15", Table: own, Peer: "Towpath, strictly draft 15", End: "both", Transport: "HTTP/2", Module: "this library", Configure: "`Config.Dialect: DialectDraft15`"}
	towpathH2Legacy  = &clients.Row{Name: "towpath h2 legacy", Table: own, Peer: "Towpath, strictly drafts 07 to 14", End: "both", Transport: "HTTP/2", Module: "this library", Configure: "`Config.Dialect: DialectLegacy`"}
)

func TestTowpath(t *testing.T) {
	t.Run("HTTP3", func(t *testing.T) {
		clients.Measure(t, towpathH3, newTowpathLink(t, nil, nil, transport.HTTP3), nil)
	})
	for _, c := range []struct {
		r       *clients.Row
		dialect transport.Dialect
		heard   [3]string
	}{
		{towpathH2, transport.DialectAuto, [3]string{"draft-15", "recognised", "draft"}},
		{towpathH2Draft15, transport.DialectDraft15, [3]string{"draft-15", "configured", "draft"}},
		{towpathH2Legacy, transport.DialectLegacy, [3]string{"legacy", "configured", "draft"}},
	} {
		t.Run("HTTP2 "+c.dialect.String(), func(t *testing.T) {
			heard := &dialects{}
			clients.Measure(t, c.r, newTowpathLink(t, heard.config(c.dialect), heard.config(c.dialect), transport.HTTP2), nil)
			heard.want(t, c.heard[0], c.heard[1], c.heard[2])
		})
	}
}

// TestTowpathDialects: an end that finds the dialect out fits one that is told.
func TestTowpathDialects(t *testing.T) {
	for _, told := range []transport.Dialect{transport.DialectDraft15, transport.DialectLegacy} {
		for _, client := range []transport.Dialect{transport.DialectAuto, told} {
			server := told
			if client == told {
				server = transport.DialectAuto
			}
			t.Run(fmt.Sprintf("%v client, %v server", client, server), func(t *testing.T) {
				l := newTowpathLink(t, &transport.Config{Dialect: client}, &transport.Config{Dialect: server}, transport.HTTP2)
				for c, show := range clients.Scenarios {
					t.Run(clients.Column(c).String(), func(t *testing.T) { show(t, l) })
				}
			})
		}
	}
}

// dialTowpath dials with a Dialer, and closes the session when the test ends.
func dialTowpath(t *testing.T, ctx context.Context, d *negotiate.Dialer, url string, offer []string) clients.End {
	t.Helper()
	s, report, err := d.Dial(ctx, url, &transport.DialOptions{Protocols: offer, Config: d.Config})
	if err != nil {
		t.Fatalf("%v\n%v", err, report)
	}
	t.Cleanup(func() { s.CloseWithError(0, "") })
	return clients.TowpathEnd{S: s}
}

// A towpathLink has this library at both ends.
type towpathLink struct {
	server *clients.TowpathServer
	dialer *negotiate.Dialer
}

func newTowpathLink(t *testing.T, client, server *transport.Config, way transport.Protocol) *towpathLink {
	t.Helper()
	l := &towpathLink{server: clients.NewTowpathServer(t, nil, server, way)}
	l.dialer = newTowpathDialer(t, l.server.Cert, client, way)
	return l
}

// newTowpathDialer returns a Dialer for one way that lives as long as the test.
func newTowpathDialer(t *testing.T, cert *testcert.Cert, config *transport.Config, way transport.Protocol) *negotiate.Dialer {
	t.Helper()
	d := &negotiate.Dialer{
		TLSClientConfig: cert.ClientConfig("127.0.0.1"), Proxy: http.ProxyURL(nil),
		Transports: []transport.Protocol{way}, Config: config,
		H2: &h2wt.Config{Session: config}, H3: &h3wt.Config{Session: config}, WS: &wswt.Config{Session: config},
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func (l *towpathLink) Session(t *testing.T, offer ...string) (client, server clients.End) {
	t.Helper()
	ctx := clients.Limited(t)
	client = dialTowpath(t, ctx, l.dialer, l.server.URL("/"), offer)
	return client, l.server.Accept(t, ctx)
}
