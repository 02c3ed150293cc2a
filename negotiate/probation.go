package negotiate

import (
	"context"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/transport"
)

// Some networks let a handshake through and drop what follows. For a while
// after a dial the path is watched; if it dies in that time the session ends
// with ErrPathBroken and UDP is marked, so that dialing again helps.

// probationChecks is how often within its time a path is looked at.
const probationChecks = 4

// A path is in doubt once deadPackets have been sent since the last
// acknowledgement, deadExcess of them more than were received: QUIC repeats what
// it misses an acknowledgement for. A session that only receives sends
// acknowledgements, which nobody acknowledges: one for each packet that came at
// most, and one for what came before.
const (
	deadPackets = 4
	deadExcess  = 2
)

// A probation watches one QUIC connection. Its timer is the only thing that
// runs, and stops with the session.
type probation struct {
	leg     *connLeg
	job     *job
	session transport.Session
	window  time.Duration
	started time.Time

	mu    sync.Mutex // guards the following
	over  bool
	timer *time.Timer

	// Only touched by check, which does not overlap itself.
	mark           acks
	since          time.Time // when mark was last seen to change
	sent, received uint64    // packets at that time
	doubted        time.Time // the first check since then that found the path in doubt, or zero
	checked        time.Time // the latest check
	got            uint64    // what the session had got then
}

// A pathCloser ends the sessions of a connection with a cause that was found
// out here.
type pathCloser interface{ CloseWithCause(cause error) error }

// startProbation watches the path of a session that has just begun.
func startProbation(j *job, l *connLeg, s transport.Session) {
	p := &probation{leg: l, job: j, session: s, window: l.probation(), started: time.Now()}
	p.note(l.quic.ConnectionStats())
	p.checked = p.started
	p.mu.Lock()
	p.timer = time.AfterFunc(p.window/probationChecks, p.check)
	p.mu.Unlock()
	context.AfterFunc(s.Context(), p.stop)
}

func (p *probation) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.timer.Stop()
}

// note takes the present as the last sign of life.
func (p *probation) note(st quic.ConnectionStats) {
	p.mark, p.since, p.doubted = markOf(st), time.Now(), time.Time{}
	p.sent, p.received = st.PacketsSent, st.PacketsReceived
}

// incoming counts what a session got from the peer that was new.
func incoming(s transport.Session) uint64 {
	st := s.Stats()
	return st.BytesReceived + st.DatagramsReceived + st.StreamsAccepted
}

// doubtful reports whether a path may be dead, after a time without
// acknowledgement.
func doubtful(sent, received uint64) bool {
	return sent >= deadPackets && sent >= received+deadExcess
}

func (p *probation) check() {
	now, interval := time.Now(), p.window/probationChecks
	st := p.leg.quic.ConnectionStats()
	m, got := markOf(st), incoming(p.session)
	switch {
	case m != p.mark, got != p.got:
		p.note(st)
	case m.deviation == 0 && st.PacketsReceived != p.received:
		// On a path without any jitter the samples become equal, and say
		// nothing any more; then a packet has to do.
		p.note(st)
	case now.Sub(p.checked) >= 2*interval:
		// The process, or the machine, stood still: what came meanwhile has
		// not been looked at yet.
		p.note(st)
	case st.PacketsSent != p.sent && p.job.busy(p.window):
		now, st = time.Now(), p.leg.quic.ConnectionStats()
		p.note(st)
	}
	p.checked, p.got = now, got
	sent, received := st.PacketsSent-p.sent, st.PacketsReceived-p.received
	// What was sent a moment ago cannot be acknowledged yet, so doubt has to
	// last.
	if doubtful(sent, received) && p.doubted.IsZero() {
		p.doubted = now
	}
	switch {
	case now.Sub(p.since) >= p.window && !p.doubted.IsZero() && now.Sub(p.doubted) >= p.window/2:
		if p.job.target != (target{}) {
			p.job.broken()
		}
		_ = p.leg.conn.(pathCloser).CloseWithCause(ErrPathBroken)
		return
	case now.Sub(p.started) >= p.window && (sent == 0 || p.since.Sub(p.started) >= p.window):
		return // the path outlived its probation
	case now.Sub(p.started) >= 2*p.window+interval:
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		p.timer.Reset(interval)
	}
}
