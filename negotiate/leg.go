package negotiate

import (
	"cmp"
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/transport"
)

// A clientConn is what h2wt and h3wt give for a connection.
type clientConn interface {
	Dial(ctx context.Context, rawURL string, opts *transport.DialOptions) (transport.Session, error)
	CanTakeNewSession() bool
	Done() <-chan struct{}
	Close() error
	CloseAfter(s transport.Session)
	RTT() (time.Duration, bool)
}

// A connLeg is a connection of either kind, for the race.
type connLeg struct {
	job  *job
	conn clientConn
	quic *quic.Conn  // nil on HTTP/2
	sock watchedConn // nil on HTTP/2

	// closing is set once a session was accepted that had to be closed at once,
	// for its application protocol: the server is still to be told why.
	closing atomic.Bool
}

const (
	minPatience  = time.Second
	minProbation = 3 * time.Second
)

func (l *connLeg) request(ctx context.Context) (transport.Session, error) {
	s, err := l.conn.Dial(ctx, l.job.url, l.job.opts)
	if isALPNError(err) {
		l.closing.Store(true)
	}
	return s, proxyAnswer(err)
}

// closeTimeout bounds the close of the job's session.
func (j *job) closeTimeout() time.Duration { return j.opts.Config.WithDefaults().CloseTimeout }

// departure bounds the time from a session's end over HTTP/3 to the connection's:
// the close may take the CloseTimeout, and so may what was finished.
func (j *job) departure() time.Duration {
	return 2 * cmp.Or(j.opts.Config, j.h3Config().Session).WithDefaults().CloseTimeout
}

// proxyAnswer makes a 407 what it is: something between here and the server.
func proxyAnswer(err error) error {
	if r, ok := err.(*transport.RejectedError); ok && r.StatusCode == http.StatusProxyAuthRequired {
		return &ProxyError{StatusCode: r.StatusCode, Header: r.Header, Err: err}
	}
	return err
}

func (l *connLeg) patience() time.Duration {
	rtt, _ := l.conn.RTT()
	return max(minPatience, 4*rtt)
}

// watch looks for acknowledgements on QUIC. TCP cannot tell.
func (l *connLeg) watch() (look func(due bool) sight, within time.Duration) {
	if l.quic == nil {
		return nil, 0
	}
	within = l.probation()
	w := &requestWatch{quic: l.quic, job: l.job, within: within, began: time.Now(), first: l.quic.ConnectionStats()}
	// What is acknowledged earlier than one round trip from now left before the
	// request, and says nothing of what became of the path.
	time.AfterFunc(w.first.MinRTT*3/4, w.takeMark)
	return w.look, within
}

// A requestWatch looks for the acknowledgement of a session request.
type requestWatch struct {
	quic   *quic.Conn
	job    *job
	within time.Duration
	began  time.Time
	first  quic.ConnectionStats // when it began

	mu     sync.Mutex // guards the following
	marked bool
	mark   quic.ConnectionStats // what is acknowledged later may be the request
	calm   bool                 // a look that was due found nothing that is missed
	spared time.Time            // until then nothing is judged
	before uint64               // packets sent before that time began
}

func (w *requestWatch) takeMark() {
	now := w.quic.ConnectionStats()
	if time.Since(w.began) >= w.first.MinRTT {
		// Too late on a busy machine: the request's own acknowledgement,
		// perhaps the only one, may have come.
		now = w.first
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mark, w.marked = now, true
}

// look tells what is to be seen of the path. An acknowledgement after the mark is
// life. There may be none on a path that lives: once the round-trip time has
// fallen, the request's own comes before the mark, and nothing follows it while
// the server thinks. But then QUIC misses nothing and repeats nothing; on a dead
// path it does, or has not received a single packet since the request.
func (w *requestWatch) look(due bool) sight {
	busy := due && w.job.busy(w.within)
	now, st := time.Now(), w.quic.ConnectionStats()
	w.mu.Lock()
	defer w.mu.Unlock()
	if busy {
		w.spared, w.before, w.calm = now.Add(w.within), st.PacketsSent, true
	}
	switch {
	case !w.marked:
		return unseen
	case markOf(st) != markOf(w.mark):
		return alive
	case !due, now.Before(w.spared):
		return unseen
	case !w.spared.IsZero() && (st.PacketsSent == w.before || w.calm):
		// QUIC repeats itself ever later. Since the process could handle an answer
		// it has not, or perhaps a moment ago.
		w.calm = st.PacketsSent == w.before
		return unseen
	}
	if st.PacketsSent > w.first.PacketsSent && st.PacketsReceived == w.first.PacketsReceived {
		return dead
	}
	if !doubtful(st.PacketsSent-w.mark.PacketsSent, st.PacketsReceived-w.mark.PacketsReceived) {
		w.calm = true
		return unseen
	}
	if w.calm {
		// What is missed now may have been sent a moment ago; doubt has to last.
		w.calm = false
		return unseen
	}
	return dead
}

func (l *connLeg) probation() time.Duration {
	return max(minProbation, 4*pto(l.quic.ConnectionStats()))
}

func (l *connLeg) discard() {
	if l.closing.Load() {
		// Nobody waits for it but the Dialer's Close.
		if l.quic != nil {
			l.job.d.leaves.add(l.conn, l.quic.Context(), l.job.departure())
		}
		time.AfterFunc(l.job.closeTimeout(), func() { _ = l.conn.Close() })
		return
	}
	_ = l.conn.Close()
}

// An acks value changes with every acknowledgement that brings a round-trip
// sample. quic-go counts received packets, but not acknowledged ones, and a
// peer whose own packets are not acknowledged repeats them: that is no progress.
type acks struct{ latest, smoothed, deviation time.Duration }

func markOf(s quic.ConnectionStats) acks {
	return acks{s.LatestRTT, s.SmoothedRTT, s.MeanDeviation}
}
