package negotiate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/h3wt"
	"github.com/towpath-go/towpath/internal/admission"
	"github.com/towpath-go/towpath/internal/quota"
	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/wswt"
)

// A Server serves sessions and ordinary HTTP on one port: HTTP/3 on UDP, HTTP/2
// and HTTP/1.1 on TCP, all through one http.Handler, in which [Upgrade] accepts
// sessions, those over WebSocket included. Other WebSockets work beside them. Its
// fields must not change once it serves, and it is used
// once: after Shutdown or Close it serves no more.
type Server struct {
	// Addr is the address to listen on, "host:port"; an empty host means all
	// interfaces, port 0 any free one (the same for UDP and TCP). Default ":443".
	Addr string
	// TLSConfig must have a certificate. MinVersion defaults to TLS 1.3; the
	// application protocols are set here.
	TLSConfig *tls.Config
	// Handler answers all requests; nil means http.DefaultServeMux.
	Handler http.Handler

	// Config holds the limits of sessions whose UpgradeOptions have none.
	Config *transport.Config
	// H2, H3 and WS hold the limits of connections; nil means defaults. Their
	// MaxServerMemory is not used: see MaxMemory.
	H2 *h2wt.Config
	H3 *h3wt.Config
	WS *wswt.Config
	// QUICConfig is the base of the QUIC configuration; nil means defaults. An
	// InitialPacketSize of 0 means 1,200 bytes here.
	QUICConfig *quic.Config
	// Transports are the ways to serve. Nil means all: HTTP3, HTTP2 and WebSocket.
	// HTTP2 and WebSocket serve ordinary requests besides, over HTTP/1.1 each;
	// without HTTP2 there is no HTTP/2 at all, so that WebSockets, too, come over
	// HTTP/1.1 only.
	Transports []transport.Protocol

	// AltSvc is the Alt-Svc field of responses over TCP, by which browsers learn
	// of HTTP/3. Empty means the server's own UDP port while it listens; "-"
	// means never; anything else is sent verbatim.
	AltSvc string

	// MaxMemory bounds the bytes that all connections together make the server
	// hold. If both UDP and TCP are served each has half of it, since QUIC counts
	// in its own way; HTTP/2 and WebSocket share one account. Default 512 MiB;
	// negative: none.
	MaxMemory int64

	// MaxConnections bounds the connections over TCP and QUIC that are open at
	// once, those included whose handshake is not done. More are refused, and none
	// that is open is ended for a new one: TCP connections are closed before TLS,
	// which the client sees as a reset; QUIC ones are answered CONNECTION_REFUSED.
	// A QUIC client counts once its address is verified; until then
	// h3wt.Config.UnverifiedHandshakes bounds them. A TCP connection whose handshake
	// is not done holds 64 KiB at most. Default 10,000; negative: none, and then
	// the next two limits know 4,096 addresses at a time: those beyond share the
	// quota of one.
	MaxConnections int
	// MaxConnectionsPerAddress bounds those of one client address (an IPv6 /64).
	// Default 2,000, since a school, a company or a whole mobile network may be
	// behind one; negative: none.
	MaxConnectionsPerAddress int
	// ConnectionRate bounds the new connections per second of one client address,
	// with bursts of twice as many. Default 1,000, so that all who are behind one
	// address can come back at once; negative: none.
	ConnectionRate int

	// MaxSessions bounds the sessions that are open at once by all ways together,
	// those included that the Handler has not decided on yet. More are answered
	// 429 with Retry-After, as are those beyond the next two limits, and none that
	// is open is ended for a new one. A session counts where the Handler has a
	// request whose context comes from the original's. It replaces the
	// WS.MaxSessions that is not set. Default 20,000; negative: none, with the
	// same effect on the next two as for connections.
	MaxSessions int
	// MaxSessionsPerAddress bounds those of one client address (an IPv6 /64).
	// Default 4,000; negative: none.
	MaxSessionsPerAddress int
	// SessionRate bounds the requests for sessions per second from one client
	// address, with bursts of twice as many. Default 1,000; negative: none.
	SessionRate int

	// MaxHeaderBytes bounds a request's header. Default 64 KiB.
	MaxHeaderBytes int
	// ReadHeaderTimeout bounds the TLS handshake over TCP, and then the reading of
	// each request's header. Default 10 s; negative: none, which leaves
	// connections open whose client never says anything.
	ReadHeaderTimeout time.Duration
	// IdleTimeout ends TCP connections without a request or session. Default 2 min.
	IdleTimeout time.Duration

	// Monitor is told of connections and sessions; nil means nobody. It counts
	// those of transports whose own Config names no other. See docs/watching.md.
	Monitor transport.Monitor
	// Logger receives events, those of sessions and transports included whose own
	// Config names no other; nil means silence, but for panics of handlers, which
	// go to the standard logger.
	Logger *slog.Logger

	once sync.Once
	// Set once.
	tcp         *http.Server
	udp         *h3wt.Server
	memory      *sessionstate.Budget // of everything over TCP; nil: no limit
	ws          *wswt.Server         // nil if there are no sessions over WebSocket
	initErr     error
	connections *quota.Table // over TCP and QUIC
	sessions    *quota.Table // by all ways
	refusals    admission.Log

	mu      sync.Mutex // guards the following
	addr    net.Addr
	udpPort int // 0 while UDP does not listen
	closed  bool
	open    []interface{ Close() error } // listener and packet connection
}

const (
	defaultHeaderBytes   = 64 << 10
	defaultHeaderTimeout = 10 * time.Second
	defaultServerIdle    = 2 * time.Minute
	defaultServerMemory  = 512 << 20
	// altSvcAge is how long a browser may remember the way, in seconds.
	altSvcAge = 86400
)

func (s *Server) init() error {
	s.once.Do(func() { s.initErr = s.setup() })
	return s.initErr
}

func (s *Server) setup() error {
	if s.TLSConfig == nil || len(s.TLSConfig.Certificates) == 0 && s.TLSConfig.GetCertificate == nil && s.TLSConfig.GetConfigForClient == nil {
		return errors.New("towpath: Server.TLSConfig has no certificate")
	}
	for _, p := range s.Transports {
		if p != transport.HTTP3 && p != transport.HTTP2 && p != transport.WebSocket {
			return fmt.Errorf("towpath: a server cannot serve transport %v: %w", p, transport.ErrUnsupported)
		}
	}
	handler := s.Handler
	if handler == nil {
		handler = http.DefaultServeMux
	}
	handler = s.setupLimits(handler)
	headerBytes := orDefault(s.MaxHeaderBytes, defaultHeaderBytes)
	memory := s.MaxMemory
	if memory == 0 {
		memory = defaultServerMemory
	}
	if memory > 0 && s.serves(transport.HTTP3) && (s.serves(transport.HTTP2) || s.serves(transport.WebSocket)) {
		memory = max(memory/2, 1)
	}
	if memory > 0 {
		s.memory = sessionstate.NewBudget(memory, nil)
	}

	errorLog := log.Default()
	if s.Logger != nil {
		errorLog = slog.NewLogLogger(s.Logger.Handler(), slog.LevelWarn)
	}
	s.tcp = &http.Server{
		Handler:           keepWriter(s.withAltSvc(handler)),
		TLSConfig:         s.TLSConfig.Clone(),
		MaxHeaderBytes:    headerBytes,
		ReadHeaderTimeout: orDefault(s.ReadHeaderTimeout, defaultHeaderTimeout),
		IdleTimeout:       orDefault(s.IdleTimeout, defaultServerIdle),
		ErrorLog:          log.New(handshakeLog{s, errorLog}, "", 0),
	}
	s.setupWebSocket()
	if err := s.setupHTTP2(); err != nil {
		return err
	}

	s.setupHTTP3(handler, headerBytes, memory)
	return nil
}

// orDefault returns a limit or a timeout, 0 for none.
func orDefault[T int | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return max(v, 0)
}

// serves reports whether the server is to serve a transport.
func (s *Server) serves(p transport.Protocol) bool {
	return s.Transports == nil || slices.Contains(s.Transports, p)
}

// ListenAndServe listens on Addr and serves until Shutdown or Close, and then
// returns [http.ErrServerClosed]; earlier only for an error.
func (s *Server) ListenAndServe() error {
	if err := s.init(); err != nil {
		return err
	}
	addr := s.Addr
	if addr == "" {
		addr = ":443"
	}
	ln, pc, err := Listen(addr, s.Transports...)
	if err != nil {
		return err
	}
	return s.Serve(ln, pc)
}

// Serve serves on ln (TCP, without TLS) and pc (UDP), which it takes over; one
// of them may be nil. It returns as ListenAndServe does. If one of the two
// fails, the other is closed.
func (s *Server) Serve(ln net.Listener, pc net.PacketConn) error {
	if err := s.init(); err != nil {
		closeBoth(ln, pc)
		return err
	}
	if ln == nil && pc == nil {
		return errors.New("towpath: Serve without a socket")
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		closeBoth(ln, pc)
		return http.ErrServerClosed
	}
	if ln != nil {
		s.open = append(s.open, ln)
		s.addr = ln.Addr()
	}
	if pc != nil {
		s.open = append(s.open, pc)
		if s.addr == nil {
			s.addr = pc.LocalAddr()
		}
		if u, ok := pc.LocalAddr().(*net.UDPAddr); ok {
			s.udpPort = u.Port
		}
	}
	s.mu.Unlock()

	errs := make(chan error, 2)
	n := 0
	if ln != nil {
		n++
		go func() { // ends when the listener does; waited for below
			errs <- s.tcp.ServeTLS(h2wt.NewListener(s.limitListener(ln)), "", "")
		}()
	}
	if pc != nil {
		n++
		go func() { // ends when the socket does; waited for below
			err := s.udp.Serve(pc)
			s.mu.Lock()
			s.udpPort = 0
			s.mu.Unlock()
			errs <- err
		}()
	}
	first := <-errs
	if s.isClosed() {
		first = http.ErrServerClosed
	} else {
		_ = s.Close()
	}
	for range n - 1 {
		<-errs
	}
	return first
}

func closeBoth(ln net.Listener, pc net.PacketConn) {
	if ln != nil {
		_ = ln.Close()
	}
	if pc != nil {
		_ = pc.Close()
	}
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// ListenAddr returns the address the server listens on, nil before it does.
func (s *Server) ListenAddr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// Shutdown stops listening, asks the peer of every session to wind down
// (WT_DRAIN_SESSION, and GOAWAY on HTTP/2), and waits until all connections
// have ended, but for those of HTTP/1.1 that a handler took over for a protocol
// of its own: like http.Server it knows nothing of them. When ctx ends first, it
// closes what is left and returns the context's error.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.init(); err != nil {
		return nil // it never served
	}
	s.mu.Lock()
	s.closed = true
	s.udpPort = 0
	s.mu.Unlock()
	errs := make(chan error, 3)
	go func() { errs <- s.tcp.Shutdown(ctx) }() // ends with ctx; waited for below
	go func() { errs <- s.udp.Shutdown(ctx) }()
	go func() { // http.Server does not wait for connections that it gave away
		if s.ws == nil {
			errs <- nil
			return
		}
		errs <- s.ws.Shutdown(ctx)
	}()
	err := errors.Join(<-errs, <-errs, <-errs)
	closeErr := s.Close()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(err, closeErr)
}

// Close ends everything at once that Shutdown would wait for.
func (s *Server) Close() error {
	if err := s.init(); err != nil {
		return nil // it never served
	}
	s.mu.Lock()
	s.closed = true
	s.udpPort = 0
	open := s.open
	s.open = nil
	s.mu.Unlock()
	err := errors.Join(ignoreClosed(s.tcp.Close()), ignoreClosed(s.udp.Close()))
	if s.ws != nil {
		err = errors.Join(err, ignoreClosed(s.ws.Close()))
	}
	for _, c := range open {
		err = errors.Join(err, ignoreClosed(c.Close()))
	}
	return err
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// withAltSvc tells of HTTP/3 in responses over TCP.
func (s *Server) withAltSvc(next http.Handler) http.Handler {
	if s.AltSvc == "-" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		value := s.AltSvc
		if value == "" {
			s.mu.Lock()
			port := s.udpPort
			s.mu.Unlock()
			if port != 0 {
				value = fmt.Sprintf(`h3=":%d"; ma=%d`, port, altSvcAge)
			}
		}
		if value != "" {
			w.Header().Set("Alt-Svc", value)
		}
		next.ServeHTTP(w, r)
	})
}
