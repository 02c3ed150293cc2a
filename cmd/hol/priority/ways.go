package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/link"
)

// A way is how bulk and messages are carried together. They go from the client
// to the server.
type way struct {
	name string
	note string
	udp  bool // TCP's congestion control is of no matter
	open func(context.Context, *scene) (*carried, error)
}

// ways are all of them, in the order of the table.
var ways = slices.Concat(towpathWays, otherWays)

// carried is a connection that carries both. A writer is used by one goroutine,
// unless bulk and messages are the same one, which then has a lock.
type carried struct {
	bulk     io.Writer
	messages io.Writer // nil: datagrams
	// received are the streams at the server, each until its end.
	received []io.Reader

	sendDatagram    func([]byte) error
	receiveDatagram func(context.Context) ([]byte, error)
}

// A scene is what a way has to work with. What it starts it hands to end.
type scene struct {
	client, server *link.Host
	certificate    adapter.Certificate
	maxAge         time.Duration

	mu     sync.Mutex // guards the following
	socket net.Conn   // the client's, of TCP
	ends   []func()
}

// end has f called at the end, the latest first.
func (s *scene) end(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends = append(s.ends, f)
}

func (s *scene) close() {
	s.mu.Lock()
	ends := s.ends
	s.ends = nil
	s.mu.Unlock()
	for _, f := range slices.Backward(ends) {
		f()
	}
}

// listen listens at the server, for TCP.
func (s *scene) listen() (net.Listener, netip.AddrPort, error) {
	ln, err := s.server.ListenTCP(0)
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	s.end(func() { _ = ln.Close() })
	return ln, netip.AddrPortFrom(s.server.Addr(), uint16(ln.Addr().(*net.TCPAddr).Port)), nil
}

// dial connects to the server with TLS; wrap, unless nil, lies between.
func (s *scene) dial(ctx context.Context, to netip.AddrPort, alpn string, wrap func(net.Conn) net.Conn) (*tls.Conn, error) {
	nc, err := s.client.DialTCP(ctx, to)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.socket = nc
	s.mu.Unlock()
	s.end(func() { _ = nc.Close() })
	under := nc
	if wrap != nil {
		under = wrap(nc)
	}
	tc := tls.Client(under, s.clientTLS(to, alpn))
	return tc, tc.HandshakeContext(ctx)
}

func (s *scene) clientTLS(to netip.AddrPort, alpn string) *tls.Config {
	conf := s.certificate.ClientTLS(alpn)
	conf.ServerName = to.Addr().String()
	return conf
}

// await returns what arrives at the server, n of them.
func await[T any](ctx context.Context, c <-chan T, n int) ([]T, error) {
	var all []T
	for len(all) < n {
		select {
		case x := <-c:
			all = append(all, x)
		case <-ctx.Done():
			return nil, errors.Join(errors.New("the server has not got all streams"), context.Cause(ctx))
		}
	}
	return all, nil
}

// A shared writer is for both, as an application that has one stream would do it:
// messages wait in a queue for the bulk's Write that is under way, and all go
// before the next one.
type shared struct {
	w io.Writer

	mu     sync.Mutex // guards queued
	queued []byte     // whole messages
	ends   []int      // where each ends
}

// messages is the writer of messages, which never waits.
type messages struct{ *shared }

func (m messages) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queued = append(m.queued, p...)
	m.ends = append(m.ends, len(m.queued))
	return len(p), nil
}

// Write writes bulk, and what was queued meanwhile.
func (s *shared) Write(p []byte) (int, error) {
	if _, err := s.w.Write(p); err != nil {
		return 0, err
	}
	s.mu.Lock()
	queued, ends := s.queued, s.ends
	s.queued, s.ends = nil, nil
	s.mu.Unlock()
	begin := 0
	for _, end := range ends {
		if _, err := s.w.Write(queued[begin:end]); err != nil {
			return 0, err
		}
		begin = end
	}
	return len(p), nil
}

var silent = slog.New(slog.DiscardHandler)
