package adapter

import (
	"context"

	"github.com/towpath-go/towpath/transport"
)

// The sessions of this project, each as its users have it: a negotiate.Server
// with the defaults, in whose handler negotiate.Upgrade accepts the session, and
// a client with the defaults of negotiate.Dialer. The Dialer makes its own
// sockets, so that the client is put together from h3wt.ClientConn,
// h2wt.ClientConn and wswt.DialConn as it does, without its race.

// wtH3Streams has one bidirectional stream per channel, on one QUIC connection.
var wtH3Streams = sessionAdapter(sessionKind{protocol: transport.HTTP3}, "wt-h3-streams", "WebTransport/h3 streams", Traits{
	UDP:      true,
	Ordered:  true,
	Reliable: true,
	Library:  "towpath h3wt, quic-go",
	Recovery: "quic",
})

// wtH3Datagrams has virtual channels over the datagrams of a session on QUIC,
// which a lost packet takes away and nothing waits for.
var wtH3Datagrams = sessionAdapter(sessionKind{protocol: transport.HTTP3, datagrams: true}, "wt-h3-datagrams", "WebTransport/h3 datagrams", Traits{
	UDP:      true,
	Library:  "towpath h3wt, quic-go",
	Recovery: "quic",
})

// wtH2Streams has one bidirectional stream per channel. All of them share a TCP
// connection.
var wtH2Streams = sessionAdapter(sessionKind{protocol: transport.HTTP2}, "wt-h2-streams", "WebTransport/h2 streams", Traits{
	Ordered:  true,
	Shared:   true,
	Reliable: true,
	Library:  "towpath h2wt",
	Recovery: "tcp",
})

// wtH2Datagrams has virtual channels over DATAGRAM capsules. TCP delivers those
// that were sent, but the session drops what waits longer than Env.MaxAge to be
// sent or to be received, and the oldest where its queue is full.
var wtH2Datagrams = sessionAdapter(sessionKind{protocol: transport.HTTP2, datagrams: true}, "wt-h2-datagrams", "WebTransport/h2 datagrams", Traits{
	Ordered:  true,
	Shared:   true,
	Library:  "towpath h2wt",
	Recovery: "tcp",
})

// wtWebSocketStreams is the last resort of negotiate.Dialer: the capsules of
// HTTP/2 in the messages of a WebSocket.
var wtWebSocketStreams = sessionAdapter(sessionKind{protocol: transport.WebSocket}, "wt-ws-streams", "WebTransport/WebSocket streams", Traits{
	Ordered:  true,
	Shared:   true,
	Reliable: true,
	Library:  "towpath wswt",
	Recovery: "tcp",
})

// A sessionKind is how a session is carried, and what carries its channels.
type sessionKind struct {
	protocol  transport.Protocol
	datagrams bool
}

func sessionAdapter(kind sessionKind, name, title string, t Traits) Adapter {
	t.Connections = 1
	t.Calls = !kind.datagrams
	t.ServerOpens = true
	return Adapter{Name: name, Title: title, Traits: t, Listen: func(ctx context.Context, env Env) (Server, error) {
		return listenSession(kind, env)
	}}
}

// streamsSpare is how many streams there may be besides the channels, where
// those alone would use up the default of 100.
const streamsSpare = 64

// config has a session's defaults, but for what the run asks for.
func (k sessionKind) config(env Env) *transport.Config {
	c := &transport.Config{Logger: env.Log}
	if env.Channels+streamsSpare > transport.DefaultMaxIncomingStreams {
		c.MaxIncomingStreams = int64(env.Channels + streamsSpare)
	}
	if k.datagrams && k.protocol != transport.HTTP3 {
		c.OutgoingMaxAge, c.IncomingMaxAge = env.MaxAge, env.MaxAge
	}
	return c
}
