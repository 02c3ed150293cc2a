package adapter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
)

// errSecondClient is what a session is told that nobody waits for.
const errSecondClient transport.SessionErrorCode = 1

// sessionServer is a negotiate.Server on the one socket that its kind needs.
type sessionServer struct {
	kind     sessionKind
	env      Env
	addr     netip.AddrPort
	server   *negotiate.Server
	served   chan struct{}          // closed when Serve has returned
	upgraded chan transport.Session // of 1: the client's
	closed   chan struct{}          // closed by Close
	once     sync.Once

	mu    sync.Mutex // guards the following
	taken bool       // there is a client
	conn  Conn       // what Accept returned
}

func listenSession(kind sessionKind, env Env) (Server, error) {
	s := &sessionServer{
		kind:     kind,
		env:      env,
		served:   make(chan struct{}),
		upgraded: make(chan transport.Session, 1),
		closed:   make(chan struct{}),
	}
	s.server = &negotiate.Server{
		TLSConfig:  env.ServerTLS(),
		Handler:    http.HandlerFunc(s.upgrade),
		Config:     kind.config(env),
		Transports: []transport.Protocol{kind.protocol},
		Logger:     env.Log,
	}
	var ln net.Listener
	var pc net.PacketConn
	if kind.protocol == transport.HTTP3 {
		u, err := env.Server.ListenUDP(env.Port)
		if err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
		pc, s.addr = u, localAddr(env.Server, u.LocalAddr())
	} else {
		var err error
		if ln, err = env.Server.ListenTCP(env.Port); err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
		s.addr = localAddr(env.Server, ln.Addr())
	}
	go func() { // ends by Close, which waits for it
		defer close(s.served)
		if err := s.server.Serve(ln, pc); err != nil && !errors.Is(err, http.ErrServerClosed) && env.Log != nil {
			env.Log.Error("the server ended", "err", err)
		}
	}()
	return s, nil
}

// localAddr is where a host's socket is reached.
func localAddr(h Host, bound net.Addr) netip.AddrPort {
	var port int
	switch a := bound.(type) {
	case *net.TCPAddr:
		port = a.Port
	case *net.UDPAddr:
		port = a.Port
	}
	return netip.AddrPortFrom(h.Addr(), uint16(port))
}

// upgrade accepts the client's session. A run has one client.
func (s *sessionServer) upgrade(w http.ResponseWriter, r *http.Request) {
	session, err := negotiate.Upgrade(w, r, nil)
	if err != nil {
		if s.env.Log != nil {
			s.env.Log.Error("upgrade", "err", err)
		}
		return
	}
	s.mu.Lock()
	second := s.taken
	s.taken = true
	s.mu.Unlock()
	if second {
		_ = session.CloseWithError(errSecondClient, "the run has its client")
		return
	}
	s.upgraded <- session
}

func (s *sessionServer) Accept(ctx context.Context) (Conn, error) {
	select {
	case session := <-s.upgraded:
		c := newSessionConn(s.kind, s.env, session, true, nil)
		s.mu.Lock()
		s.conn = c
		s.mu.Unlock()
		return c, nil
	case <-s.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (s *sessionServer) Close() error {
	var err error
	s.once.Do(func() {
		close(s.closed)
		s.mu.Lock()
		c := s.conn
		s.mu.Unlock()
		if c != nil {
			err = c.Close()
		}
		err = errors.Join(err, s.server.Close())
		<-s.served
	})
	return err
}
