package h3wt

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// Server serves HTTP/3 with WebTransport: ordinary requests and the CONNECT
// requests of sessions reach the same Handler, which accepts a session with
// [Upgrade]. The fields must not be changed once it serves.
type Server struct {
	// TLSConfig has the certificates. The ALPN protocol is set to "h3".
	TLSConfig *tls.Config
	// QUICConfig completes what Config does not say; nil is the zero value. What
	// WebTransport needs is set in any case; 0-RTT is off in any case.
	QUICConfig *quic.Config
	// Handler serves all requests; nil is http.DefaultServeMux.
	Handler http.Handler
	// Config holds the limits; nil means defaults.
	Config *Config

	// Admit, if not nil, is asked once about each connection: whether to take
	// it, or which limit it would exceed. Release, which may be nil, is called
	// when a connection that was taken has ended. The address is verified: nobody
	// but its owner can use up what is counted for it.
	//
	// A client that was verified by Retry, or by a token of an earlier
	// connection, is asked about at its first packet. Refusing it costs this side
	// one packet and no state, and the client gets CONNECTION_REFUSED (QUIC
	// transport error 0x02; when more are refused than packets can be sent, the
	// answer is left out). About other clients Admit is asked when the handshake
	// is complete; those get H3_EXCESSIVE_LOAD (0x107). VerifyAddress decides who
	// has to be verified first. It is called from quic-go's receiving goroutine
	// and must not block.
	Admit func(remote net.Addr) (release func(), limit transport.Limit, ok bool)
	// VerifyAddress, if not nil, is asked about the first packet of a client whose
	// address is not verified. With true the client has to prove it first, by
	// Retry (RFC 9000 section 8.1.2), which costs it a round trip: for addresses
	// that Admit would refuse. Anybody can write any address into such a packet,
	// so nothing may be counted here. It must not block. Above
	// Config.UnverifiedHandshakes it is not asked: all have to.
	VerifyAddress func(remote net.Addr) bool

	once       sync.Once
	cfg        Config // settled
	mem        *sessionstate.Budget
	growth     *growth
	settings   map[uint64]uint64 // of all connections
	unverified unverified
	refusals   refusals

	mu         sync.Mutex // guards the following
	state      serverState
	conns      map[*conn]struct{}
	transports map[*quic.Transport]*quic.EarlyListener
	idle       chan struct{} // closed when conns is empty and the server stops
	serving    sync.WaitGroup
}

// A serverState is where a Server stands. It only grows.
type serverState uint8

const (
	serverOpen     serverState = iota
	serverDraining             // Shutdown was called
	serverClosed               // Close was called
)

func (s *Server) init() {
	s.once.Do(func() {
		s.cfg = s.Config.settle()
		if s.cfg.MaxServerMemory > 0 { // otherwise each connection has its own limit only
			s.mem = sessionstate.NewBudget(max(s.cfg.MaxServerMemory/4, 1), nil)
		}
		s.growth = newGrowth(s.cfg.MaxServerMemory)
		s.settings = s.cfg.settings()
		s.unverified.most = s.cfg.UnverifiedHandshakes
		s.conns = make(map[*conn]struct{})
		s.transports = make(map[*quic.Transport]*quic.EarlyListener)
		s.idle = make(chan struct{})
	})
}

// Serve serves the QUIC connections that arrive on pc, which it does not close.
// It returns http.ErrServerClosed after Shutdown or Close, once the server has
// let go of pc, and otherwise the error that stopped it.
func (s *Server) Serve(pc net.PacketConn) error {
	s.init()
	if s.TLSConfig == nil {
		return errors.New("h3wt: Server without TLSConfig")
	}
	tr := s.transport(pc)
	quicConfig := s.ConfigureQUIC(s.QUICConfig)
	// An early listener hands a connection out before the client's Finished,
	// so that SETTINGS arrive a round trip earlier. It does not mean 0-RTT.
	ln, err := tr.ListenEarly(http3.ConfigureTLSConfig(s.TLSConfig), quicConfig)
	if err != nil {
		return err
	}
	s.mu.Lock()
	if s.state != serverOpen {
		s.mu.Unlock()
		tr.Close()
		return http.ErrServerClosed
	}
	s.transports[tr] = ln
	s.serving.Add(1)
	s.mu.Unlock()
	defer s.serving.Done()

	for {
		qc, aerr := ln.Accept(context.Background())
		if aerr != nil {
			err = aerr
			break
		}
		s.serving.Add(1) // until the connection has ended
		// Ends when the connection is served, or will not be.
		go func() {
			c, err := s.beginConn(qc)
			if err != nil {
				s.serving.Done()
				return
			}
			context.AfterFunc(qc.Context(), func() {
				defer s.serving.Done()
				c.endConn()
			})
		}()
	}
	s.mu.Lock()
	stopping := s.state != serverOpen
	s.mu.Unlock()
	if stopping {
		<-s.idle // the connections still need the socket
		err = http.ErrServerClosed
	}
	tr.Close()
	s.mu.Lock()
	delete(s.transports, tr)
	s.mu.Unlock()
	return err
}

// ServeQUICConn serves one connection that the caller has accepted, until it
// ends. Its quic.Config must have datagrams and stream reset partial delivery
// enabled and should be made with [Server.ConfigureQUIC].
func (s *Server) ServeQUICConn(qc *quic.Conn) error {
	s.init()
	state := qc.ConnectionState()
	if !state.SupportsDatagrams.Local || !state.SupportsStreamResetPartialDelivery.Local {
		return errors.New("h3wt: quic.Config lacks EnableDatagrams or EnableStreamResetPartialDelivery")
	}
	c, err := s.beginConn(qc)
	if err != nil {
		return err
	}
	<-qc.Context().Done()
	c.endConn()
	return context.Cause(qc.Context())
}

// ConfigureQUIC completes a quic.Config for connections that are given to
// [Server.ServeQUICConn]. Base is not changed and may be nil.
func (s *Server) ConfigureQUIC(base *quic.Config) *quic.Config {
	s.init()
	q := s.cfg.quicConfig(base, true)
	q.AllowConnectionWindowIncrease = s.growth.allow(q.AllowConnectionWindowIncrease)
	return q
}

// beginConn brings a connection to where its streams are served. If that succeeds,
// endConn has to follow the connection's end.
func (s *Server) beginConn(qc *quic.Conn) (*serverConn, error) {
	c := &serverConn{server: s}
	c.conn.start(qc, &s.cfg, true, s.mem)
	c.rate = newRate(s.cfg.SessionRate)
	c.handleBidi = c.serveRequest
	s.mu.Lock()
	if s.state != serverOpen {
		s.mu.Unlock()
		qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
		return nil, http.ErrServerClosed
	}
	s.conns[&c.conn] = struct{}{}
	s.mu.Unlock()
	s.growth.add(&c.conn)

	h3 := &http3.Server{
		Handler:            c,
		EnableDatagrams:    true,
		AdditionalSettings: s.settings,
		MaxHeaderBytes:     s.cfg.MaxHeaderBytes,
		IdleTimeout:        s.cfg.IdleTimeout,
	}
	raw, err := h3.NewRawServerConn(qc)
	if err != nil {
		qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeInternalError), "")
		c.forgetConn()
		return nil, err
	}
	c.h3, c.raw = raw, raw
	if err := s.admitConn(qc); err != nil {
		c.stopIdle()
		c.forgetConn()
		return nil, err
	}
	c.tellOpened()
	c.serveStreams()
	return c, nil
}

// stopIdle stops http3's idle timer.
func (c *serverConn) stopIdle() {
	c.raw.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
}

// endConn follows the end of the connection. It waits for all goroutines but those
// of handlers.
func (c *serverConn) endConn() {
	c.stopIdle()
	c.stopSweep()
	c.loops.Wait()
	c.tellEnded()
	c.forgetConn()
}

// forgetConn takes a connection out of the server's tables.
func (c *serverConn) forgetConn() {
	c.server.growth.remove(&c.conn)
	c.server.removeConn(&c.conn)
}

func (s *Server) removeConn(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.idleLocked()
}

// idleLocked tells those who wait that a stopping server has no connection left.
func (s *Server) idleLocked() {
	if s.state == serverOpen || len(s.conns) > 0 {
		return
	}
	select {
	case <-s.idle:
	default:
		close(s.idle)
	}
}

// stop brings the server to a state and stops accepting. It returns the
// connections that there are.
func (s *Server) stop(st serverState) []*conn {
	s.init()
	s.mu.Lock()
	s.state = max(s.state, st)
	var conns []*conn
	for c := range s.conns {
		conns = append(conns, c)
	}
	var listeners []*quic.EarlyListener
	for _, ln := range s.transports {
		listeners = append(listeners, ln)
	}
	s.idleLocked()
	s.mu.Unlock()
	for _, ln := range listeners {
		ln.Close() // connections live on
	}
	return conns
}

// Shutdown winds the server down. It accepts no connection any more, refuses
// further requests on those it has, asks every session to drain, and closes each
// connection when its last session and request have ended. (HTTP/3 has GOAWAY
// for this, which quic-go does not offer for such connections.) When ctx ends
// first, Shutdown closes what is left and returns the context's cause.
func (s *Server) Shutdown(ctx context.Context) error {
	for _, c := range s.stop(serverDraining) {
		c.windDown()
	}
	var err error
	select {
	case <-s.idle:
	case <-ctx.Done():
		err = context.Cause(ctx)
		s.Close()
	}
	s.serving.Wait()
	return err
}

// Close closes every connection at once with H3_NO_ERROR; the sessions end
// without code and reason. It returns when the goroutines of the server have
// ended. For handlers it does not wait; the contexts of their requests end.
func (s *Server) Close() error {
	for _, c := range s.stop(serverClosed) {
		c.closeWithCause(http3.ErrCodeNoError, nil)
	}
	s.serving.Wait()
	return nil
}
