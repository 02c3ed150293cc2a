package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// A Recorder counts what it is told as a [transport.Monitor]. One Recorder may
// serve any number of servers and dialers.
type Recorder struct {
	mu    sync.Mutex // guards the following, and entries
	tally tally      // events, and what finished sessions did
	known map[end]bool
	live  []*entry // sessions not finished, in no order
	// ended are those of live that have ended, the oldest first.
	ended []*entry
	timer *time.Timer // finishes the oldest of ended; nil if there is none
}

var (
	_ transport.Monitor = (*Recorder)(nil)
	_ Source            = (*Recorder)(nil)
)

// NewRecorder returns a Recorder that has counted nothing.
func NewRecorder() *Recorder { return &Recorder{known: make(map[end]bool)} }

// An end is one side of one transport.
type end struct {
	protocol transport.Protocol
	side     transport.Side
}

// labels are the end's two and further ones.
func (e end) labels(more ...string) (l labels) {
	l[0], l[1] = protocolWord(e.protocol, "unknown"), e.side.String()
	copy(l[2:], more)
	return l
}

// endLocked is the end of a protocol, whose series appear with it.
func (r *Recorder) endLocked(p transport.Protocol, side transport.Side) end {
	if p > transport.WebSocket {
		p = transport.ProtocolUnknown
	}
	if side != transport.ServerSide {
		side = transport.ClientSide
	}
	e := end{p, side}
	if !r.known[e] {
		r.known[e] = true
		r.tally.appear(e)
	}
	return e
}

// ConnectionOpened implements transport.Monitor.
func (r *Recorder) ConnectionOpened(p transport.Protocol, side transport.Side) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tally.add(connectionsOpened, 1, r.endLocked(p, side).labels())
}

// ConnectionEnded implements transport.Monitor.
func (r *Recorder) ConnectionEnded(p transport.Protocol, side transport.Side, err error) {
	limit, reached := transport.ReachedLimit(err)
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.endLocked(p, side)
	switch {
	case err == nil:
		r.tally.add(connectionsEnded, 1, e.labels(endClosed))
	case reached:
		r.tally.add(connectionsEnded, 1, e.labels(endLimit))
		r.tally.add(connectionsKilled, 1, e.labels(limitWord(limit)))
	default:
		r.tally.add(connectionsEnded, 1, e.labels(endError))
	}
}

// ConnectionRefused implements transport.Monitor.
func (r *Recorder) ConnectionRefused(p transport.Protocol, limit transport.Limit) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tally.add(connectionsRefused, 1, labels{protocolWord(p, "unknown"), limitWord(limit)})
}

// SessionRefused implements transport.Monitor.
func (r *Recorder) SessionRefused(f transport.Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tally.add(sessionsRefused, 1, labels{protocolWord(f.Protocol, "unknown"), statusWord(f.Status), limitWord(f.Limit)})
}

// Dialed implements transport.Monitor.
func (r *Recorder) Dialed(d transport.Dialed) {
	way, outcome := protocolWord(d.Protocol, "none"), dialOutcome(d)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tally.add(dials, 1, labels{way, outcome})
	r.tally.observe(dialDuration, d.Elapsed, labels{way, outcome})
	for _, f := range d.Fallbacks {
		r.tally.add(fallbacks, 1, labels{protocolWord(f.Protocol, "unknown"), fold(transport.FallbackReasons(), f.Reason)})
	}
}

// SessionOpened implements transport.Monitor.
func (r *Recorder) SessionOpened(s transport.Session, side transport.Side) {
	p := s.Info().Protocol
	r.mu.Lock()
	e := &entry{session: s, end: r.endLocked(p, side), opened: time.Now(), index: len(r.live)}
	r.live = append(r.live, e)
	r.tally.add(sessionsOpened, 1, e.end.labels())
	r.mu.Unlock()
	// Without the lock: it runs at once if the session has ended.
	context.AfterFunc(s.Context(), func() { r.sessionEnded(e) })
}

// Metrics implements Source. It asks every live session for its Stats.
func (r *Recorder) Metrics() []Family { return gather([]*Recorder{r}) }
