package adapter

import "slices"

// All are the transports that are compared, in the order of tables.
func All() []Adapter { return slices.Concat(sessions, websockets, dataChannels, requests) }

// Extra are further transports, which only ByName finds.
func Extra() []Adapter { return slices.Clone(extra) }

// ByName finds an adapter.
func ByName(name string) (Adapter, bool) {
	for _, a := range slices.Concat(All(), extra) {
		if a.Name == name {
			return a, true
		}
	}
	return Adapter{}, false
}

// The order of tables is that of these lists.

// Sessions are this project's own.
var sessions = []Adapter{
	wtH3Streams,
	wtH3Datagrams,
	wtH2Streams,
	wtH2Datagrams,
}

var websockets = []Adapter{
	webSocketOne,
	webSocketPerChannel,
	webSocketsH2,
	webSocketsH3,
}

var dataChannels = []Adapter{
	webrtcOrdered,
	webrtcUnordered,
}

// Requests are what HTTP offers without anything on top.
var requests = []Adapter{
	http2Streams,
	http3Streams,
}

var extra = []Adapter{
	wtWebSocketStreams,
}
