package session

import (
	"fmt"
	"time"

	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// A pacing withholds the session's credit for Config.IncomingByteRate. That of
// streams needs no pace of its own: all stream data counts for the session, so
// that a peer with credit for streams alone cannot send.
type pacing struct {
	pace  *sessionstate.Pace
	timer *time.Timer // nil if none was needed yet
	// withheld says that timer runs: WT_MAX_DATA is due and waits.
	withheld bool
}

// updateWindowLocked returns the limit of WT_MAX_DATA, as far as the budget and
// the pace allow it now.
func (s *Session) updateWindowLocked(now time.Time) (limit uint64, ok bool) {
	pressure := s.pressureLocked()
	if pressure == sessionstate.PressureFull {
		return 0, false
	}
	n, wait := s.pacing.pace.Take(now, s.window.Gain())
	if s.pacing.pace == nil {
		n = sessionstate.MaxOffset
	}
	limit, ok = s.window.UpdateBy(now, s.growthRTTLocked(), pressure, n)
	if wait > 0 && s.window.Due() {
		s.withholdLocked(wait)
	}
	return limit, ok
}

// withholdLocked has credit wait.
func (s *Session) withholdLocked(wait time.Duration) {
	p := &s.pacing
	p.withheld = true
	s.stats.Throttled++
	s.noteLocked(event{what: eventThrottled, age: wait})
	if p.timer == nil {
		p.timer = time.AfterFunc(wait, s.paceUp)
	} else {
		p.timer.Reset(wait)
	}
}

// paceUp runs when credit has waited for long enough.
func (s *Session) paceUp() {
	s.mu.Lock()
	defer s.unlock()
	s.pacing.withheld = false
	if s.err == nil {
		s.wakeLocked()
	}
}

// An idling ends a session without traffic, for Config.IdleTimeout. Its timer runs
// as long as the session, and looks only when it fires at what happened since.
type idling struct {
	last  time.Duration // when there was traffic, since the session began
	timer *time.Timer
}

// watchIdleLocked begins to wait for traffic.
func (s *Session) watchIdleLocked(now time.Time) {
	if d := s.cfg.IdleTimeout; d > 0 {
		s.idling.last = now.Sub(s.began)
		s.idling.timer = time.AfterFunc(d, s.idleUp)
	}
}

// trafficLocked notes that a stream was opened, or stream data or a datagram came
// or went. A zero time means now.
func (s *Session) trafficLocked(now time.Time) {
	if s.cfg.IdleTimeout <= 0 {
		return
	}
	if now.IsZero() {
		now = time.Now()
	}
	s.idling.last = now.Sub(s.began)
}

func (s *Session) idleUp() {
	s.mu.Lock()
	defer s.unlock()
	if s.err != nil {
		return
	}
	if left := s.idling.last + s.cfg.IdleTimeout - time.Since(s.began); left > 0 {
		s.idling.timer.Reset(left)
		return
	}
	s.startCloseLocked(&transport.SessionError{Reason: "idle", Err: &transport.LimitError{
		Limit: transport.LimitSessionIdle, Reason: fmt.Sprintf("no data for %v", s.cfg.IdleTimeout),
	}})
}

// stopTimersLocked stops what runs only while the session is open.
func (s *Session) stopTimersLocked() {
	if t := s.pacing.timer; t != nil {
		t.Stop()
	}
	if t := s.idling.timer; t != nil {
		t.Stop()
	}
}
