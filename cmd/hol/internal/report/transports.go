package report

import (
	"sort"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// A family is what transports of one colour have in common.
type family int

const (
	webTransport family = iota
	webSocket
	webRTC
	plainHTTP
	unknownFamily // a transport that this package has no look for
	families
)

func (f family) String() string {
	return [...]string{"WebTransport", "WebSocket", "WebRTC", "HTTP", "other"}[f]
}

// class is the CSS class that gives the family its colour.
func (f family) class() string {
	return [...]string{"wt", "ws", "rtc", "http", "other"}[f]
}

// A look is how a transport is shown.
type look struct {
	Name   string
	Title  string // of a table's row
	Short  string // beside a line, in a plot of its family
	Family family
	// Variant tells the lines and marks within a family apart.
	Variant int
}

// The order is that of tables. Of further transports, which are not among the
// twelve, those with a family are where they belong.
var looks = []look{
	{"wt-h3-streams", "WebTransport/h3 streams", "h3 streams", webTransport, 0},
	{"wt-h3-datagrams", "WebTransport/h3 datagrams", "h3 datagrams", webTransport, 1},
	{"wt-h2-streams", "WebTransport/h2 streams", "h2 streams", webTransport, 2},
	{"wt-h2-datagrams", "WebTransport/h2 datagrams", "h2 datagrams", webTransport, 3},
	{"wt-ws-streams", "WebTransport/WebSocket streams", "ws streams", webTransport, 4},
	{"ws-one", "one WebSocket", "one", webSocket, 0},
	{"ws-per-channel", "WebSocket per channel", "per channel", webSocket, 1},
	{"ws-over-h2", "WebSockets over HTTP/2", "over HTTP/2", webSocket, 2},
	{"ws-over-h3", "WebSockets over HTTP/3", "over HTTP/3", webSocket, 3},
	{"webrtc-ordered", "WebRTC ordered", "ordered", webRTC, 0},
	{"webrtc-unordered", "WebRTC unordered", "unordered", webRTC, 1},
	{"http2-streams", "HTTP/2 streams", "HTTP/2", plainHTTP, 0},
	{"http3-streams", "HTTP/3 streams", "HTTP/3", plainHTTP, 1},
}

// lookOf is the look of a transport. One that is not in the list is shown by
// its name, after all others.
func lookOf(name string) look {
	for _, l := range looks {
		if l.Name == name {
			return l
		}
	}
	title := name
	if a, ok := adapter.ByName(name); ok && a.Title != "" {
		title = a.Title
	}
	return look{Name: name, Title: title, Short: name, Family: unknownFamily}
}

// both are the title and the name of a transport, where one alone could be in
// the table.
func both(name string) string {
	if l := lookOf(name); l.Title != name {
		return l.Title + " (" + name + ")"
	}
	return name
}

func rank(name string) int {
	for i, l := range looks {
		if l.Name == name {
			return i
		}
	}
	return len(looks)
}

// byTransport sorts cells in the order of tables.
func byTransport(cells []lab.Cell) {
	sort.SliceStable(cells, func(i, j int) bool { return rank(cells[i].Transport) < rank(cells[j].Transport) })
}
