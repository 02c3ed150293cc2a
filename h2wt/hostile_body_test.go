package h2wt

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/transport"
)

// TestHostileBodies has clients send bodies that nobody reads.
func TestHostileBodies(t *testing.T) {
	(&assault{
		Attack: hostile.Attack{
			Name: "bodies that nobody reads", Reaction: "no credit on the connection at MaxConnectionMemory",
			// The bound, one connection window, and buffers up to a half larger.
			Bytes: serverBytes + (1<<20+1<<20)*3/2 + 20*handlerBytes, Goroutines: serverGoroutines + 20,
		},
		cfg: Config{MaxConnectionMemory: 1 << 20},
		run: func(t *testing.T, a *scene) error {
			p, _ := a.peer()
			defer p.Close()
			credit, sent := 1<<20, 0 // the connection's window
			for i := range 20 {
				id := uint32(2*i + 1)
				p.WriteHeaders(id, false, postFields...)
				for n := 0; n < 256<<10 && credit > 0; {
					k := min(16384, credit, 256<<10-n)
					p.WriteData(id, false, strings.Repeat("x", k))
					n, sent, credit = n+k, sent+k, credit-k
					for _, f := range p.Drain() {
						if u, ok := f.(h2test.WindowUpdate); ok && u.StreamID == 0 {
							credit += int(u.Increment)
						}
					}
				}
			}
			a.m.Sample()
			if sent < 1<<20 || sent > 2<<20 || credit != 0 {
				t.Errorf("%d bytes were taken, and %d more may come", sent, credit)
			}
			if n := a.held(); n != int64(sent) {
				t.Errorf("%d bytes are counted of %d", n, sent)
			}
			p.WriteData(1, false, "x")
			p.SkipUntil("one byte beyond", func(f h2test.Frame) bool {
				g, ok := f.(h2test.GoAway)
				return ok && g.Code == http2.ErrCodeFlowControl
			})
			return nil
		},
	}).test(t, "DS-10 BP-019")
	(&assault{
		Attack: hostile.Attack{
			Name: "bodies whose streams are reset, handlers hang", Reaction: "dropped",
			Bytes: serverBytes + 250*handlerBytes, Goroutines: serverGoroutines + 250,
		},
		run: func(t *testing.T, a *scene) error {
			p := a.flooder()
			defer p.Close()
			for i := range 240 {
				id := uint32(2*i + 1)
				p.WriteHeaders(id, false, postFields...)
				for range 8 {
					p.WriteData(id, false, strings.Repeat("x", 16384))
				}
				p.WriteRST(id, http2.ErrCodeCancel)
				synctest.Wait()
			}
			a.m.Sample()
			if n := a.held(); n != 0 {
				t.Errorf("%d bytes are held", n)
			}
			return nil
		},
	}).test(t, "DS-01 DS-10")
	(&assault{
		Attack: hostile.Attack{
			Name: "complete bodies whose streams are reset, handlers hang", Reaction: "newest stream's body dropped", Limit: transport.LimitMemory,
			Bytes: serverBytes + 12<<20 + 250*handlerBytes, Goroutines: serverGoroutines + 250,
		},
		cfg: Config{MaxServerMemory: 8 << 20},
		run: func(t *testing.T, a *scene) error {
			p := a.flooder()
			defer p.Close()
			for i := range 240 {
				id := uint32(2*i + 1)
				p.WriteHeaders(id, false, postFields...)
				for range 7 {
					p.WriteData(id, false, strings.Repeat("x", 16384))
				}
				p.WriteData(id, true, strings.Repeat("x", 16384))
				p.WriteRST(id, http2.ErrCodeCancel)
				synctest.Wait()
				if n := a.held(); n > 8<<20 {
					t.Fatalf("%d bytes are held", n)
				}
			}
			a.m.Sample()
			a.release()
			// At most 8 MiB in bodies of 128 KiB are left, the oldest.
			var end error
			dropped := 0
			for _, err := range a.read {
				if err != nil {
					end, dropped = err, dropped+1
				}
			}
			if want := 240 - 63; dropped != want || len(a.read) != 240 {
				t.Errorf("%d of %d bodies were dropped, want %d", dropped, len(a.read), want)
			}
			return end
		},
	}).test(t, "DS-01 DS-10 DS-19")
	failed := make(chan error, 100)
	(&assault{
		Attack: hostile.Attack{
			Name: "slowloris: bodies that dribble in", Reaction: "reading fails after http.Server.ReadTimeout",
			Bytes: serverBytes + 100*handlerBytes, Goroutines: serverGoroutines + 100,
		},
		set: []func(*http.Server){func(hs *http.Server) { hs.ReadTimeout = 10 * time.Second }},
		h: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			failed <- err
		}),
		run: func(t *testing.T, a *scene) error {
			p := a.flooder()
			defer p.Close()
			for i := range 100 {
				p.WriteHeaders(uint32(2*i+1), false, postFields...)
			}
			for range 9 {
				time.Sleep(time.Second)
				for i := range 100 {
					p.WriteData(uint32(2*i+1), false, "x")
				}
			}
			synctest.Wait()
			a.m.Sample()
			time.Sleep(2 * time.Second)
			for range 100 {
				select {
				case err := <-failed:
					if !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("reading failed with %v", err)
					}
				default:
					t.Fatal("bodies are still read")
				}
			}
			return nil
		},
	}).test(t, "DS-14")
}
