package cork

import (
	"crypto/tls"
	"net"
	"sync"
)

// NewListener returns a listener whose connections are corked, see [New]. It
// belongs under [tls.NewListener].
func NewListener(ln net.Listener) net.Listener { return corkListener{ln} }

// New returns a connection to run TLS on that can gather the records of one write
// into one system call, as [TLSConn] asks it to.
func New(nc net.Conn) net.Conn { return newCorkConn(nc) }

type corkListener struct{ net.Listener }

func (l corkListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newCorkConn(nc), nil
}

// corkSize is how much is gathered at most: four full TLS records, and the
// start of a fifth.
const corkSize = 64<<10 + 1<<10

// corkConn gathers what is written between cork and uncork. Outside of them it
// passes writes on at once, so that nothing but TLSConn.Write, which pairs
// the two, can leave bytes behind: not the handshake, an alert, or HTTP/1.1.
type corkConn struct {
	net.Conn

	// turn holds one token, taken by whoever writes: a write that comes while
	// another is under way waits for it, as package net's own lock makes it
	// wait. It guards the following.
	turn   chan struct{}
	corked bool
	buf    []byte
	err    error // of a write whose bytes were already reported as written
}

var corkBuffers = sync.Pool{New: func() any { return new([corkSize]byte) }}

func newCorkConn(nc net.Conn) *corkConn {
	return &corkConn{Conn: nc, turn: make(chan struct{}, 1)}
}

func (c *corkConn) lock()   { c.turn <- struct{}{} }
func (c *corkConn) unlock() { <-c.turn }

func (c *corkConn) cork() {
	c.lock()
	defer c.unlock()
	c.corked = true
}

// uncork writes what was gathered and ends gathering.
func (c *corkConn) uncork() error {
	c.lock()
	defer c.unlock()
	c.corked = false
	err := c.flushLocked()
	if c.buf != nil {
		corkBuffers.Put((*[corkSize]byte)(c.buf[:corkSize]))
		c.buf = nil
	}
	return err
}

// Write implements net.Conn.
func (c *corkConn) Write(p []byte) (int, error) {
	c.lock()
	defer c.unlock()
	if c.err != nil {
		return 0, c.err
	}
	if !c.corked {
		return c.Conn.Write(p)
	}
	if len(c.buf)+len(p) > corkSize {
		if err := c.flushLocked(); err != nil {
			return 0, err
		}
		if len(p) > corkSize {
			return c.Conn.Write(p)
		}
	}
	if c.buf == nil {
		c.buf = corkBuffers.Get().(*[corkSize]byte)[:0]
	}
	c.buf = append(c.buf, p...)
	return len(p), nil
}

// flushLocked writes the buffer. An error stays: bytes reported as written are
// lost, so the stream of TLS records cannot go on.
func (c *corkConn) flushLocked() error {
	if c.err == nil && len(c.buf) > 0 {
		_, c.err = c.Conn.Write(c.buf)
	}
	c.buf = c.buf[:0]
	return c.err
}

// NetConn returns the connection underneath.
func (c *corkConn) NetConn() net.Conn { return c.Conn }

// CloseWrite ends the sending side, if the connection underneath can.
func (c *corkConn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return c.Conn.Close()
}

// A TLSConn is a TLS connection each Write of which leaves in as few system calls
// as the cork under it allows.
type TLSConn struct {
	*tls.Conn
	cork *corkConn // nil if there is none
	room *room     // nil if the kernel cannot be asked
}

// NewTLSConn finds the cork under tc, if there is one, and keeps the kernel's send
// queue short.
func NewTLSConn(tc *tls.Conn) TLSConn {
	c := TLSConn{Conn: tc}
	nc := tc.NetConn()
	for range maxUnder {
		if cork, ok := nc.(*corkConn); ok && c.cork == nil {
			c.cork = cork
		}
		under, ok := nc.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		nc = under.NetConn()
	}
	record := recordTLS13
	if v := tc.ConnectionState().Version; v != 0 && v < tls.VersionTLS13 {
		record = recordTLS12
	}
	c.room = newRoom(nc, record)
	return c
}

// maxUnder bounds the connections under one another.
const maxUnder = 8

// Write writes p as TLS records and returns when all of them were handed to the
// kernel.
func (c TLSConn) Write(p []byte) (int, error) {
	if c.room != nil {
		c.room.used(len(p))
	}
	if c.cork == nil {
		return c.Conn.Write(p)
	}
	c.cork.cork()
	n, err := c.Conn.Write(p)
	if flushErr := c.cork.uncork(); err == nil && flushErr != nil {
		return 0, flushErr
	}
	return n, err
}
