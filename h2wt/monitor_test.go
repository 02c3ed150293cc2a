package h2wt

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/internal/handshake"
	"github.com/towpath-go/towpath/transport"
)

// watched is a Monitor that keeps what it is told, as lines.
type watched struct {
	mu    sync.Mutex
	lines []string
}

func (w *watched) add(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, strings.TrimSpace(fmt.Sprintf(format, args...)))
}

func (w *watched) ConnectionOpened(p transport.Protocol, s transport.Side) {
	w.add("%v %v opened", p, s)
}
func (w *watched) ConnectionEnded(p transport.Protocol, s transport.Side, err error) {
	limit, _ := transport.ReachedLimit(err)
	w.add("%v %v ended, failed %v %s", p, s, err != nil, limit)
}
func (w *watched) ConnectionRefused(p transport.Protocol, l transport.Limit) {
	w.add("%v refused %s", p, l)
}
func (w *watched) SessionOpened(s transport.Session, side transport.Side) {
	w.add("session %d %v opened", s.Info().ID, side)
}
func (w *watched) SessionRefused(r transport.Refusal) {
	w.add("session refused %v %d %s", r.Protocol, r.Status, r.Limit)
}
func (w *watched) Dialed(transport.Dialed) { w.add("dialed") }

// take returns what was told since the last call.
func (w *watched) take() []string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.lines
	w.lines = nil
	return l
}

func (w *watched) want(t *testing.T, why string, lines ...string) {
	t.Helper()
	if got := w.take(); !slices.Equal(got, lines) {
		t.Errorf("%s: the Monitor was told %q, want %q", why, got, lines)
	}
}

func (b *logBook) debug() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "remote" {
			return slog.Attr{}
		}
		return a
	}}))
}

func TestMonitorOfServer(t *testing.T) {
	bubble(t, "a connection and a session, and the end for a limit", func(t *testing.T) {
		w, book := new(watched), new(logBook)
		h, up := upgradeHandler(nil)
		srv := newServer(t, h, &Config{Monitor: w, Logger: book.debug(), Glitches: transport.Rate{PerSecond: 1, Burst: 20}})
		defer srv.stop()
		p, _ := srv.peer(wtLimits(100)...)
		defer p.Close()
		w.want(t, "greeted", "h2 server opened")
		p.WriteHeaders(1, false, connectFields()...)
		wantStatus(t, p, 1, "200", false)
		s := (<-up).s
		w.want(t, "accepted", "session 1 server opened")
		p.AllowWriteErrors = true
		for range 30 {
			p.WritePing(false, [8]byte{})
		}
		p.WantConnError("flood", http2.ErrCodeEnhanceYourCalm)
		p.NetConn().Close()
		w.want(t, "the end", "h2 server ended, failed true frames")
		if l, _ := transport.ReachedLimit(context.Cause(s.Context())); l != transport.LimitFrames {
			t.Errorf("the session ended with limit %q: %v", l, context.Cause(s.Context()))
		}
		for msg, want := range map[string]string{
			"connection opened": `level=DEBUG msg="connection opened" transport=h2 side=server`,
			"connection ended":  `level=DEBUG msg="connection ended" transport=h2 side=server limit=frames error=`,
		} {
			if got := book.lines(msg); len(got) != 1 || !strings.HasPrefix(got[0], want) {
				t.Errorf("log %q, want one line %s", got, want)
			}
		}
	})
	bubble(t, "a client that closes is no failure", func(t *testing.T) {
		w := new(watched)
		h, _ := upgradeHandler(nil)
		srv := newServer(t, h, &Config{Monitor: w})
		defer srv.stop()
		p, _ := srv.peer()
		p.Close()
		w.want(t, "closed", "h2 server opened", "h2 server ended, failed false")
	})
	bubble(t, "DS-15 an idle connection", func(t *testing.T) {
		w := new(watched)
		h, _ := upgradeHandler(nil)
		srv := newServer(t, h, &Config{Monitor: w})
		defer srv.stop()
		p, _ := srv.peer()
		defer p.Close()
		time.Sleep(2*time.Minute + 5*time.Second)
		w.want(t, "idle", "h2 server opened", "h2 server ended, failed true connection-idle")
	})
	bubble(t, "DS-14 a connection that is never ready", func(t *testing.T) {
		w := new(watched)
		h, _ := upgradeHandler(nil)
		srv := newServer(t, h, &Config{Monitor: w})
		defer srv.stop()
		p := h2test.NewClient(t, srv.clientTLS())
		p.Start()
		defer p.Close()
		time.Sleep(15 * time.Second)
		w.want(t, "no preface", "h2 refused handshake-time")
		p = h2test.NewClient(t, srv.clientTLS())
		p.Start()
		p.Close()
		w.want(t, "a client that goes by itself was not turned away")
	})
	reject := func(code int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	}
	upgrade := func(opts *transport.UpgradeOptions) http.Handler { h, _ := upgradeHandler(opts); return h }
	hang := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	for _, tt := range []struct {
		name string
		h    http.Handler
		cfg  Config
		send func(t *testing.T, p *h2test.Peer)
		want []string
	}{
		{"H2-025 405", reject(200), Config{}, nil, []string{"405"}},
		{"H2-028 403 by Upgrade", upgrade(nil), Config{}, func(_ *testing.T, p *h2test.Peer) {
			p.WriteHeaders(1, false, connectFields("origin", "https://evil.example")...)
		}, []string{"403"}},
		{"H2-028 404 by the handler", reject(404), Config{}, nil, []string{"404"}},
		{"H2-076 400", upgrade(nil), Config{}, func(_ *testing.T, p *h2test.Peer) {
			p.WriteHeaders(1, false, connectFields("webtransport-init", "u=")...)
		}, []string{"400"}},
		{"H2-037 400 for END_STREAM", upgrade(nil), Config{}, func(_ *testing.T, p *h2test.Peer) {
			p.WriteHeaders(1, true, connectFields()...)
		}, []string{"400"}},
		{"H2-042 429", hang, Config{MaxSessions: 1}, func(_ *testing.T, p *h2test.Peer) {
			p.WriteHeaders(1, false, connectFields()...)
			p.WriteHeaders(3, false, connectFields()...)
		}, []string{"429 sessions-per-connection"}},
		{"H2-041 REFUSED_STREAM", hang, Config{MaxConcurrentStreams: 1}, func(_ *testing.T, p *h2test.Peer) {
			p.WriteHeaders(1, false, connectFields()...)
			p.WriteHeaders(3, false, connectFields()...)
			p.WriteHeaders(5, false, connectFields(":protocol", "websocket")...)
		}, []string{"0 requests"}},
		{"BP-023 431", hang, Config{MaxHeaderBytes: 2000}, func(_ *testing.T, p *h2test.Peer) {
			p.WriteHeaders(1, false, connectFields("x", strings.Repeat("x", 2000))...)
		}, []string{"431 header-size"}},
		{"BP-024 malformed", hang, Config{}, func(_ *testing.T, p *h2test.Peer) {
			p.WriteHeaders(1, false, connectFields(":path", "-")...)
		}, []string{"0"}},
		{"H2-030 malformed for a session", hang, Config{}, func(_ *testing.T, p *h2test.Peer) {
			p.WriteHeaders(1, false, connectFields("content-length", "5")...)
		}, []string{"0"}},
		{"DS-20 503 when nothing is decided", hang, Config{UpgradeTimeout: time.Second}, func(_ *testing.T, p *h2test.Peer) {
			p.WriteHeaders(1, false, connectFields()...)
			time.Sleep(2 * time.Second)
		}, []string{"503 upgrade-time"}},
		{"H2-038 a handler that panics", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), Config{}, nil, []string{"0"}},
		{"DS-01 a client that resets was not refused", hang, Config{}, func(_ *testing.T, p *h2test.Peer) {
			p.WriteHeaders(1, false, connectFields()...)
			p.WriteRST(1, http2.ErrCodeCancel)
		}, nil},
		{"H2-042 a limit outside of the transport", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if !handshake.Refuse(w, http.StatusTooManyRequests, transport.LimitSessionRate) {
				panic("a session's writer cannot be told the limit")
			}
		}), Config{}, nil, []string{"429 session-rate"}},
		{"H2-026 another protocol asks for no session", hang, Config{}, func(_ *testing.T, p *h2test.Peer) {
			p.WriteHeaders(1, false, connectFields(":protocol", "foo")...)
		}, nil},
		{"H2-026 a WebSocket is not this package's session", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if handshake.Refuse(w, http.StatusTooManyRequests, transport.LimitSessionRate) {
				panic("a WebSocket's refusal was told as a session's")
			}
		}), Config{}, func(_ *testing.T, p *h2test.Peer) {
			p.WriteHeaders(1, false, connectFields(":protocol", "websocket")...)
		}, nil},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			w, book := new(watched), new(logBook)
			tt.cfg.Monitor, tt.cfg.Logger = w, book.debug()
			srv := newServer(t, tt.h, &tt.cfg)
			defer srv.stop()
			p, _ := srv.peer(wtLimits(100)...)
			defer p.Close()
			w.want(t, "greeted", "h2 server opened")
			if tt.send != nil {
				tt.send(t, p)
			} else {
				p.WriteHeaders(1, false, connectFields()...)
			}
			var want []string
			for _, s := range tt.want {
				want = append(want, "session refused h2 "+s)
			}
			w.want(t, tt.name, want...)
			if got := book.lines("session refused"); len(got) != len(want) {
				t.Errorf("log %q", got)
			} else if len(got) > 0 {
				status, limit, _ := strings.Cut(tt.want[0], " ")
				if !strings.Contains(got[0], "status="+status+" ") || limit != "" && !strings.Contains(got[0], "limit="+limit) {
					t.Errorf("log %q", got)
				}
			}
		})
	}
}

func TestMonitorOfClient(t *testing.T) {
	bubble(t, "a connection and a session", func(t *testing.T) {
		w := new(watched)
		conn, c, _ := clientSession(t, &Config{Monitor: w}, nil, enabled(100))
		w.want(t, "dialed", "h2 client opened", "session 1 client opened")
		c.p.AllowWriteErrors = true
		conn.Close()
		w.want(t, "closed by us", "h2 client ended, failed false")
		c.p.Close()
	})
	bubble(t, "a server that floods", func(t *testing.T) {
		w := new(watched)
		conn, c, s := clientSession(t, &Config{Monitor: w, Glitches: transport.Rate{PerSecond: 1, Burst: 20}}, nil, enabled(100))
		defer conn.Close()
		defer c.p.Close()
		w.take()
		c.p.AllowWriteErrors = true
		for range 30 {
			c.p.WritePing(false, [8]byte{})
		}
		<-conn.Done()
		w.want(t, "ended", "h2 client ended, failed true frames")
		for _, err := range []error{conn.Err(), context.Cause(s.Context())} {
			if l, _ := transport.ReachedLimit(err); l != transport.LimitFrames {
				t.Errorf("limit %q: %v", l, err)
			}
		}
	})
	bubble(t, "a server that is none, and one that says nothing, were never open", func(t *testing.T) {
		w := new(watched)
		p, result := newScriptedServer(t, &Config{Monitor: w})
		p.Preface()
		if _, err := result.Result(); err == nil {
			t.Error("dialed a server without WebTransport")
		}
		time.Sleep(2 * time.Second) // until the server has read GOAWAY
		p.Close()
		p, result = newScriptedServer(t, &Config{Monitor: w})
		p.Start()
		if _, err := result.Result(); err == nil {
			t.Error("dialed a silent server")
		} else if l, _ := transport.ReachedLimit(err); l != transport.LimitHandshakeTime {
			t.Errorf("limit %q: %v", l, err)
		}
		time.Sleep(2 * time.Second) // until the server has read GOAWAY
		p.Close()
		w.want(t, "never open")
	})
	bubble(t, "H2-045 one session too many", func(t *testing.T) {
		conn, c, _ := clientSession(t, &Config{MaxSessions: 1}, nil, enabled(100))
		defer conn.Close()
		defer c.p.Close()
		_, err := conn.Dial(t.Context(), "https://example.com/", nil)
		if l, _ := transport.ReachedLimit(err); l != transport.LimitSessionsPerConnection {
			t.Errorf("limit %q: %v", l, err)
		}
	})
}

func TestRate(t *testing.T) {
	for _, tt := range []struct {
		rate  transport.Rate
		calls int // glitches without time passing, the last of which is too much
	}{
		{transport.Rate{PerSecond: 5}, 6},
		{transport.Rate{PerSecond: 5, Burst: 7}, 8},
		{transport.Rate{Burst: 3}, 4},
	} {
		bubble(t, fmt.Sprintf("DS-11 H2-185 %+v", tt.rate), func(t *testing.T) {
			h, _ := upgradeHandler(nil)
			srv := newServer(t, h, &Config{Glitches: tt.rate})
			defer srv.stop()
			p, _ := srv.peer() // its SETTINGS are one
			defer p.Close()
			for range tt.calls - 2 {
				p.WritePing(false, [8]byte{})
				p.WantFrame("within the burst", h2test.Ping{Ack: true})
			}
			if tt.rate.PerSecond == 0 {
				time.Sleep(time.Minute)
			}
			p.AllowWriteErrors = true
			p.WritePing(false, [8]byte{})
			p.WantConnError("beyond", http2.ErrCodeEnhanceYourCalm)
		})
	}
	bubble(t, "DS-11 H2-185 switched off", func(t *testing.T) {
		h, _ := upgradeHandler(nil)
		srv := newServer(t, h, &Config{Glitches: transport.Rate{PerSecond: -1}, StreamResets: transport.Rate{PerSecond: -1}})
		defer srv.stop()
		p, _ := srv.peer()
		defer p.Close()
		for i := range 12_000 {
			p.WriteHeaders(uint32(2*i+1), true, "a", "b")
		}
		p.Drain()
		for range 12_000 {
			p.WritePriority(1, http2.PriorityParam{StreamDep: 3})
		}
		p.WantIdle("no limit")
	})
}
