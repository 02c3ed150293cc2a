package browsers

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/clients"
	"github.com/towpath-go/towpath/transport"
)

// The rows of the browsers' own WebTransport.
var (
	nativeChromium = nativeRow(chromium)
	nativeFirefox  = nativeRow(firefox)
)

func nativeRow(k kind) *clients.Row {
	return &clients.Row{
		Name: string(k) + " native", Table: pages, Peer: "page in " + k.name() + ", its own `WebTransport` with `serverCertificateHashes`",
		End: "client", Transport: "HTTP/3", Module: "machine " + string(k),
		Configure: "`UpgradeOptions.Origins` for pages of other origins",
	}
}

func TestNative(t *testing.T) {
	for k, r := range map[kind]*clients.Row{chromium: nativeChromium, firefox: nativeFirefox} {
		t.Run(string(k), func(t *testing.T) {
			l := newNativeLink(t, launch(t, k, launchOptions{}))
			clients.Measure(t, r, l, nativeExceptions[k])
		})
	}
}

// What the browsers cannot do.
const (
	octets = "A page can abort a stream with codes up to 255 only: the browser's `WebTransportError` makes 255 of greater ones. What it receives is not cut."

	silentCancel = "When a page cancels reading, Firefox tells the server nothing: it goes on sending until flow control stops it. The server's code, when that stops reading, does arrive, one above 255 as 0."
)

var nativeExceptions = map[kind]clients.Exceptions{
	chromium: {
		clients.ResetCode: {Partly: octets, Show: func(t *testing.T, l clients.Link) {
			clients.Resets(t, l, 254, clients.WideCode)
			clients.ResetsLearnt(t, l, 256, clients.WideCode, 255, clients.WideCode)
		}},
		clients.StopCode: chromiumStops,
	},
	firefox: {
		clients.ResetCode: firefoxResets,
		clients.StopCode: {Lacks: silentCancel, Show: func(t *testing.T, l clients.Link) {
			ctx := clients.Limited(t)
			client, server := l.Session(t)
			for sent, arrives := range map[uint32]uint32{255: 255, 256: 0} {
				ours, theirs := clients.Asked(t, ctx, client, server)
				clients.Must(t, theirs.Stop(ctx, sent))
				clients.WantCode(t, ctx, "the page's writing", ours.WasStopped, arrives)
			}
			ours, theirs := clients.Asked(t, ctx, client, server)
			clients.Must(t, ours.Stop(ctx, 77))
			short, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			for {
				if err := theirs.Write(short, make([]byte, 64<<10)); err != nil {
					if !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("after the page had cancelled, writing ended with %v", err)
					}
					break
				}
			}
		}},
		clients.Subprotocol: {Lacks: "its `WebTransport` has no protocols", Show: func(t *testing.T, l clients.Link) {
			client, server := l.Session(t, "first", "second")
			if c, s := client.Protocol(), server.Protocol(); c != "" || s != "" {
				t.Errorf("the client has the protocol %q, the server %q", c, s)
			}
		}},
	},
}

// A nativeLink has a page and a Go server.
type nativeLink struct {
	page   *page
	server *clients.TowpathServer
	origin string // the page's URL
}

// newNativeLink opens a page, and starts a server that takes its origin.
func newNativeLink(t *testing.T, b *browser) *nativeLink {
	t.Helper()
	origin := blank(t, "127.0.0.1")
	opts := &transport.UpgradeOptions{Protocols: []string{"second"}, Origins: []string{strings.TrimSuffix(origin, "/")}}
	return &nativeLink{page: b.open(t, origin), server: clients.NewTowpathServer(t, opts, nil, transport.HTTP3), origin: origin}
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
