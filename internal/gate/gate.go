// Package gate is a monitor with one bit: a lock that remembers whether the
// condition which others wait for holds, so that one can wait for the condition
// and the lock together and give up for a context or a deadline.
//
//	q.gate.Lock()
//	q.items = append(q.items, item)
//	q.gate.Unlock(true) // somebody who waits may have the lock now
//
//	if err := q.gate.Wait(ctx, q.deadline.Done()); err != nil {
//		return err
//	}
//	item := q.items[0]
//	q.items = q.items[1:]
//	q.gate.Unlock(len(q.items) > 0)
package gate

import (
	"context"
	"os"
)

// A Gate is a lock with one bit, which is set or not while nobody holds the
// lock. Make one with [New]; it must not be copied. Its methods may be called
// from any goroutine.
//
// It is a monitor for data of its own. What a session's or a connection's mutex
// guards is not put under a Gate besides.
type Gate struct {
	// Exactly one token exists. While the lock is free it lies in one of these
	// two channels, which is what says whether the bit is set.
	set   chan struct{}
	unset chan struct{}
}

// New returns an unlocked Gate with the bit as given.
func New(set bool) *Gate {
	g := &Gate{set: make(chan struct{}, 1), unset: make(chan struct{}, 1)}
	g.Unlock(set)
	return g
}

// Lock waits for the lock, whatever the bit is, and returns the bit.
func (g *Gate) Lock() (set bool) {
	select {
	case <-g.set:
		return true
	case <-g.unset:
		return false
	}
}

// Unlock frees the lock and sets the bit. If it is set, one of those in Wait
// gets the lock. Unlocking a Gate that nobody holds panics.
func (g *Gate) Unlock(set bool) {
	if len(g.set)+len(g.unset) > 0 {
		panic("BUG: gate: Unlock of an unlocked Gate")
	}
	if set {
		g.set <- struct{}{}
	} else {
		g.unset <- struct{}{}
	}
}

// LockIfSet takes the lock if it is free and the bit is set, without waiting.
func (g *Gate) LockIfSet() bool {
	select {
	case <-g.set:
		return true
	default:
		return false
	}
}

// Wait waits until the bit is set and returns nil with the lock held. If ctx
// ends first it returns [context.Cause]; if expired is closed first it returns
// [os.ErrDeadlineExceeded]; then the lock is not held. A Gate that is free with
// the bit set is taken even if ctx has ended or expired is closed. A nil
// expired never ends the waiting.
func (g *Gate) Wait(ctx context.Context, expired <-chan struct{}) error {
	if g.LockIfSet() {
		return nil
	}
	select {
	case <-g.set:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-expired:
		return os.ErrDeadlineExceeded
	}
}
