package h2wt

import (
	"maps"
	"net/http"
	"slices"
	"sync"

	"github.com/towpath-go/towpath/internal/session"
)

// fieldOverhead is about what a field of an http.Header takes besides its bytes.
const fieldOverhead = 64

// headerMemory is what the header that a session's Info keeps takes. It is charged
// to the account of the session until that ends: a peer that makes sessions with
// nothing but large headers is found by it like one that fills windows.
func headerMemory(h http.Header) (n int) {
	for key, values := range h {
		for _, v := range values {
			n += len(key) + len(v) + fieldOverhead
		}
	}
	return n
}

// sessionSet is the sessions of one connection, and what all of them are told.
type sessionSet struct {
	mu       sync.Mutex // guards the following
	sessions map[*session.Session]struct{}
	away     bool // the peer said GOAWAY
	draining bool // we are shutting down
}

// add takes a session in and tells it what the others were told.
func (s *sessionSet) add(ss *session.Session) {
	s.mu.Lock()
	if s.sessions == nil {
		s.sessions = make(map[*session.Session]struct{})
	}
	s.sessions[ss] = struct{}{}
	away, draining := s.away, s.draining
	s.mu.Unlock()
	if away {
		ss.PeerDraining()
	}
	if draining {
		_ = ss.Drain() // an error means that it has ended
	}
}

func (s *sessionSet) remove(ss *session.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, ss)
}

// peerAway tells every session that the peer said GOAWAY:
// draft-ietf-webtrans-http2 "Session Termination" has it act as a drain.
func (s *sessionSet) peerAway() {
	s.mu.Lock()
	s.away = true
	all := slices.Collect(maps.Keys(s.sessions))
	s.mu.Unlock()
	for _, ss := range all {
		ss.PeerDraining()
	}
}

// drain asks the peer of every session to wind it down.
func (s *sessionSet) drain() {
	s.mu.Lock()
	s.draining = true
	all := slices.Collect(maps.Keys(s.sessions))
	s.mu.Unlock()
	for _, ss := range all {
		_ = ss.Drain() // an error means that it has ended
	}
}
