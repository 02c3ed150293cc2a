package sessionstate

import (
	"fmt"
	"sync"
)

// Default caps of a Budget, in bytes.
const (
	DefaultConnectionBudget = 32 << 20
	DefaultServerBudget     = 512 << 20
)

// Pressure says how much of a Budget is used.
type Pressure uint8

const (
	PressureNone Pressure = iota // below three quarters of every cap
	PressureHigh                 // windows stop growing
	PressureFull                 // no new credit is given
)

// String returns "none", "high" or "full".
func (p Pressure) String() string {
	switch p {
	case PressureNone:
		return "none"
	case PressureHigh:
		return "high"
	case PressureFull:
		return "full"
	}
	return "unknown pressure"
}

// A Budget bounds the bytes that peers make this side hold: received and not
// read, queued, half assembled. It counts bytes held, not credit given, so that
// many quiet sessions cost nothing. One Budget is a connection's, inside
// another that is the server's.
//
// At three quarters of the cap windows stop growing. At the cap nobody gets new
// credit, and a session is ended: among those that hold at least half of what
// the largest one holds, the one registered last. So an attacker who comes with
// many sessions loses those, and one large session of long standing stays. The
// bytes of a session that is being ended count as gone for the next choice.
//
// A Budget is safe for use from any goroutine. Its lock is held while nothing
// else is called and no other lock is taken; what a call causes outside comes
// out as an [Effect].
type Budget struct {
	parent *Budget
	limit  int64

	mu      sync.Mutex // guards the following
	held    int64
	ending  int64 // part of held: by holders being ended
	shares  choice
	waiting []*share // want to know when held is below the cap; in no order
}

// NewBudget returns an empty Budget with a cap in bytes, which must be
// positive. Parent, if not nil, counts all that this one holds besides.
func NewBudget(limit int64, parent *Budget) *Budget {
	if limit <= 0 {
		panic("BUG: sessionstate: Budget without a cap")
	}
	return &Budget{parent: parent, limit: limit}
}

// Held returns the bytes held now.
func (b *Budget) Held() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held
}

// Limit returns the cap.
func (b *Budget) Limit() int64 { return b.limit }

// pressureLocked is the pressure of this level alone.
func (b *Budget) pressureLocked() Pressure {
	switch {
	case b.held >= b.limit:
		return PressureFull
	case b.held >= b.limit-b.limit/4:
		return PressureHigh
	}
	return PressureNone
}

// victimLocked chooses who has to go, or nil if nobody has to or can.
func (b *Budget) victimLocked() *Holder {
	if b.held-b.ending < b.limit {
		return nil
	}
	if s := b.shares.newest(); s != nil {
		return s.holder
	}
	return nil
}

// A share is what one holder holds at one level.
type share struct {
	budget *Budget
	holder *Holder

	// The following are guarded by budget.mu.
	held   int64
	slot   int // in budget.shares
	waits  int // its place in budget.waiting plus one, 0 if it is not there
	ending bool
	closed bool
}

// countLocked counts n bytes more or, if n is negative, less.
func (s *share) countLocked(n int64) {
	s.held += n
	s.budget.held += n
	switch {
	case s.ending:
		s.budget.ending += n
	case s.holder.end != nil:
		s.budget.shares.set(s, s.held)
	}
}

// stopWaitingLocked takes the share out of those that wait for room.
func (s *share) stopWaitingLocked() {
	if s.waits == 0 {
		return
	}
	b := s.budget
	last := len(b.waiting) - 1
	moved := b.waiting[last]
	b.waiting[s.waits-1], moved.waits = moved, s.waits
	b.waiting[last] = nil
	b.waiting = b.waiting[:last]
	s.waits = 0
}

// A Holder is one session, or other owner of memory, in a [Budget] and in all
// that it lies in.
type Holder struct {
	shares   []share // innermost first
	end      func()
	relieved func()
}

// Register adds a holder. End is called when it has to give up what it holds;
// a nil end says that it cannot. Relieved is called when a [Holder.Credit] that
// was PressureFull may be asked again; it may be nil. Both are called by
// [Effect.Run] on any goroutine, possibly also just after Close; end at most
// once.
func (b *Budget) Register(end, relieved func()) *Holder {
	h := &Holder{end: end, relieved: relieved}
	for ; b != nil; b = b.parent {
		h.shares = append(h.shares, share{budget: b, holder: h})
	}
	for i := range h.shares {
		s := &h.shares[i]
		s.budget.mu.Lock()
		s.budget.shares.add(s)
		s.budget.mu.Unlock()
	}
	return h
}

// An Effect is what a change of a [Budget] causes elsewhere. The nil Effect is
// nothing, and the usual one.
type Effect struct {
	end      []*Holder
	relieved []*Holder
}

// Run carries the effect out. It calls functions given to [Budget.Register], so
// the caller must not hold any lock.
func (e *Effect) Run() {
	if e == nil {
		return
	}
	for _, h := range e.end {
		h.end()
	}
	for _, h := range e.relieved {
		if h.relieved != nil {
			h.relieved()
		}
	}
}

// Hold counts n more bytes as held. After Close it does nothing.
func (h *Holder) Hold(n int) *Effect {
	if n < 0 {
		panic(fmt.Sprintf("BUG: sessionstate: %d bytes held", n))
	}
	var e *Effect
	for i := range h.shares {
		s := &h.shares[i]
		// One victim may not be enough. Each turn takes one out of the choice.
		for victim := s.hold(int64(n)); victim != nil; victim = s.hold(0) {
			if !victim.markEnding() {
				continue
			}
			if e == nil {
				e = new(Effect)
			}
			e.end = append(e.end, victim)
		}
	}
	return e
}

// hold counts n bytes and names the holder that has to go for it, if any.
func (s *share) hold(n int64) (victim *Holder) {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	if s.closed {
		return nil
	}
	s.countLocked(n)
	return s.budget.victimLocked()
}

// markEnding takes the holder out of the choice at every level. It reports
// whether it was the first to do so, which the innermost level decides.
func (h *Holder) markEnding() bool {
	first := true
	for i := range h.shares {
		s := &h.shares[i]
		s.budget.mu.Lock()
		if s.ending || s.closed {
			first = first && i > 0
		} else {
			s.ending = true
			s.budget.ending += s.held
			s.budget.shares.set(s, 0)
		}
		s.budget.mu.Unlock()
	}
	return first
}

// Release counts n bytes as no longer held. More than are held is a bug of the
// caller and panics. After Close it does nothing.
func (h *Holder) Release(n int) *Effect {
	if n < 0 {
		panic(fmt.Sprintf("BUG: sessionstate: %d bytes released", n))
	}
	var e *Effect
	for i := range h.shares {
		e = h.shares[i].release(int64(n), false, e)
	}
	return e
}

// Close releases all that is held and takes the holder out of the Budget. A
// second Close does nothing.
func (h *Holder) Close() *Effect {
	var e *Effect
	for i := range h.shares {
		e = h.shares[i].release(0, true, e)
	}
	return e
}

// release gives back n bytes, or everything and the share itself. It adds those
// who waited for it to e.
func (s *share) release(n int64, all bool, e *Effect) *Effect {
	b := s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.closed {
		return e
	}
	if all {
		n = s.held
		s.closed = true
		s.stopWaitingLocked()
	}
	if n > s.held {
		panic(fmt.Sprintf("BUG: sessionstate: %d bytes released of %d held", n, s.held))
	}
	s.countLocked(-n)
	if all {
		b.shares.remove(s)
	}
	if b.held >= b.limit || len(b.waiting) == 0 {
		return e
	}
	if e == nil {
		e = new(Effect)
	}
	for _, w := range b.waiting {
		w.waits = 0
		e.relieved = append(e.relieved, w.holder)
	}
	b.waiting = nil // a large one is not to be kept for ever
	return e
}

// Credit is asked before new credit is given to the peer. It returns the worst
// pressure of all levels. If that is PressureFull, the holder's relieved
// function will be called when there is room again.
func (h *Holder) Credit() Pressure {
	worst := PressureNone
	for i := range h.shares {
		s := &h.shares[i]
		s.budget.mu.Lock()
		p := s.budget.pressureLocked()
		if p == PressureFull && !s.closed && s.waits == 0 {
			s.budget.waiting = append(s.budget.waiting, s)
			s.waits = len(s.budget.waiting)
		}
		s.budget.mu.Unlock()
		worst = max(worst, p)
	}
	return worst
}

// Held returns the bytes that the holder holds.
func (h *Holder) Held() int64 {
	s := &h.shares[0]
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	return s.held
}
