package negotiate

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// Whoever refuses a session, the Monitor is told once, with the status that the
// client got.
func TestRefusalsAreToldOnce(t *testing.T) {
	handlers := map[string]struct {
		status int
		serve  http.HandlerFunc
	}{
		"the Origin": {403, func(w http.ResponseWriter, r *http.Request) { Upgrade(w, r, nil) }},
		"the application protocol": {400, func(w http.ResponseWriter, r *http.Request) {
			Upgrade(w, r, &transport.UpgradeOptions{Origins: []string{"*"}, Protocols: []string{"chat"}, RequireProtocol: true})
		}},
		"options that are not possible": {500, func(w http.ResponseWriter, r *http.Request) {
			Upgrade(w, r, &transport.UpgradeOptions{Origins: []string{"["}})
		}},
		"a handler": {404, func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }},
	}
	for name, c := range handlers {
		for _, p := range []transport.Protocol{transport.HTTP3, transport.HTTP2, transport.WebSocket} {
			t.Run(name+" over "+p.String(), func(t *testing.T) {
				seen := newWatcher()
				inWorld(t, worldOptions{handler: c.serve, setup: func(s *Server) { s.Monitor = seen }}, func(t *testing.T, w *world) {
					d := w.dialer()
					d.Transports = []transport.Protocol{p}
					_, _, err := d.Dial(t.Context(), w.url, &transport.DialOptions{Origin: "https://elsewhere.example"})
					if rejected, ok := errors.AsType[*transport.RejectedError](err); !ok || rejected.StatusCode != c.status {
						t.Fatalf("%v, want status %d", err, c.status)
					}
					synctest.Wait()
					want := transport.Refusal{Protocol: p, Status: c.status}
					if seen.sessions[want] != 1 || len(seen.sessions) != 1 {
						t.Errorf("the Monitor was told %v, want %v once", seen.sessions, want)
					}
				})
			})
		}
	}
}

// A handler that gives no answer refuses a session too: by what the transport says
// in its place.
func TestRefusalsWithoutAnAnswer(t *testing.T) {
	handlers := map[string]struct {
		status map[transport.Protocol]int // 0: the stream or the connection is reset
		serve  http.HandlerFunc
	}{
		"a handler that returns": {
			map[transport.Protocol]int{transport.HTTP3: 405, transport.HTTP2: 405, transport.WebSocket: 200},
			func(http.ResponseWriter, *http.Request) {},
		},
		"a handler that panics": {nil, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	}
	for name, c := range handlers {
		for _, p := range []transport.Protocol{transport.HTTP3, transport.HTTP2, transport.WebSocket} {
			t.Run(name+" over "+p.String(), func(t *testing.T) {
				seen := newWatcher()
				inWorld(t, worldOptions{handler: c.serve, setup: func(s *Server) { s.Monitor = seen }}, func(t *testing.T, w *world) {
					d := w.dialer()
					d.Transports = []transport.Protocol{p}
					_, _, err := d.Dial(t.Context(), w.url, nil)
					got := 0
					if rejected, ok := errors.AsType[*transport.RejectedError](err); ok {
						got = rejected.StatusCode
					}
					if err == nil || got != c.status[p] {
						t.Fatalf("%v, want status %d", err, c.status[p])
					}
					synctest.Wait()
					want := transport.Refusal{Protocol: p, Status: c.status[p]}
					if seen.sessions[want] != 1 || len(seen.sessions) != 1 {
						t.Errorf("the Monitor was told %v, want %v once", seen.sessions, want)
					}
				})
			})
		}
	}
}

// A client that goes before there is an answer was not refused.
func TestNoRefusalOfAClientThatGoes(t *testing.T) {
	serve := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for _, p := range []transport.Protocol{transport.HTTP3, transport.HTTP2, transport.WebSocket} {
		t.Run(p.String(), func(t *testing.T) {
			seen := newWatcher()
			inWorld(t, worldOptions{handler: serve, setup: func(s *Server) { s.Monitor = seen }}, func(t *testing.T, w *world) {
				d := w.dialer()
				d.Transports = []transport.Protocol{p}
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, _, err := d.Dial(ctx, w.url, nil); err == nil {
					t.Fatal("a session")
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if len(seen.sessions) != 0 {
					t.Errorf("the Monitor was told %v", seen.sessions)
				}
			})
		})
	}
}

// Middleware that hides how to take over a connection changes nothing of that.
func TestRefusalsBehindMiddleware(t *testing.T) {
	for name, origins := range map[string][]string{"refused": nil, "granted": {"*"}} {
		t.Run(name, func(t *testing.T) {
			seen := newWatcher()
			serve := func(w http.ResponseWriter, r *http.Request) {
				_, _ = Upgrade(struct{ http.ResponseWriter }{w}, r, &transport.UpgradeOptions{Origins: origins})
			}
			inWorld(t, worldOptions{handler: serve, setup: func(s *Server) { s.Monitor = seen }}, func(t *testing.T, w *world) {
				d := w.dialer()
				d.Transports = []transport.Protocol{transport.WebSocket}
				s, _, err := d.Dial(t.Context(), w.url, &transport.DialOptions{Origin: "https://elsewhere.example"})
				synctest.Wait()
				refused := seen.sessions[transport.Refusal{Protocol: transport.WebSocket, Status: 403}]
				if err == nil {
					_ = s.CloseWithError(0, "")
				}
				if granted := origins != nil; granted && (err != nil || len(seen.sessions) != 0) || !granted && (refused != 1 || len(seen.sessions) != 1) {
					t.Errorf("%v, and the Monitor was told %v", err, seen.sessions)
				}
			})
		})
	}
}

func TestWebSocketAnswer(t *testing.T) {
	ended := func(cause error) context.Context {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		return ctx
	}
	late := ended(&transport.LimitError{Limit: transport.LimitUpgradeTime})
	for name, c := range map[string]struct {
		answer   webSocketAnswer
		ctx      context.Context
		panicked bool
		want     transport.Refusal
	}{
		"none in time":            {webSocketAnswer{}, late, false, transport.Refusal{Status: 503, Limit: transport.LimitUpgradeTime}},
		"one that comes late":     {webSocketAnswer{status: 404}, late, false, transport.Refusal{Status: 503, Limit: transport.LimitUpgradeTime}},
		"none for want of memory": {webSocketAnswer{}, ended(&transport.LimitError{Limit: transport.LimitMemory}), false, transport.Refusal{Limit: transport.LimitMemory}},
		"one that a panic ends":   {webSocketAnswer{status: 404}, t.Context(), true, transport.Refusal{}},
	} {
		c.want.Protocol = transport.WebSocket
		if got, ok := c.answer.refusal(c.ctx, c.panicked); !ok || got != c.want {
			t.Errorf("%s: %v, %v, want %v", name, got, ok, c.want)
		}
	}
	if f, ok := new(webSocketAnswer).refusal(ended(nil), false); ok {
		t.Errorf("a client that is gone: %v", f)
	}
	for _, a := range []webSocketAnswer{{hijacked: true}, {status: 403, told: true}} {
		if f, ok := a.refusal(late, false); ok {
			t.Errorf("%+v: %v", &a, f)
		}
	}
}
