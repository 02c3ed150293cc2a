package peers

import (
	"context"
	"fmt"
	"testing"

	"github.com/towpath-go/towpath/transport"
)

// The rows of fails-components' browser build on its WebSocket fallback.
var (
	failsBrowser1 = failsBrowserRow("kDraft1")
	failsBrowser2 = failsBrowserRow("kDraft2")
)

func failsBrowserRow(version string) *row {
	return &row{
		name: "fails browser " + version, section: foreign,
		transport: "WebSocket, `webtransport_" + version + "`",
		module:    failsModule,
		peer:      "fails-components' browser build, in Node with the package ws", end: "client",
	}
}

func TestFailsComponentsBrowser(t *testing.T) {
	const signed = "Codes from 2^31 on arrive as the negative numbers of the same 32 bits."
	for version, r := range map[string]*row{"kDraft1": failsBrowser1, "kDraft2": failsBrowser2} {
		t.Run(version, func(t *testing.T) {
			measure(t, r, newFailsBrowserLink(t, "webtransport_"+version), exceptions{
				serverStreams: {partly: fmt.Sprintf(failsStreams, "initialBidirectionalSendStreams"), show: func(t *testing.T, l link) {
					scenarios[serverStreams](t, l)
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
				closeByServer: {partly: signed, show: func(t *testing.T, l link) {
					for code, want := range map[uint32]int64{1<<31 - 1: 1<<31 - 1, wideCode: wideCode - 1<<32} {
						ctx := limited(t)
						client, server := l.session(t)
						must(t, server.close(ctx, code, "so long, ünd tschüss"))
						a, err := client.(processEnd).do(ctx, order{Op: "closed"})
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
	ctx := limited(t)
	client, server := newFailsBrowserLink(t, "webtransport_kDraft2").session(t)
	must(t, client.close(ctx, wideCode, "so long, ünd tschüss"))
	for who, e := range map[string]end{"client": client, "server": server} {
		if code, reason, err := e.closed(ctx); err != nil || code != wideCode || reason != "so long, ünd tschüss" {
			t.Errorf("the %s was told %d %q (%v)", who, code, reason, err)
		}
	}
}

// TestFailsComponentsBrowserManyStreams opens more streams than the limits
// allow at once, one after the other.
func TestFailsComponentsBrowserManyStreams(t *testing.T) {
	const count = 2*transport.DefaultMaxIncomingStreams + 1
	ctx := limited(t)
	l := newFailsBrowserLink(t, "webtransport_kDraft1")
	l.streams = count // the one limit that never grows
	client, server := l.session(t)
	for range count {
		must(t, echo(ctx, client, server, false, "asked"))
		must(t, echo(ctx, server, client, false, "asked"))
		must(t, oneWay(ctx, client, server, "told"))
		must(t, oneWay(ctx, server, client, "told"))
	}
}

// A failsBrowserLink has the browser build and our server.
type failsBrowserLink struct {
	client      *process
	server      *towpathServer
	cert        string
	subprotocol string
	streams     int // as in order
}

func newFailsBrowserLink(t *testing.T, subprotocol string) *failsBrowserLink {
	t.Helper()
	l := &failsBrowserLink{client: node(t, "fails-browser.mjs"), server: newTowpathServer(t, nil, nil, transport.HTTP2, transport.WebSocket), subprotocol: subprotocol}
	l.cert, _ = pemOf(t, l.server.cert)
	return l
}

func (l *failsBrowserLink) session(t *testing.T, offer ...string) (client, server end) {
	t.Helper()
	ctx := limited(t)
	a, err := l.client.do(ctx, order{Op: "dial", URL: l.server.url("/"), Cert: l.cert, Subprotocol: l.subprotocol, Streams: l.streams, Protocols: offer})
	must(t, err)
	client = l.client.end(a)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := client.close(ctx, 0, ""); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return client, l.server.accept(t, ctx)
}

// TestFailsComponentsBrowserManyStops: the library does not answer
// WT_STOP_SENDING, so that a stopped stream has to count as ended here.
func TestFailsComponentsBrowserManyStops(t *testing.T) {
	ctx := limited(t)
	client, server := newFailsBrowserLink(t, "webtransport_kDraft1").session(t)
	for i := range 2*transport.DefaultMaxIncomingStreams + 1 {
		for _, uni := range []bool{false, true} {
			ours, err := client.open(ctx, uni)
			if err != nil {
				t.Fatalf("stream %d: %v", i, err)
			}
			must(t, ours.write(ctx, []byte("first")))
			theirs, err := server.accept(ctx, uni)
			must(t, err)
			_, err = theirs.read(ctx, len("first"))
			must(t, err)
			must(t, theirs.stop(ctx, 7))
			wantCode(t, ctx, "the client's writing", ours.wasStopped, 7)
			if !uni {
				must(t, theirs.finish(ctx))
				_, err := ours.readAll(ctx)
				must(t, err)
			}
		}
	}
}
