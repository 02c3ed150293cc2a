package adapter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// What a WebSocket is for is the path of its request.
const (
	pathChannel = "/channel"
	pathBulk    = "/bulk"
	pathCalls   = "/calls"
	// pathAll is that of the one WebSocket of ws-one.
	pathAll = "/all"
)

// maxWaiting bounds the WebSockets that were opened and not yet accepted, of
// each kind.
const maxWaiting = 256

// A webSocketClient is the client's end where every channel is a WebSocket.
type webSocketClient struct {
	sockets sockets
	dial    func(ctx context.Context, path string) (socket, error)
	hangUp  func() error // ends what the WebSockets have in common
	calls   *caller
	once    sync.Once
	err     error // of Close
}

func newWebSocketClient(channels int, dial func(ctx context.Context, path string) (socket, error), hangUp func() error) *webSocketClient {
	c := &webSocketClient{sockets: sockets{limit: MaxMessage}, dial: dial, hangUp: hangUp}
	c.calls = newCaller(channels, func(ctx context.Context, _ int) (Channel, error) { return c.open(ctx, pathCalls) })
	return c
}

func (c *webSocketClient) open(ctx context.Context, path string) (Channel, error) {
	s, err := c.dial(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("WebSocket: %w", err)
	}
	channel, err := c.sockets.add(s)
	if err != nil {
		return nil, err
	}
	return channel, nil
}

func (c *webSocketClient) OpenChannel(ctx context.Context) (Channel, error) {
	return c.open(ctx, pathChannel)
}

func (c *webSocketClient) OpenBulk(ctx context.Context) (Channel, error) {
	return c.open(ctx, pathBulk)
}

// AcceptChannel returns ErrUnsupported: only a client can ask for a WebSocket.
func (c *webSocketClient) AcceptChannel(context.Context) (Channel, error) {
	return nil, errClientsSocket
}

// AcceptBulk returns ErrUnsupported, as AcceptChannel does.
func (c *webSocketClient) AcceptBulk(context.Context) (Channel, error) { return nil, errClientsSocket }

func (c *webSocketClient) Call(ctx context.Context, n int, request []byte) ([]byte, error) {
	return c.calls.Call(ctx, n, request)
}

func (c *webSocketClient) Close() error {
	c.once.Do(func() {
		c.err = c.calls.Close()
		c.sockets.close()
		c.err = errors.Join(c.err, c.hangUp())
	})
	return c.err
}

// An acceptor takes the WebSockets that come to a server.
type acceptor interface {
	// room says whether there is room for one more with this path, by an HTTP
	// status: 200 if so.
	room(path string) int
	// accepted takes one, or ends it.
	accepted(path string, s socket)
}

// A webSocketServer is the server's end where every channel is a WebSocket.
type webSocketServer struct {
	sockets  sockets
	handle   func(request []byte) (response []byte)
	log      *slog.Logger
	channels chan Channel
	bulks    chan Channel
	closed   chan struct{}
	once     sync.Once

	mu        sync.Mutex // guards the following
	answerers []*answerer
	ended     bool // no answerer begins any more
}

func newWebSocketServer(env Env) *webSocketServer {
	return &webSocketServer{
		sockets:  sockets{limit: MaxMessage},
		handle:   env.Handle,
		log:      env.Log,
		channels: make(chan Channel, maxWaiting),
		bulks:    make(chan Channel, maxWaiting),
		closed:   make(chan struct{}),
	}
}

func (s *webSocketServer) room(path string) int {
	var waiting int
	switch path {
	case pathChannel:
		waiting = len(s.channels)
	case pathBulk:
		waiting = len(s.bulks)
	case pathCalls:
		if s.handle == nil {
			return http.StatusNotFound
		}
	default:
		return http.StatusNotFound
	}
	if waiting == maxWaiting {
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}

func (s *webSocketServer) accepted(path string, socket socket) {
	channel, err := s.sockets.add(socket)
	if err != nil {
		return
	}
	queue := s.channels
	switch path {
	case pathBulk:
		queue = s.bulks
	case pathCalls:
		s.mu.Lock()
		ended := s.ended
		if !ended {
			s.answerers = append(s.answerers, answerCalls(channel, s.handle, s.log))
		}
		s.mu.Unlock()
		if ended {
			channel.end()
		}
		return
	}
	select {
	case queue <- channel:
	default: // others came meanwhile
		channel.end()
	}
}

func (s *webSocketServer) accept(ctx context.Context, queue <-chan Channel) (Channel, error) {
	select {
	case c := <-queue:
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (s *webSocketServer) AcceptChannel(ctx context.Context) (Channel, error) {
	return s.accept(ctx, s.channels)
}

func (s *webSocketServer) AcceptBulk(ctx context.Context) (Channel, error) {
	return s.accept(ctx, s.bulks)
}

// OpenChannel returns ErrUnsupported: a server cannot ask for a WebSocket.
func (s *webSocketServer) OpenChannel(context.Context) (Channel, error) { return nil, errClientsSocket }

// OpenBulk returns ErrUnsupported, as OpenChannel does.
func (s *webSocketServer) OpenBulk(context.Context) (Channel, error) { return nil, errClientsSocket }

// Call returns ErrUnsupported: calls are the client's.
func (s *webSocketServer) Call(context.Context, int, []byte) ([]byte, error) {
	return nil, errClientsCall
}

func (s *webSocketServer) Close() error {
	s.once.Do(func() { close(s.closed) })
	s.mu.Lock()
	s.ended = true
	answerers := s.answerers
	s.mu.Unlock()
	s.sockets.close()
	for _, a := range answerers {
		_ = a.Close()
	}
	return nil
}

// A webSocketListener is the Server of every kind of WebSockets.
type webSocketListener struct {
	addr  netip.AddrPort
	dial  func(ctx context.Context) (Conn, error)
	conns chan Conn    // of 1
	close func() error // of what listens, and of all connections
	end   io.Closer    // the server's end, or what waits for it
}

// serve says whose the server's end is, where there is no connection that would
// have to come first.
func (l *webSocketListener) serve(end Conn) {
	l.conns = make(chan Conn, 1)
	l.conns <- end
	l.end = end
}

func (l *webSocketListener) Dial(ctx context.Context) (Conn, error) { return l.dial(ctx) }

func (l *webSocketListener) Accept(ctx context.Context) (Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (l *webSocketListener) Close() error {
	return errors.Join(l.end.Close(), l.close())
}

// handlers counts the calls of an http.Handler, which http.Server's Close does
// not wait for.
type handlers struct {
	mu     sync.Mutex // guards closed, and Add against Wait
	closed bool
	wg     sync.WaitGroup
}

// enter says whether a handler may begin; done has to follow.
func (h *handlers) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.wg.Add(1)
	}
	return !h.closed
}

func (h *handlers) done() { h.wg.Done() }

// close lets no handler begin any more and waits for all.
func (h *handlers) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.wg.Wait()
}
