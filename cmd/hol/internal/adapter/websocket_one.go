package adapter

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
)

// A webSocketConn is one end of a single WebSocket, which virtual channels share.
type webSocketConn struct {
	*virtual
	sockets   sockets // one
	calls     *caller // the client's
	answerers []*answerer
	hangUp    func() error
	once      sync.Once
	err       error // of Close
}

// newWebSocketConn makes an end of a WebSocket. With handle it is the server's,
// and answers calls over so many channels.
func newWebSocketConn(s socket, channels int, server bool, handle func(request []byte) (response []byte), log *slog.Logger, hangUp func() error) (*webSocketConn, error) {
	c := &webSocketConn{sockets: sockets{limit: virtualPrefix + MaxMessage}, hangUp: hangUp}
	pipe, err := c.sockets.add(s)
	if err != nil {
		return nil, err
	}
	c.virtual = newVirtual(pipe, server, true, MaxMessage)
	if !server {
		c.calls = newCaller(channels, func(ctx context.Context, _ int) (Channel, error) { return c.OpenCalls(ctx) })
		return c, nil
	}
	if handle == nil {
		return c, nil
	}
	for range max(channels, 1) {
		channel, err := c.AcceptCalls(context.Background())
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.answerers = append(c.answerers, answerCalls(channel, handle, log))
	}
	return c, nil
}

// Call is the client's; the server's returns ErrUnsupported.
func (c *webSocketConn) Call(ctx context.Context, n int, request []byte) ([]byte, error) {
	if c.calls == nil {
		return nil, errClientsCall
	}
	return c.calls.Call(ctx, n, request)
}

func (c *webSocketConn) Close() error {
	c.once.Do(func() {
		// After it channels close without a word, which might have to wait.
		c.err = c.virtual.Close()
		c.sockets.close()
		if c.calls != nil {
			c.err = errors.Join(c.err, c.calls.Close())
		}
		for _, a := range c.answerers {
			c.err = errors.Join(c.err, a.Close())
		}
		if c.hangUp != nil {
			c.err = errors.Join(c.err, c.hangUp())
		}
	})
	return c.err
}

// A webSocketAcceptor takes one WebSocket.
type webSocketAcceptor struct {
	env   Env
	conns chan Conn // of 1

	mu    sync.Mutex // guards the following
	state acceptState
	conn  *webSocketConn
}

type acceptState int

const (
	acceptNone  acceptState = iota // no WebSocket has come
	acceptTaken                    // one has
	acceptEnded                    // Close was called
)

func (a *webSocketAcceptor) room(path string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case path != pathAll:
		return http.StatusNotFound
	case a.state != acceptNone:
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}

func (a *webSocketAcceptor) accepted(_ string, s socket) {
	c, err := newWebSocketConn(s, a.env.Channels, true, a.env.Handle, a.env.Log, nil)
	if err != nil {
		return
	}
	a.mu.Lock()
	first := a.state == acceptNone
	if first {
		a.state, a.conn = acceptTaken, c
	}
	a.mu.Unlock()
	if !first {
		_ = c.Close()
		return
	}
	a.conns <- c // the only one
}

func (a *webSocketAcceptor) Close() error {
	a.mu.Lock()
	a.state = acceptEnded
	c := a.conn
	a.mu.Unlock()
	if c == nil {
		return nil
	}
	return c.Close()
}

// listenWebSocketOne serves one WebSocket over HTTP/1.1, in which virtual
// channels share a TCP connection.
func listenWebSocketOne(_ context.Context, env Env) (Server, error) {
	conns := make(chan Conn, 1)
	to := &webSocketAcceptor{env: env, conns: conns}
	server, err := listenHTTP1(env, to, virtualPrefix+MaxMessage)
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context) (Conn, error) {
		c := newHTTP1Client(env, server.addr, virtualPrefix+MaxMessage)
		s, err := c.dial(ctx, pathAll)
		if err != nil {
			return nil, errors.Join(err, c.hangUp())
		}
		conn, err := newWebSocketConn(s, env.Channels, false, nil, env.Log, c.hangUp)
		if err != nil {
			return nil, errors.Join(err, c.hangUp())
		}
		return conn, nil
	}
	return &webSocketListener{addr: server.addr, dial: dial, conns: conns, end: to, close: server.Close}, nil
}
