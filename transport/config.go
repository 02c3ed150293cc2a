package transport

import (
	"io"
	"log/slog"
	"time"
)

// DropPolicy says which datagram a full queue loses.
type DropPolicy uint8

const (
	DropOldest DropPolicy = iota // keep the newest (default)
	DropNewest                   // keep what is queued
)

// Config holds the limits of one session, the same on every backend. The zero
// value of each field means its default; a negative value, where that is said,
// switches the limit or the feature off. Config is copied when it is given, and
// a nil *Config is the zero Config.
type Config struct {
	// MaxIncomingStreams and MaxIncomingUniStreams bound how many streams of
	// each kind the peer may have open at once. Default 100; negative: none.
	MaxIncomingStreams    int64
	MaxIncomingUniStreams int64

	// InitialStreamWindow and MaxStreamWindow bound the received bytes that
	// the application has not read, per stream. The window grows from the
	// first to the second with the measured bandwidth-delay product.
	// Defaults 256 KiB and 4 MiB.
	InitialStreamWindow int64
	MaxStreamWindow     int64
	// InitialSessionWindow and MaxSessionWindow bound the same for all streams
	// of the session together. Defaults 1 MiB and 16 MiB.
	InitialSessionWindow int64
	MaxSessionWindow     int64

	// StreamSendBuffer bounds the bytes that Write accepted and the transport
	// has not taken, per stream. Default 64 KiB. HTTP/3 has its own buffer in
	// quic-go and ignores this.
	StreamSendBuffer int

	// OutgoingDatagramQueue and IncomingDatagramQueue bound the datagrams
	// waiting. Defaults 32 and 128; negative: datagrams are dropped.
	OutgoingDatagramQueue int
	IncomingDatagramQueue int
	// DatagramDrop says what a full queue loses. Default DropOldest.
	DatagramDrop DropPolicy
	// OutgoingMaxAge and IncomingMaxAge drop datagrams that waited longer in
	// the queue (W3C outgoingMaxAge, incomingMaxAge). Default: no limit.
	OutgoingMaxAge time.Duration
	IncomingMaxAge time.Duration
	// MaxDatagramSize bounds a datagram's payload in both directions on HTTP/2
	// and WebSocket. Default 64 KiB - 1; negative: none can be sent, and received
	// ones are dropped unless they are empty. On HTTP/3 the path sets the limit.
	MaxDatagramSize int

	// IncomingByteRate bounds the stream data that the peer may send: once Burst
	// bytes were received it gets new credit at PerSecond bytes a second, so that
	// it can send at most Burst + PerSecond x time + what the windows had given
	// already. Nothing is lost and the session goes on. On HTTP/3 without session
	// flow control Read takes no more than the rate allows, so that QUIC's windows
	// hold the peer back. Default: no limit.
	IncomingByteRate Rate
	// IncomingDatagramRate bounds the received datagrams: those above it are
	// dropped, counted in Stats.DatagramsThrottled. Default: no limit.
	IncomingDatagramRate Rate
	// Floods bound what a peer may do that costs work and brings nothing.
	Floods Floods
	// IdleTimeout ends a session in which no stream was opened, no stream data
	// and no datagram came or went for so long: the peer is told code 0 and
	// "idle". Default: no limit.
	IdleTimeout time.Duration

	// CloseTimeout bounds how long CloseWithError waits: for finished streams
	// to be flushed, and then for the peer's answer. Default 1 s.
	CloseTimeout time.Duration

	// Dialect says which revisions of the HTTP/2 draft the session follows.
	// Default DialectAuto.
	Dialect Dialect

	// Logger receives events; nil means silence. Info: session opened and
	// ended. Debug: capsules and stream events.
	Logger *slog.Logger
	// Trace receives events as calls; nil means none.
	Trace *Trace
	// Qlog says where a session's events are written; nil means nowhere.
	Qlog QlogSink
}

// A QlogSink has the places where sessions write their events, as JSON text
// sequences after the manner of qlog; docs/watching.md describes them.
type QlogSink interface {
	// OpenQlog is called once for a session, soon after it opened. Nil means that it
	// writes nothing. This call and the writes are made by a goroutine of their own
	// and never hold the session up: when they are slow events are dropped, which a
	// record says. Each Write is of whole records; after an error there are no more.
	// The writer is closed after the session has ended.
	OpenQlog(info Info, side Side) io.WriteCloser
}

// A Rate is a token bucket: Burst at once, PerSecond more each second. The zero
// Rate is the default of its field. A Burst of 0 is one second's worth.
type Rate struct {
	PerSecond int64
	Burst     int64
}

// Floods are token buckets, of capsules and datagrams. The zero value of a
// field means its default; a negative PerSecond switches the limit off.
type Floods struct {
	// Glitches are empty WT_STREAM capsules without FIN on a stream that is
	// open already, *_BLOCKED and WT_MAX_* that repeat what is known, repeated
	// WT_DRAIN_SESSION, PADDING, and capsules of unknown type. 256 bytes of
	// stream data and datagrams give one back, since PADDING is there to hide
	// them. More end the session with WT_ERROR. Default 100 a second, burst
	// 1,000.
	Glitches Rate
	// Resets are streams that the peer resets, if this side did not ask for it,
	// and requests to stop sending. A stream of the peer that ends cleanly gives
	// one back. More end the session as excessive load. On HTTP/3 a bucket of the
	// same size bounds the streams and requests of a connection that come to
	// nothing. Default 100 a second, burst 1,000.
	Resets Rate
	// Control are all flow-control capsules. Each capsule sent gives two back,
	// and each 512 bytes of it another one, since a peer that reads has to
	// return credit. More end the session with WT_ERROR. Default 1,000 a second,
	// burst 10,000.
	Control Rate
	// TinyDatagrams are datagrams of less than 16 bytes. More end the session
	// with WT_ERROR. On HTTP/3 only those in DATAGRAM capsules are counted; QUIC
	// datagrams are dropped before they cost much. Default 50,000 a second, burst 100,000.
	TinyDatagrams Rate
}

// Defaults of Config.
const (
	DefaultMaxIncomingStreams    = 100
	DefaultInitialStreamWindow   = 256 << 10
	DefaultMaxStreamWindow       = 4 << 20
	DefaultInitialSessionWindow  = 1 << 20
	DefaultMaxSessionWindow      = 16 << 20
	DefaultStreamSendBuffer      = 64 << 10
	DefaultOutgoingDatagramQueue = 32
	DefaultIncomingDatagramQueue = 128
	DefaultMaxDatagramSize       = 64<<10 - 1
	DefaultCloseTimeout          = time.Second
)

// WithDefaults returns a copy of c in which every zero field has its default,
// every negative limit is 0, and each maximum is at least its initial value. It
// is what the backends work with. Applying it twice changes nothing only if no
// limit was negative, so it is applied once.
func (c *Config) WithDefaults() Config {
	var d Config
	if c != nil {
		d = *c
	}
	count := func(v *int64, def int64) {
		switch {
		case *v == 0:
			*v = def
		case *v < 0:
			*v = 0
		}
	}
	queue := func(v *int, def int) {
		switch {
		case *v == 0:
			*v = def
		case *v < 0:
			*v = 0
		}
	}
	count(&d.MaxIncomingStreams, DefaultMaxIncomingStreams)
	count(&d.MaxIncomingUniStreams, DefaultMaxIncomingStreams)
	count(&d.InitialStreamWindow, DefaultInitialStreamWindow)
	count(&d.MaxStreamWindow, DefaultMaxStreamWindow)
	count(&d.InitialSessionWindow, DefaultInitialSessionWindow)
	count(&d.MaxSessionWindow, DefaultMaxSessionWindow)
	d.MaxStreamWindow = max(d.MaxStreamWindow, d.InitialStreamWindow)
	d.MaxSessionWindow = max(d.MaxSessionWindow, d.InitialSessionWindow)
	queue(&d.StreamSendBuffer, DefaultStreamSendBuffer)
	d.StreamSendBuffer = max(d.StreamSendBuffer, 1)
	queue(&d.OutgoingDatagramQueue, DefaultOutgoingDatagramQueue)
	queue(&d.IncomingDatagramQueue, DefaultIncomingDatagramQueue)
	queue(&d.MaxDatagramSize, DefaultMaxDatagramSize)
	if d.CloseTimeout == 0 {
		d.CloseTimeout = DefaultCloseTimeout
	}
	d.CloseTimeout = max(d.CloseTimeout, 0)
	return d
}
