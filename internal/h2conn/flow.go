package h2conn

import "time"

// maxWindow is the largest flow-control window (RFC 9113, section 6.9.1).
const maxWindow = 1<<31 - 1

// A sendWindow is what the peer allows us to send. It may be negative: the peer
// lowered INITIAL_WINDOW_SIZE (RFC 9113, section 6.9.2).
type sendWindow int64

// add changes the window by n and tells whether it stays in its range.
func (w *sendWindow) add(n int64) bool {
	if int64(*w)+n > maxWindow {
		return false
	}
	*w += sendWindow(n)
	return true
}

// A recvWindow is what we allow the peer to send. At any time
//
//	limit = available + credit + bytes received and not consumed
//
// unless INITIAL_WINDOW_SIZE was lowered, when available may be negative.
type recvWindow struct {
	limit     int64 // the window's size
	max       int64 // limit may grow to this
	available int64 // bytes the peer may still send
	credit    int64 // consumed bytes not announced yet
	epoch     time.Time
}

func newRecvWindow(limit, maximum int64) recvWindow {
	return recvWindow{limit: limit, max: max(limit, maximum), available: limit}
}

// take counts n received bytes; false means that the peer exceeded the window.
func (w *recvWindow) take(n int64) bool {
	if n > w.available {
		return false
	}
	w.available -= n
	return true
}

// give counts n bytes as consumed.
func (w *recvWindow) give(n int64) { w.credit += n }

// due tells whether a WINDOW_UPDATE is worth sending: at half a window the peer
// is never stopped by waiting, and a small one is never sent.
func (w *recvWindow) due() bool { return w.credit > 0 && w.credit >= w.limit/2 }

// leastRTT is the shortest round-trip time that windows are made for: on a fast
// path it takes longer than packets do until both ends have acted on an update,
// and each costs them more than the bytes it is for.
const leastRTT = time.Millisecond

// announce returns the increment to send, at least 1. The window doubles if it
// was used up so fast that it, rather than the path, may be what limits the peer:
// at a rate above a quarter of a window per round trip.
func (w *recvWindow) announce(now time.Time, rtt time.Duration, mayGrow bool) uint32 {
	if mayGrow && rtt > 0 && !w.epoch.IsZero() && w.limit < w.max {
		share := float64(w.credit) / float64(w.limit)
		if float64(now.Sub(w.epoch)) < 4*share*float64(max(rtt, leastRTT)) {
			grown := min(2*w.limit, w.max)
			w.credit += grown - w.limit
			w.limit = grown
		}
	}
	w.epoch = now
	n := w.credit
	w.credit = 0
	w.available += n
	return uint32(n)
}

// resize follows a change of our INITIAL_WINDOW_SIZE.
func (w *recvWindow) resize(delta int64) {
	w.limit += delta
	w.max = max(w.max, w.limit)
	w.available += delta
}
