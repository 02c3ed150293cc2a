package h2conn

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/net/http2/hpack"
)

// Open is what OpenStream sends.
type Open struct {
	// Fields are the request's fields, pseudo-header fields first, names in
	// lower case. They must not be changed afterwards.
	Fields []hpack.HeaderField
	// End is set if the request has no body.
	End bool
	// Receiver gets what comes back.
	Receiver Receiver
	// Source gives the body; it may also be set later.
	Source Source
	// OnWrite, if set, is called on the write goroutine when the HEADERS frame is
	// about to be encoded: peer are the settings we have acknowledged before it.
	// An error means that nothing is sent; the stream then ends without a call to
	// the Receiver.
	OnWrite func(st *Stream, peer Settings) error
}

// ErrHeaderListTooLarge is returned by OpenStream for a request that is larger
// than the peer's MAX_HEADER_LIST_SIZE.
var ErrHeaderListTooLarge = errors.New("h2conn: header list exceeds the peer's limit")

// A waiter is an OpenStream call that waits. granted is closed once st or err is
// set.
type waiter struct {
	open    *Open
	granted chan struct{}
	st      *Stream
	err     error
}

// OpenStream opens a client's stream. It waits until the peer's first SETTINGS
// have come and its stream limit allows another, or ctx is done; with ctx done
// and the limit not reached it succeeds. The HEADERS are written after the
// SETTINGS acknowledgement. Errors: ErrStreamLimit joined with the context's
// cause, ErrGoAway, ErrHeaderListTooLarge, *ConnError, or what is wrong with the
// fields.
func (c *Conn) OpenStream(ctx context.Context, o *Open) (*Stream, error) {
	if c.server {
		return nil, errors.New("h2conn: a server cannot open streams")
	}
	if err := checkOwnFields(o.Fields, requestFields); err != nil {
		return nil, err
	}
	w := &waiter{open: o, granted: make(chan struct{})}
	c.mu.Lock()
	c.waiters = append(c.waiters, w)
	c.grantLocked()
	c.unlock()
	select {
	case <-w.granted:
		return w.st, w.err
	default:
	}
	select {
	case <-w.granted:
		return w.st, w.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.unlock()
	if i := slices.Index(c.waiters, w); i >= 0 {
		c.waiters = slices.Delete(c.waiters, i, i+1)
		return nil, fmt.Errorf("%w: %w", ErrStreamLimit, context.Cause(ctx))
	}
	return w.st, w.err // granted while ctx ended
}

// CanOpen tells whether OpenStream would succeed without waiting.
func (c *Conn) CanOpen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.server && c.phase == phaseOpen && len(c.waiters) == 0 && c.slotLocked()
}

// slotLocked tells whether the peer's limit allows another stream. Streams not
// written yet count: the peer will see them.
func (c *Conn) slotLocked() bool {
	return c.peerSettled && uint64(len(c.streams)) < uint64(c.peer.MaxConcurrentStreams)
}

// grantLocked opens streams for those who wait longest.
func (c *Conn) grantLocked() {
	for c.phase == phaseOpen && len(c.waiters) > 0 && c.slotLocked() {
		w := c.waiters[0]
		c.waiters = slices.Delete(c.waiters, 0, 1)
		w.st, w.err = c.openLocked(w.open)
		close(w.granted)
	}
	if c.phase != phaseOpen {
		c.failWaitersLocked()
	}
}

func (c *Conn) failWaitersLocked() {
	for _, w := range c.waiters {
		w.err = ErrGoAway
		if c.err != nil {
			w.err = c.err
		}
		close(w.granted)
	}
	c.waiters = nil
}

func (c *Conn) openLocked(o *Open) (*Stream, error) {
	// The limit is advisory (section 6.5.2); a request above it would be refused.
	if listSize(o.Fields) > uint64(c.peer.MaxHeaderListSize) {
		return nil, ErrHeaderListTooLarge
	}
	if c.nextID > maxStreamID {
		// "A client that is unable to establish a new stream identifier can
		// establish a new connection": section 5.1.1.
		c.setPhaseLocked(phaseClosing)
		c.checkDrainedLocked()
		return nil, ErrGoAway
	}
	s := c.newStreamLocked(c.nextID)
	c.nextID += 2
	s.recvr, s.src = o.Receiver, o.Source
	for _, f := range o.Fields {
		if f.Name == ":method" {
			s.method = f.Value
			break
		}
	}
	c.queueHeadersLocked(&headersOut{st: s, fields: o.Fields, end: o.End, open: o})
	if s.src != nil {
		s.woken = true
	}
	return s, nil
}
