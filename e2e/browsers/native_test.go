package browsers

import (
	"context"
	"strings"
	"testing"

	"github.com/towpath-go/towpath/e2e/clients"
	"github.com/towpath-go/towpath/transport"
)

// The rows of the browsers' own WebTransport.
var (
	nativeChromium = nativeRow(chromium)
)

func nativeRow(k kind) *clients.Row {
	return &clients.Row{
		Name: string(k) + " native", Table: pages, Peer: "page in " + k.name() + ", its own `WebTransport` with `serverCertificateHashes`",
		End: "client", Transport: "HTTP/3", Module: "machine " + string(k),
		Configure: "`UpgradeOptions.Origins` for pages of other origins",
	}
}

func TestNative(t *testing.T) {
	for k, r := range map[kind]*clients.Row{chromium: nativeChromium} {
		t.Run(string(k), func(t *testing.T) {
			l := newNativeLink(t, launch(t, k, launchOptions{}))
			clients.Measure(t, r, l, nativeExceptions[k])
		})
	}
}

// octets says what a page can send: in neither browser can it make an error with
// a greater code to abort a stream with.
const octets = "A page can abort a stream with codes up to 255 only: the browser's `WebTransportError` makes 255 of greater ones. What it receives is not cut."

var nativeExceptions = map[kind]clients.Exceptions{
	chromium: {
		clients.ResetCode: {Partly: octets, Show: resetsOctets},
		clients.StopCode:  {Partly: octets, Show: stopsOctets},
	},
}

func resetsOctets(t *testing.T, l clients.Link) {
	clients.Resets(t, l, 254, clients.WideCode)
	clients.ResetsLearnt(t, l, 256, clients.WideCode, 255, clients.WideCode)
}

func stopsOctets(t *testing.T, l clients.Link) {
	clients.Stops(t, l, 254, clients.WideCode)
	clients.StopsLearnt(t, l, 256, clients.WideCode, 255, clients.WideCode)
}

// A nativeLink has a page and a Go server.
type nativeLink struct {
	page   *page
	server *clients.TowpathServer
}

// newNativeLink opens a page, and starts a server that takes its origin.
func newNativeLink(t *testing.T, b *browser) *nativeLink {
	t.Helper()
	origin := blank(t, "127.0.0.1")
	opts := &transport.UpgradeOptions{Protocols: []string{"second"}, Origins: []string{strings.TrimSuffix(origin, "/")}}
	return &nativeLink{page: b.open(t, origin), server: clients.NewTowpathServer(t, opts, nil, transport.HTTP3)}
}

func (l *nativeLink) Session(t *testing.T, offer ...string) (client, server clients.End) {
	t.Helper()
	ctx := clients.Limited(t)
	hash := l.server.Cert.Hash()
	d := dialing{url: l.server.URL("/"), hash: hash[:]}
	if offer != nil {
		d.options = map[string]any{"protocols": offer}
	}
	client, err := l.page.dial(ctx, d)
	clients.Must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), clients.Patience)
		defer cancel()
		if err := client.Close(ctx, 0, ""); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return client, l.server.Accept(t, ctx)
}
