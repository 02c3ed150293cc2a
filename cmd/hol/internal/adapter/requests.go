package adapter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// Channels on plain requests, the same for HTTP/2 and HTTP/3. A channel is one
// POST whose request body and response body have messages with their lengths,
// while both go on: the client sends from its start on, the server answers with
// its header at once and flushes every message. A call is one POST. Only clients
// make requests, so the server can open nothing.

const (
	postChannel = "/channel"
	postBulk    = "/bulk"
	postCall    = "/call"
)

// requestsSpare is how many requests there may be besides the channels, where
// those alone would use up the server's default.
const requestsSpare = 64

// A requester is the client's connection.
type requester interface {
	RoundTrip(*http.Request) (*http.Response, error)
	Close() error
}

// requestServer is the server and its end of the connection, whose requests the
// HTTP server brings to ServeHTTP.
type requestServer struct {
	env  Env
	addr netip.AddrPort
	// Of the HTTP version: close ends the HTTP server, dial connects a client.
	close func() error
	dial  func(ctx context.Context, s *requestServer) (requester, error)

	channels, bulks chan Channel
	arrived         chan struct{} // closed when the client has connected
	closed          chan struct{} // closed by Close

	mu      sync.Mutex // guards the following
	hangUp  func()     // ends the client's connection, nil before
	closing bool
	active  sync.WaitGroup // of handlers and their readers; grows before closing only
}

func newRequestServer(env Env) *requestServer {
	return &requestServer{
		env:      env,
		channels: make(chan Channel, maxAccepted),
		bulks:    make(chan Channel, maxAccepted),
		arrived:  make(chan struct{}),
		closed:   make(chan struct{}),
	}
}

// connected notes the client's connection. A run has one client.
func (s *requestServer) connected(hangUp func()) {
	s.mu.Lock()
	second := s.hangUp != nil || s.closing
	if !second {
		s.hangUp = hangUp
		close(s.arrived)
	}
	s.mu.Unlock()
	if second {
		hangUp()
	}
}

// begin counts n goroutines, unless the server is closing.
func (s *requestServer) begin(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.active.Add(n)
	return true
}

func (s *requestServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.begin(2) {
		http.Error(w, "closing", http.StatusServiceUnavailable)
		return
	}
	defer s.active.Done()
	switch {
	case r.Method != http.MethodPost:
		http.Error(w, "POST only", http.StatusMethodNotAllowed)
	case r.URL.Path == postChannel:
		s.channel(w, r, s.channels)
		return
	case r.URL.Path == postBulk:
		s.channel(w, r, s.bulks)
		return
	case r.URL.Path == postCall && s.env.Handle != nil:
		s.answer(w, r)
	default:
		http.NotFound(w, r)
	}
	s.active.Done() // no reader
}

// channel serves a channel until the server closes it, or the connection ends.
func (s *requestServer) channel(w http.ResponseWriter, r *http.Request, to chan<- Channel) {
	c := &responseChannel{
		w:        w,
		rc:       http.NewResponseController(w),
		inbox:    newInbox(),
		sending:  make(chan struct{}, 1),
		returned: make(chan struct{}),
	}
	// Ends with the request's body, which ends at the latest when the handler
	// has returned; requestServer.Close waits for it.
	go func() {
		defer s.active.Done()
		c.inbox.fill(r.Body, s.closed)
	}()
	defer close(c.returned)
	w.WriteHeader(http.StatusOK)
	if c.rc.Flush() != nil {
		return // the client has gone
	}
	select {
	case to <- c:
	case <-r.Context().Done():
		return
	}
	select {
	case <-c.inbox.closed:
	case <-r.Context().Done():
	}
	c.sending <- struct{}{} // for good: w must not be used once the handler has returned
}

func (s *requestServer) answer(w http.ResponseWriter, r *http.Request) {
	request, err := io.ReadAll(io.LimitReader(r.Body, MaxCall+1))
	if err != nil {
		http.Error(w, "the request's body", http.StatusBadRequest)
		return
	}
	if len(request) > MaxCall {
		http.Error(w, ErrTooLarge.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	response := s.env.Handle(request)
	if len(response) > MaxCall {
		http.Error(w, ErrTooLarge.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(response) // fails if the client has gone, which knows
}

func (s *requestServer) Dial(ctx context.Context) (Conn, error) {
	conn, err := s.dial(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	return newRequestConn(conn, s.addr), nil
}

func (s *requestServer) Accept(ctx context.Context) (Conn, error) {
	select {
	case <-s.arrived:
		return requestEnd{s}, nil
	case <-s.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// shut ends the client's connection and everything on it.
func (s *requestServer) shut() {
	s.mu.Lock()
	again, hangUp := s.closing, s.hangUp
	s.closing = true
	s.mu.Unlock()
	if !again {
		close(s.closed)
		if hangUp != nil {
			hangUp()
		}
	}
	s.active.Wait()
}

func (s *requestServer) Close() error {
	err := s.close()
	s.shut()
	return err
}

// requestEnd is the server's end of the connection.
type requestEnd struct{ server *requestServer }

func (e requestEnd) OpenChannel(context.Context) (Channel, error) { return nil, errClientsRequest }

func (e requestEnd) OpenBulk(context.Context) (Channel, error) { return nil, errClientsRequest }

func (e requestEnd) Call(context.Context, int, []byte) ([]byte, error) { return nil, errClientsCall }

func (e requestEnd) AcceptChannel(ctx context.Context) (Channel, error) {
	return e.accepted(ctx, e.server.channels)
}

func (e requestEnd) AcceptBulk(ctx context.Context) (Channel, error) {
	return e.accepted(ctx, e.server.bulks)
}

func (e requestEnd) accepted(ctx context.Context, from <-chan Channel) (Channel, error) {
	select {
	case c := <-from:
		return c, nil
	case <-e.server.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (e requestEnd) Close() error {
	e.server.shut()
	return nil
}

// responseChannel is the server's end of a channel.
type responseChannel struct {
	w        http.ResponseWriter
	rc       *http.ResponseController
	inbox    *inbox
	out      []byte
	sending  chan struct{} // of 1: held by Send, and by the handler that returns
	returned chan struct{} // closed when the handler has returned
}

func (c *responseChannel) Send(message []byte) error {
	if err := checkMessage(message); err != nil {
		return err
	}
	select {
	case <-c.inbox.closed:
		return net.ErrClosed
	case <-c.returned:
		return net.ErrClosed
	case c.sending <- struct{}{}:
	}
	defer func() { <-c.sending }()
	c.out = appendFrame(c.out[:0], message)
	if _, err := c.w.Write(c.out); err != nil {
		return err
	}
	return c.rc.Flush()
}

func (c *responseChannel) Receive(ctx context.Context) ([]byte, error) { return c.inbox.take(ctx) }

// Close has the handler return, which ends the response.
func (c *responseChannel) Close() error {
	c.inbox.close()
	return nil
}

// ignoreClosed is the error of closing what may be closed already.
func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
