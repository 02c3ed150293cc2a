// Package adapter carries the laboratory's channels and calls over each of the
// transports that are compared, through the library that a user would take.
package adapter

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// ErrUnsupported is returned by what a transport cannot do, as opening a channel
// from the server. It is wrapped by an error whose text is the reason.
var ErrUnsupported = errors.New("the transport cannot do this")

// unsupported is an ErrUnsupported with the reason, which reports quote.
type unsupported string

func (u unsupported) Error() string { return string(u) }
func (u unsupported) Unwrap() error { return ErrUnsupported }

const (
	errClientsSocket  = unsupported("a WebSocket is begun by the client alone")
	errClientsRequest = unsupported("an HTTP request is the client's to make")
	errClientsCall    = unsupported("a call is the client's to make")
	errNoResponse     = unsupported("a call needs its response to arrive, and here it may be lost")
)

// ErrTooLarge is returned by Send for a message, and by Call for a request or a
// response, beyond the bounds below.
var ErrTooLarge = errors.New("the message is larger than the laboratory's bound")

// An Adapter is one transport.
type Adapter struct {
	Name  string // as in flags, results and file names: "wt-h3-streams"
	Title string // as in tables: "WebTransport/h3 streams"
	Traits
	// Listen starts the server and returns once it accepts clients.
	Listen func(ctx context.Context, env Env) (Server, error)
}

// Traits are facts about a transport that predictions and tables need.
type Traits struct {
	// UDP says whether its channels need UDP to pass, and not TCP.
	UDP bool
	// Signals says whether it needs TCP to pass as well until it is connected.
	Signals bool
	// Connections is how many transport connections its channels share: 1, or 0
	// for one each.
	Connections int
	// Ordered says whether one message of a channel waits for those before it.
	Ordered bool
	// Shared says whether a lost packet holds up the messages of all channels
	// of its connection.
	Shared bool
	// Reliable says whether every message arrives while the connection lives.
	Reliable bool
	// Calls says whether Call works: it needs a response to arrive. Without it
	// Call returns ErrUnsupported.
	Calls bool
	// CallsOrdered says whether a response waits for those of earlier calls of
	// its channel: where calls are messages of fixed channels, and not each a
	// stream of its own.
	CallsOrdered bool
	// ServerOpens says whether the server can open channels. Without it its
	// OpenChannel returns ErrUnsupported.
	ServerOpens bool
	// Library is what the transport is made of, for tables: "quic-go http3".
	Library string
	// Recovery is the loss recovery that holds: "tcp", "quic", "sctp".
	Recovery string
}

// Host is one of the two machines: sockets made by it belong to it.
type Host interface {
	Addr() netip.Addr
	// ListenTCP and DialTCP use the run's congestion control.
	ListenTCP(port uint16) (net.Listener, error)
	DialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error)
	ListenUDP(port uint16) (*net.UDPConn, error)
}

// Env is where an adapter runs.
type Env struct {
	Client, Server Host
	// Port is the server's; 0 means any that is free.
	Port uint16
	// Channels is how many channels the workload opens.
	Channels int
	// Handle answers a call, on the server. It may be called from several
	// goroutines at once.
	Handle func(request []byte) (response []byte)
	// MaxAge and Priorities are those of lab.Run.
	MaxAge     time.Duration
	Priorities bool
	Certificate
	// Log receives what goes wrong besides; nil means silence.
	Log *slog.Logger
}

// A Server accepts the one client of a run.
type Server interface {
	// Dial connects the client, in the client's host.
	Dial(ctx context.Context) (Conn, error)
	// Accept returns the server's end of what Dial makes. It may have to be
	// called while Dial runs.
	Accept(ctx context.Context) (Conn, error)
	// Close ends the server and everything that was accepted, and waits for its
	// goroutines.
	Close() error
}

// A Conn is one end of the client's connection, or connections, with the server.
// The two ends open and accept the same number of channels: what the transport
// cannot announce is simply there.
type Conn interface {
	// OpenChannel opens a channel. The peer accepts it once it has received the
	// first message, where the transport announces channels by their first bytes.
	OpenChannel(ctx context.Context) (Channel, error)
	AcceptChannel(ctx context.Context) (Channel, error)
	// OpenBulk opens the channel of a bulk transfer, which is reliable whatever
	// the other channels are, and AcceptBulk is its other end. The client opens
	// it and sends the first message, whichever way the bytes go.
	OpenBulk(ctx context.Context) (Channel, error)
	AcceptBulk(ctx context.Context) (Channel, error)
	// Call sends a request to the server and returns the response; n counts the
	// calls, for transports that have to spread them over channels. The client's.
	Call(ctx context.Context, n int, request []byte) (response []byte, err error)
	// Close ends this end, and its goroutines.
	Close() error
}

// A Channel carries messages both ways. One goroutine sends and one receives.
type Channel interface {
	// Send hands over a message of at least one byte. It waits while the
	// transport takes no more, but for one that would rather drop. The message is
	// not kept.
	Send(message []byte) error
	// Receive waits for a message. The slice is valid until the next call. It
	// returns io.EOF after the peer's Close. A call whose context ends loses
	// nothing: the next one returns what this one would have.
	Receive(ctx context.Context) ([]byte, error)
	// Close says that this end sends no more, after what it has sent, and wants
	// no more either. It does not wait for the peer.
	Close() error
}

// A Dropper is a Conn that can tell how many messages its own queues dropped.
type Dropper interface {
	Drops() Drops
}

// Drops count the messages of an unreliable transport that one end gave up by
// itself: because a queue was full, or for their age.
type Drops struct {
	Outgoing        uint64 // not sent: queue full
	OutgoingExpired uint64 // not sent: older than Env.MaxAge
	Incoming        uint64 // received: queue full
	IncomingExpired uint64 // received: older than Env.MaxAge
}

// MaxMessage is the largest message of a channel that need not fit into a
// datagram, in bytes.
const MaxMessage = 64 << 10

// MaxDatagram is the largest message of a channel that is not Reliable, in bytes.
const MaxDatagram = 1100

// MaxCall is the largest request, and the largest response, of a call in bytes.
const MaxCall = 1 << 20
