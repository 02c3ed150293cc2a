package h2wt

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/towpath-go/towpath/internal/h2conn"
)

// maxBridgeHead bounds the HTTP/1.1 response that a handler writes on a hijacked
// connection; of one that is not 101, with its content.
const maxBridgeHead = 64 << 10

// bridgeConn is the stream of a WebSocket as the net.Conn of its handler. Until
// the response's header was sent, what is written is HTTP/1.1.
type bridgeConn struct {
	streamConn
	x *exchange

	// streamConn.mu guards the following.
	handed  bool   // Hijack returned it
	started bool   // the response's header was sent
	head    []byte // bytes written before that
	size    int    // of the response that head holds if it is not 101: 0 not known yet, -1 up to Close
}

func newBridgeConn(x *exchange) *bridgeConn {
	return &bridgeConn{x: x, streamConn: streamConn{
		tc:     x.conn.tc,
		linger: x.conn.cfg.lingerTimeout(),
		recv:   x.recv,
		send:   x.w.send,
		lostBy: x.ended,
		onOver: x.release,
		st:     x.st,
	}}
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

// PriorityUpdate implements h2conn.PriorityReceiver.
func (c *bridgeConn) PriorityUpdate(value string) { setPriority(c.x.st, []string{value}) }

// Write implements net.Conn. The bytes up to the end of the response's header
// are HTTP/1.1, what follows are the WebSocket's.
func (c *bridgeConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	if c.closed || c.started {
		c.mu.Unlock()
		return c.streamConn.Write(p)
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
	if !c.shut() {
		return net.ErrClosed
	}
	c.x.cancel(net.ErrClosed)
	c.mu.Lock()
	head, started := c.head, c.started
	c.head = nil
	c.mu.Unlock()
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
	return c.streamConn.CloseWrite()
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
