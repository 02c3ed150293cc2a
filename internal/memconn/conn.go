// Package memconn is a network in memory for tests: connections with bounded
// buffers that can be stalled, cut and delayed, and a listener for them.
//
// Every wait is on a sync.Cond or a channel, so goroutines that wait here are
// durably blocked and a testing/synctest bubble advances its clock. A
// connection must be used inside the bubble that made it.
//
// It behaves as TCP on a good network: bytes arrive in order, Write returns
// when the buffer has taken the bytes, Close lets the peer read what was
// written and then io.EOF, and a write to a closed peer fails.
package memconn

import (
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// DefaultBuffer is the size of each direction's buffer in bytes.
const DefaultBuffer = 64 << 10

// Options shape a pair of connections. The zero value of a field is its
// default, nil is the zero Options.
type Options struct {
	// Buffer bounds the bytes written in one direction and not read yet,
	// those on the way included. Default DefaultBuffer.
	Buffer int
	// MaxRead bounds what one Read returns, to split the byte stream
	// everywhere. Default: no bound.
	MaxRead int
	// Latency delays bytes and the end of the stream, one way. Default: none.
	Latency time.Duration
	// ClientAddr and ServerAddr are the addresses the ends report. Defaults
	// 192.0.2.1:50000 and 192.0.2.2:443 (TCP).
	ClientAddr, ServerAddr net.Addr
}

func (o *Options) withDefaults() Options {
	var d Options
	if o != nil {
		d = *o
	}
	if d.Buffer <= 0 {
		d.Buffer = DefaultBuffer
	}
	if d.ClientAddr == nil {
		d.ClientAddr = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 50000}
	}
	if d.ServerAddr == nil {
		d.ServerAddr = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 443}
	}
	return d
}

// Pipe returns the two ends of a new connection.
func Pipe(opts *Options) (client, server *Conn) {
	o := opts.withDefaults()
	l := &link{}
	l.cond.L = &l.mu
	up, down := newFlow(l, &o), newFlow(l, &o)
	client = newConn(l, down, up, o.ClientAddr, o.ServerAddr)
	server = newConn(l, up, down, o.ServerAddr, o.ClientAddr)
	return client, server
}

// A link is what both ends share. One mutex and one condition serve all of it:
// any change wakes every waiter, which is cheap for two ends.
type link struct {
	mu   sync.Mutex // guards the following, and both flows and both ends
	cond sync.Cond
	cut  error // set once by Cut
}

// Conn is one end of a connection. It implements net.Conn and has CloseWrite.
type Conn struct {
	link          *link
	recv, send    *flow
	local, remote net.Addr

	// guarded by link.mu
	closed       bool
	readStalled  bool
	writeStalled bool
	read, write  deadline
}

var _ net.Conn = (*Conn)(nil)

func newConn(l *link, recv, send *flow, local, remote net.Addr) *Conn {
	return &Conn{link: l, recv: recv, send: send, local: local, remote: remote}
}

// Read waits for bytes, the end of the stream, the deadline, Close or Cut.
func (c *Conn) Read(p []byte) (int, error) {
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, c.opError("read", net.ErrClosed)
		case l.cut != nil:
			return 0, c.opError("read", l.cut)
		case c.read.passed():
			return 0, c.opError("read", os.ErrDeadlineExceeded)
		case len(p) == 0:
			return 0, nil
		case !c.readStalled:
			if n, err, ok := c.recv.take(p); ok {
				l.cond.Broadcast()
				return n, err
			}
		}
		l.cond.Wait()
	}
}

// Write returns once all of p is in the buffer. It waits for room, the
// deadline, Close or Cut, and then says how much was taken.
func (c *Conn) Write(p []byte) (n int, err error) {
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case c.closed || c.send.finished:
			return n, c.opError("write", net.ErrClosed)
		case l.cut != nil:
			return n, c.opError("write", l.cut)
		case c.send.readerGone:
			return n, c.opError("write", syscall.EPIPE)
		case c.write.passed():
			return n, c.opError("write", os.ErrDeadlineExceeded)
		case n == len(p):
			return n, nil
		case !c.writeStalled:
			if m := c.send.put(p[n:]); m > 0 {
				n += m
				l.cond.Broadcast()
				continue
			}
		}
		l.cond.Wait()
	}
}

// Close ends both directions here. The peer still reads what was written.
func (c *Conn) Close() error {
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	c.closed = true
	c.read.stop()
	c.write.stop()
	c.send.finish()
	c.recv.abandon()
	l.cond.Broadcast()
	return nil
}

// CloseWrite ends the sending direction (FIN).
func (c *Conn) CloseWrite() error {
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.closed {
		return c.opError("close", net.ErrClosed)
	}
	c.send.finish()
	l.cond.Broadcast()
	return nil
}

// Cut breaks the connection for both ends at once: bytes on the way are lost,
// and every waiting and later call fails with err (syscall.ECONNRESET if nil).
// The first Cut counts.
func (c *Conn) Cut(err error) {
	if err == nil {
		err = syscall.ECONNRESET
	}
	l := c.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut != nil {
		return
	}
	l.cut = err
	c.send.drop()
	c.recv.drop()
	l.cond.Broadcast()
}

// StallReads makes Read on this end wait although bytes are there, as if the
// program did not read: the buffer fills and the peer's writes wait.
func (c *Conn) StallReads(stall bool) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.readStalled = stall
	c.link.cond.Broadcast()
}

// StallWrites makes Write on this end wait as if the buffer were full.
func (c *Conn) StallWrites(stall bool) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.writeStalled = stall
	c.link.cond.Broadcast()
}

// Buffered returns how many bytes this end has written that the peer has not
// read yet, those on the way included.
func (c *Conn) Buffered() int {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	return c.send.held
}

// LocalAddr returns this end's address.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the other end's address.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadlines(t, &c.read, &c.write) }

// SetReadDeadline bounds Read, one that is waiting included.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, &c.read) }

// SetWriteDeadline bounds Write, one that is waiting included.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.write) }

func (c *Conn) setDeadlines(t time.Time, ds ...*deadline) error {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	if c.closed {
		return c.opError("set", net.ErrClosed)
	}
	for _, d := range ds {
		d.set(t, c.link)
	}
	c.link.cond.Broadcast()
	return nil
}

func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: c.local.Network(), Source: c.local, Addr: c.remote, Err: err}
}

// String names the end by its addresses.
func (c *Conn) String() string { return fmt.Sprintf("%v->%v", c.local, c.remote) }
