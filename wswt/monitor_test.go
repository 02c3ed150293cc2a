package wswt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/transport"
)

// told is a Monitor that keeps what it is told.
type told struct {
	mu      sync.Mutex // guards the following
	calls   []string
	ends    []error
	refused []transport.Refusal
}

func (m *told) add(what ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, strings.Join(what, " "))
}

func (m *told) ConnectionOpened(p transport.Protocol, s transport.Side) {
	m.add("connection opened", p.String(), s.String())
}

func (m *told) ConnectionEnded(p transport.Protocol, s transport.Side, err error) {
	m.add("connection ended", p.String(), s.String())
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ends = append(m.ends, err)
}

func (m *told) ConnectionRefused(p transport.Protocol, l transport.Limit) {
	m.add("connection refused", p.String(), string(l))
}

func (m *told) SessionOpened(s transport.Session, side transport.Side) {
	m.add("session opened", s.Info().Protocol.String(), side.String())
}

func (m *told) SessionRefused(r transport.Refusal) {
	m.add("session refused")
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refused = append(m.refused, r)
}

func (m *told) Dialed(transport.Dialed) { m.add("dialed") }

// TestMonitor has connections end in all ways, and wants what a Monitor and a
// Logger are told.
func TestMonitor(t *testing.T) {
	for _, tt := range []struct {
		name  string
		end   func(p *rawPeer)
		limit transport.Limit
		fails bool // the Monitor is told an error
	}{
		{"the peer closes", func(p *rawPeer) { p.close(1000, ""); p.wantClose(1000) }, "", false},
		{"the session is closed", func(p *rawPeer) {
			go p.s.CloseWithError(7, "bye") // ends with the connection
			p.want(ws.OpBinary)
			p.wantClose(1000)
			p.close(1000, "")
		}, "", false},
		{"the server is closed", func(p *rawPeer) {
			go p.srv.Close() // ends with the connection
			p.wantClose(1001)
			p.close(1001, "")
		}, "", false},
		{"a Close frame that is never answered", func(p *rawPeer) {
			p.s.CloseWithError(0, "")
			<-p.c.done
		}, transport.LimitCloseTime, true},
		{"the connection is lost", func(p *rawPeer) { p.nc.Cut(io.ErrUnexpectedEOF) }, "", true},
		{"the peer gives up", func(p *rawPeer) { p.close(4008, ""); p.wantClose(4008) }, "", true},
		{"the peer is silent", func(p *rawPeer) { <-p.c.done }, transport.LimitPingTime, true},
		{"the peer reads nothing", func(p *rawPeer) {
			p.other.StallWrites(true)
			_ = p.s.SendDatagram([]byte("x"))
			for p.s.Context().Err() == nil { // it sends, so that no ping ends it
				_, _ = p.nc.Write(p.encode(ws.OpBinary, true, streamCapsule(p.peerStream(), false, "x")))
				time.Sleep(time.Second)
			}
		}, transport.LimitWriteTime, true},
		{"a message that is too long", func(p *rawPeer) {
			p.raw(p.longLength(1<<62, 8))
			p.wantClose(1009)
		}, transport.LimitMessageSize, true},
		{"a text message", func(p *rawPeer) { p.write(ws.OpText, true, nil); p.wantClose(1003) }, "", true},
	} {
		for _, client := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := new(told)
					var lines bytes.Buffer
					p := connect(t, client, &Config{
						Monitor: m,
						Logger:  slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelDebug})),
					}, nil)
					tt.end(p)
					p.wantGone()
					side := p.c.side().String()
					if side == "client" != client {
						t.Errorf("side %s", side)
					}
					want := "connection opened ws " + side + ", session opened ws " + side + ", connection ended ws " + side
					if got := strings.Join(m.calls, ", "); got != want {
						t.Errorf("calls: %s\nwant:  %s", got, want)
					}
					limit, _ := transport.ReachedLimit(m.ends[0])
					if limit != tt.limit || (m.ends[0] != nil) != tt.fails {
						t.Errorf("ended with %v, limit %q, want %q", m.ends[0], limit, tt.limit)
					}
					if limit, _ := transport.ReachedLimit(context.Cause(p.s.Context())); limit != tt.limit && tt.limit != transport.LimitCloseTime {
						t.Errorf("the session ended for limit %q: %v", limit, context.Cause(p.s.Context()))
					}
					log := lines.String()
					for _, line := range []string{"connection opened", "connection ended"} {
						if strings.Count(log, line) != 1 {
							t.Errorf("%q is not logged once:\n%s", line, log)
						}
					}
					if tt.limit != "" && !strings.Contains(log, "limit="+string(tt.limit)) {
						t.Errorf("the limit is not logged:\n%s", log)
					}
				})
			})
		}
	}
}

// TestMonitorOfAClient has a client end a session that its application does not
// get.
func TestMonitorOfAClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(told)
		opts := &transport.DialOptions{Protocols: []string{"a"}, RequireProtocol: true}
		server, r, result := script(t, t.Context(), opts, &Config{Monitor: m})
		io.WriteString(server, acceptance(r))
		if d := <-result; d.err == nil {
			t.Error("Dial succeeded")
		}
		server.Close()
		synctest.Wait()
		if got := strings.Join(m.calls, ", "); got != "connection opened ws client, connection ended ws client" {
			t.Errorf("calls: %s", got)
		}
	})
}

// TestRefusals wants what a Monitor and a Logger are told of requests that get no
// session.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cfg    Config
		before func(s *Server)
		change map[string]string
		status int
		limit  transport.Limit
		retry  string
	}{
		{name: "MaxSessions", cfg: Config{MaxSessions: 2}, status: 429, limit: transport.LimitSessions, retry: "5"},
		{name: "MaxSessionsPerAddress", cfg: Config{MaxSessionsPerAddress: 2}, status: 429, limit: transport.LimitSessionsPerAddress, retry: "5"},
		{name: "SessionRate", cfg: Config{SessionRate: 1}, status: 429, limit: transport.LimitSessionRate, retry: "1"},
		{name: "shutting down", before: func(s *Server) { s.stop(serverDraining) }, status: 503},
		{name: "too many subprotocols", change: map[string]string{fieldProtocol: strings.Repeat("x,", maxOffers+1)}, status: 431, limit: transport.LimitHeaderSize},
		{name: "no subprotocol", change: map[string]string{fieldProtocol: "chat"}, status: 405},
		{name: "version", change: map[string]string{fieldVersion: "8"}, status: 426},
		{name: "origin", change: map[string]string{"Origin": "https://evil.example"}, status: 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := new(told)
				var lines bytes.Buffer
				tt.cfg.Monitor = m
				tt.cfg.Logger = slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelDebug}))
				srv := NewServer(&tt.cfg)
				defer srv.Close()
				for range 2 {
					open(t, srv, "192.0.2.7:1000")
				}
				if tt.before != nil {
					tt.before(srv)
				}
				r := openingRequest()
				r.RemoteAddr = "192.0.2.7:2000"
				for name, value := range tt.change {
					r.Header.Set(name, value)
				}
				w := httptest.NewRecorder()
				_, err := srv.Upgrade(w, r, nil)
				if err == nil || w.Code != tt.status || w.Header().Get("Retry-After") != tt.retry {
					t.Errorf("status %d, Retry-After %q, %v; want %d, %q", w.Code, w.Header().Get("Retry-After"), err, tt.status, tt.retry)
				}
				if limit, _ := transport.ReachedLimit(err); limit != tt.limit {
					t.Errorf("limit %q of %v, want %q", limit, err, tt.limit)
				}
				want := transport.Refusal{Protocol: transport.WebSocket, Status: tt.status, Limit: tt.limit}
				if len(m.refused) != 1 || m.refused[0] != want {
					t.Errorf("told of %+v, want %+v", m.refused, want)
				}
				if log := lines.String(); strings.Count(log, "session refused") != 1 || strings.Contains(log, "limit=") != (tt.limit != "") || !strings.Contains(log, string(tt.limit)) {
					t.Errorf("log:\n%s", log)
				}
			})
		})
	}
	t.Run("the answer is not taken", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m := new(told)
			srv := NewServer(&Config{Monitor: m})
			defer srv.Close()
			nc, peer := memconn.Pipe(nil)
			defer peer.Close()
			nc.StallWrites(true)
			_, err := srv.Upgrade(hijacker{httptest.NewRecorder(), nc}, openingRequest(), nil)
			if !errors.Is(err, errHandshakeTimeout) {
				t.Errorf("Upgrade: %v", err)
			}
			want := transport.Refusal{Protocol: transport.WebSocket, Limit: transport.LimitHandshakeTime}
			if len(m.refused) != 1 || m.refused[0] != want {
				t.Errorf("told of %+v, want %+v", m.refused, want)
			}
		})
	})
}

// open accepts a session from an address; the returned end is the client's.
func open(t testing.TB, srv *Server, remote string) *memconn.Conn {
	t.Helper()
	client, nc := memconn.Pipe(nil)
	t.Cleanup(func() { client.Close() })
	r := openingRequest()
	r.RemoteAddr = remote
	if _, err := srv.Upgrade(hijacker{httptest.NewRecorder(), nc}, r, nil); err != nil {
		t.Fatal(err)
	}
	return client
}

// tryOpen reports whether a session from an address is accepted, and ends it.
func tryOpen(srv *Server, remote string) error {
	r := openingRequest()
	r.RemoteAddr = remote
	var nc net.Conn = new(deadConn)
	s, err := srv.Upgrade(hijacker{httptest.NewRecorder(), nc}, r, nil)
	if err == nil {
		<-s.Context().Done()
	}
	return err
}

// TestQuotas bounds sessions by client address.
func TestQuotas(t *testing.T) {
	t.Run("sessions of an address come and go", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := NewServer(&Config{MaxSessionsPerAddress: 2})
			defer srv.Close()
			first := open(t, srv, "[2001:db8:1:2::1]:1")
			open(t, srv, "[2001:db8:1:2::2]:1")
			if err := tryOpen(srv, "[2001:db8:1:2:ffff::]:9"); err != error(errPerAddress) {
				t.Errorf("a third session of a /64: %v", err)
			}
			for _, other := range []string{"[2001:db8:1:3::1]:1", "192.0.2.1:1", "192.0.2.2:1"} {
				if err := tryOpen(srv, other); err != nil {
					t.Errorf("%s: %v", other, err)
				}
			}
			first.Close()
			synctest.Wait()
			if err := tryOpen(srv, "[2001:db8:1:2::3]:1"); err != nil {
				t.Errorf("after one has ended: %v", err)
			}
		})
	})
	t.Run("the rate of an address", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := NewServer(&Config{SessionRate: 10})
			defer srv.Close()
			for i := range 20 {
				if err := tryOpen(srv, "192.0.2.1:1"); err != nil {
					t.Fatalf("session %d: %v", i, err)
				}
			}
			if err := tryOpen(srv, "192.0.2.1:2"); err != error(errSessionRate) {
				t.Errorf("beyond the burst: %v", err)
			}
			if err := tryOpen(srv, "192.0.2.2:1"); err != nil {
				t.Errorf("another address: %v", err)
			}
			time.Sleep(100 * time.Millisecond)
			if err := tryOpen(srv, "192.0.2.1:3"); err != nil {
				t.Errorf("a tenth of a second later: %v", err)
			}
		})
	})
	t.Run("defaults", func(t *testing.T) {
		for _, tt := range []struct {
			cfg                   *Config
			open, perClient, rate int
		}{
			{nil, DefaultMaxSessions, DefaultMaxSessionsPerAddress, DefaultSessionRate},
			{&Config{TLSTerminated: true}, DefaultMaxSessions, 0, 0},
			{&Config{TLSTerminated: true, MaxSessionsPerAddress: 5, SessionRate: 6}, DefaultMaxSessions, 5, 6},
			{&Config{MaxSessions: -1, MaxSessionsPerAddress: -1, SessionRate: -1}, 0, 0, 0},
		} {
			if q := tt.cfg.clone().quota(); q.Open != tt.open || q.OpenPerClient != tt.perClient || q.Rate != tt.rate {
				t.Errorf("%+v: %+v", tt.cfg, q)
			}
		}
	})
	t.Run("a server that is full refuses before it counts", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := NewServer(&Config{MaxSessions: 1, SessionRate: 2})
			defer srv.Close()
			open(t, srv, "192.0.2.1:1")
			for range 100 {
				if err := tryOpen(srv, "192.0.2.2:1"); err != error(errMaxSessions) {
					t.Fatal(err)
				}
			}
			if n := srv.quota.Open(); n != 1 {
				t.Errorf("%d sessions are counted", n)
			}
		})
	})
}

// TestHeaderMemory makes sure that the header that Info keeps is counted, so that
// many sessions with large headers do not pass the server's memory by.
func TestHeaderMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := NewServer(&Config{MaxServerMemory: 1 << 20})
		defer srv.Close()
		var all []transport.Session
		for range 20 {
			r := openingRequest()
			for i := range 700 { // about 100 KiB in memory
				r.Header.Set("X-"+strings.Repeat("a", i%40+1)+string(rune('a'+i%26)), "b")
				r.Header.Add("X-Many", "c")
			}
			client, nc := memconn.Pipe(nil)
			t.Cleanup(func() { client.Close() })
			s, err := srv.Upgrade(hijacker{httptest.NewRecorder(), nc}, r, nil)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, s)
		}
		time.Sleep(3 * transport.DefaultCloseTimeout)
		if held, each := srv.budget.Held(), headerMemory(all[0].Info().Header); held >= 1<<20 || held < 1<<20-int64(each) {
			t.Errorf("%d bytes are held, %d for each", held, each)
		}
		if err := context.Cause(all[0].Context()); err != nil {
			t.Errorf("the oldest session ended with %v", err)
		}
		if limit, _ := transport.ReachedLimit(context.Cause(all[len(all)-1].Context())); limit != transport.LimitMemory {
			t.Errorf("the newest session ended for %q", limit)
		}
		srv.Close()
		if held := srv.budget.Held(); held != 0 {
			t.Errorf("%d bytes are still held", held)
		}
	})
}
