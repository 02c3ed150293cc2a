package h3wt

import (
	"time"
	"weak"

	"github.com/quic-go/quic-go"
)

// A stream that was closed is remembered for hurryFinished, which matters while
// quic-go has something of it to send. Quic-go itself keeps such a stream, but does
// not tell when it has let go of it. So those that were closed a while ago are
// remembered by what does not keep them: otherwise a session on which nothing
// happens any more would hold the last streams that it had, some 2 KiB each.

// restAfter is how long after the first of some streams all are taken for such.
const restAfter = 250 * time.Millisecond

// A restedStream is a stream that only quic-go keeps; one of the two is set.
type restedStream struct {
	bidi weak.Pointer[quic.Stream]
	uni  weak.Pointer[quic.SendStream]
}

// restLaterLocked sees to it that streams in s.finished do not stay there.
func (s *Session) restLaterLocked() {
	if !s.resting {
		s.resting = true
		time.AfterFunc(restAfter, s.restFinished)
	}
}

// restFinished moves the streams of s.finished to s.rested.
func (s *Session) restFinished() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resting = false
	rested := make([]restedStream, 0, len(s.finished))
	for _, r := range s.rested[max(0, len(s.rested)+len(s.finished)-maxFinished):] {
		if r.bidi.Value() != nil || r.uni.Value() != nil {
			rested = append(rested, r)
		}
	}
	for _, p := range s.finished {
		switch q := p.q.(type) {
		case *quic.Stream:
			rested = append(rested, restedStream{bidi: weak.Make(q)})
		case *quic.SendStream:
			rested = append(rested, restedStream{uni: weak.Make(q)})
		}
	}
	s.finished, s.rested = nil, rested
}

// hurry has what is left of the stream sent before everything of lower urgency.
func (r restedStream) hurry() {
	if q := r.bidi.Value(); q != nil {
		q.SetPriority(0, true)
	}
	if q := r.uni.Value(); q != nil {
		q.SetPriority(0, true)
	}
}
