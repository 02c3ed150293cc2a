package metrics

import (
	"context"
	"slices"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// Sessions are asked for their Stats at a scrape and once more when they are
// finished, never under the lock. So that a counter cannot go back, nor count
// anything twice, every answer is noted in the session's entry, under the lock,
// before it is used:
//
//  1. An entry is in live until it is finished; then its Stats are in the tally.
//     Both change together, and a scrape copies both together: it sees a session
//     in exactly one of them.
//  2. What an entry has noted never shrinks. A scrape that asked early and comes
//     to note late uses what was noted meanwhile; of a session that was finished
//     meanwhile it uses what went into the tally.

const (
	// lingerTime is how long a session is remembered after its end: it goes on
	// to flush finished streams for CloseTimeout, by default 1 s.
	lingerTime = 3 * time.Second
	// maxLinger bounds how many of those are remembered; the oldest is finished
	// early then.
	maxLinger = 1024
	// scrapeBatch is how many sessions are noted with the lock taken once.
	scrapeBatch = 256
)

// An entry is a session that was opened and is not finished.
type entry struct {
	session transport.Session
	end     end
	opened  time.Time

	// The following is guarded by Recorder.mu.
	index    int // in Recorder.live
	over     time.Time
	noted    transport.Stats // each counter's largest value; RTT is the last known
	finished bool
}

// noteLocked takes over an answer of the session, and returns what is to be used.
func (e *entry) noteLocked(s transport.Stats) transport.Stats {
	if e.finished {
		return e.noted
	}
	n := &e.noted
	n.StreamsOpened = max(n.StreamsOpened, s.StreamsOpened)
	n.StreamsAccepted = max(n.StreamsAccepted, s.StreamsAccepted)
	n.BytesSent = max(n.BytesSent, s.BytesSent)
	n.BytesReceived = max(n.BytesReceived, s.BytesReceived)
	n.DatagramsSent = max(n.DatagramsSent, s.DatagramsSent)
	n.DatagramsReceived = max(n.DatagramsReceived, s.DatagramsReceived)
	n.DatagramsDroppedOutgoing = max(n.DatagramsDroppedOutgoing, s.DatagramsDroppedOutgoing)
	n.DatagramsExpiredOutgoing = max(n.DatagramsExpiredOutgoing, s.DatagramsExpiredOutgoing)
	n.DatagramsDroppedIncoming = max(n.DatagramsDroppedIncoming, s.DatagramsDroppedIncoming)
	n.DatagramsExpiredIncoming = max(n.DatagramsExpiredIncoming, s.DatagramsExpiredIncoming)
	n.DatagramsThrottled = max(n.DatagramsThrottled, s.DatagramsThrottled)
	n.Stalls = max(n.Stalls, s.Stalls)
	n.Throttled = max(n.Throttled, s.Throttled)
	if s.RTT > 0 {
		n.RTT = s.RTT
	}
	return *n
}

// sessionEnded counts the end of a session, on a goroutine of its own.
func (r *Recorder) sessionEnded(e *entry) {
	outcome, limit := sessionOutcome(context.Cause(e.session.Context()))
	s := e.session.Stats()
	r.mu.Lock()
	e.over = time.Now()
	noted := e.noteLocked(s)
	r.tally.add(sessionsEnded, 1, e.end.labels(outcome))
	if limit != "" {
		r.tally.add(sessionsKilled, 1, e.end.labels(limitWord(limit)))
	}
	r.tally.observe(sessionDuration, e.over.Sub(e.opened), e.end.labels())
	if noted.RTT > 0 {
		r.tally.observe(sessionRTT, noted.RTT, e.end.labels())
	}
	r.ended = append(r.ended, e)
	var early *entry
	if len(r.ended) > maxLinger {
		early = r.oldestLocked()
	}
	if r.timer == nil {
		r.timer = time.AfterFunc(lingerTime, r.finishDue)
	}
	r.mu.Unlock()
	if early != nil {
		r.finish(early)
	}
}

func (r *Recorder) oldestLocked() *entry {
	e := r.ended[0]
	r.ended[0] = nil
	r.ended = r.ended[1:]
	return e
}

// finishDue finishes the sessions that ended lingerTime ago.
func (r *Recorder) finishDue() {
	for {
		r.mu.Lock()
		if len(r.ended) == 0 {
			r.ended, r.timer = nil, nil
			r.mu.Unlock()
			return
		}
		if wait := time.Until(r.ended[0].over.Add(lingerTime)); wait > 0 {
			r.timer = time.AfterFunc(wait, r.finishDue)
			r.mu.Unlock()
			return
		}
		e := r.oldestLocked()
		r.mu.Unlock()
		r.finish(e)
	}
}

// finish moves what a session did from live to the tally. Only one call is made
// for each, by who took it from ended.
func (r *Recorder) finish(e *entry) {
	s := e.session.Stats()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tally.addStats(e.end, e.noteLocked(s))
	e.finished = true
	last := len(r.live) - 1
	r.live[e.index] = r.live[last]
	r.live[e.index].index = e.index
	r.live[last] = nil
	r.live = r.live[:last]
	if cap(r.live) > 1024 && len(r.live) < cap(r.live)/4 {
		r.live = slices.Clone(r.live)
	}
}

// A snapshot is a tally of everything, and the RTTs of the live sessions.
type snapshot struct {
	tally tally
	rtts  map[end][]time.Duration
}

// add adds what a Recorder has.
func (n *snapshot) add(r *Recorder) {
	r.mu.Lock()
	n.tally.merge(&r.tally)
	live := slices.Clone(r.live)
	r.mu.Unlock()

	sums := make(map[end]*transport.Stats)
	var stats [scrapeBatch]transport.Stats
	for batch := range slices.Chunk(live, scrapeBatch) {
		for i, e := range batch {
			stats[i] = e.session.Stats()
		}
		r.mu.Lock()
		for i, e := range batch {
			s := e.noteLocked(stats[i])
			sum := sums[e.end]
			if sum == nil {
				sum = new(transport.Stats)
				sums[e.end] = sum
			}
			addTo(sum, &s)
			if s.RTT > 0 && e.over.IsZero() {
				n.rtts[e.end] = append(n.rtts[e.end], s.RTT)
			}
		}
		r.mu.Unlock()
	}
	for e, sum := range sums {
		n.tally.addStats(e, *sum)
	}
}

// addTo adds the counters that a tally has.
func addTo(sum, s *transport.Stats) {
	sum.StreamsOpened += s.StreamsOpened
	sum.StreamsAccepted += s.StreamsAccepted
	sum.BytesSent += s.BytesSent
	sum.BytesReceived += s.BytesReceived
	sum.DatagramsSent += s.DatagramsSent
	sum.DatagramsReceived += s.DatagramsReceived
	sum.DatagramsDroppedOutgoing += s.DatagramsDroppedOutgoing
	sum.DatagramsExpiredOutgoing += s.DatagramsExpiredOutgoing
	sum.DatagramsDroppedIncoming += s.DatagramsDroppedIncoming
	sum.DatagramsExpiredIncoming += s.DatagramsExpiredIncoming
	sum.DatagramsThrottled += s.DatagramsThrottled
	sum.Stalls += s.Stalls
	sum.Throttled += s.Throttled
}

// gather makes the families of Recorders together.
func gather(recorders []*Recorder) []Family {
	n := snapshot{rtts: make(map[end][]time.Duration)}
	for _, r := range recorders {
		n.add(r)
	}
	n.tally.counts[connectionsOpen] = n.tally.open(connectionsOpened, connectionsEnded)
	n.tally.counts[sessionsOpen] = n.tally.open(sessionsOpened, sessionsEnded)
	all := make([]Family, familyCount)
	for f := range familyCount {
		all[f] = families[f]
		if f == liveRTT {
			all[f].Points = n.rttPoints()
		} else {
			all[f].Points = n.tally.points(f)
		}
	}
	return all
}

// rttPoints are the smallest, median and largest round-trip time of each end that
// knows one.
func (n *snapshot) rttPoints() []Point {
	values := make(map[labels]float64)
	for e, rtts := range n.rtts {
		slices.Sort(rtts)
		values[e.labels("smallest")] = rtts[0].Seconds()
		values[e.labels("median")] = rtts[len(rtts)/2].Seconds()
		values[e.labels("largest")] = rtts[len(rtts)-1].Seconds()
	}
	return collect(values, len(families[liveRTT].Labels), func(v float64) Point { return Point{Value: v} })
}
