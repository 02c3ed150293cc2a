package peers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/towpath-go/towpath/e2e/clients"
	"github.com/towpath-go/towpath/transport"
)

// A load is a number of sessions that exchange data with a requestServer and
// check every byte of it.
type load struct {
	sessions []*loadSession
	stop     context.CancelFunc
	all      sync.WaitGroup
}

type loadSession struct {
	client clients.End
	rounds atomic.Int64 // completed
	err    error        // what went wrong; to be read after the end
}

// startLoad runs sessions of those ends until end is called.
func startLoad(t *testing.T, ends []clients.End) *load {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &load{stop: stop}
	for _, client := range ends {
		s := &loadSession{client: client}
		l.sessions = append(l.sessions, s)
		l.all.Go(func() { // ends with ctx
			for i := 0; s.err == nil && ctx.Err() == nil; i++ {
				s.err = s.round(i)
				s.rounds.Add(1)
			}
		})
	}
	return l
}

// otherConnections returns sessions of ours, half of them on connections of
// their own, the others on one together.
func otherConnections(t *testing.T, s *requestServer, n int) []clients.End {
	t.Helper()
	alone := newTowpathDialer(t, s.cert, nil, transport.HTTP2)
	pooled := newTowpathDialer(t, s.cert, nil, transport.HTTP2)
	pooled.Pool = true
	var ends []clients.End
	for i := range n {
		d := alone
		if i%2 == 0 {
			d = pooled
		}
		ends = append(ends, dialTowpath(t, clients.Limited(t), d, s.url("/session"), nil))
	}
	return ends
}

// round has a bidirectional stream, two unidirectional ones and a datagram come
// back as they were.
func (s *loadSession) round(i int) error {
	ctx, cancel := context.WithTimeout(context.Background(), clients.Patience)
	defer cancel()
	message := string(clients.Pattern(30_000 + i%1000))
	st, err := s.client.Open(ctx, false)
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() { sent <- errors.Join(st.Write(ctx, []byte(message)), st.Finish(ctx)) }() // ends with ctx
	if err := errors.Join(clients.Expect(st, ctx, message), <-sent); err != nil {
		return fmt.Errorf("the bidirectional stream of round %d: %w", i, err)
	}
	if err := clients.OneWay(ctx, s.client, s.client, message[:5000]); err != nil {
		return fmt.Errorf("the unidirectional streams of round %d: %w", i, err)
	}
	// HTTP/2 loses no datagram on the way, and no queue holds more than one.
	if err := s.client.SendDatagram(ctx, []byte(message[:i%100+1])); err != nil {
		return err
	}
	if got, err := s.client.ReceiveDatagram(ctx); err != nil || string(got) != message[:i%100+1] {
		return fmt.Errorf("the datagram of round %d: %q, %w", i, got, err)
	}
	return nil
}

// beside runs f, again and again until every session has gone through whole
// rounds meanwhile.
func (l *load) beside(t *testing.T, f func(ctx context.Context)) {
	t.Helper()
	const enough = 2
	ctx := clients.Limited(t)
	before := make([]int64, len(l.sessions))
	for i, s := range l.sessions {
		before[i] = s.rounds.Load()
	}
	for {
		f(ctx)
		slowest := int64(enough)
		for i, s := range l.sessions {
			slowest = min(slowest, s.rounds.Load()-before[i]-1) // the first had begun before
		}
		if slowest == enough || t.Failed() {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("a session went through %d rounds only beside the requests", slowest)
		}
	}
}

// end stops the sessions and says what they lost.
func (l *load) end(t *testing.T) {
	t.Helper()
	l.stop()
	l.all.Wait()
	for i, s := range l.sessions {
		if s.err != nil {
			t.Errorf("session %d: %v", i, s.err)
		}
	}
}
