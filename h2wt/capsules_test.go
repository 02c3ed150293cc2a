package h2wt

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/transport"
)

// capsulePeer reads and writes the capsules of one session on a scripted peer.
type capsulePeer struct {
	t      testing.TB
	p      *h2test.Peer
	id     uint32
	dec    capsule.Decoder
	events []string
	sent   map[uint64]int // stream data received on each stream
	stream uint64
}

func newCapsulePeer(t testing.TB, p *h2test.Peer, id uint32) *capsulePeer {
	return &capsulePeer{t: t, p: p, id: id, sent: make(map[uint64]int)}
}

func (c *capsulePeer) add(format string, args ...any) {
	c.events = append(c.events, fmt.Sprintf(format, args...))
}

// The following are capsule.Handler. Stream data is counted, not kept.
func (c *capsulePeer) Stream(id uint64, fin bool, size uint64) error {
	c.stream = id
	if fin {
		c.add("fin %d", id)
	} else if size == 0 {
		c.add("open %d", id)
	}
	return nil
}
func (c *capsulePeer) StreamData(p []byte, _ bool) error { c.sent[c.stream] += len(p); return nil }
func (c *capsulePeer) Datagram(size uint64) (bool, error) {
	c.add("datagram %d", size)
	return false, nil
}
func (c *capsulePeer) DatagramData([]byte, bool) error           { return nil }
func (c *capsulePeer) Control(x capsule.Capsule) error           { c.add("%v", x); return nil }
func (c *capsulePeer) Skipped(t capsule.Type, n uint64) error    { c.add("skipped %v", t); return nil }
func (c *capsulePeer) write(b []byte)                            { c.p.WriteData(c.id, false, string(b)) }
func (c *capsulePeer) send(x interface{ Append([]byte) []byte }) { c.write(x.Append(nil)) }

// data writes a WT_STREAM capsule with n bytes.
func (c *capsulePeer) data(id uint64, fin bool, n int) {
	c.t.Helper()
	b := capsule.AppendStreamHeader(nil, fin, capsule.Draft15, id, uint64(n))
	b = append(b, make([]byte, n)...)
	for len(b) > 0 {
		k := min(len(b), 16384)
		c.write(b[:k])
		b = b[k:]
		synctest.Wait() // HTTP/2 credit comes back
	}
}

// read takes what has come and returns the events since the last call: capsules,
// "END_STREAM", and resets. Credit and PING are left out.
func (c *capsulePeer) read() []string {
	c.t.Helper()
	for _, f := range c.p.Drain() {
		switch f := f.(type) {
		case h2test.WindowUpdate, h2test.Ping:
		case h2test.Data:
			if f.StreamID != c.id {
				c.t.Fatalf("DATA of another stream: %v", f)
			}
			if err := c.dec.Feed([]byte(f.Data), c); err != nil {
				c.t.Fatalf("capsules: %v", err)
			}
			if f.EndStream {
				c.add("END_STREAM")
			}
		case h2test.RSTStream:
			c.add("RST_STREAM %v", f.Code)
		default:
			c.add("%v", f)
		}
	}
	events := c.events
	c.events = nil
	return events
}

// want compares what has come with events.
func (c *capsulePeer) want(why string, events ...string) {
	c.t.Helper()
	if got := c.read(); !slices.Equal(got, events) {
		c.t.Fatalf("%s:\n got %q\nwant %q", why, got, events)
	}
}

// serverSession makes a session between a scripted client and a server of this
// package.
func serverSession(t testing.TB, cfg *Config, opts *transport.UpgradeOptions, settings []http2.Setting, fields ...string) (*testServer, *capsulePeer, transport.Session) {
	t.Helper()
	h, up := upgradeHandler(opts)
	srv := newServer(t, h, cfg)
	p, _ := srv.peer(settings...)
	p.WriteHeaders(1, false, connectFields(fields...)...)
	wantStatus(t, p, 1, "200", false)
	a := <-up
	if a.err != nil {
		t.Fatal(a.err)
	}
	return srv, newCapsulePeer(t, p, 1), a.s
}

// clientSession makes a session between a client of this package and a scripted
// server.
func clientSession(t testing.TB, cfg *Config, opts *transport.DialOptions, settings []http2.Setting, fields ...string) (*ClientConn, *capsulePeer, transport.Session) {
	t.Helper()
	p, c, _ := greeted(t, cfg, settings)
	dial := dialAsync(t.Context(), c, opts)
	p.WantHeaders("CONNECT", 1)
	p.WriteHeaders(1, false, append([]string{":status", "200"}, fields...)...)
	s, err := dial.Result()
	if err != nil {
		t.Fatal(err)
	}
	return c, newCapsulePeer(t, p, 1), s
}
