package negotiate

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// thousand opens 1,000 sessions: 600 over HTTP/2 and 300 over HTTP/3, on a few
// connections each, and 100 over WebSocket.
func thousand(t *testing.T, w *world) (sessions []transport.Session) {
	t.Helper()
	for _, c := range []struct {
		p            transport.Protocol
		conns, perOf int
	}{
		{transport.HTTP2, 6, 100},
		{transport.HTTP3, 10, 30},
		{transport.WebSocket, 1, 100},
	} {
		for range c.conns {
			d := w.dialer()
			d.Transports, d.Pool = []transport.Protocol{c.p}, true
			for range c.perOf {
				s, _, err := d.Dial(t.Context(), w.url, nil)
				if err != nil {
					t.Fatalf("session %d: %v", len(sessions), err)
				}
				sessions = append(sessions, s)
			}
		}
	}
	return sessions
}

func TestServerShutdownOfAThousand(t *testing.T) {
	// A slow client must not make a rate of the test.
	options := worldOptions{setup: func(s *Server) { s.SessionRate, s.ConnectionRate = -1, -1 }}
	t.Run("FW-13 1,000 sessions end with what they were doing", func(t *testing.T) {
		inWorld(t, options, func(t *testing.T, w *world) {
			sessions := thousand(t, w)
			const first, second = "begun before, ", "ended after"
			var whole atomic.Int32
			var all sync.WaitGroup
			for _, s := range sessions {
				st, err := s.OpenStream(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(st, first); err != nil {
					t.Fatal(err)
				}
				all.Go(func() { // ends with the session
					<-s.Draining()
					if _, err := io.WriteString(st, second); err != nil {
						t.Errorf("writing while the session drains: %v", err)
					}
					st.Close()
					if b, err := io.ReadAll(st); err != nil || string(b) != first+second {
						t.Errorf("echo %q, %v", b, err)
					} else {
						whole.Add(1)
					}
					s.CloseWithError(0, "")
				})
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			start := time.Now()
			if err := w.server.Shutdown(ctx); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			if d := time.Since(start); d > 2*time.Second {
				t.Errorf("it took %v, though all sessions ended when they were asked to", d)
			}
			all.Wait()
			if n := whole.Load(); int(n) != len(sessions) || n != 1000 {
				t.Errorf("%d of %d sessions got all they were sent", n, len(sessions))
			}
			wantNothingOpen(t, w)
		})
	})
	t.Run("FW-13 1,000 sessions that do not end are closed at the deadline", func(t *testing.T) {
		inWorld(t, options, func(t *testing.T, w *world) {
			sessions := thousand(t, w)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			start := time.Now()
			if err := w.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Shutdown: %v", err)
			}
			if d := time.Since(start); d < 2*time.Second || d > 5*time.Second {
				t.Errorf("it took %v, want the deadline and what closing takes", d)
			}
			for _, s := range sessions {
				<-s.Context().Done()
			}
			wantNothingOpen(t, w)
		})
	})
}

// wantNothingOpen checks that nothing counts any more.
func wantNothingOpen(t *testing.T, w *world) {
	t.Helper()
	synctest.Wait()
	if n := w.server.sessions.Open(); n != 0 {
		t.Errorf("%d sessions count after the end", n)
	}
	time.Sleep(time.Minute) // closed QUIC connections live on for a while
	synctest.Wait()
	if n := w.server.connections.Open(); n != 0 {
		t.Errorf("%d connections count after the end", n)
	}
}
