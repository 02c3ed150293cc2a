package session

import (
	"runtime"
	"time"

	"github.com/towpath-go/towpath/internal/sessionstate"
)

// Flow control of what is received: draft-ietf-webtrans-http2 "Flow Control",
// levels 4 (session) and 5 (stream). Every byte counts at both from its
// capsule's header on. It is given back when the application reads it or when
// it is discarded, at the session's level also for streams that are over.

// leastRTT is the shortest round-trip time that windows are made for: on a fast
// path it takes longer than packets do until both ends have acted on a limit, and
// each costs them more than the bytes it is for.
const leastRTT = time.Millisecond

// growthRTTLocked returns the round-trip time by which windows grow, 0 if it is
// not known.
func (s *Session) growthRTTLocked() time.Duration {
	if s.rtt <= 0 {
		return 0
	}
	return max(s.rtt, leastRTT)
}

// consumeLocked gives n bytes back to the session's window.
func (s *Session) consumeLocked(n int) {
	if n == 0 {
		return
	}
	s.window.Consume(uint64(n))
	if s.err == nil && s.window.Due() && !s.pacing.withheld {
		s.wakeLocked()
	}
}

// readLocked counts n bytes of a stream as read or discarded.
func (s *Session) readLocked(st *stream, n int) {
	if n == 0 {
		return
	}
	st.recv.win.Consume(uint64(n))
	s.creditLocked(st)
	s.consumeLocked(n)
}

// creditLocked makes WT_MAX_STREAM_DATA due if the stream's limit is to rise.
func (s *Session) creditLocked(st *stream) {
	if s.err == nil && st.recv.growing() && st.recv.win.Due() {
		s.dirtyLocked(st)
	}
}

// relieved is called when the budget, which was full when credit was withheld,
// has room again.
func (s *Session) relieved() {
	s.mu.Lock()
	defer s.unlock()
	if s.err != nil {
		return
	}
	s.starved = false
	for _, st := range s.streams {
		s.creditLocked(st)
	}
	s.wakeLocked()
}

// budgetStep is the unit in which memory is charged, so that small messages do
// not touch the budget's locks each.
const budgetStep = 4 << 10

// chargeLocked counts memory held for the session, or freed if n is negative.
func (s *Session) chargeLocked(n int) {
	if n == 0 {
		return
	}
	s.held += n
	want := (s.held + budgetStep - 1) / budgetStep * budgetStep
	var e *sessionstate.Effect
	switch {
	case want > s.charged:
		e = s.holder.Hold(want - s.charged)
	case want < s.charged-budgetStep || s.err != nil && want < s.charged:
		e = s.holder.Release(s.charged - want)
	default:
		return
	}
	s.charged = want
	s.effectLocked(e)
	if want == 0 && s.life == sessionstate.Closed {
		s.effectLocked(s.holder.Close())
	}
}

// Charge counts n bytes as held until the session ends, for what the carrier keeps
// on its account. They are not rounded up, so that many quiet sessions cost little.
func (s *Session) Charge(n int) {
	s.mu.Lock()
	defer s.unlock()
	if s.err == nil {
		s.overhead += n
		s.effectLocked(s.holder.Hold(n))
	}
}

// effectLocked has what a change of the budget causes done once the lock is free.
func (s *Session) effectLocked(e *sessionstate.Effect) {
	if e != nil {
		s.after.effects = append(s.after.effects, e)
	}
}

// settleLocked takes the session out of the budget's choice of whom to end, for
// it has ended. What streams still hold for the application to read stays
// charged until it is read or nobody refers to the session any more.
func (s *Session) settleLocked() {
	s.effectLocked(s.holder.Close())
	left := s.held
	s.held, s.charged = 0, 0
	if left == 0 {
		return
	}
	s.holder = s.budget.Register(nil, nil)
	s.chargeLocked(left)
	runtime.AddCleanup(s, func(h *sessionstate.Holder) { h.Close().Run() }, s.holder)
}
