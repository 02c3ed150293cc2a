package wswt

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/towpath-go/towpath/internal/quota"
	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// A Server accepts sessions on WebSockets, bounds what they hold together, and
// ends them together. It listens nowhere: its sessions come from the handlers of
// an http.Server. Its methods may be called from any goroutine.
type Server struct {
	cfg    *Config
	budget *sessionstate.Budget
	quota  *quota.Table // of sessions, those being accepted included

	mu    sync.Mutex // guards the following
	state serverState
	count int // connections, those being accepted included
	conns map[*conn]struct{}
	empty chan struct{} // closed once count is 0 and the server is stopping
}

// serverState moves forward only.
type serverState uint8

const (
	serverOpen serverState = iota
	// serverDraining: no further session is accepted.
	serverDraining
	// serverClosed: sessions are ended as soon as they are there.
	serverClosed
)

// NewServer returns a Server. A nil cfg is the zero Config.
func NewServer(cfg *Config) *Server {
	s := &Server{cfg: cfg.clone(), conns: make(map[*conn]struct{}), empty: make(chan struct{})}
	s.quota = quota.NewTable(s.cfg.quota())
	s.budget = newBudget(orNone(s.cfg.MaxServerMemory, DefaultMaxServerMemory), nil)
	return s
}

// account is what a session of a request counts in: that of a server which has
// other transports besides, or the Server's own.
func (s *Server) account(ctx context.Context) *sessionstate.Budget {
	if b := sessionstate.BudgetOf(ctx); b != nil {
		return b
	}
	return s.budget
}

// serverKey is where a request's context has its *Server.
type serverKey struct{}

// defaultServer is that of requests whose context has none.
var defaultServer = sync.OnceValue(func() *Server { return NewServer(nil) })

// Context returns a context for http.Server.BaseContext: the package's [Upgrade]
// then accepts the sessions of that http.Server's requests for s.
func (s *Server) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, serverKey{}, s)
}

// Upgrade is [Server.Upgrade] of the Server in the request's context, see
// [Server.Context], or else of one that has the zero Config.
func Upgrade(w http.ResponseWriter, r *http.Request, opts *transport.UpgradeOptions) (transport.Session, error) {
	return serverOf(r).Upgrade(w, r, opts)
}

func serverOf(r *http.Request) *Server {
	if s, ok := r.Context().Value(serverKey{}).(*Server); ok {
		return s
	}
	return defaultServer()
}

// Shutdown refuses further sessions with 503, asks the peer of every session to
// wind down (WT_DRAIN_SESSION), and returns when all have ended, or with the
// context's cause. It ends none of them itself; [Server.Close] does.
func (s *Server) Shutdown(ctx context.Context) error {
	for _, c := range s.stop(serverDraining) {
		_ = c.sess.Drain() // an error means that it has ended
	}
	select {
	case <-s.empty:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close refuses further sessions with 503 and ends all there are: their peers
// are sent a Close frame with status 1001. It returns when all connections and
// their goroutines have ended, which takes at most twice the CloseTimeout of the
// sessions; of one that is being accepted, also the Config.HandshakeTimeout that
// the response has. It must not be called from a [transport.Trace] function.
func (s *Server) Close() error {
	for _, c := range s.stop(serverClosed) {
		c.shut()
	}
	<-s.empty
	return nil
}

// stop moves on to a state and returns the connections there are.
func (s *Server) stop(state serverState) (all []*conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.state == serverOpen
	s.state = max(s.state, state)
	if first && s.count == 0 {
		close(s.empty)
	}
	for c := range s.conns {
		all = append(all, c)
	}
	return all
}

var errShuttingDown = errors.New("wswt: Upgrade: the server is shutting down")

// reserve counts a connection that is being accepted from an address. Code is
// the status to answer if err is not nil; otherwise release takes the place back.
func (s *Server) reserve(remote string) (place *quota.Hold, code int, err error) {
	s.mu.Lock()
	open := s.state == serverOpen
	if open {
		s.count++
	}
	s.mu.Unlock()
	if !open {
		return nil, http.StatusServiceUnavailable, errShuttingDown
	}
	place, verdict := s.quota.Take(quota.Client(remote), time.Now())
	switch verdict {
	case quota.Granted:
		return place, 0, nil
	case quota.TooMany:
		err = errPerAddress
	case quota.TooFast:
		err = errSessionRate
	default:
		err = errMaxSessions
	}
	s.release(nil)
	return nil, http.StatusTooManyRequests, err
}

// release takes back reserve.
func (s *Server) release(place *quota.Hold) {
	if place != nil {
		place.Release()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count--
	if s.state != serverOpen && s.count == 0 {
		close(s.empty)
	}
}

// add takes in a connection that was accepted, and tells it what the others were
// told.
func (s *Server) add(c *conn) {
	s.mu.Lock()
	s.conns[c] = struct{}{}
	state := s.state
	s.mu.Unlock()
	switch state {
	case serverDraining:
		_ = c.sess.Drain() // an error means that it has ended
	case serverClosed:
		c.shut()
	}
}

// remove takes out a connection that has ended.
func (s *Server) remove(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.release(c.place)
}
