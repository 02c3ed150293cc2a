package transporttest

import (
	"time"

	"github.com/towpath-go/towpath/transport"
)

// refRates are what a refSession keeps for Config's rates and IdleTimeout. They
// are guarded by the pair's lock.
type refRates struct {
	began     time.Time
	idle      *time.Timer
	last      time.Time // traffic
	pace      *time.Timer
	grams     int64    // datagrams that were taken
	stalledAt [2]int64 // limits on streams, plus one
}

func (s *refSession) startRates() {
	defer s.pair.lock()()
	r := &s.rates
	r.began, r.last = time.Now(), time.Now()
	d := s.config.IdleTimeout
	if s.pair.fault("always idle") {
		d = time.Minute
	}
	if d > 0 && !s.pair.fault("no idle timeout") {
		r.idle = time.AfterFunc(d, s.idleUp)
	}
}

func (s *refSession) stopRates() {
	if s.rates.idle != nil {
		s.rates.idle.Stop()
	}
	if s.rates.pace != nil {
		s.rates.pace.Stop()
	}
}

// traffic renews the time of both ends.
func (s *refSession) traffic() { s.rates.last, s.peer.rates.last = time.Now(), time.Now() }

func (s *refSession) idleUp() {
	defer s.pair.lock()()
	d := max(s.config.IdleTimeout, 1)
	if left := time.Until(s.rates.last.Add(d)); left > 0 {
		s.rates.idle.Reset(left)
		return
	}
	limit, reason := transport.LimitSessionIdle, "idle"
	if s.pair.fault("idle names no limit") {
		limit = ""
	}
	if s.pair.fault("idle without reason") {
		reason = ""
	}
	s.finish(&transport.SessionError{Reason: reason, Err: &transport.LimitError{Limit: limit}})
	s.peer.finish(&transport.SessionError{Reason: reason, Remote: true})
}

// allowed is what a rate allows by now.
func (s *refSession) allowed(r transport.Rate) int64 {
	if s.pair.fault("no burst") {
		r.Burst = 1
	}
	return r.Burst + int64(float64(r.PerSecond)*time.Since(s.rates.began).Seconds())
}

// given is how much credit for n bytes that were read the peer was given.
func (s *refSession) given(n int64) int64 {
	rate := s.config.IncomingByteRate
	if rate.PerSecond == 0 || s.pair.fault("no byte rate") {
		return n
	}
	most := s.allowed(rate)
	if n <= most {
		return n
	}
	if s.rates.pace == nil && s.end == nil {
		if !s.pair.fault("throttling not counted") {
			s.stats.Throttled++
		}
		if s.pair.fault("bytes above rate lost") {
			return most
		}
		s.rates.pace = time.AfterFunc(50*time.Millisecond, func() {
			defer s.pair.lock()()
			s.rates.pace = nil
			s.peer.pump()
		})
	}
	return most
}

// takesDatagram reports whether a datagram of a size is within the rate.
func (s *refSession) takesDatagram(size int) bool {
	rate := s.config.IncomingDatagramRate
	if rate.PerSecond == 0 || s.pair.fault("no datagram rate") {
		return true
	}
	if s.rates.grams < s.allowed(rate) {
		s.rates.grams++
		return true
	}
	s.stats.DatagramsThrottled++
	if t := s.config.Trace; t != nil && t.DatagramDropped != nil && !s.pair.fault("dropped and not told") {
		t.DatagramDropped(false, size, 0)
	}
	if s.pair.fault("datagram rate ends") {
		s.finish(&transport.SessionError{})
	}
	return false
}

func (s *refSession) stalled() {
	switch {
	case s.pair.fault("stalls not counted"):
	case s.pair.fault("stalls of calls"):
		s.stats.Stalls += 2
	default:
		s.stats.Stalls++
	}
}
