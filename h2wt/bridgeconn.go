package h2wt

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2conn"
)

// maxBridgeHead bounds the HTTP/1.1 response that a handler writes on a hijacked
// connection; of one that is not 101, with its content.
const maxBridgeHead = 64 << 10

// bridgeConn is the stream of a WebSocket as the net.Conn of its handler, and as
// the stream's Receiver. Its Read and Write may each be called by one goroutine
// at a time.
type bridgeConn struct {
	x    *exchange
	recv *recvBuffer
	send *sendBuffer

	mu       sync.Mutex // guards the following
	live     bool       // the stream is this connection's
	handed   bool       // Hijack returned it
	started  bool       // the response's header was sent
	head     []byte     // bytes written before that
	size     int        // of the response that head holds if it is not 101: 0 not known yet, -1 up to Close
	closed   bool
	lost     bool // the stream has ended abruptly
	recvEnd  bool
	sendEnd  bool
	released bool
	timer    *time.Timer // bounds the wait for the client's end after Close
}

// opened says that the stream is this connection's.
func (c *bridgeConn) opened() {
	c.mu.Lock()
	c.live = true
	c.mu.Unlock()
	c.check()
}

// hand reports whether Hijack may return the connection: once.
func (c *bridgeConn) hand() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !c.handed
	c.handed = true
	return first
}

// unclaimed ends the connection if its handler returned without taking it.
func (c *bridgeConn) unclaimed() {
	c.mu.Lock()
	due := c.live && !c.handed
	c.mu.Unlock()
	if due {
		_ = c.Close()
	}
}

// Headers implements h2conn.Receiver; never called on a server.
func (c *bridgeConn) Headers(*h2conn.Header) {}

// Data implements h2conn.Receiver.
func (c *bridgeConn) Data(p []byte) int { return c.recv.put(p) }

// Trailers implements h2conn.Receiver. A WebSocket has none (RFC 9113 section
// 8.5).
func (c *bridgeConn) Trailers(*h2conn.Header) {
	c.x.st.Fault(http2.ErrCodeProtocol)
	c.over(errMalformed("trailers on a CONNECT stream"))
}

// End implements h2conn.Receiver: the client closed its TCP connection, as it
// were.
func (c *bridgeConn) End() {
	c.recv.end(io.EOF)
	c.sideEnded(&c.recvEnd)
}

// Reset implements h2conn.Receiver.
func (c *bridgeConn) Reset(_ http2.ErrCode, _ bool, err error) { c.over(err) }

// PriorityUpdate implements h2conn.PriorityReceiver.
func (c *bridgeConn) PriorityUpdate(value string) { setPriority(c.x.st, []string{value}) }

// over is called when the stream ended abruptly, whoever ended it.
func (c *bridgeConn) over(err error) {
	c.x.ended(err)
	c.mu.Lock()
	c.lost = true
	c.mu.Unlock()
	c.check()
}

// sideEnded notes that one side of the stream has ended.
func (c *bridgeConn) sideEnded(side *bool) {
	c.mu.Lock()
	*side = true
	c.mu.Unlock()
	c.check()
}

// check releases the exchange once the stream has ended.
func (c *bridgeConn) check() {
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
		c.x.release()
	}
}

// Read implements net.Conn.
func (c *bridgeConn) Read(p []byte) (int, error) { return c.recv.Read(p) }

// Write implements net.Conn. The bytes up to the end of the response's header
// are HTTP/1.1, what follows are the WebSocket's.
func (c *bridgeConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return 0, net.ErrClosed
	}
	if c.started {
		c.mu.Unlock()
		n, err := c.send.Write(p)
		if errors.Is(err, errSendClosed) {
			err = net.ErrClosed
		}
		return n, err
	}
	if len(c.head)+len(p) > maxBridgeHead {
		c.mu.Unlock()
		err := fmt.Errorf("response of more than %d bytes instead of 101", maxBridgeHead)
		c.broken(err)
		return 0, err
	}
	c.head = append(c.head, p...)
	if c.size != 0 {
		return len(p), c.collected()
	}
	i := bytes.Index(c.head, []byte("\r\n\r\n"))
	if i < 0 {
		c.mu.Unlock()
		return len(p), nil
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(c.head)), nil)
	if err != nil {
		c.mu.Unlock()
		c.broken(err)
		return 0, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		c.size = -1
		if n := resp.ContentLength; n >= 0 && n <= maxBridgeHead {
			c.size = i + 4 + int(n)
		}
		return len(p), c.collected()
	}
	after := c.head[i+4:]
	c.head, c.started = nil, true
	c.mu.Unlock()
	c.switched(resp.Header)
	if len(after) > 0 {
		if _, err := c.send.Write(after); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// collected passes on a response other than 101 once all of its content is
// there: nothing can follow, and not every handler closes the connection then.
// Called with c.mu held, it returns without it.
func (c *bridgeConn) collected() error {
	complete := c.size > 0 && len(c.head) >= c.size
	c.mu.Unlock()
	if complete {
		return c.Close()
	}
	return nil
}

// Close implements net.Conn: what was written is still sent, then the stream is
// ended; what comes is dropped. A client that does not end its side in time has
// the stream reset.
func (c *bridgeConn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return net.ErrClosed
	}
	c.closed = true
	head, started := c.head, c.started
	c.head = nil
	if d := c.x.conn.cfg.lingerTimeout(); d > 0 && !c.released {
		c.timer = time.AfterFunc(d, func() {
			c.x.st.Reset(http2.ErrCodeCancel)
			c.over(net.ErrClosed)
		})
	}
	c.mu.Unlock()
	c.recv.abandon(net.ErrClosed)
	c.x.cancel(net.ErrClosed)
	if !started {
		c.finishRefusal(head)
	}
	c.send.close(nil)
	return nil
}

// CloseWrite ends the sending direction, as on a TCP connection.
func (c *bridgeConn) CloseWrite() error {
	c.mu.Lock()
	started := c.started
	c.mu.Unlock()
	if !started {
		return c.Close()
	}
	c.send.close(nil)
	return nil
}

// finishRefusal passes on the response of a handler that did not answer 101.
func (c *bridgeConn) finishRefusal(head []byte) {
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), nil)
	if err != nil {
		c.broken(fmt.Errorf("closed without a response: %w", err))
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.broken(err)
		return
	}
	c.mu.Lock()
	c.started = true
	c.mu.Unlock()
	c.refused(resp.StatusCode, resp.Header, len(body))
	_, _ = c.send.Write(body) // fits; an error means that the stream has ended
}

// LocalAddr implements net.Conn.
func (c *bridgeConn) LocalAddr() net.Addr { return c.x.conn.tc.LocalAddr() }

// RemoteAddr implements net.Conn.
func (c *bridgeConn) RemoteAddr() net.Addr { return c.x.conn.tc.RemoteAddr() }

// SetDeadline implements net.Conn.
func (c *bridgeConn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *bridgeConn) SetReadDeadline(t time.Time) error {
	c.recv.deadline.Set(t)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *bridgeConn) SetWriteDeadline(t time.Time) error {
	c.send.deadline.Set(t)
	return nil
}
