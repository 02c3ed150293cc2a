package sessionstate

import (
	"fmt"
	"time"
)

// ReceiveWindow bounds the bytes received and not yet consumed, by an absolute
// limit announced to the peer. It grows with the measured bandwidth-delay
// product, from its initial size to its maximum.
//
// Received bytes count when they are announced by a capsule's header, consumed
// ones when the application has read them or when they were discarded. Every
// byte received has to be consumed in the end, or the window starves.
//
// Invariants: consumed <= received <= limit <= MaxOffset, none ever falls;
// received - consumed <= max(largest window, initial limit).
type ReceiveWindow struct {
	limit    uint64 // announced
	received uint64
	consumed uint64
	window   uint64 // size now
	max      uint64
	shared   bool // by several streams

	epoch         time.Time // of the last announcement; zero before the first
	epochConsumed uint64    // consumed at that time
}

// NewStreamWindow returns the window of one stream. Limit is what the peer was
// already allowed by settings, window and most the size and its maximum.
func NewStreamWindow(limit, window, most uint64) ReceiveWindow {
	return ReceiveWindow{
		limit:  min(limit, MaxOffset),
		window: min(window, MaxOffset),
		max:    min(max(window, most), MaxOffset),
	}
}

// NewSessionWindow returns the window that the streams of a session share.
func NewSessionWindow(limit, window, most uint64) ReceiveWindow {
	w := NewStreamWindow(limit, window, most)
	w.shared = true
	return w
}

// Receive counts n bytes from the peer. Beyond the limit it returns a
// flow-control error and counts nothing.
func (w *ReceiveWindow) Receive(n uint64) error {
	if left := w.limit - w.received; n > left {
		return flowControlError("%d bytes received with credit for %d", n, left)
	}
	w.received += n
	return nil
}

// Consume counts n bytes as read or discarded. More than Unread is a bug of the
// caller and panics.
func (w *ReceiveWindow) Consume(n uint64) {
	if n > w.Unread() {
		panic(fmt.Sprintf("BUG: sessionstate: %d bytes consumed of %d", n, w.Unread()))
	}
	w.consumed += n
}

// Unread returns the bytes received and not consumed.
func (w *ReceiveWindow) Unread() uint64 { return w.received - w.consumed }

// Received returns all bytes received so far.
func (w *ReceiveWindow) Received() uint64 { return w.received }

// Limit returns the limit that the peer is held to.
func (w *ReceiveWindow) Limit() uint64 { return w.limit }

// Window returns the size in force.
func (w *ReceiveWindow) Window() uint64 { return w.window }

// Due reports whether Update would announce a limit if there is no pressure. It
// changes nothing and costs little.
//
// A limit is announced when it gives back a quarter of the window. A shared
// window announces also whatever at least doubles the credit that the peer has
// left: the rest of the window may be held by streams that nobody reads, and
// the others must not wait for them. In a stream's window all that is unread
// can be read, so there the quarter is always reached.
func (w *ReceiveWindow) Due() bool {
	next := min(w.consumed+w.window, MaxOffset)
	if next <= w.limit {
		return false
	}
	gain := next - w.limit
	return gain >= w.window/4 || w.shared && gain >= w.limit-w.received
}

// Update returns the limit to announce, if one is due, and from then on holds
// the peer to it. It is to be called when bytes were consumed or received.
//
// The window doubles if more than half of it was consumed per round trip since
// the last announcement: then the peer has to wait for credit, or soon would.
// An rtt of 0 or less means unknown and does not grow it, nor does
// [PressureHigh]. With [PressureFull] nothing is announced.
func (w *ReceiveWindow) Update(now time.Time, rtt time.Duration, p Pressure) (limit uint64, ok bool) {
	return w.UpdateBy(now, rtt, p, MaxOffset)
}

// UpdateBy is Update with a limit that is at most most bytes above the one before,
// for a [Pace].
func (w *ReceiveWindow) UpdateBy(now time.Time, rtt time.Duration, p Pressure, most uint64) (limit uint64, ok bool) {
	if p == PressureFull || most == 0 || !w.Due() {
		return 0, false
	}
	if p == PressureNone && w.limited(now, rtt) {
		w.window = min(w.window*2, w.max)
	}
	w.epoch, w.epochConsumed = now, w.consumed
	w.limit = min(w.consumed+w.window, w.limit+min(most, MaxOffset-w.limit))
	return w.limit, true
}

// Gain returns how many bytes of credit Update would give if it does not grow the
// window.
func (w *ReceiveWindow) Gain() uint64 {
	return max(min(w.consumed+w.window, MaxOffset), w.limit) - w.limit
}

// Remainder reports whether an announcement would give something back that is too
// little to be due. It changes nothing.
func (w *ReceiveWindow) Remainder() bool {
	return min(w.consumed+w.window, MaxOffset) > w.limit && !w.Due()
}

// Rest returns the limit that gives back everything, however little, if that is
// more than was announced, and from then on holds the peer to it. It is for a
// backend that learns of received bytes late, when nothing was consumed for a
// while: what Due takes for credit that the peer has left may be held by streams
// that nobody reads. It does not grow the window. With [PressureFull] nothing is
// announced.
func (w *ReceiveWindow) Rest(p Pressure) (limit uint64, ok bool) {
	return w.RestBy(p, MaxOffset)
}

// RestBy is Rest with a limit that is at most most bytes above the one before, for
// a [Pace].
func (w *ReceiveWindow) RestBy(p Pressure, most uint64) (limit uint64, ok bool) {
	gain := min(w.Gain(), most)
	if p == PressureFull || gain == 0 {
		return 0, false
	}
	w.limit += gain
	return w.limit, true
}

// Consumed returns all bytes consumed so far.
func (w *ReceiveWindow) Consumed() uint64 { return w.consumed }

// limited reports whether the size of the window holds the peer back.
func (w *ReceiveWindow) limited(now time.Time, rtt time.Duration) bool {
	if rtt <= 0 || w.epoch.IsZero() {
		return false
	}
	// consumed per round trip = delta * rtt / elapsed, in floating point
	// since the products do not fit 64 bits.
	delta := float64(w.consumed - w.epochConsumed)
	return 2*delta*float64(rtt) > float64(w.window)*float64(now.Sub(w.epoch))
}
