package peers

import "github.com/towpath-go/towpath/e2e/clients"

// The tables.
var (
	foreign = clients.Sessions("Other implementations", "One end is Towpath, the other is not.")

	replayed = clients.Sessions("Recorded clients", `
One end is Towpath, the other plays what was recorded of a browser; what works in
the browsers themselves stands [above](#pages-in-browsers). Over HTTP/3 that is
all before its first session, which it then uses as the drafts have it;
the recorded peers of all drafts are in [http3-drafts.md](http3-drafts.md). Over
HTTP/2 it is every frame and what was seen to become of those received.`)

	own = clients.Sessions("Towpath at both ends", `
The same tests between two ends of this library, as a control, for every
transport and every dialect of the HTTP/2 draft.`)

	requests = &clients.Table{
		Title: "Ordinary requests beside sessions",
		Text: `
HTTP/2 clients that know nothing of WebTransport, on one server with sessions.
Every field but the last is measured beside four sessions that exchange data
all the time, on other connections unless the client's line says otherwise; the
requests succeed, and the sessions lose nothing.`,
		Heads: []string{"client"}, Columns: requestColumnNames[:],
	}
)

// part is what this package writes of docs/clients.md. Each row is declared in
// the file of the test that measures it.
var part = &clients.Part{
	Name:   "peers",
	Tables: []*clients.Table{foreign, replayed, own, requests},
	Notes:  "Notes", Versions: "Versions, settings and tests",
	Example: "TestTowpath/HTTP3/towpath_h3:_bidi",
	Rows: []*clients.Row{
		failsBrowser1,
		failsBrowser2,
		failsClient,
		failsServer,
		wtgoClient,
		wtgoClientNoFlow,
		wtgoTransport,
		wtgoServer,
		wtgoServerNoFlow,
		xnetLegacy,
		xnetDraft15,
		replayedChromium,
		replayedFirefox,
		firefoxReplay,
		towpathH3,
		towpathH2,
		towpathH2Draft15,
		towpathH2Legacy,
		towpathWS1,
		towpathWS2,
		requestsNetHTTP,
		requestsXNet,
		requestsXNetSessions,
		requestsH2load,
		requestsNghttp,
		requestsCurl,
	},
}
