package h2conn

import (
	"context"
	"net"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Conn is one HTTP/2 connection. Its methods may be called from any goroutine.
type Conn struct {
	nc net.Conn
}

// Server makes a server's connection of nc, on which nothing was read yet.
// Nothing happens until Serve. cfg is copied.
func Server(nc net.Conn, cfg *Config, h ServerHandler) *Conn { panic("TODO") }

// Client makes a client's connection of nc and starts it. cfg is copied.
func Client(nc net.Conn, cfg *Config) *Conn { panic("TODO") }

// Serve runs a server's connection: the read loop on the calling goroutine, the
// write loop on its own. It returns after both have ended, with the reason: a
// *ConnError, or nil if the connection ended without error.
func (c *Conn) Serve() error { panic("TODO") }

// Open is what OpenStream sends.
type Open struct {
	// Fields are the request's fields, pseudo-header fields first, names in
	// lower case.
	Fields []hpack.HeaderField
	// End is set if the request has no body.
	End bool
	// Receiver gets what comes back.
	Receiver Receiver
	// Source gives the body; it may also be set later.
	Source Source
	// OnWrite, if set, is called on the write goroutine when the HEADERS frame is
	// about to be encoded: peer are the settings we have acknowledged before it.
	// An error means that nothing is sent; the stream then ends without a call to
	// the Receiver.
	OnWrite func(st *Stream, peer Settings) error
}

// OpenStream opens a client's stream. It waits until the peer's first SETTINGS
// have come and its stream limit allows another, or ctx is done; with ctx done
// and the limit not reached it succeeds. The HEADERS are written after the
// SETTINGS acknowledgement. Errors: ErrStreamLimit wrapping the context's cause,
// ErrGoAway, *ConnError.
func (c *Conn) OpenStream(ctx context.Context, o *Open) (*Stream, error) { panic("TODO") }

// CanOpen tells whether OpenStream would succeed without waiting.
func (c *Conn) CanOpen() bool { panic("TODO") }

// SettingsReceived is closed when the peer's first SETTINGS were processed.
func (c *Conn) SettingsReceived() <-chan struct{} { panic("TODO") }

// PeerSettings returns the peer's latest settings, and whether any came.
func (c *Conn) PeerSettings() (Settings, bool) { panic("TODO") }

// AckedSettings returns those of our settings that the peer has acknowledged.
func (c *Conn) AckedSettings() Settings { panic("TODO") }

// LocalSettings returns the settings we have sent last, or are about to send.
func (c *Conn) LocalSettings() Settings { panic("TODO") }

// UpdateSettings sends another SETTINGS frame.
func (c *Conn) UpdateSettings(s ...http2.Setting) error { panic("TODO") }

// GoAway ends the connection gracefully: no new streams, and the connection
// closes when the last stream has ended. A server says GOAWAY with the highest
// id, waits one round trip for streams on their way, then says the final one. It
// does not wait.
func (c *Conn) GoAway() { panic("TODO") }

// Abort ends the connection with GOAWAY and the given code. It does not wait and
// may be called from callbacks.
func (c *Conn) Abort(code http2.ErrCode, reason string) { panic("TODO") }

// Close ends the connection with GOAWAY NO_ERROR at once: open streams fail. It
// returns when both goroutines have ended and the net.Conn is closed, after at
// most GoAwayTimeout and one write. It must not be called from callbacks.
func (c *Conn) Close() error { panic("TODO") }

// Done is closed when the connection has ended and both goroutines with it.
func (c *Conn) Done() <-chan struct{} { panic("TODO") }

// Err returns why the connection ended or is ending: nil while it lives, then a
// *ConnError.
func (c *Conn) Err() error { panic("TODO") }

// Draining tells whether either side has said GOAWAY, or the connection ends.
func (c *Conn) Draining() bool { panic("TODO") }

// Streams returns the number of open streams.
func (c *Conn) Streams() int { panic("TODO") }

// RTT returns the smoothed round-trip time, and whether it was measured: from the
// SETTINGS exchange, then from PINGs while data comes in.
func (c *Conn) RTT() (time.Duration, bool) { panic("TODO") }

// NetConn returns the connection underneath, for its addresses and TLS state.
func (c *Conn) NetConn() net.Conn { return c.nc }
