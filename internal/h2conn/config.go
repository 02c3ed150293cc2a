package h2conn

import (
	"log/slog"
	"slices"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/transport"
)

// Rate is a token bucket: Burst events at once, PerSecond more each second.
// A zero field means the default of the budget it belongs to; a negative Burst
// switches the budget off, a negative PerSecond gives nothing back.
type Rate struct {
	Burst     int
	PerSecond int
}

// Defaults of Config that documents name.
var (
	DefaultResets   = Rate{Burst: 1000, PerSecond: 33}
	DefaultGlitches = Rate{Burst: 10_000, PerSecond: 330}
)

const (
	DefaultMaxQueuedControl = 1000
	DefaultMaxSettings      = 100
)

// Config holds the limits of one connection. A zero field means its default; a
// negative value, where that is said, switches the feature off. It is copied when
// the connection is made, and a nil *Config is the zero Config.
type Config struct {
	// Settings are sent in the first SETTINGS frame after those that the
	// fields below stand for.
	Settings []http2.Setting
	// KnownSettings lists the extension settings of the peer to keep, so that
	// Settings.Value can tell them. Others are ignored.
	KnownSettings []http2.SettingID
	// ConnectProtocol announces ENABLE_CONNECT_PROTOCOL = 1 (RFC 8441). Server
	// only.
	ConnectProtocol bool

	// MaxConcurrentStreams bounds the streams the peer may have open together
	// with those that were reset and whose owner has not called Stream.Done.
	// With those that ended normally there are at most twice as many owners.
	// Default 100.
	MaxConcurrentStreams uint32
	// MaxFrameSize bounds the payload of a received frame, 16 KiB to 16 MiB-1.
	// Default 16 KiB.
	MaxFrameSize uint32
	// MaxHeaderListSize bounds a received header list as RFC 9113, section
	// 6.5.2, counts it. Default 64 KiB, at most 256 MiB. The compressed block may
	// have twice that.
	MaxHeaderListSize uint32
	// MaxHeaderFields bounds the number of fields in a received list. Default
	// 512.
	MaxHeaderFields int
	// MaxContinuations bounds the CONTINUATION frames of one header block.
	// Default 16, and as many as a block of the permitted size needs.
	MaxContinuations int
	// HeaderTableSize is the size of the HPACK tables in both directions.
	// Default 4096; negative: no dynamic table.
	HeaderTableSize int

	// StreamWindow and MaxStreamWindow bound the bytes received on a stream
	// that its Receiver has not consumed. The window starts at the first and
	// grows to the second as the round-trip time asks for. Defaults 256 KiB and
	// 4 MiB.
	StreamWindow    int32
	MaxStreamWindow int32
	// ConnWindow and MaxConnWindow are the same for the connection. Defaults
	// 1 MiB and 16 MiB.
	ConnWindow    int32
	MaxConnWindow int32
	// ReceiveBuffer bounds what all Receivers together hold unconsumed before
	// connection credit is withheld. Below it connection credit goes back when
	// bytes arrive, so that no stream can stop another. Default 32 MiB; windows
	// stop growing at three quarters.
	ReceiveBuffer int64
	// MayGrow, if set, is asked before a window grows.
	MayGrow func() bool

	// WriteBuffer bounds the bytes encoded for one write. Default 64 KiB.
	WriteBuffer int

	// PrefaceTimeout bounds the wait for the client's preface and for the
	// peer's first SETTINGS. Default 10 s; negative: none.
	PrefaceTimeout time.Duration
	// SettingsTimeout bounds the wait for the peer's SETTINGS ACK. Default
	// 30 s; negative: none.
	SettingsTimeout time.Duration
	// HeaderTimeout bounds the time from the first to the last frame of a
	// header block. Default 10 s; negative: none.
	HeaderTimeout time.Duration
	// WriteTimeout bounds one write of at most WriteBuffer bytes to the socket.
	// Default 30 s; negative: none.
	WriteTimeout time.Duration
	// IdleTimeout ends a connection without streams. Default 2 min for a
	// server, none for a client; negative: none.
	IdleTimeout time.Duration
	// KeepAlive is the time without any frame received after which a PING asks
	// whether the peer is there; PingTimeout how long the answer may take.
	// Defaults 15 s and 15 s; negative KeepAlive: none.
	KeepAlive   time.Duration
	PingTimeout time.Duration
	// GoAwayTimeout bounds the two waits of closing: for the PING between the
	// two GOAWAY frames of a graceful shutdown, and for the peer to close after
	// the last GOAWAY. Default 1 s.
	GoAwayTimeout time.Duration

	// Resets pays for RST_STREAM received and for those sent because of a fault
	// of the peer; a stream that finishes normally gives one back. Default
	// burst 1000, 33/s.
	Resets Rate
	// Glitches pays for frames without progress: empty DATA and CONTINUATION,
	// PING, SETTINGS, PRIORITY, PRIORITY_UPDATE, unknown types, frames on closed
	// streams, small window updates; a header list over the limits counts as 32.
	// Default burst 10000, 330/s.
	//
	// Before that, reading pauses for 5 ms whenever the peer has spent 320 of them,
	// with 10 for each reset, faster than 330/s. What is switched off is not counted.
	Glitches Rate
	// MaxQueuedControl bounds the frames waiting to be written that the peer
	// caused: SETTINGS and PING acknowledgements and RST_STREAM. Default 1000.
	MaxQueuedControl int
	// MaxSettings bounds the entries of one SETTINGS frame. Default 100.
	MaxSettings int

	// OnSettings, if set, is called on the read goroutine with the peer's
	// settings after each SETTINGS frame, before the frame is acknowledged. An
	// error ends the connection: with the code of a *ConnError, or else
	// PROTOCOL_ERROR.
	OnSettings func(Settings) error
	// OnGoAway, if set, is called on the read goroutine for each GOAWAY frame
	// received, after the streams it excludes were failed.
	OnGoAway func(last uint32, code http2.ErrCode)
	// OnRefused, if set, is called on the read goroutine for each request that
	// ServerHandler does not get: a malformed one (reset, status 0), one beyond
	// the stream limit (REFUSED_STREAM, status 0), and one with a header over the
	// limits (status 431). protocol is its :protocol. Server only.
	OnRefused func(protocol string, status int, limit transport.Limit)
	// OnEnd, if set, is called once when both goroutines have done their work,
	// before Done is closed and Serve returns.
	OnEnd func(*ConnError)

	// Logger receives events at level Debug; nil means silence.
	Logger *slog.Logger
}

// withDefaults returns a copy in which every field has its value: zero fields
// their default, times switched off 0, and limits within what the protocol allows.
func (c *Config) withDefaults(server bool) Config {
	var d Config
	if c != nil {
		d = *c
	}
	d.Settings = slices.Clone(d.Settings)
	d.KnownSettings = slices.Clone(d.KnownSettings)
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}

	setDefault(&d.MaxConcurrentStreams, 100)
	setDefault(&d.MaxFrameSize, minMaxFrameSize)
	d.MaxFrameSize = min(max(d.MaxFrameSize, minMaxFrameSize), maxMaxFrameSize)
	setDefault(&d.MaxHeaderListSize, 64<<10)
	d.MaxHeaderListSize = min(d.MaxHeaderListSize, maxHeaderList)
	setDefault(&d.MaxHeaderFields, 512)
	setDefault(&d.MaxContinuations, 16+int(d.blockLimit()/minMaxFrameSize))
	setDefault(&d.HeaderTableSize, defaultTableSize)
	d.HeaderTableSize = max(d.HeaderTableSize, 0)

	setDefault(&d.StreamWindow, 256<<10)
	setDefault(&d.MaxStreamWindow, 4<<20)
	setDefault(&d.ConnWindow, 1<<20)
	setDefault(&d.MaxConnWindow, 16<<20)
	d.StreamWindow = max(d.StreamWindow, 1)
	// The connection's window starts at 65535 and cannot be lowered.
	d.ConnWindow = max(d.ConnWindow, defaultInitialWindow)
	setDefault(&d.ReceiveBuffer, 32<<20)
	setDefault(&d.WriteBuffer, 64<<10)
	d.WriteBuffer = max(d.WriteBuffer, minWriteBuffer)

	setTime(&d.PrefaceTimeout, 10*time.Second)
	setTime(&d.SettingsTimeout, 30*time.Second)
	setTime(&d.HeaderTimeout, 10*time.Second)
	setTime(&d.WriteTimeout, 30*time.Second)
	if server {
		setTime(&d.IdleTimeout, 2*time.Minute)
	} else {
		setTime(&d.IdleTimeout, -1)
	}
	setTime(&d.KeepAlive, 15*time.Second)
	setTime(&d.PingTimeout, 15*time.Second)
	setTime(&d.GoAwayTimeout, time.Second)

	d.Resets = d.Resets.withDefault(DefaultResets)
	d.Glitches = d.Glitches.withDefault(DefaultGlitches)
	setDefault(&d.MaxQueuedControl, DefaultMaxQueuedControl)
	setDefault(&d.MaxSettings, DefaultMaxSettings)
	return d
}

// maxHeaderList bounds MaxHeaderListSize, so that twice that fits every int.
const maxHeaderList = 256 << 20

// blockLimit bounds the compressed bytes of a header block: beyond it the list
// cannot be within its own limit, and decoding on for the sake of the tables is
// no longer worth it.
func (c *Config) blockLimit() uint64 { return 2 * uint64(c.MaxHeaderListSize) }

func setDefault[T int | int32 | int64 | uint32](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

func setTime(v *time.Duration, def time.Duration) {
	setDefault((*int64)(v), int64(def))
	*v = max(*v, 0)
}

func (r Rate) withDefault(def Rate) Rate {
	setDefault(&r.Burst, def.Burst)
	setDefault(&r.PerSecond, def.PerSecond)
	return r
}
