// Package deadline is a deadline in the sense of net.Conn, offered as a channel
// to wait on: it can be renewed at any time, also while somebody waits.
//
//	r.deadline.Set(t)                 // SetReadDeadline
//	select {
//	case <-r.deadline.Done():         // os.ErrDeadlineExceeded
//	case <-ready:
//	}
package deadline

import (
	"sync"
	"time"
)

// A Deadline is a point in time that may be moved. The zero Deadline never
// passes. It must not be copied after first use. Its methods may be called from
// any goroutine, and with no other lock held: the Deadline has its own.
//
// A Deadline that is set holds a timer, and the timer what the Deadline is part
// of, until it passes, is set to the zero time, or is stopped.
type Deadline struct {
	mu      sync.Mutex // guards the following
	done    chan struct{}
	passed  bool // done is closed, or would be if it existed
	timer   *time.Timer
	setting uint64 // counts calls of Set, so that an overtaken timer does nothing
}

// Set moves the deadline to t. A t that is not in the future passes at once;
// the zero time means no deadline. Waiters see the new deadline: one that is
// moved away before it passed does not wake them. Once it has passed, Set makes
// a new channel, and those who waited on the old one stay woken.
func (d *Deadline) Set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopLocked()
	left := time.Duration(1)
	if !t.IsZero() {
		left = time.Until(t)
	}
	if left <= 0 {
		d.passLocked()
		return
	}
	if d.passed {
		d.passed = false
		d.done = nil
	}
	if t.IsZero() {
		return
	}
	setting := d.setting
	d.timer = time.AfterFunc(left, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.setting == setting {
			d.timer = nil
			d.passLocked()
		}
	})
}

// Stop frees the timer of a deadline that nobody waits for any more. If it has
// not passed, it does not pass until it is set again.
func (d *Deadline) Stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stopLocked()
}

// stopLocked overtakes the timer, if there is one.
func (d *Deadline) stopLocked() {
	d.setting++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

// Done returns a channel that is closed when the deadline passes. It has to be
// asked for again after a Set on a deadline that had passed; a waiter who asks
// for it each time it begins to wait is always right.
func (d *Deadline) Done() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.done == nil {
		d.done = make(chan struct{})
		if d.passed {
			close(d.done)
		}
	}
	return d.done
}

// Passed reports whether the deadline has passed.
func (d *Deadline) Passed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.passed
}

func (d *Deadline) passLocked() {
	if d.passed {
		return
	}
	d.passed = true
	if d.done != nil {
		close(d.done)
	}
}
