package negotiate

import (
	"net/http"
	"testing"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// A server that takes its time is asked by a second way as well, for the same
// client: the place that the first request holds is none that the client lacks.
func TestLimitsWhileAskedTwice(t *testing.T) {
	slow := func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(3 * time.Second)
		if s, err := Upgrade(w, r, nil); err == nil {
			go echoSession(s)
		}
	}
	for name, setup := range map[string]func(*Server){
		"sessions per address": func(s *Server) { s.MaxSessionsPerAddress = 1 },
		"sessions":             func(s *Server) { s.MaxSessions = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			seen := newWatcher()
			inWorld(t, worldOptions{handler: slow, setup: func(s *Server) { setup(s); s.Monitor = seen }}, func(t *testing.T, w *world) {
				d := w.dialer()
				d.Transports = []transport.Protocol{transport.HTTP3, transport.HTTP2}
				s, report, err := d.Dial(t.Context(), w.url, nil)
				if err != nil {
					t.Fatalf("the only client: %v\n%v", err, report)
				}
				if len(seen.sessions) != 1 {
					t.Errorf("nobody was refused (%v): the server was not asked twice", seen.sessions)
				}
				wantEchoOver(t, s)
				s.CloseWithError(0, "")
			})
		})
	}
}
