package h2wt

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/transport"
)

// When a server's account is full, who came last and holds most goes, on whatever
// connection, and those that were there before go on.
func TestFairness(t *testing.T) {
	bubble(t, "DS-19 H2-185 H2-184 the newest greedy session is ended; an old quiet and an old large one make progress", func(t *testing.T) {
		h, up := upgradeHandler(nil)
		srv := newServer(t, h, &Config{MaxServerMemory: 4 << 20})
		defer srv.stop()
		connect := func() (*capsulePeer, transport.Session) {
			p, _ := srv.peer(wtLimits(100_000)...)
			p.AnswerPings = true
			p.AllowWriteErrors = true
			p.WriteHeaders(1, false, connectFields()...)
			wantStatus(t, p, 1, "200", false)
			return newCapsulePeer(t, p, 1), (<-up).s
		}
		fill := func(c *capsulePeer, streams int) {
			for i := range streams {
				c.data(uint64(4*i+2), false, 200<<10)
			}
		}
		quiet, quietSession := connect()
		defer quiet.p.Close()
		large, largeSession := connect()
		defer large.p.Close()
		quiet.data(2, false, 10)
		fill(large, 5)
		// Greedy ones come on connections of their own, again and again.
		for i := range 6 {
			greedy, s := connect()
			for j := 0; j < 5 && s.Context().Err() == nil; j++ {
				greedy.data(uint64(4*j+2), false, 200<<10)
				synctest.Wait()
			}
			defer greedy.p.Close()
			if held := srv.srv.budget.Held(); held > 4<<20 {
				t.Errorf("%d bytes are held", held)
			}
			if i == 5 {
				if l, _ := transport.ReachedLimit(context.Cause(s.Context())); l != transport.LimitMemory {
					t.Errorf("the last greedy session ended with %v", context.Cause(s.Context()))
				}
			}
		}
		for _, s := range []transport.Session{quietSession, largeSession} {
			if err := context.Cause(s.Context()); err != nil {
				t.Fatalf("a session that was there before ended: %v", err)
			}
		}
		// Both go on: what is read makes room for more.
		quiet.data(2, true, 1000)
		for s, want := range map[transport.Session]int{quietSession: 1010, largeSession: 200<<10 + 1000} {
			st, err := s.AcceptUniStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if s == largeSession {
				large.data(2, true, 1000)
			}
			if b, err := io.ReadAll(st); err != nil || len(b) != want {
				t.Errorf("read %d bytes, %v, want %d", len(b), err, want)
			}
		}
	})
	bubble(t, "DS-19 DS-10 bodies count in the server's account: the newest greedy one is dropped", func(t *testing.T) {
		var mu sync.Mutex
		failed := make(map[string]error)
		read := make(chan struct{})
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-read
			_, err := io.Copy(io.Discard, r.Body)
			mu.Lock()
			defer mu.Unlock()
			failed[r.URL.Path] = err
		}), &Config{MaxServerMemory: 1 << 20})
		defer srv.stop()
		upload := func(path string, n int) *h2test.Peer {
			p, _ := srv.peer()
			p.AllowWriteErrors = true
			p.WriteHeaders(1, false, ":method", "POST", ":scheme", "https", ":authority", "example.com", ":path", path)
			for ; n > 0; n -= 16384 {
				p.WriteData(1, false, strings.Repeat("x", min(n, 16384)))
				synctest.Wait()
			}
			return p
		}
		defer upload("/quiet", 1000).Close()
		for _, path := range []string{"/first", "/second", "/third"} {
			defer upload(path, 256<<10).Close()
		}
		// The bound: 1 MiB is 1,000 bytes, three times 256 KiB, and the rest.
		last := upload("/last", 256<<10-1001)
		defer last.Close()
		if held := srv.srv.budget.Held(); held != 1<<20-1 {
			t.Fatalf("%d bytes are held, want all but one", held)
		}
		last.Drain()
		last.WriteData(1, false, "x")
		last.SkipUntil("one more", func(f h2test.Frame) bool {
			return f == h2test.RSTStream{StreamID: 1, Code: http2.ErrCodeEnhanceYourCalm}
		})
		if held := srv.srv.budget.Held(); held != 1000+3*256<<10 {
			t.Errorf("%d bytes are held", held)
		}
		close(read)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if l, _ := transport.ReachedLimit(failed["/last"]); l != transport.LimitMemory || len(failed) != 1 {
			t.Errorf("reading failed: %v", failed)
		}
	})
}
