package h2wt

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2conn"
)

// streamConn is the stream of a WebSocket as a net.Conn, and as the stream's
// Receiver: what the two ends have in common. Its Read and Write may each be
// called by one goroutine at a time.
type streamConn struct {
	tc     *tls.Conn
	linger time.Duration // how long a closed one waits for the peer's end; 0: for ever
	recv   *recvBuffer
	send   *sendBuffer
	lostBy func(err error) // called when the stream ended abruptly
	onOver func()          // called once when the stream of a live connection has ended

	mu       sync.Mutex // guards the following, and what those who embed it say
	st       *h2conn.Stream
	live     bool // the stream is this connection's
	closed   bool
	lost     bool // the stream has ended abruptly
	recvEnd  bool
	sendEnd  bool
	released bool        // onOver was called
	timer    *time.Timer // bounds the wait for the peer's end after Close
}

func (c *streamConn) stream() *h2conn.Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.st
}

// opened says that the stream is this connection's.
func (c *streamConn) opened() {
	c.mu.Lock()
	c.live = true
	c.mu.Unlock()
	c.check()
}

// Data implements h2conn.Receiver.
func (c *streamConn) Data(p []byte) int { return c.recv.put(p) }

// Trailers implements h2conn.Receiver. A WebSocket has none (RFC 9113 section
// 8.5).
func (c *streamConn) Trailers(*h2conn.Header) {
	c.stream().Fault(http2.ErrCodeProtocol)
	c.over(errMalformed("trailers on a CONNECT stream"))
}

// End implements h2conn.Receiver: the peer closed its TCP connection, as it
// were.
func (c *streamConn) End() {
	c.recv.end(io.EOF)
	c.sideEnded(&c.recvEnd)
}

// Reset implements h2conn.Receiver.
func (c *streamConn) Reset(_ http2.ErrCode, _ bool, err error) { c.over(err) }

// over is called when the stream ended abruptly, whoever ended it.
func (c *streamConn) over(err error) {
	c.lostBy(err)
	c.mu.Lock()
	c.lost = true
	c.mu.Unlock()
	c.check()
}

// sent is called when the connection has taken everything up to the end.
func (c *streamConn) sent() { c.sideEnded(&c.sendEnd) }

// sideEnded notes that one side of the stream has ended.
func (c *streamConn) sideEnded(side *bool) {
	c.mu.Lock()
	*side = true
	c.mu.Unlock()
	c.check()
}

// check calls onOver once the stream has ended.
func (c *streamConn) check() {
	c.mu.Lock()
	due := c.live && !c.released && (c.lost || c.recvEnd && c.sendEnd)
	if due {
		c.released = true
		if c.timer != nil {
			c.timer.Stop()
		}
	}
	c.mu.Unlock()
	if due {
		c.onOver()
	}
}

// shut begins Close: what comes is dropped, and a peer that does not end its side
// in time has the stream reset. It returns false if that was done before.
func (c *streamConn) shut() bool {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return false
	}
	c.closed = true
	if c.linger > 0 && !c.released {
		c.timer = time.AfterFunc(c.linger, func() {
			c.stream().Reset(http2.ErrCodeCancel)
			c.over(net.ErrClosed)
		})
	}
	c.mu.Unlock()
	c.recv.abandon(net.ErrClosed)
	return true
}

// Read implements net.Conn.
func (c *streamConn) Read(p []byte) (int, error) { return c.recv.Read(p) }

// Write implements net.Conn.
func (c *streamConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return 0, net.ErrClosed
	}
	n, err := c.send.Write(p)
	if errors.Is(err, errSendClosed) {
		err = net.ErrClosed
	}
	return n, err
}

// Close implements net.Conn: what was written is still sent, then the stream is
// ended.
func (c *streamConn) Close() error {
	if !c.shut() {
		return net.ErrClosed
	}
	c.send.close(nil)
	return nil
}

// CloseWrite ends the sending direction, as on a TCP connection.
func (c *streamConn) CloseWrite() error {
	c.send.close(nil)
	return nil
}

// LocalAddr implements net.Conn.
func (c *streamConn) LocalAddr() net.Addr { return c.tc.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *streamConn) RemoteAddr() net.Addr { return c.tc.RemoteAddr() }

// SetDeadline implements net.Conn.
func (c *streamConn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *streamConn) SetReadDeadline(t time.Time) error {
	c.recv.deadline.Set(t)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *streamConn) SetWriteDeadline(t time.Time) error {
	c.send.deadline.Set(t)
	return nil
}

// StreamID returns the ID of the stream, which tells WebSockets on a connection
// apart.
func (c *streamConn) StreamID() uint64 { return uint64(c.stream().ID()) }

// ConnectionState returns the state of the connection's TLS session.
func (c *streamConn) ConnectionState() tls.ConnectionState { return c.tc.ConnectionState() }

// RTT returns the smoothed round-trip time of the connection, and whether it was
// measured yet.
func (c *streamConn) RTT() (time.Duration, bool) { return c.stream().Conn().RTT() }
