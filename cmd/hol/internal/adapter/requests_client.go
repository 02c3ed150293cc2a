package adapter

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// requestConn is the client's end.
type requestConn struct {
	conn   requester
	prefix string // of URLs
	ctx    context.Context
	cancel context.CancelFunc // ends all requests

	mu      sync.Mutex // guards the following
	closing bool
	active  sync.WaitGroup // of channels; grows before closing only
}

func newRequestConn(conn requester, server netip.AddrPort) *requestConn {
	ctx, cancel := context.WithCancel(context.Background())
	return &requestConn{conn: conn, prefix: "https://" + server.String(), ctx: ctx, cancel: cancel}
}

func (c *requestConn) OpenChannel(context.Context) (Channel, error) { return c.open(postChannel) }

func (c *requestConn) OpenBulk(context.Context) (Channel, error) { return c.open(postBulk) }

// open sends the request without waiting for the response.
func (c *requestConn) open(path string) (Channel, error) {
	body, writer := io.Pipe()
	request, err := http.NewRequestWithContext(c.ctx, http.MethodPost, c.prefix+path, body)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	closing := c.closing
	if !closing {
		c.active.Add(1)
	}
	c.mu.Unlock()
	if closing {
		return nil, net.ErrClosed
	}
	channel := &requestChannel{writer: writer, inbox: newInbox()}
	// Ends with the response, or by Close of the connection, which waits for it.
	go func() {
		defer c.active.Done()
		// What the transport reads, and Send, end with the response, and with the
		// context: net/http does not look at that while it waits for the body.
		end := func() { _ = body.CloseWithError(net.ErrClosed) }
		defer end()
		defer context.AfterFunc(c.ctx, end)()
		channel.inbox.fill(&response{conn: c.conn, request: request}, c.ctx.Done())
	}()
	return channel, nil
}

func (c *requestConn) AcceptChannel(context.Context) (Channel, error) { return nil, errClientsRequest }

func (c *requestConn) AcceptBulk(context.Context) (Channel, error) { return nil, errClientsRequest }

func (c *requestConn) Call(ctx context.Context, _ int, request []byte) ([]byte, error) {
	if len(request) > MaxCall {
		return nil, ErrTooLarge
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.prefix+postCall, bytes.NewReader(request))
	if err != nil {
		return nil, err
	}
	body := &response{conn: c.conn, request: r}
	defer body.Close()
	answer, err := io.ReadAll(io.LimitReader(body, MaxCall+1))
	if err != nil {
		return nil, fmt.Errorf("call: %w", err)
	}
	if len(answer) > MaxCall {
		return nil, ErrTooLarge
	}
	return answer, nil
}

func (c *requestConn) Close() error {
	c.mu.Lock()
	again := c.closing
	c.closing = true
	c.mu.Unlock()
	c.cancel()
	c.active.Wait()
	if again {
		return nil
	}
	return c.conn.Close()
}

// requestChannel is the client's end of a channel.
type requestChannel struct {
	writer *io.PipeWriter // of the request's body
	inbox  *inbox
	out    []byte
}

func (c *requestChannel) Send(message []byte) error {
	if err := checkMessage(message); err != nil {
		return err
	}
	c.out = appendFrame(c.out[:0], message)
	_, err := c.writer.Write(c.out)
	return err
}

func (c *requestChannel) Receive(ctx context.Context) ([]byte, error) { return c.inbox.take(ctx) }

// Close ends the request. What the server still sends is read and dropped.
func (c *requestChannel) Close() error {
	c.inbox.close()
	return c.writer.Close()
}

// response is a request's response body; the first Read makes the request.
type response struct {
	conn    requester
	request *http.Request
	body    io.ReadCloser
}

func (r *response) Read(p []byte) (int, error) {
	if r.body == nil {
		response, err := r.conn.RoundTrip(r.request)
		if err != nil {
			return 0, err
		}
		if response.StatusCode != http.StatusOK {
			_ = response.Body.Close()
			return 0, fmt.Errorf("the server answered %s", response.Status)
		}
		r.body = response.Body
	}
	return r.body.Read(p)
}

// Close ends the response, read or not.
func (r *response) Close() error {
	if r.body == nil {
		return nil
	}
	return r.body.Close()
}
