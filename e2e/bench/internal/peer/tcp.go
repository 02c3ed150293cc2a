package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// errLacking is what a Conn without a feature returns; the benchmark asks Lacks
// before.
var errLacking = errors.New("the library does not do this")

// noUni is a part of a Conn without unidirectional streams.
type noUni struct{}

func (noUni) OpenUni(context.Context) (io.WriteCloser, error) { return nil, errLacking }

// noDatagrams is a part of a Conn without datagrams.
type noDatagrams struct{}

func (noDatagrams) SendDatagram([]byte) error { return errLacking }

// tcpServer accepts TLS connections.
type tcpServer struct {
	ln net.Listener
	wg sync.WaitGroup

	mu     sync.Mutex // guards the following
	conns  map[net.Conn]struct{}
	closed bool
}

// listenTLS serves each connection in a goroutine of its own. When serve returns
// the connection is closed. Serve does the handshake by its first Read.
func listenTLS(conf *tls.Config, serve func(*tls.Conn)) (Server, error) {
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	s := &tcpServer{ln: ln, conns: make(map[net.Conn]struct{})}
	s.wg.Go(func() { // ends with the listener; Close waits for it
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			if !s.add(nc) {
				nc.Close()
				return
			}
			s.wg.Go(func() { // ends with the connection
				defer s.remove(nc)
				serve(tls.Server(nc, conf))
			})
		}
	})
	return s, nil
}

func (s *tcpServer) add(nc net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.conns[nc] = struct{}{}
	}
	return !s.closed
}

func (s *tcpServer) remove(nc net.Conn) {
	nc.Close()
	s.mu.Lock()
	delete(s.conns, nc)
	s.mu.Unlock()
}

func (s *tcpServer) Addr() string { return s.ln.Addr().String() }

func (s *tcpServer) Close() error {
	err := s.ln.Close()
	s.mu.Lock()
	s.closed = true
	for nc := range s.conns {
		nc.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return err
}

// dialTLS connects and does the handshake. Wrap, if not nil, comes between.
func dialTLS(ctx context.Context, addr string, conf *tls.Config, wrap func(net.Conn) net.Conn) (*tls.Conn, error) {
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if wrap != nil {
		nc = wrap(nc)
	}
	tc := tls.Client(nc, conf)
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return tc, nil
}

// httpServer is an http.Server with the goroutines of its handlers that outlive
// them.
type httpServer struct {
	hs     *http.Server
	ln     net.Listener
	served sync.WaitGroup
	wg     sync.WaitGroup // of handlers and what they leave
	end    func() error   // ends what hs.Close does not, may be nil
}

// listenHTTP serves h over TLS. Configure, if not nil, changes the server before
// it serves, and wrap the listener.
func listenHTTP(conf *tls.Config, h http.HandlerFunc, configure func(*http.Server) error, wrap func(net.Listener) net.Listener) (*httpServer, error) {
	ln, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	s := &httpServer{ln: ln}
	s.hs = &http.Server{TLSConfig: conf, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: 10 * time.Second}
	s.hs.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.wg.Add(1)
		defer s.wg.Done()
		h(w, r)
	})
	if configure != nil {
		if err := configure(s.hs); err != nil {
			ln.Close()
			return nil, err
		}
	}
	if wrap != nil {
		ln = wrap(ln)
	}
	s.served.Go(func() { _ = s.hs.ServeTLS(ln, "", "") }) // ends by Close, which waits for it
	return s, nil
}

func (s *httpServer) Addr() string { return s.ln.Addr().String() }

func (s *httpServer) Close() error {
	err := s.hs.Close()
	if s.end != nil {
		err = errors.Join(err, s.end())
	}
	s.served.Wait()
	s.wg.Wait()
	return err
}
