package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// A fakeSession is a session that ends and counts as a test says. Only what a
// Recorder uses works.
type fakeSession struct {
	transport.Session
	protocol transport.Protocol
	ctx      context.Context
	cancel   context.CancelCauseFunc

	mu    sync.Mutex // guards the following
	stats transport.Stats
	asked int // calls of Stats
}

func newFake(p transport.Protocol) *fakeSession {
	s := &fakeSession{protocol: p, stats: transport.Stats{RTT: -1}}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s
}

func (s *fakeSession) Info() transport.Info     { return transport.Info{Protocol: s.protocol} }
func (s *fakeSession) Context() context.Context { return s.ctx }

func (s *fakeSession) Stats() transport.Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	return s.stats
}

func (s *fakeSession) count(f func(*transport.Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.stats)
}

// rtt sets the round-trip time.
func (s *fakeSession) rtt(d time.Duration) { s.count(func(st *transport.Stats) { st.RTT = d }) }

// end ends the session by the application at this side.
func (s *fakeSession) end() { s.cancel(&transport.SessionError{}) }
