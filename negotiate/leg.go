package negotiate

import (
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
func (l *connLeg) watch() (progress func() bool, within time.Duration) {
	if l.quic == nil {
		return nil, 0
	}
	// What is acknowledged earlier than one round trip from now left before the
	// request, and says nothing of what became of the path.
	var mu sync.Mutex // guards the following
	var before acks
	ready := false
	began, stats := time.Now(), l.quic.ConnectionStats()
	time.AfterFunc(stats.MinRTT*3/4, func() {
		mu.Lock()
		defer mu.Unlock()
		before, ready = ackMark(l.quic), true
		if time.Since(began) >= stats.MinRTT {
			// Too late on a busy machine: the request's own acknowledgement,
			// perhaps the only one, may have come.
			before = markOf(stats)
		}
	})
	return func() bool {
		mu.Lock()
		defer mu.Unlock()
		return ready && ackMark(l.quic) != before
	}, l.probation()
}

func (l *connLeg) probation() time.Duration {
	return max(minProbation, 4*pto(l.quic.ConnectionStats()))
}

func (l *connLeg) discard() {
	if l.closing.Load() {
		// Nobody waits for it.
		time.AfterFunc(l.job.opts.Config.WithDefaults().CloseTimeout, func() { _ = l.conn.Close() })
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

func ackMark(qc *quic.Conn) acks { return markOf(qc.ConnectionStats()) }
