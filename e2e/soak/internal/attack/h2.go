package attack

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/towpath-go/towpath/capsule"
)

// An h2 is a client of HTTP/2 that sends what it likes. It reads what comes, and
// keeps nothing of it but the windows.
type h2 struct {
	t   *Target
	ctx context.Context
	tc  *tls.Conn
	enc *hpack.Encoder
	buf bytes.Buffer // of enc

	mu      sync.Mutex // guards the following
	more    *sync.Cond
	conn    int64            // what may be sent on the connection
	streams map[uint32]int64 // on streams that were given one
	initial int64
	status  map[uint32]bool // streams that were answered 200
	greeted bool            // the victim's SETTINGS are acknowledged
	reset   error           // of a stream
	limits  [2]uint64       // streams of the session on stream 1: bidi, uni
	err     error
}

// dialH2 connects and exchanges SETTINGS. The connection ends with ctx.
func dialH2(ctx context.Context, t *Target, settings ...http2.Setting) (*h2, error) {
	tc, err := t.dialTLS(ctx, "h2")
	if err != nil {
		return nil, err
	}
	c := &h2{t: t, ctx: ctx, tc: tc, conn: 65535, initial: 65535, streams: make(map[uint32]int64), status: make(map[uint32]bool)}
	c.more = sync.NewCond(&c.mu)
	c.enc = hpack.NewEncoder(&c.buf)
	var b bytes.Buffer
	b.WriteString(http2.ClientPreface)
	fr := http2.NewFramer(&b, nil)
	fr.WriteSettings(settings...)
	fr.WriteWindowUpdate(0, 1<<31-1-65535)
	if _, err := tc.Write(b.Bytes()); err != nil {
		tc.Close()
		return nil, err
	}
	return c, nil
}

// webTransport are the settings of a client that opens sessions.
var webTransport = []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}, {ID: 0x2b60, Val: 1}, {ID: 0x2b61, Val: 1 << 20}, {ID: 0x2b62, Val: 1 << 18}, {ID: 0x2b63, Val: 1 << 18},
	{ID: 0x2b66, Val: 1 << 18}, {ID: 0x2b64, Val: 100}, {ID: 0x2b65, Val: 100}}

// read reads what the victim sends until it ends the connection. The attacks that
// do not read do not call it. What ends the connection ends c.write, too.
func (c *h2) read() {
	fr := http2.NewFramer(io.Discard, c.tc)
	fr.SetMaxReadFrameSize(1 << 20)
	var away error
	d := capsule.Decoder{Dialect: capsule.Legacy}
	for {
		f, err := fr.ReadFrame()
		acknowledge := false
		c.mu.Lock()
		switch f := f.(type) {
		case *http2.WindowUpdateFrame:
			if f.StreamID == 0 {
				c.conn += int64(f.Increment)
			} else {
				c.streams[f.StreamID] += int64(f.Increment)
			}
		case *http2.SettingsFrame:
			if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
				for id := range c.streams {
					c.streams[id] += int64(v) - c.initial
				}
				c.initial = int64(v)
			}
			for kind, id := range []http2.SettingID{0x2b65, 0x2b64} { // bidi, uni
				if v, ok := f.Value(id); ok {
					c.limits[kind] = uint64(v)
				}
			}
			acknowledge = !f.IsAck()
		case *http2.DataFrame:
			if f.StreamID == 1 {
				d.Feed(f.Data(), (*limits)(c))
			}
		case *http2.HeadersFrame:
			c.status[f.StreamID] = !f.StreamEnded()
		case *http2.GoAwayFrame:
			away = fmt.Errorf("GOAWAY %v %q", f.ErrCode, f.DebugData())
		case *http2.RSTStreamFrame:
			c.reset = fmt.Errorf("RST_STREAM %v", f.ErrCode)
			c.streams[f.StreamID] = -1 << 40 // nothing more
		}
		if err != nil {
			c.err = cmp.Or(away, err)
		}
		c.more.Broadcast()
		c.mu.Unlock()
		if acknowledge {
			c.tc.Write(frames(func(fr *http2.Framer) { fr.WriteSettingsAck() }))
			c.mu.Lock()
			c.greeted = true
			c.more.Broadcast()
			c.mu.Unlock()
		}
		if err != nil {
			c.tc.Close()
			return
		}
	}
}

// close ends the connection; ctx decides whether that was the victim's doing.
func (c *h2) close() {
	if c.ctx.Err() == nil {
		c.t.cut.Add(1)
	}
	c.tc.NetConn().Close()
}

// block is the header block of a request. It has no state: nothing of it is put
// into the dynamic table.
func (c *h2) block(fields ...string) []byte {
	c.buf.Reset()
	for i := 0; i < len(fields); i += 2 {
		c.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1], Sensitive: true})
	}
	return append([]byte(nil), c.buf.Bytes()...)
}

func (c *h2) get() []byte {
	return c.block(":method", "GET", ":scheme", "https", ":authority", c.t.Address, ":path", "/")
}

func (c *h2) connect() []byte {
	return c.block(":method", "CONNECT", ":protocol", "webtransport", ":scheme", "https", ":authority", c.t.Address, ":path", "/echo")
}

// frames returns frames as bytes, to be written in one piece.
func frames(f func(fr *http2.Framer)) []byte {
	var b bytes.Buffer
	fr := http2.NewFramer(&b, nil)
	fr.AllowIllegalWrites = true
	f(fr)
	return b.Bytes()
}

// write writes bytes that are so many frames.
func (c *h2) write(n int, p []byte) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if _, err := c.tc.Write(p); err != nil {
		return err
	}
	c.t.sent(n, len(p))
	return nil
}

// greet waits until the victim's SETTINGS are acknowledged: sessions begin with the
// limits that those have.
func (c *h2) greet() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.greeted && c.err == nil {
		c.more.Wait()
	}
	return c.err
}

// session opens the session on stream 1, and returns when it was accepted.
func (c *h2) session(id uint32) error {
	if err := c.greet(); err != nil {
		return err
	}
	block := c.connect()
	c.mu.Lock()
	c.streams[id] = c.initial
	c.mu.Unlock()
	err := c.write(1, frames(func(fr *http2.Framer) {
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true})
	}))
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.status[id] && c.err == nil && c.reset == nil {
		c.more.Wait()
	}
	return cmp.Or(c.reset, c.err)
}

// data sends bytes on a stream, as its windows allow. They stand for n capsules.
func (c *h2) data(id uint32, n int, p []byte) error {
	for len(p) > 0 {
		c.mu.Lock()
		for c.err == nil && min(c.conn, c.streams[id]) <= 0 && c.streams[id] > -1<<30 {
			c.more.Wait()
		}
		m := min(int64(len(p)), 16384, c.conn, c.streams[id])
		err := c.err
		if err == nil && m <= 0 {
			err = c.reset
		}
		if err == nil {
			c.conn -= m
			c.streams[id] -= m
		}
		c.mu.Unlock()
		if err != nil {
			return err
		}
		if err := c.write(0, frames(func(fr *http2.Framer) { fr.WriteData(id, false, p[:m]) })); err != nil {
			return err
		}
		p = p[m:]
	}
	c.t.frames.Add(int64(n))
	return nil
}

// limits hears of a session's limits on streams.
type limits h2

func (l *limits) Stream(uint64, bool, uint64) error  { return nil }
func (l *limits) StreamData([]byte, bool) error      { return nil }
func (l *limits) Datagram(uint64) (bool, error)      { return false, nil }
func (l *limits) DatagramData([]byte, bool) error    { return nil }
func (l *limits) Skipped(capsule.Type, uint64) error { return nil }

// Control is called with mu held.
func (l *limits) Control(c capsule.Capsule) error {
	if m, ok := c.(capsule.MaxStreams); ok {
		kind := 0
		if m.Uni {
			kind = 1
		}
		l.limits[kind] = max(l.limits[kind], m.MaximumStreams)
	}
	return nil
}

// allowed waits until the session allows n streams of a kind in all.
func (c *h2) allowed(kind int, n uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil && c.reset == nil && c.limits[kind] < n {
		c.more.Wait()
	}
	return cmp.Or(c.reset, c.err)
}
