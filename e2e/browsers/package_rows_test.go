package browsers

import "github.com/towpath-go/towpath/e2e/clients"

// Rules of the router.
const (
	openUDP = ""
	dropUDP = "meta l4proto udp counter name dropped drop"
)

// The rows of the package in networks of their own.
var (
	chromiumPackage = packageRows(chromium)
	firefoxPackage  = packageRows(firefox)
)

// A packageRow is a row, and how its sessions are made.
type packageRow struct {
	row      *clients.Row
	filter   string         // of the router
	site     string         // of a network's sites
	options  map[string]any // of the package's class
	way      string         // as the page reports it
	carriage string         // as the server sees it
}

func packageRows(k kind) []packageRow {
	row := func(short, transport string) *clients.Row {
		return &clients.Row{
			Name: string(k) + " package " + short, Table: pages, Peer: "page in " + k.name() + ", `@towpath/webtransport`",
			End: "client", Transport: transport, Module: "machine " + string(k),
		}
	}
	return []packageRow{
		// On a busy machine HTTP/3 might need longer than its usual head start.
		{row("h3", "HTTP/3, UDP being open"), openUDP, "all", map[string]any{"headStart": clients.Patience.Milliseconds()}, "h3", "HTTP/3"},
		{row("dropped", "WebSocket over HTTP/2, UDP being dropped"), dropUDP, "all", nil, "ws", "WebSocket over HTTP/2"},
		{row("ws http1", "WebSocket over HTTP/1.1, UDP being dropped"), dropUDP, "http1", nil, "ws", "WebSocket over HTTP/1.1"},
		{row("ws http2", "WebSocket over HTTP/2, by `transport: 'ws'`"), openUDP, "http2", map[string]any{"transport": "ws"}, "ws", "WebSocket over HTTP/2"},
	}
}

func rowsOf(all []packageRow) []*clients.Row {
	var rows []*clients.Row
	for _, r := range all {
		rows = append(rows, r.row)
	}
	return rows
}
