package negotiate

import (
	"context"
	"sync"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// Some networks let a handshake through and drop what follows. For a while
// after a dial the path is watched; if it dies in that time the session ends
// with ErrPathBroken and UDP is marked, so that dialing again helps.

// probationChecks is how often within its time a path is looked at.
const probationChecks = 4

// deadPackets is how many packets must have been sent since the last
// acknowledgement before a path is dead: QUIC repeats what it misses an
// acknowledgement for.
const deadPackets = 4

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
	given          uint64    // what the session had given to the transport before
	gave, got      uint64    // what it had given and got at the latest check
}

// A pathCloser ends the sessions of a connection with a cause that was found
// out here.
type pathCloser interface{ CloseWithCause(cause error) error }

// startProbation watches the path of a session that has just begun.
func startProbation(j *job, l *connLeg, s transport.Session) {
	p := &probation{leg: l, job: j, session: s, window: l.probation(), started: time.Now()}
	p.note(ackMark(l.quic))
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

// note takes the present as the last sign of life. What was given since the
// check before may be what the sign does not cover.
func (p *probation) note(m acks) {
	w := p.leg.sock.watch()
	p.mark, p.since = m, time.Now()
	p.sent, p.received = w.sent.Load(), w.received.Load()
	p.given = p.gave
}

// traffic counts what a session gave to the transport, which must be
// acknowledged, and what it got from the peer that was new.
func traffic(s transport.Session) (gave, got uint64) {
	st := s.Stats()
	return st.BytesSent + st.DatagramsSent, st.BytesReceived + st.DatagramsReceived + st.StreamsAccepted
}

// dead reports whether the path is, after a time without acknowledgement. A
// session that only receives sends acknowledgements, which nobody acknowledges:
// not more of them than packets came. And it gives nothing to the transport.
func dead(sent, received, given uint64) bool {
	return sent >= received+deadPackets || given > 0 && sent >= deadPackets
}

func (p *probation) check() {
	w := p.leg.sock.watch()
	m := ackMark(p.leg.quic)
	gave, got := traffic(p.session)
	switch {
	case m != p.mark, got != p.got:
		p.note(m)
	case m.deviation == 0 && w.received.Load() != p.received:
		// On a path without any jitter the samples become equal, and say
		// nothing any more; then a packet has to do.
		p.note(m)
	}
	p.gave, p.got = gave, got
	sent, received := w.sent.Load()-p.sent, w.received.Load()-p.received
	switch {
	case time.Since(p.since) >= p.window && dead(sent, received, gave-p.given):
		if p.job.target != (target{}) {
			p.job.broken()
		}
		_ = p.leg.conn.(pathCloser).CloseWithCause(ErrPathBroken)
		return
	case time.Since(p.started) >= p.window && (sent == 0 || p.since.Sub(p.started) >= p.window):
		return // the path outlived its probation
	case time.Since(p.started) >= 2*p.window+p.window/probationChecks:
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.over {
		p.timer.Reset(p.window / probationChecks)
	}
}
