package negotiate

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/transport"
)

// trickle is a handler that writes to a stream n times, pause apart.
func trickle(n int, pause time.Duration) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		s, err := Upgrade(rw, r, nil)
		if err != nil {
			return
		}
		go func() { // ends with the session
			st, err := s.OpenUniStream(context.Background())
			for range n {
				if err == nil {
					_, err = st.Write([]byte("tick"))
					time.Sleep(pause)
				}
			}
		}()
	}
}

// A session on a path that lives is never ended, whatever its traffic looks like.
func TestProbationSparesLivePaths(t *testing.T) {
	// Path MTU probes would show the path's life by themselves.
	quiet := func(w *world) *Dialer {
		d := w.dialer()
		d.HeadStart = 2 * time.Second
		d.QUICConfig = &quic.Config{DisablePathMTUDiscovery: true}
		d.Trace = &Trace{Marked: func(string, time.Time) { w.t.Error("marked") }}
		return d
	}
	t.Run("a burst after a rest, right before a check", func(t *testing.T) {
		const check = minProbation / probationChecks
		for n := time.Duration(1); n <= 10; n++ {
			inWorld(t, worldOptions{udp: 100 * time.Millisecond, handler: trickle(2, time.Second)}, func(t *testing.T, w *world) {
				s, _ := wantDial(t, quiet(w), w.url, "open", transport.HTTP3, -1)
				time.Sleep(n*check - 20*time.Millisecond)
				for range 20 {
					if err := s.SendDatagram(make([]byte, 1000)); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(8 * time.Second)
				if err := context.Cause(s.Context()); err != nil {
					t.Errorf("burst before check %d: %v", n, err)
				}
				s.CloseWithError(0, "")
			})
		}
	})
	t.Run("a stream that trickles in and is not read", func(t *testing.T) {
		inWorld(t, worldOptions{handler: trickle(100, 300*time.Millisecond)}, func(t *testing.T, w *world) {
			s, _ := wantDial(t, quiet(w), w.url, "open", transport.HTTP3, -1)
			st, err := s.OpenStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := st.Write([]byte("a question")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
			if err := context.Cause(s.Context()); err != nil {
				t.Error(err)
			}
			s.CloseWithError(0, "")
		})
	})
}
