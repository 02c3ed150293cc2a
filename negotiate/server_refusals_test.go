package negotiate

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"

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
