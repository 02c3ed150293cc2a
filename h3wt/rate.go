package h3wt

import (
	"sync"
	"time"
)

// rate limits how many sessions a connection may ask for per second
// (draft-ietf-webtrans-http3 "Limiting the Number of Simultaneous Sessions").
type rate struct {
	perSecond float64 // 0: no limit

	mu   sync.Mutex // guards the following
	left float64
	last time.Time
}

func newRate(perSecond int) *rate {
	return &rate{perSecond: float64(perSecond), left: 2 * float64(perSecond), last: time.Now()}
}

// take reports whether one more is allowed.
func (r *rate) take(now time.Time) bool {
	if r.perSecond == 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.left = min(r.left+now.Sub(r.last).Seconds()*r.perSecond, 2*r.perSecond)
	r.last = now
	if r.left < 1 {
		return false
	}
	r.left--
	return true
}
