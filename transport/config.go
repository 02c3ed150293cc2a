package transport

import (
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
