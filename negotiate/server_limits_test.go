package negotiate

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/internal/handshake"
	"github.com/towpath-go/towpath/transport"
)

// A refusalCounter is a Monitor that keeps what was refused.
type refusalCounter struct {
	transport.Monitor
	sessions    []transport.Refusal
	connections []transport.Limit
}

func (m *refusalCounter) SessionRefused(r transport.Refusal) { m.sessions = append(m.sessions, r) }
func (m *refusalCounter) ConnectionRefused(_ transport.Protocol, l transport.Limit) {
	m.connections = append(m.connections, l)
}

// ask sends a request to a handler and returns the answer.
func ask(h http.Handler, method, from string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, &http.Request{Method: method, RemoteAddr: from, ProtoMajor: 2})
	return rec
}

func TestSessionLimits(t *testing.T) {
	ok := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {})
	t.Run("H2-042 H3-047 sessions above the burst are answered 429", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := &refusalCounter{}
			l := (&Server{SessionRate: 5, Monitor: m}).setupLimits(ok)
			for i := range 10 {
				if rec := ask(l, http.MethodConnect, "192.0.2.1:1000"); rec.Code != 200 {
					t.Fatalf("request %d of the burst: %d", i, rec.Code)
				}
			}
			if rec := ask(l, http.MethodConnect, "192.0.2.1:2000"); rec.Code != 429 || rec.Header().Get("Retry-After") != "1" {
				t.Errorf("one more than the burst: %d, Retry-After %q", rec.Code, rec.Header().Get("Retry-After"))
			}
			if rec := ask(l, http.MethodGet, "192.0.2.1:2000"); rec.Code != 200 {
				t.Errorf("an ordinary request: %d", rec.Code)
			}
			if rec := ask(l, http.MethodConnect, "192.0.2.2:1000"); rec.Code != 200 {
				t.Errorf("another client: %d", rec.Code)
			}
			time.Sleep(200 * time.Millisecond)
			if rec := ask(l, http.MethodConnect, "192.0.2.1:1000"); rec.Code != 200 {
				t.Errorf("after a fifth of a second: %d", rec.Code)
			}
			if rec := ask(l, http.MethodConnect, "192.0.2.1:1000"); rec.Code != 429 {
				t.Errorf("again at once: %d", rec.Code)
			}
			want := transport.Refusal{Protocol: transport.HTTP2, Status: 429, Limit: transport.LimitSessionRate}
			if !slices.Equal(m.sessions, []transport.Refusal{want, want}) {
				t.Errorf("the Monitor was told %v", m.sessions)
			}
		})
	})
	t.Run("sessions that are open", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := &refusalCounter{}
			// The sessions of this handler last until their contexts end.
			open := map[string]context.CancelFunc{}
			l := (&Server{MaxSessions: 3, MaxSessionsPerAddress: 2, Monitor: m}).setupLimits(
				http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					ctx, cancel := context.WithCancel(context.Background())
					open[r.RemoteAddr] = cancel
					handshake.Keep(r.Context(), ctx)
				}))
			want := func(from string, status int, why string) {
				t.Helper()
				rec := ask(l, http.MethodConnect, from)
				if rec.Code != status {
					t.Errorf("%s: %d, want %d", why, rec.Code, status)
				}
				if after := rec.Header().Get("Retry-After"); (after == "5") != (status == 429) {
					t.Errorf("%s: Retry-After %q", why, after)
				}
			}
			want("192.0.2.1:1", 200, "first")
			want("192.0.2.1:2", 200, "second of the address")
			want("192.0.2.1:3", 429, "third of the address")
			want("[2001:db8::1]:1", 200, "third of all")
			want("[2001:db8:1::1]:1", 429, "fourth of all")
			open["192.0.2.1:1"]()
			synctest.Wait()
			want("[2001:db8::2]:1", 200, "once one has ended")
			want("[2001:db8::3]:1", 429, "and again too many")
			limits := []transport.Limit{transport.LimitSessionsPerAddress, transport.LimitSessions, transport.LimitSessions}
			for i, r := range m.sessions {
				if i >= len(limits) || r.Limit != limits[i] || r.Status != 429 {
					t.Errorf("the Monitor was told %v of limits %v", m.sessions, limits)
				}
			}
			if len(m.sessions) != len(limits) {
				t.Errorf("the Monitor was told %v", m.sessions)
			}
		})
	})
	t.Run("a request that becomes no session gives its place back", func(t *testing.T) {
		l := (&Server{MaxSessions: 1}).setupLimits(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.RemoteAddr == "192.0.2.1:9" {
				panic(http.ErrAbortHandler)
			}
			w.WriteHeader(http.StatusForbidden)
		}))
		for range 3 {
			if rec := ask(l, http.MethodConnect, "192.0.2.1:1"); rec.Code != 403 {
				t.Fatalf("status %d, want the handler's", rec.Code)
			}
			func() {
				defer func() { recover() }()
				ask(l, http.MethodConnect, "192.0.2.1:9")
			}()
		}
	})
	t.Run("negative: none", func(t *testing.T) {
		l := (&Server{MaxSessions: -1, MaxSessionsPerAddress: -1, SessionRate: -1}).setupLimits(
			http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handshake.Keep(r.Context(), t.Context()) }))
		for i := range DefaultMaxSessions + 1 {
			if rec := ask(l, http.MethodConnect, "192.0.2.1:1"); rec.Code != 200 {
				t.Fatalf("session %d: %d", i, rec.Code)
			}
		}
	})
	t.Run("defaults", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := new(Server).setupLimits(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handshake.Keep(r.Context(), t.Context()) }))
			n := 0
			for ; n < 2*DefaultMaxSessionsPerAddress; n++ {
				if rec := ask(l, http.MethodConnect, "192.0.2.1:1"); rec.Code != 200 {
					break
				}
				time.Sleep(time.Second / DefaultSessionRate)
			}
			if n != DefaultMaxSessionsPerAddress {
				t.Errorf("an address had %d sessions, want %d", n, DefaultMaxSessionsPerAddress)
			}
		})
	})
}

// However a client writes the handshake that Upgrade accepts, it is counted.
func TestRateLimitWebSocketForms(t *testing.T) {
	const head = "GET /chat HTTP/1.1\r\nHost: a.test\r\n"
	for name, c := range map[string]struct {
		fields  string
		counted bool
	}{
		"as usual":              {"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: towpath.capsule.v1\r\n", true},
		"other cases":           {"UPGRADE: WebSocket\r\nconnection: uPGRADE\r\nsec-websocket-protocol: towpath.capsule.v1\r\n", true},
		"lists":                 {"Upgrade: h2c, websocket\r\nConnection: keep-alive , Upgrade\r\nSec-WebSocket-Protocol: chat,\ttowpath.capsule.v1\r\n", true},
		"lines":                 {"Upgrade: h2c\r\nUpgrade: websocket\r\nConnection: keep-alive\r\nConnection: upgrade\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: towpath.capsule.v1.YQ\r\nSec-WebSocket-Protocol: towpath.capsule.v1\r\n", true},
		"fails-components":      {"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: webtransport_kDraft1\r\n", true},
		"another subprotocol":   {"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: chat\r\n", false},
		"no subprotocol":        {"Upgrade: websocket\r\nConnection: Upgrade\r\n", false},
		"no Connection":         {"Upgrade: websocket\r\nSec-WebSocket-Protocol: towpath.capsule.v1\r\n", false},
		"another thing upgrade": {"Upgrade: websocket2\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: towpath.capsule.v1\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := (&Server{SessionRate: 1}).setupLimits(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = Upgrade(w, r, nil) }))
				var codes []int
				for range 3 {
					r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head + c.fields + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")))
					if err != nil {
						t.Fatal(err)
					}
					r.RemoteAddr, r.TLS = "192.0.2.1:1000", new(tls.ConnectionState)
					rec := httptest.NewRecorder()
					l.ServeHTTP(rec, r)
					codes = append(codes, rec.Code)
				}
				// Accepted as far as that goes without a connection to take over.
				want := []int{500, 500, 429}
				if !c.counted {
					want = []int{405, 405, 405}
				}
				if !slices.Equal(codes, want) {
					t.Errorf("statuses %v, want %v", codes, want)
				}
			})
		})
	}
}

func TestConnectionLimits(t *testing.T) {
	t.Run("DS-15 TCP and QUIC count together", func(t *testing.T) {
		seen := newWatcher()
		inWorld(t, worldOptions{setup: func(s *Server) { s.MaxConnectionsPerAddress, s.Monitor = 2, seen }}, func(t *testing.T, w *world) {
			dial := func(p transport.Protocol) (transport.Session, error) {
				d := w.dialer()
				d.Transports = []transport.Protocol{p}
				s, _, err := d.Dial(t.Context(), w.url, nil)
				return s, err
			}
			var open []transport.Session
			for _, p := range []transport.Protocol{transport.HTTP3, transport.HTTP2} {
				s, err := dial(p)
				if err != nil {
					t.Fatal(err)
				}
				open = append(open, s)
			}
			time.Sleep(time.Second)
			for _, p := range []transport.Protocol{transport.HTTP3, transport.HTTP2, transport.WebSocket} {
				if _, err := dial(p); err == nil {
					t.Errorf("a third connection, over %v", p)
				} else if _, answered := errors.AsType[*transport.RejectedError](err); answered {
					t.Errorf("over %v the client got as far as an answer: %v", p, err)
				}
			}
			if n := seen.refused(transport.LimitConnectionsPerAddress); n != 3 {
				t.Errorf("%d connections were refused, want 3", n)
			}
			for _, s := range open {
				wantEchoOver(t, s)
			}
			open[0].CloseWithError(0, "") // the one over QUIC
			time.Sleep(time.Minute)
			s, err := dial(transport.WebSocket)
			if err != nil {
				t.Fatalf("once a connection over QUIC has ended: %v", err)
			}
			wantEchoOver(t, s)
		})
	})
	t.Run("DS-15 negative: none", func(t *testing.T) {
		besiege(t, &Server{MaxConnections: -1, MaxConnectionsPerAddress: -1, ConnectionRate: -1}, func(t *testing.T, s *siege) {
			const clients = max(11_000/crowdShare, 2_200) // more than any default, under the race detector than those of one address
			conns := make([]net.Conn, clients)
			for i := range conns {
				conns[i] = s.come(attacker(0))
			}
			synctest.Wait()
			if n := s.server.connections.Open(); n != clients || len(s.seen.connections) != 0 {
				t.Errorf("%d of %d connections are open, refused: %v", n, clients, s.seen.connections)
			}
			for _, nc := range conns {
				nc.Close()
			}
		})
	})
}

// What a client can put into a line does not make the line a handshake's.
func TestHandshakeLog(t *testing.T) {
	const failed = "TLS handshake error from "
	for _, c := range []struct {
		line            string
		passes, refused bool
	}{
		{"http: " + failed + "192.0.2.1:5: EOF\n", false, false},
		{"http: " + failed + "192.0.2.1:5: read tcp: i/o timeout\n", false, true},
		{"http: panic serving 192.0.2.1:5: no such path: /" + failed + "x: i/o timeout\n", true, false},
	} {
		var rest strings.Builder
		m := &refusalCounter{}
		l := log.New(handshakeLog{&Server{Monitor: m}, log.New(&rest, "", 0)}, "", 0)
		l.Print(c.line)
		if got := rest.String(); got != "" != c.passes || c.passes && got != c.line {
			t.Errorf("%q: passed on %q", c.line, got)
		}
		if (len(m.connections) == 1) != c.refused {
			t.Errorf("%q: the Monitor was told %v", c.line, m.connections)
		}
	}
}
