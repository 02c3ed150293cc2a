package h2conn_test

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/internal/memconn"
)

// A stream records what comes in and sends what it is given: the owner of one
// HTTP/2 stream.
type stream struct {
	mu       sync.Mutex // guards the following
	st       *h2conn.Stream
	request  *h2conn.Header
	interim  []int
	response *h2conn.Header
	data     bytes.Buffer
	trailers []hpack.HeaderField
	ended    bool
	reset    *h2conn.StreamError
	resets   int
	priority string

	keep bool // do not consume: the test calls Consume

	out         []byte
	endless     byte // if not 0, Fill gives as many of it as asked for
	outEnd      bool
	outTrailers []hpack.HeaderField
	fills       int
}

func clone(h *h2conn.Header) *h2conn.Header {
	c := *h
	c.Fields = slices.Clone(h.Fields)
	return &c
}

func (s *stream) Headers(h *h2conn.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.Status < 200 {
		s.interim = append(s.interim, h.Status)
		return
	}
	s.response = clone(h)
	s.ended = h.EndStream
}

func (s *stream) Data(p []byte) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data.Write(p)
	if s.keep {
		return 0
	}
	return len(p)
}

func (s *stream) Trailers(h *h2conn.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trailers = slices.Clone(h.Fields)
	s.ended = true
}

func (s *stream) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}

func (s *stream) Reset(code http2.ErrCode, remote bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resets++
	s.reset = err.(*h2conn.StreamError)
	if s.reset.Code != code || s.reset.Remote != remote {
		panic("Reset says two things")
	}
}

func (s *stream) PriorityUpdate(v string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.priority = v
}

func (s *stream) Fill(dst []byte) (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fills++
	if s.endless != 0 {
		for i := range dst {
			dst[i] = s.endless
		}
		return len(dst), false
	}
	n := copy(dst, s.out)
	s.out = s.out[n:]
	return n, s.outEnd && len(s.out) == 0
}

// source is what a stream sends; its Trailers are not the Receiver's.
type source struct{ *stream }

func (s source) Trailers() []hpack.HeaderField { return s.outTrailers }

func (s *stream) write(p string, end bool) {
	s.mu.Lock()
	s.out = append(s.out, p...)
	s.outEnd = s.outEnd || end
	s.mu.Unlock()
	s.st.Wake()
}

// snapshot returns what was recorded once everything is blocked.
func (s *stream) snapshot() (data string, ended bool, reset *h2conn.StreamError) {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data.String(), s.ended, s.reset
}

func fields(kv ...string) []hpack.HeaderField {
	var f []hpack.HeaderField
	for i := 0; i+1 < len(kv); i += 2 {
		f = append(f, hpack.HeaderField{Name: kv[i], Value: kv[i+1]})
	}
	return f
}

var (
	get     = []string{":method", "GET", ":scheme", "https", ":authority", "a.example", ":path", "/"}
	post    = []string{":method", "POST", ":scheme", "https", ":authority", "a.example", ":path", "/"}
	connect = []string{":method", "CONNECT", ":protocol", "x", ":scheme", "https", ":authority", "a.example", ":path", "/"}
	ok200   = fields(":status", "200")
)

// A server is a connection under test, with a scripted client.
type server struct {
	*h2test.Peer
	t    *testing.T
	c    *h2conn.Conn
	nc   *memconn.Conn // the server's end
	done *h2test.Result[struct{}]

	mu      sync.Mutex // guards the following
	streams map[uint32]*stream
	// accept, if set, decides about a request; nil answers nothing and keeps all.
	accept func(s *stream) bool
	forget bool // do not keep the streams
}

// newServer starts a server in a bubble. The scripted client has said nothing yet.
func newServer(t *testing.T, cfg *h2conn.Config) *server {
	cn, sn := memconn.Pipe(nil)
	s := &server{t: t, nc: sn, Peer: h2test.NewClient(t, cn), streams: make(map[uint32]*stream)}
	s.c = h2conn.Server(sn, cfg, s)
	s.done = h2test.RunAsync(func() (struct{}, error) { return struct{}{}, s.c.Serve() })
	return s
}

func (s *server) Request(st *h2conn.Stream, h *h2conn.Header) h2conn.Receiver {
	r := &stream{st: st, request: clone(h)}
	s.mu.Lock()
	if !s.forget {
		s.streams[st.ID()] = r
	}
	accept := s.accept
	s.mu.Unlock()
	if accept != nil && !accept(r) {
		return nil
	}
	return r
}

// stream returns the owner's side of a stream the client has opened.
func (s *server) stream(id uint32) *stream {
	s.t.Helper()
	s.settle()
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.streams[id]
	if r == nil {
		s.t.Fatalf("no request on stream %d", id)
	}
	return r
}

// settle waits until the server has read what the client wrote, pauses included.
func (s *server) settle() {
	written := s.NetConn().(*memconn.Conn)
	synctest.Wait()
	for range 5 {
		if written.Buffered() == 0 || s.c.Err() != nil {
			break
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
	}
}

// stop closes both ends.
func (s *server) stop() {
	s.Peer.AllowWriteErrors = true
	s.c.Close()
	s.Peer.Close()
	s.done.Result()
}

// respond answers 200 and starts sending.
func (s *stream) respond(t *testing.T) {
	t.Helper()
	if err := s.st.WriteHeaders(ok200, false, nil); err != nil {
		t.Fatal(err)
	}
	s.st.SetSource(source{s})
}

// serverTest runs f in a bubble with a server that has exchanged SETTINGS.
func serverTest(t *testing.T, cfg *h2conn.Config, f func(t *testing.T, s *server), settings ...http2.Setting) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, cfg)
		defer s.stop()
		s.Greet(settings...)
		f(t, s)
	})
}

// A client is a connection under test, with a scripted server.
type client struct {
	*h2test.Peer
	t *testing.T
	c *h2conn.Conn
}

func newClient(t *testing.T, cfg *h2conn.Config) *client {
	cn, sn := memconn.Pipe(nil)
	return &client{t: t, Peer: h2test.NewServer(t, sn), c: h2conn.Client(cn, cfg)}
}

func (c *client) stop() {
	c.Peer.AllowWriteErrors = true
	c.c.Close()
	c.Peer.Close()
}

// open opens a stream and reads its HEADERS.
func (c *client) open(kv []string, end bool) *stream {
	c.t.Helper()
	s := &stream{}
	st, err := c.c.OpenStream(context.Background(), &h2conn.Open{Fields: fields(kv...), End: end, Receiver: s})
	if err != nil {
		c.t.Fatal(err)
	}
	s.st = st
	c.WantHeaders("the request", st.ID())
	return s
}

// clientTest runs f in a bubble with a client that has exchanged SETTINGS.
func clientTest(t *testing.T, cfg *h2conn.Config, f func(t *testing.T, c *client), settings ...http2.Setting) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, cfg)
		defer c.stop()
		c.Greet(settings...)
		f(t, c)
	})
}
