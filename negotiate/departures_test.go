package negotiate

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// A program may exit after Dialer.Close: no connection whose sessions have ended
// stays in the server's count.
func TestDialerCloseTellsServer(t *testing.T) {
	// open is the server's count of connections, once what was sent has arrived.
	open := func(m *witness) int {
		time.Sleep(oneWay)
		synctest.Wait()
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.open["h3 server"]
	}
	for _, c := range []struct {
		name string
		pool bool
		with time.Duration // CloseTimeout; 0 means 1 s
		took time.Duration
	}{
		{"after a session", false, 0, time.Second},
		{"after the sessions of a pool", true, 0, time.Second},
		{"with a CloseTimeout of 100 ms", false, 100 * msec, 100 * msec},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m *witness
			inWorld(t, worldOptions{setup: func(s *Server) { m = newWitness(); s.Monitor = m }}, func(t *testing.T, w *world) {
				d := w.dialer()
				d.Pool = c.pool
				d.Config = &transport.Config{CloseTimeout: c.with}
				for range 2 {
					s, _ := wantDial(t, d, w.url, "open", transport.HTTP3, -1)
					wantEchoOver(t, s)
					if c.pool {
						s, _ := wantDial(t, d, w.url, "pooled", transport.HTTP3, -1)
						s.CloseWithError(0, "")
					}
					s.CloseWithError(0, "")
				}
				if open(m) == 0 {
					t.Fatal("the connections are closed already: nothing is tested")
				}
				start := time.Now()
				d.Close()
				if took := time.Since(start); took > c.took {
					t.Errorf("Close took %v, want at most %v", took, c.took)
				}
				if n := open(m); n != 0 {
					t.Errorf("%d connections in the server's count", n)
				}
			})
		})
	}
	t.Run("after a session that was refused for its protocol", func(t *testing.T) {
		var m *witness
		inWorld(t, worldOptions{setup: func(s *Server) { m = newWitness(); s.Monitor = m }}, func(t *testing.T, w *world) {
			d := w.dialer()
			d.Transports = []transport.Protocol{transport.HTTP3}
			if _, _, err := d.Dial(t.Context(), w.url, &transport.DialOptions{Protocols: []string{"a"}, RequireProtocol: true}); !isALPNError(err) {
				t.Errorf("Dial: %v", err)
			}
			d.Close()
			if n := open(m); n != 0 {
				t.Errorf("%d connections in the server's count", n)
			}
		})
	})
	t.Run("a session that lives is left alone, and nobody waits for it", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			for _, pool := range []bool{false, true} {
				d := w.dialer()
				d.Pool = pool
				s, _ := wantDial(t, d, w.url, "open", transport.HTTP3, -1)
				if pool {
					s, _ := wantDial(t, d, w.url, "pooled", transport.HTTP3, -1)
					s.CloseWithError(0, "")
				}
				start := time.Now()
				d.Close()
				if took := time.Since(start); took != 0 {
					t.Errorf("Close took %v", took)
				}
				time.Sleep(10 * time.Second)
				wantEchoOver(t, s)
				s.CloseWithError(0, "")
			}
		})
	})
	t.Run("a network that is dead holds Close up for two seconds at most", func(t *testing.T) {
		inWorld(t, worldOptions{handler: func(rw http.ResponseWriter, r *http.Request) { Upgrade(rw, r, nil) }}, func(t *testing.T, w *world) {
			d := w.dialer()
			s, _ := wantDial(t, d, w.url, "open", transport.HTTP3, -1)
			w.router.drop.Store(true)
			go s.CloseWithError(0, "")
			<-s.Context().Done()
			start := time.Now()
			d.Close()
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("Close took %v", took)
			}
			if err := context.Cause(s.Context()); err == nil {
				t.Error("the session lives")
			}
		})
	})
}
