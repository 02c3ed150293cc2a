package adapter

// The WebSockets that are compared. (RFC 6455, over TLS; no compression.)

// webSocketOne has one WebSocket for all channels: what most applications do.
var webSocketOne = Adapter{
	Name:  "ws-one",
	Title: "one WebSocket",
	Traits: Traits{
		Connections:  1,
		Ordered:      true,
		Shared:       true,
		Reliable:     true,
		Calls:        true,
		CallsOrdered: true,
		ServerOpens:  true,
		Library:      "coder/websocket, net/http",
		Recovery:     "tcp",
	},
	Listen: listenWebSocketOne,
}

// webSocketPerChannel has a WebSocket, and so a TCP connection, for each channel.
var webSocketPerChannel = Adapter{
	Name:  "ws-per-channel",
	Title: "WebSocket per channel",
	Traits: Traits{
		Connections:  0,
		Ordered:      true,
		Reliable:     true,
		Calls:        true,
		CallsOrdered: true,
		Library:      "coder/websocket, net/http",
		Recovery:     "tcp",
	},
	Listen: listenWebSocketPerChannel,
}

// webSocketsH2 has a WebSocket for each channel, and one HTTP/2 connection for
// all of them.
var webSocketsH2 = Adapter{
	Name:  "ws-over-h2",
	Title: "WebSockets over HTTP/2",
	Traits: Traits{
		Connections:  1,
		Ordered:      true,
		Shared:       true,
		Reliable:     true,
		Calls:        true,
		CallsOrdered: true,
		Library:      "gobwas/ws, x/net/http2, net/http",
		Recovery:     "tcp",
	},
	Listen: listenWebSocketsH2,
}

// webSocketsH3 has a WebSocket for each channel, and one HTTP/3 connection for
// all of them.
var webSocketsH3 = Adapter{
	Name:  "ws-over-h3",
	Title: "WebSockets over HTTP/3",
	Traits: Traits{
		UDP:          true,
		Connections:  1,
		Ordered:      true,
		Reliable:     true,
		Calls:        true,
		CallsOrdered: true,
		Library:      "gobwas/ws, quic-go http3",
		Recovery:     "quic",
	},
	Listen: listenWebSocketsH3,
}
