package negotiate

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// A server that is slow, but works, has one session in the end for each dial,
// and never more than two requests that wait.
func TestSlowServer(t *testing.T) {
	for _, c := range []struct {
		name     string
		answer   time.Duration // the handler's time
		noUDP    bool
		winner   transport.Protocol
		requests int32
		atOnce   int32
	}{
		{"3 s, all open", 3 * time.Second, false, transport.HTTP3, 2, 2},
		{"6 s, all open", 6 * time.Second, false, transport.HTTP3, 2, 2},
		{"2.5 s, TCP alone", 2500 * time.Millisecond, true, transport.HTTP2, 1, 1},
		{"6 s, TCP alone", 6 * time.Second, true, transport.HTTP2, 2, 2},
		{"9 s, TCP alone", 9 * time.Second, true, transport.HTTP2, 2, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			var waiting, most, open atomic.Int32
			inWorld(t, worldOptions{handler: func(rw http.ResponseWriter, r *http.Request) {
				now := waiting.Add(1)
				for {
					m := most.Load()
					if now <= m || most.CompareAndSwap(m, now) {
						break
					}
				}
				time.Sleep(c.answer)
				waiting.Add(-1)
				s, err := Upgrade(rw, r, nil)
				if err != nil {
					return
				}
				open.Add(1)
				<-s.Context().Done()
				open.Add(-1)
			}}, func(t *testing.T, w *world) {
				w.router.drop.Store(c.noUDP)
				s, _ := wantDial(t, w.dialer(), w.url, "slow", c.winner, -1)
				time.Sleep(c.answer + time.Second) // the other handlers are done, too
				if open.Load() != 1 || w.requests.Load() != c.requests || most.Load() != c.atOnce {
					t.Errorf("%d sessions open of %d requests, %d at once; want 1 of %d, %d at once",
						open.Load(), w.requests.Load(), most.Load(), c.requests, c.atOnce)
				}
				s.CloseWithError(0, "")
				time.Sleep(time.Second)
				if n := open.Load(); n != 0 {
					t.Errorf("%d sessions open after the end", n)
				}
			})
		})
	}
}
