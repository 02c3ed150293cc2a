package peers

import (
	"context"
	"fmt"
	"testing"

	"github.com/towpath-go/towpath/e2e/clients"
	"github.com/towpath-go/towpath/transport"
)

// The rows of fails-components' browser build on its WebSocket fallback.
var (
	failsBrowser1 = failsBrowserRow("kDraft1")
	failsBrowser2 = failsBrowserRow("kDraft2")
)

func failsBrowserRow(version string) *clients.Row {
	return &clients.Row{
		Name: "fails browser " + version, Table: foreign,
		Transport: "WebSocket, `webtransport_" + version + "`",
		Module:    failsModule,
		Peer:      "fails-components' browser build, in Node with the package ws", End: "client",
	}
}

func TestFailsComponentsBrowser(t *testing.T) {
	const signed = "Codes from 2^31 on arrive as the negative numbers of the same 32 bits."
	for version, r := range map[string]*clients.Row{"kDraft1": failsBrowser1, "kDraft2": failsBrowser2} {
		t.Run(version, func(t *testing.T) {
			clients.Measure(t, r, newFailsBrowserLink(t, "webtransport_"+version), clients.Exceptions{
				clients.ServerStreams: {Partly: fmt.Sprintf(failsStreams, "initialBidirectionalSendStreams"), Show: func(t *testing.T, l clients.Link) {
					clients.Scenarios[clients.ServerStreams](t, l)
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
				clients.CloseByServer: {Partly: signed, Show: func(t *testing.T, l clients.Link) {
					for code, want := range map[uint32]int64{1<<31 - 1: 1<<31 - 1, clients.WideCode: clients.WideCode - 1<<32} {
						ctx := clients.Limited(t)
						client, server := l.Session(t)
						clients.Must(t, server.Close(ctx, code, "so long, ünd tschüss"))
						a, err := client.(clients.ProcessEnd).Do(ctx, clients.Order{Op: "closed"})
						if r := a.Result; err != nil || r.Code != want || r.Reason != "so long, ünd tschüss" {
							t.Errorf("the page was told %d %q (%v), want %d", r.Code, r.Reason, err, want)
						}
					}
				}},
			})
		})
	}
}

// TestFailsComponentsBrowserOwnClose: the page that closes is told its own code
// and reason.
func TestFailsComponentsBrowserOwnClose(t *testing.T) {
	ctx := clients.Limited(t)
	client, server := newFailsBrowserLink(t, "webtransport_kDraft2").Session(t)
	clients.Must(t, client.Close(ctx, clients.WideCode, "so long, ünd tschüss"))
	for who, e := range map[string]clients.End{"client": client, "server": server} {
		if code, reason, err := e.Closed(ctx); err != nil || code != clients.WideCode || reason != "so long, ünd tschüss" {
			t.Errorf("the %s was told %d %q (%v)", who, code, reason, err)
		}
	}
}

// TestFailsComponentsBrowserManyStreams opens more streams than the limits
// allow at once, one after the other.
func TestFailsComponentsBrowserManyStreams(t *testing.T) {
	const count = 2*transport.DefaultMaxIncomingStreams + 1
	ctx := clients.Limited(t)
	l := newFailsBrowserLink(t, "webtransport_kDraft1")
	l.streams = count // the one limit that never grows
	client, server := l.Session(t)
	for range count {
		clients.Must(t, clients.Echo(ctx, client, server, false, "asked"))
		clients.Must(t, clients.Echo(ctx, server, client, false, "asked"))
		clients.Must(t, clients.OneWay(ctx, client, server, "told"))
		clients.Must(t, clients.OneWay(ctx, server, client, "told"))
	}
}

// A failsBrowserLink has the browser build and our server.
type failsBrowserLink struct {
	client      *clients.Process
	server      *clients.TowpathServer
	cert        string
	subprotocol string
	streams     int // as in order
}

func newFailsBrowserLink(t *testing.T, subprotocol string) *failsBrowserLink {
	t.Helper()
	l := &failsBrowserLink{client: clients.Node(t, "fails-browser.mjs"), server: clients.NewTowpathServer(t, nil, nil, transport.HTTP2, transport.WebSocket), subprotocol: subprotocol}
	l.cert, _ = pemOf(t, l.server.Cert)
	return l
}

func (l *failsBrowserLink) Session(t *testing.T, offer ...string) (client, server clients.End) {
	t.Helper()
	ctx := clients.Limited(t)
	a, err := l.client.Do(ctx, clients.Order{Op: "dial", URL: l.server.URL("/"), Cert: l.cert, Subprotocol: l.subprotocol, Streams: l.streams, Protocols: offer})
	clients.Must(t, err)
	client = l.client.End(a)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), clients.Patience)
		defer cancel()
		if err := client.Close(ctx, 0, ""); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return client, l.server.Accept(t, ctx)
}

// TestFailsComponentsBrowserManyStops: the library does not answer
// WT_STOP_SENDING, so that a stopped stream has to count as ended here.
func TestFailsComponentsBrowserManyStops(t *testing.T) {
	ctx := clients.Limited(t)
	client, server := newFailsBrowserLink(t, "webtransport_kDraft1").Session(t)
	for i := range 2*transport.DefaultMaxIncomingStreams + 1 {
		for _, uni := range []bool{false, true} {
			ours, err := client.Open(ctx, uni)
			if err != nil {
				t.Fatalf("stream %d: %v", i, err)
			}
			clients.Must(t, ours.Write(ctx, []byte("first")))
			theirs, err := server.Accept(ctx, uni)
			clients.Must(t, err)
			_, err = theirs.Read(ctx, len("first"))
			clients.Must(t, err)
			clients.Must(t, theirs.Stop(ctx, 7))
			clients.WantCode(t, ctx, "the client's writing", ours.WasStopped, 7)
			if !uni {
				clients.Must(t, theirs.Finish(ctx))
				_, err := ours.ReadAll(ctx)
				clients.Must(t, err)
			}
		}
	}
}
