package negotiate

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/towpath-go/towpath/transport"
)

func TestFrameworkPool(t *testing.T) {
	for _, p := range []transport.Protocol{transport.HTTP3, transport.HTTP2} { // a WebSocket is never pooled
		t.Run("FW-04 FW-24 pooled sessions share a connection over "+p.String(), func(t *testing.T) {
			inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
				d := w.dialer()
				d.Transports = []transport.Protocol{p}
				d.Pool = true
				a, ra := wantDial(t, d, w.url, "first", p, -1)
				// One round trip: no handshake.
				b, rb := wantDial(t, d, w.url+"?second", "second", p, 2*oneWay)
				if ra.Reused || !rb.Reused || rb.Attempts[0].Network != "pool" {
					t.Errorf("reused: %v, %v", ra.Reused, rb.Reused)
				}
				if a.Info().LocalAddr.String() != b.Info().LocalAddr.String() || a.Info().ID == b.Info().ID {
					t.Error("not two sessions of one connection")
				}
				// The end of one is not the end of the other.
				a.CloseWithError(3, "done")
				wantEchoOver(t, b)
				c, rc := wantDial(t, d, w.url, "third", p, -1)
				if !rc.Reused {
					t.Error("the third has a connection of its own")
				}
				b.CloseWithError(0, "")
				c.CloseWithError(0, "")
				// The connection ends with its last session.
				time.Sleep(5 * time.Second)
				e, re := wantDial(t, d, w.url, "later", p, -1)
				if re.Reused {
					t.Error("the connection outlived its sessions")
				}
				e.CloseWithError(0, "")
				time.Sleep(time.Second)
				d.pool.mu.Lock()
				defer d.pool.mu.Unlock()
				if n := len(d.pool.conns); n != 0 {
					t.Errorf("%d authorities left in the pool", n)
				}
			})
		})
		t.Run("FW-04 FW-24 without Pool every session has its own connection over "+p.String(), func(t *testing.T) {
			inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
				d := w.dialer()
				d.Transports = []transport.Protocol{p}
				var all []transport.Session
				for range 3 {
					s, r := wantDial(t, d, w.url, "separate", p, -1)
					if r.Reused || s.Info().ID != 0 && s.Info().ID != 1 {
						t.Errorf("reused %v, session ID %d", r.Reused, s.Info().ID)
					}
					wantEchoOver(t, s)
					all = append(all, s)
				}
				for _, s := range all {
					s.CloseWithError(0, "")
				}
			})
		})
	}
	t.Run("FW-24 a rejected session leaves the connection to the others", func(t *testing.T) {
		var w *world
		inWorld(t, worldOptions{handler: func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery == "no" {
				rw.WriteHeader(http.StatusNotFound)
				return
			}
			w.accept(rw, r)
		}}, func(t *testing.T, world *world) {
			w = world
			d := w.dialer()
			d.Pool = true
			s, _ := wantDial(t, d, w.url, "first", transport.HTTP3, -1)
			_, r, err := d.Dial(t.Context(), w.url+"?no", nil)
			if e, ok := errors.AsType[*transport.RejectedError](err); !ok || e.StatusCode != 404 || len(r.Attempts) != 1 || r.Attempts[0].Outcome != Failed {
				t.Errorf("got %v, %v", err, r)
			}
			wantEchoOver(t, s)
			s.CloseWithError(0, "")
		})
	})
	t.Run("H2-044 H3-038 a connection that is going away is not asked", func(t *testing.T) {
		for _, p := range allWays {
			inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
				d := w.dialer()
				d.Transports = []transport.Protocol{p}
				d.Pool = true
				s, _ := wantDial(t, d, w.url, "first", p, -1)
				done := make(chan error, 1)
				go func() { done <- w.server.Shutdown(context.Background()) }()
				<-s.Draining()
				before := w.requests.Load()
				if _, _, err := d.Dial(t.Context(), w.url, nil); err == nil {
					t.Errorf("%v: a session from a server that shuts down", p)
				}
				if n := w.requests.Load() - before; n != 0 {
					t.Errorf("%v: %d requests reached the handler", p, n)
				}
				s.CloseWithError(0, "")
				<-done
			})
		}
	})
}
