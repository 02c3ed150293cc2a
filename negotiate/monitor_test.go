package negotiate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/transport"
)

// A witness is a Monitor that remembers.
type witness struct {
	mu       sync.Mutex // guards the following
	sessions map[transport.Session]int
	sides    map[string]int // sessions by transport and side
	open     map[string]int // connections by transport and side
	conns    int            // ConnectionOpened
	refused  []transport.Refusal
	dialed   []transport.Dialed
}

func newWitness() *witness {
	return &witness{sessions: make(map[transport.Session]int), sides: make(map[string]int), open: make(map[string]int)}
}

func (w *witness) ConnectionOpened(p transport.Protocol, side transport.Side) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns++
	w.open[p.String()+" "+side.String()]++
}

func (w *witness) ConnectionEnded(p transport.Protocol, side transport.Side, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[p.String()+" "+side.String()]--
}

func (w *witness) ConnectionRefused(transport.Protocol, transport.Limit) {}

func (w *witness) SessionOpened(s transport.Session, side transport.Side) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sessions[s]++
	w.sides[s.Info().Protocol.String()+" "+side.String()]++
}

func (w *witness) SessionRefused(r transport.Refusal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refused = append(w.refused, r)
}

func (w *witness) Dialed(d transport.Dialed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dialed = append(w.dialed, d)
}

// last is the last dial, in words.
func (w *witness) last(t *testing.T) string {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.dialed) == 0 {
		t.Fatal("nothing was dialed")
	}
	d := w.dialed[len(w.dialed)-1]
	words := []string{d.Protocol.String(), d.Outcome}
	for _, f := range d.Fallbacks {
		words = append(words, f.Protocol.String()+":"+f.Reason)
	}
	if (d.Err == nil) != (d.Outcome == transport.DialConnected) {
		t.Errorf("outcome %s with the error %v", d.Outcome, d.Err)
	}
	return strings.Join(words, " ")
}

// TestMonitorDialed dials into worlds and reads what the Monitor was told.
func TestMonitorDialed(t *testing.T) {
	onlyWS := func(s *Server) { s.Transports = []transport.Protocol{transport.WebSocket} }
	answer := func(status int, proto int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor == proto || proto == 0 {
				w.WriteHeader(status)
				return
			}
			if s, err := Upgrade(w, r, nil); err == nil {
				go echoSession(s)
			}
		}
	}
	for _, c := range []struct {
		name  string
		world worldOptions
		setup func(*world, *Dialer)
		opts  *transport.DialOptions
		url   string
		want  string
	}{
		{name: "open", want: "h3 connected"},
		{name: "silent", setup: func(w *world, _ *Dialer) { w.router.drop.Store(true) }, want: "h2 connected h3:udp_silent"},
		{name: "refused", setup: func(w *world, _ *Dialer) { w.refuse(false, true) }, want: "h2 connected h3:udp_refused"},
		{name: "one family refused, the other silent", world: worldOptions{v6: true}, want: "h2 connected h3:udp_silent",
			setup: func(w *world, _ *Dialer) { w.refuse(true, true); w.router.drop.Store(true) }},
		{name: "slow", world: worldOptions{udp: 400 * time.Millisecond}, want: "h2 connected h3:udp_silent"},
		{name: "answering, but slow", world: worldOptions{udp: 35 * time.Millisecond}, want: "h2 connected h3:slow",
			setup: func(_ *world, d *Dialer) { d.HeadStart = -1 }},
		{name: "WebSocket only", world: worldOptions{noUDP: true, setup: onlyWS}, want: "ws connected h3:udp_silent h2:no_http2"},
		{name: "only HTTP/2 asked for", setup: func(_ *world, d *Dialer) { d.Transports = []transport.Protocol{transport.HTTP2} }, want: "h2 connected"},
		{name: "501 over HTTP/3", world: worldOptions{handler: answer(501, 3)}, want: "h2 connected h3:refused_501"},
		{name: "421 over HTTP/3", world: worldOptions{handler: answer(421, 3)}, want: "h2 connected h3:refused_421"},
		{name: "501 over HTTP/2", world: worldOptions{handler: answer(501, 2)}, want: "ws connected h2:refused_501",
			setup: func(_ *world, d *Dialer) { d.Transports = []transport.Protocol{transport.HTTP2, transport.WebSocket} }},
		{name: "403", world: worldOptions{handler: answer(403, 0)}, want: "unknown rejected"},
		{name: "certificate", setup: func(w *world, d *Dialer) { d.TLSClientConfig.RootCAs = nil }, want: "unknown certificate"},
		{name: "pin", setup: func(w *world, d *Dialer) { d.CertificateHashes = make([][32]byte, 1) }, want: "unknown certificate"},
		{name: "all dead", setup: func(w *world, d *Dialer) { w.refuse(false, true); w.killTCP(errRefusedTCP) }, want: "unknown no_way"},
		{name: "unknown name", url: "https://example.net/", want: "unknown resolve"},
		{name: "no URL", url: "http:example", want: "unknown invalid"},
		{name: "options", opts: &transport.DialOptions{Origin: "a\nb"}, want: "unknown invalid"},
		{name: "no transport left", setup: func(_ *world, d *Dialer) { d.Transports = []transport.Protocol{} }, want: "unknown invalid"},
		{name: "time", setup: func(w *world, d *Dialer) { d.Timeout = time.Millisecond }, want: "unknown timeout"},
		{name: "closed", setup: func(w *world, d *Dialer) { d.Close() }, want: "unknown canceled"},
		{name: "proxy function", setup: func(w *world, d *Dialer) {
			d.Proxy = func(*http.Request) (*url.URL, error) { return nil, errOwn }
		}, want: "unknown proxy"},
		{name: "protocols", opts: &transport.DialOptions{Protocols: []string{"chat"}, RequireProtocol: true}, want: "unknown violation"},
		{name: "errors hidden from the caller", world: worldOptions{handler: answer(403, 0)}, want: "unknown rejected",
			setup: func(w *world, d *Dialer) { d.OpaqueErrors = true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, c.world, func(t *testing.T, w *world) {
				m := newWitness()
				d := w.dialer()
				d.Monitor = m
				if c.setup != nil {
					c.setup(w, d)
				}
				address := c.url
				if address == "" {
					address = w.url
				}
				s, r, err := d.Dial(t.Context(), address, c.opts)
				if got := m.last(t); got != c.want {
					t.Errorf("told %q, want %q\n%v", got, c.want, r)
				}
				if err == nil {
					s.CloseWithError(0, "")
				}
				if len(m.dialed) != 1 || m.dialed[0].Elapsed != r.Elapsed {
					t.Errorf("told %d times, of %v instead of %v", len(m.dialed), m.dialed[0].Elapsed, r.Elapsed)
				}
				time.Sleep(time.Second) // what lingers
			})
		})
	}
	t.Run("canceled", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			m := newWitness()
			d := w.dialer()
			d.Monitor = m
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, _, err := d.Dial(ctx, w.url, nil); err == nil {
				t.Error("no error")
			}
			if got := m.last(t); got != "unknown canceled" {
				t.Errorf("told %q", got)
			}
		})
	})
	t.Run("remembered", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			m := newWitness()
			d := w.dialer()
			d.Monitor = m
			w.router.drop.Store(true)
			for _, want := range []string{"h3:udp_silent", "h3:pending", "h3:remembered"} {
				s, _ := wantDial(t, d, w.url, want, transport.HTTP2, -1)
				s.CloseWithError(0, "")
				if got := m.last(t); got != "h2 connected "+want {
					t.Errorf("told %q, want %s", got, want)
				}
				if want == "h3:pending" {
					time.Sleep(time.Second)
				}
			}
		})
	})
}

// TestMonitorSessions has both ends tell one Monitor each: every session once on
// each side, and every connection opened and ended.
func TestMonitorSessions(t *testing.T) {
	for _, p := range []transport.Protocol{transport.HTTP3, transport.HTTP2, transport.WebSocket} {
		for _, pooled := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v pool=%v", p, pooled), func(t *testing.T) {
				server, client := newWitness(), newWitness()
				inWorld(t, worldOptions{setup: func(s *Server) { s.Monitor = server }}, func(t *testing.T, w *world) {
					d := w.dialer()
					d.Monitor, d.Pool, d.Transports = client, pooled, []transport.Protocol{p}
					var all []transport.Session
					for range 3 {
						s, _ := wantDial(t, d, w.url, "session", p, -1)
						wantEchoOver(t, s)
						all = append(all, s)
					}
					conns := 3
					if pooled && p != transport.WebSocket {
						conns = 1
					}
					for _, e := range []struct {
						m    *witness
						side string
					}{{server, "server"}, {client, "client"}} {
						e.m.mu.Lock()
						key := p.String() + " " + e.side
						if len(e.m.sessions) != 3 || e.m.sides[key] != 3 || len(e.m.sides) != 1 {
							t.Errorf("%s: told of %d sessions: %v", e.side, len(e.m.sessions), e.m.sides)
						}
						if e.m.conns != conns || e.m.open[key] != conns {
							t.Errorf("%s: told of %d connections: %v, want %d", e.side, e.m.conns, e.m.open, conns)
						}
						e.m.mu.Unlock()
					}
					for _, s := range all {
						if client.sessions[s] != 1 {
							t.Errorf("told of %d times, or of another value than Dial returned", client.sessions[s])
						}
						s.CloseWithError(0, "")
					}
				})
				for _, m := range []*witness{server, client} {
					for key, n := range m.open {
						if n != 0 {
							t.Errorf("%d connections of %s did not end", n, key)
						}
					}
					if len(m.refused) != 0 {
						t.Errorf("refusals: %v", m.refused)
					}
				}
			})
		}
	}
}

// TestErrorReasons has a word for each kind of error.
func TestErrorReasons(t *testing.T) {
	seen := []string{ // by TestMonitorDialed
		transport.FallbackUDPSilent, transport.FallbackUDPRefused, transport.FallbackSlow, transport.FallbackRemembered,
		transport.FallbackPending, transport.FallbackProxy,
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{errNoProgress, transport.FallbackUDPDead},
		{transport.ErrNotWebTransport, transport.FallbackNoWebTransport},
		{ErrNoHTTP2, transport.FallbackNoHTTP2},
		{&transport.RejectedError{StatusCode: 501}, transport.FallbackRefused501},
		{&transport.RejectedError{StatusCode: 421}, transport.FallbackRefused421},
		{&transport.RejectedError{StatusCode: 400}, transport.FallbackOther},
		{&transport.NotProcessedError{Err: &transport.ResetError{}}, transport.FallbackNotProcessed},
		{&transport.ResetError{}, transport.FallbackReset},
		{&quic.ApplicationError{}, transport.FallbackReset},
		{&quic.IdleTimeoutError{}, transport.FallbackTimeout},
		{&quic.HandshakeTimeoutError{}, transport.FallbackTimeout},
		{context.DeadlineExceeded, transport.FallbackTimeout},
		{&quic.TransportError{ErrorCode: 0x178}, transport.FallbackHandshake},
		{&quic.VersionNegotiationError{}, transport.FallbackHandshake},
		{&net.OpError{Op: "remote error", Err: noALPN}, transport.FallbackHandshake},
		{&net.OpError{Op: "dial", Err: errOwn}, transport.FallbackUnreachable},
		{errOwn, transport.FallbackOther},
	} {
		if got := errorReason(fmt.Errorf("wrapped: %w", c.err)); got != c.want {
			t.Errorf("%v is %s, want %s", c.err, got, c.want)
		}
		seen = append(seen, c.want)
	}
	for _, r := range transport.FallbackReasons() {
		if !slices.Contains(seen, r) {
			t.Errorf("nothing gives the reason %s", r)
		}
	}
	through := &Report{Winner: transport.WebSocket, byProxy: true, Attempts: []Attempt{
		{Protocol: transport.HTTP2, Outcome: Failed, Heard: true, Err: transport.ErrNotWebTransport}, {Protocol: transport.WebSocket, Outcome: Won},
	}}
	if got := fmt.Sprint(through.Fallbacks()); got != "[{h3 proxy} {h2 no_webtransport}]" {
		t.Errorf("through a proxy: %s", got)
	}
	for _, r := range []*Report{
		{Attempts: []Attempt{{Protocol: transport.HTTP3, Outcome: Failed, Err: errOwn}}},
		{Winner: transport.HTTP2, Reused: true, Attempts: []Attempt{{Protocol: transport.HTTP2, Outcome: Won}}},
	} {
		if got := r.Fallbacks(); got != nil {
			t.Errorf("fallbacks %v of %v", got, r)
		}
	}
	if is[*net.OpError](errors.New("x")) {
		t.Error("is matches anything")
	}
}
