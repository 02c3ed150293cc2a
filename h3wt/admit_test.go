package h3wt

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/transport"
)

// quota admits so many connections at once.
type quota struct {
	mu    sync.Mutex // guards the following
	room  int
	asked int
}

func (q *quota) admit(remote net.Addr) (func(), transport.Limit, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asked++
	if q.room == 0 {
		return nil, transport.LimitConnectionsPerAddress, false
	}
	q.room--
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.room++
	}, "", true
}

func (q *quota) full(net.Addr) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.room == 0
}

func (q *quota) want(t testing.TB, room, asked int) {
	t.Helper()
	synctest.Wait()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.room != room || q.asked != asked {
		t.Fatalf("%d places are free and Admit was asked %d times, want %d and %d", q.room, q.asked, room, asked)
	}
}

// tryQUIC makes a connection that may be refused.
func (h *harness) tryQUIC() (*quic.Conn, error) {
	return h.tr.Dial(context.Background(), h.addr, h.cert.ClientConfig("example.com", "h3"), fullQUIC)
}

func TestAdmit(t *testing.T) {
	refused := func(h *harness) {
		h.Helper()
		_, err := h.tryQUIC()
		if e, ok := errors.AsType[*quic.TransportError](err); !ok || !e.Remote || e.ErrorCode != quic.ConnectionRefused {
			h.Fatalf("Dial: %v, want CONNECTION_REFUSED", err)
		}
	}
	const told = "h3 connection refused connections-per-address"
	bubble(t, "DS-15 a verified client is refused before the handshake", func(t *testing.T) {
		q, w := &quota{room: 1}, &watched{}
		h := serve(t, simulated(t), &Server{Admit: q.admit, Config: &Config{UnverifiedHandshakes: -1, Monitor: w}})
		defer h.stop()
		first := h.dialQUIC(fullQUIC)
		q.want(t, 0, 1)
		start := time.Now()
		refused(h)
		if d := time.Since(start); d != 4*linkLatency {
			t.Errorf("refused after %v: a round trip for Retry, and one more", d)
		}
		q.want(t, 0, 2)
		w.want(t, "server h3 connection opened", told)
		time.Sleep(time.Second)
		refused(h)
		w.want(t, told)
		first.CloseWithError(0, "")
		time.Sleep(time.Second)
		q.want(t, 1, 3)
		h.dialQUIC(fullQUIC).CloseWithError(0, "")
		time.Sleep(time.Second)
		q.want(t, 1, 4)
	})
	bubble(t, "DS-15 VerifyAddress has clients verified that would be refused", func(t *testing.T) {
		q := &quota{room: 1}
		h := serve(t, simulated(t), &Server{Admit: q.admit, VerifyAddress: q.full})
		defer h.stop()
		start := time.Now()
		first := h.dialQUIC(fullQUIC)
		if d := time.Since(start); d != 2*linkLatency {
			t.Errorf("connected after %v: the first was to be verified", d)
		}
		synctest.Wait()
		time.Sleep(time.Second) // its Finished is on the way
		q.want(t, 0, 1)
		refused(h)
		q.want(t, 0, 2)
		first.CloseWithError(0, "")
		time.Sleep(time.Second)
		q.want(t, 1, 2)
	})
	bubble(t, "DS-15 others are refused after it", func(t *testing.T) {
		q, w := &quota{}, &watched{}
		h := serve(t, simulated(t), &Server{Admit: q.admit, Config: &Config{Monitor: w}})
		defer h.stop()
		qc := h.dialQUIC(fullQUIC)
		(&rawConn{t, qc}).wantClosed(0x107)
		q.want(t, 0, 1)
		w.want(t, told)
		if n := h.server.unverified.progress; n != 0 {
			t.Errorf("%d handshakes are in progress at the end", n)
		}
	})
	bubble(t, "above UnverifiedHandshakes clients are verified first", func(t *testing.T) {
		h := serve(t, simulated(t), &Server{Config: &Config{UnverifiedHandshakes: 3}})
		defer h.stop()
		took := func(want time.Duration) {
			t.Helper()
			start := time.Now()
			h.dialQUIC(fullQUIC).CloseWithError(0, "")
			if d := time.Since(start); d != want {
				t.Errorf("connected after %v, want %v", d, want)
			}
		}
		for range 3 {
			took(2 * linkLatency)
		}
		took(4 * linkLatency)
		took(4 * linkLatency)
		time.Sleep(time.Second)
		took(2 * linkLatency)
	})
	t.Run("the bound on handshakes in progress", func(t *testing.T) {
		u, now := &unverified{most: 2}, time.Unix(1, 0)
		for range 2 {
			if u.full(now) {
				t.Fatal("full below the bound")
			}
			u.begin()
		}
		now = now.Add(time.Hour)
		if !u.full(now) {
			t.Error("not full at the bound")
		}
		u.end()
		if u.full(now) {
			t.Error("full below the bound again")
		}
		if none := (&unverified{}); !none.full(now) {
			t.Error("a bound of none has room")
		}
	})
}
