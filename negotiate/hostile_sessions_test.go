package negotiate

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/transport"
)

// wantRefused checks that a request for a session was answered 429.
func wantRefused(t *testing.T, err error, why string) {
	t.Helper()
	var rejected *transport.RejectedError
	if !errors.As(err, &rejected) || rejected.StatusCode != http.StatusTooManyRequests {
		t.Errorf("%s: %v, want status 429", why, err)
	}
}

// session bounds what both ends of a session and of its connection hold while
// nothing is sent: TLS, HTTP/2 or QUIC, and the goroutines' stacks.
const sessionBytes = 512 << 10

func TestHostileSessionsOfOneAddress(t *testing.T) {
	seen := newWatcher()
	setup := func(s *Server) { s.MaxSessionsPerAddress, s.Monitor = 6, seen }
	all := []transport.Protocol{transport.HTTP3, transport.HTTP2, transport.WebSocket}
	t.Run("DS-14 H2-042 H3-047 held over all transports together", func(t *testing.T) {
		inWorld(t, worldOptions{setup: setup}, func(t *testing.T, w *world) {
			dial := func(p transport.Protocol) (transport.Session, error) {
				d := w.dialer()
				d.Transports = []transport.Protocol{p}
				s, _, err := d.Dial(t.Context(), w.url, nil)
				return s, err
			}
			m := hostile.Start(t, hostile.Attack{
				Name: "sessions of one address over h3, h2 and WebSocket", Victim: "server",
				// MaxSessionsPerAddress; of each the server has two goroutines, the
				// client two, QUIC and the handler's echo some more.
				Bytes: 6 * sessionBytes, Goroutines: 6 * 24,
				Reaction: "429", Limit: transport.LimitSessionsPerAddress,
			})
			var open []transport.Session
			for range 2 {
				for _, p := range all {
					s, err := dial(p)
					if err != nil {
						t.Fatalf("session %d: %v", len(open)+1, err)
					}
					open = append(open, s)
				}
			}
			for _, p := range all {
				_, err := dial(p)
				wantRefused(t, err, "one more over "+p.String())
			}
			m.Sample()
			for _, p := range all {
				r := transport.Refusal{Protocol: p, Status: 429, Limit: transport.LimitSessionsPerAddress}
				if n := seen.sessions[r]; n != 1 {
					t.Errorf("the Monitor was told %d times of %v", n, r)
				}
			}
			if len(seen.sessions) != len(all) {
				t.Errorf("the Monitor was told %v", seen.sessions)
			}
			// Whichever ends makes room for any other.
			for i, p := range []transport.Protocol{transport.WebSocket, transport.HTTP3, transport.HTTP2} {
				open[i].CloseWithError(0, "")
				time.Sleep(time.Second)
				s, err := dial(p)
				if err != nil {
					t.Fatalf("over %v, when a session over %v has ended: %v", p, all[i], err)
				}
				wantEchoOver(t, s)
				_, err = dial(p)
				wantRefused(t, err, "and one more")
			}
			m.End(nil)
		})
	})
}

func TestHostileSessionRate(t *testing.T) {
	const clients, rate = 2000, 100
	// churn opens and closes sessions on one connection, and returns how many the
	// server accepted and refused.
	churn := func(t *testing.T, s *siege, n int) (accepted, refused int) {
		d := s.dialer(t, "192.0.2.1", transport.HTTP2)
		d.Pool = true
		for range n {
			session, _, err := d.Dial(t.Context(), "https://example.com/", nil)
			if err != nil {
				wantRefused(t, err, "a session above the rate")
				refused++
				continue
			}
			accepted++
			if accepted > 1 { // the first one keeps the connection
				session.CloseWithError(0, "")
			}
		}
		return accepted, refused
	}
	t.Run("DS-14 DS-20 sessions opened and closed in a loop", func(t *testing.T) {
		m := hostile.Start(t, hostile.Attack{
			Name: "sessions opened and closed in a loop", Victim: "server",
			// One connection, and the sessions that have not ended.
			Bytes: 4 << 20, Goroutines: 20,
			Reaction: "429", Limit: transport.LimitSessionRate,
		})
		besiege(t, &Server{SessionRate: rate}, func(t *testing.T, s *siege) {
			accepted, refused := churn(t, s, clients)
			m.Sample()
			if accepted != 2*rate || refused != clients-2*rate {
				t.Errorf("%d accepted, %d refused; want a burst of %d", accepted, refused, 2*rate)
			}
			r := transport.Refusal{Protocol: transport.HTTP2, Status: 429, Limit: transport.LimitSessionRate}
			if n := s.seen.sessions[r]; n != refused || len(s.seen.sessions) != 1 {
				t.Errorf("the Monitor was told %v, want %d of %v", s.seen.sessions, refused, r)
			}
			s.wantServed(t, "192.0.2.77").CloseWithError(0, "")
		})
		m.Cost(clients/2, func(n int) {
			besiege(t, &Server{SessionRate: rate}, func(t *testing.T, s *siege) { churn(t, s, n) })
		})
		m.End(nil)
	})
}

// At the memory cap the newest of the greedy sessions ends, whichever its
// transport; an old quiet one goes on.
func TestHostileMemoryCap(t *testing.T) {
	const (
		memory = 2 << 20
		window = transport.DefaultInitialStreamWindow // of a stream that nobody reads
	)
	for _, c := range []struct {
		name         string
		quiet, greed transport.Protocol
	}{
		{"greedy over WebSocket, quiet over h2", transport.HTTP2, transport.WebSocket},
		{"greedy over h2, quiet over WebSocket", transport.WebSocket, transport.HTTP2},
	} {
		t.Run("DS-19 "+c.name, func(t *testing.T) {
			var accepted chan transport.Session // made inside the bubble
			server := &Server{MaxMemory: memory, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if s, err := Upgrade(w, r, nil); err == nil {
					accepted <- s // nobody reads what it gets
				}
			})}
			besiege(t, server, func(t *testing.T, s *siege) {
				accepted = make(chan transport.Session, 16)
				open := func(from string, p transport.Protocol) (client, server transport.Session) {
					client, err := s.dial(t, from, p)
					if err != nil {
						t.Fatal(err)
					}
					return client, <-accepted
				}
				// send writes on a stream of its own until the session ends.
				send := func(session transport.Session, n int) transport.SendStream {
					st, err := session.OpenUniStream(t.Context())
					if err != nil {
						return nil // it has ended
					}
					go func() { // ends with the session
						if _, err := st.Write(make([]byte, n)); err == nil {
							st.Close()
						}
					}()
					return st
				}
				m := hostile.Start(t, hostile.Attack{
					Name: "data that nobody reads, " + c.name, Victim: "server",
					// MaxMemory, five connections, and what the attackers have not sent:
					// 1 MiB of each session.
					Bytes: memory + 5*sessionBytes + 5<<20, Goroutines: 5*8 + 5*8,
					Reaction: "the newest of the greedy sessions ended; the old quiet one lives",
					Limit:    transport.LimitMemory,
				})
				quiet, quietServer := open("192.0.2.77", c.quiet)
				const little = 100 << 10
				send(quiet, little)
				synctest.Wait()

				var greedy []transport.Session
				for range 4 {
					client, server := open("192.0.2.1", c.greed)
					greedy = append(greedy, server)
					for range 4 {
						send(client, 2*window)
					}
					synctest.Wait()
					if h := s.server.memory.Held(); h > memory {
						t.Errorf("%d bytes are held, the cap is %d", h, memory)
					}
					m.Sample()
				}
				time.Sleep(2 * time.Second) // what was ended is gone
				// 100 KiB and 1 MiB fit, another MiB does not: each newcomer ends.
				var lives []bool
				var cause error
				for _, g := range greedy {
					lives = append(lives, g.Context().Err() == nil)
					if g.Context().Err() != nil {
						cause = context.Cause(g.Context())
						if limit, _ := transport.ReachedLimit(cause); limit != transport.LimitMemory {
							t.Errorf("a greedy session ended with %v", cause)
						}
					}
				}
				if !slices.Equal(lives, []bool{true, false, false, false}) {
					t.Errorf("which of the greedy sessions live: %v, want the oldest", lives)
				}
				st, err := quietServer.AcceptUniStream(t.Context())
				if err != nil {
					t.Fatalf("the quiet session: %v", err)
				}
				if b, err := io.ReadAll(st); len(b) != little || err != nil {
					t.Errorf("the quiet session's stream: %d bytes, %v; want %d", len(b), err, little)
				}
				m.End(cause)
			})
		})
	}
}
