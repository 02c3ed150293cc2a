package h3wt

import (
	"fmt"
	"os"
	"time"

	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// A pacing holds the peer to Config.IncomingByteRate. With session flow control
// the session's credit is withheld. Without it Read takes no more than the rate
// allows, and QUIC's windows, of each stream and of the connection, do the rest.
type pacing struct {
	pace *sessionstate.Pace // nil: no limit
	// withheld says that credit is due and a timer runs for it.
	withheld bool
	timer    *time.Timer
}

// updateWindowLocked returns the limit of WT_MAX_DATA, as far as the pace allows
// it now, and how long the rest has to wait. All says that what is little, and so not due by itself, counts too.
func (s *Session) updateWindowLocked(now time.Time, rtt time.Duration, p sessionstate.Pressure, all bool) (limit uint64, ok bool, wait time.Duration) {
	gain := s.window.Gain()
	if p == sessionstate.PressureFull || gain == 0 || s.pacing.withheld || !all && !s.window.Due() {
		return 0, false, 0
	}
	most := uint64(sessionstate.MaxOffset)
	if s.pacing.pace != nil {
		most, wait = s.pacing.pace.Take(now, gain)
	}
	if all {
		limit, ok = s.window.RestBy(p, most)
	} else {
		limit, ok = s.window.UpdateBy(now, rtt, p, most)
	}
	if wait > 0 {
		s.withholdLocked(wait)
	}
	return limit, ok, wait
}

// withholdLocked has credit wait.
func (s *Session) withholdLocked(wait time.Duration) {
	p := &s.pacing
	p.withheld = true
	s.stats.Throttled++
	if p.timer == nil {
		p.timer = time.AfterFunc(wait, s.paceUp) // does nothing once the session has ended
	} else {
		p.timer.Reset(wait)
	}
}

// paceUp runs when credit has waited for long enough.
func (s *Session) paceUp() {
	s.mu.Lock()
	s.pacing.withheld = false
	s.mu.Unlock()
	s.giveCredit()
}

// readPaced is a Read without session flow control and with a rate. It waits for
// data before it takes from what the rate allows, so that a stream on which
// nothing comes keeps nothing from others.
func (p *recvPart) readPaced(b []byte) (int, error) {
	var one [1]byte
	if _, err := p.q.Peek(one[:]); err != nil {
		return p.q.Read(b) // it meets the same error, and ends the stream with it
	}
	allowed, err := p.awaitPace(len(b))
	if err != nil {
		return 0, err
	}
	n, err := p.q.Read(b[:min(allowed, len(b))])
	s := p.d.s
	s.mu.Lock()
	s.pacing.pace.Return(uint64(max(allowed-n, 0)))
	s.mu.Unlock()
	return n, err
}

// awaitPace waits until the rate allows to read something and takes up to want
// bytes of it. What need not be paced any more returns at once: the Read that
// follows says what has become of the stream.
func (p *recvPart) awaitPace(want int) (int, error) {
	s := p.d.s
	for told := false; ; {
		s.mu.Lock()
		now := time.Now()
		if s.err != nil || p.state.over() {
			s.mu.Unlock()
			return want, nil
		}
		deadline := p.deadline
		if !deadline.IsZero() && !deadline.After(now) {
			s.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		}
		n, wait := s.pacing.pace.Take(now, uint64(want))
		if n > 0 {
			s.mu.Unlock()
			return int(n), nil
		}
		if !told {
			s.stats.Throttled++
		}
		if p.paused == nil {
			p.paused = make(chan struct{})
		}
		paused := p.paused
		s.mu.Unlock()
		if !told {
			s.withheld(wait)
			told = true
		}
		if !deadline.IsZero() {
			wait = min(wait, time.Until(deadline))
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-paused:
		case <-s.ctx.Done():
		}
		t.Stop()
	}
}

// unpauseLocked has a Read that waits for the rate look again: its deadline has
// moved, or it is over.
func (p *recvPart) unpauseLocked() {
	if p.paused != nil {
		close(p.paused)
		p.paused = nil
	}
}

// An idling ends a session without traffic, for Config.IdleTimeout. Its timer runs
// as long as the session, and looks only when it fires at what happened since.
type idling struct {
	last  time.Time
	timer *time.Timer
}

// watchIdle begins to wait for traffic.
func (s *Session) watchIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.cfg.IdleTimeout; d > 0 && s.err == nil {
		s.idling.last = time.Now()
		s.idling.timer = time.AfterFunc(d, s.idleUp) // stopped at the session's end
	}
}

// trafficLocked notes that a stream was opened, or stream data or a datagram came
// or went.
func (s *Session) trafficLocked() {
	if s.cfg.IdleTimeout > 0 {
		s.idling.last = time.Now()
	}
}

// idleUp runs on a goroutine of its own.
func (s *Session) idleUp() {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	if left := time.Until(s.idling.last.Add(s.cfg.IdleTimeout)); left > 0 {
		s.idling.timer.Reset(left)
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	s.closeFor(&transport.SessionError{Reason: "idle", Err: &transport.LimitError{
		Limit: transport.LimitSessionIdle, Reason: fmt.Sprintf("no data for %v", s.cfg.IdleTimeout),
	}}) // nobody is there to be told how it went
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

// throttled counts a datagram above Config.IncomingDatagramRate, and says so.
func (s *Session) throttled(size int) {
	s.mu.Lock()
	s.stats.DatagramsReceived++
	s.stats.DatagramsThrottled++
	s.mu.Unlock()
	s.droppedDatagram(false, size, 0, droppedRate)
}

// newDatagramRate returns nil if there is no limit.
func newDatagramRate(now time.Time, r transport.Rate) *sessionstate.FloodGuard {
	if r.PerSecond <= 0 {
		return nil
	}
	return sessionstate.NewRateGuard(now, r, transport.Rate{})
}
