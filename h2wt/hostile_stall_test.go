package h2wt

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/transport"
)

// TestHostileStalls has clients that take nothing of what is sent.
func TestHostileStalls(t *testing.T) {
	const n = DefaultMaxConcurrentStreams
	(&assault{
		Attack: hostile.Attack{
			Name: "zero-window stall of 250 responses", Reaction: "handlers wait; streams reset after http.Server.WriteTimeout",
			// 64 KiB for each response, in a buffer that may be a half larger.
			Bytes: serverBytes + n*(handlerBytes+96<<10), Goroutines: serverGoroutines + n,
		},
		set: []func(*http.Server){func(hs *http.Server) { hs.WriteTimeout = 20 * time.Second }},
		h: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			b := make([]byte, 4096)
			for {
				if _, err := w.Write(b); err != nil {
					return
				}
			}
		}),
		run: func(t *testing.T, a *scene) error {
			p := a.flooder(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			defer p.Close()
			for i := range n {
				p.WriteHeaders(uint32(2*i+1), true, getFields...)
				synctest.Wait()
			}
			a.m.Sample()
			time.Sleep(19 * time.Second)
			if g := a.active(); g != n {
				t.Errorf("%d handlers run", g)
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if g := a.active(); g != 0 {
				t.Errorf("%d handlers are stuck", g)
			}
			return nil
		},
	}).test(t, "DS-04 DS-10")
	(&assault{
		Attack: hostile.Attack{
			Name: "zero-window stall of a session's 100 streams", Reaction: "writers wait",
			// StreamSendBuffer, 64 KiB, and a writer for each of 100 streams.
			// One megabyte more is the script's.
			Bytes: serverBytes + 100*(96+24)<<10 + 1<<20, Goroutines: serverGoroutines + 102,
		},
		h: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			data := make([]byte, 1<<20)
			s, err := Upgrade(w, r, nil)
			if err != nil {
				panic(err)
			}
			for range 100 {
				st, err := s.OpenUniStream(context.Background())
				if err != nil {
					panic(err)
				}
				go st.Write(data) // until the session ends
			}
		}),
		run: func(t *testing.T, a *scene) error {
			settings := append(wtLimits(1<<30), http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			p := a.flooder(settings...)
			p.WriteHeaders(1, false, connectFields()...)
			synctest.Wait()
			a.m.Sample()
			if n := a.held(); n > 101*64<<10 {
				t.Errorf("%d bytes are held", n)
			}
			return nil
		},
	}).test(t, "DS-10 DS-18")
	(&assault{
		Attack: hostile.Attack{
			Name: "slow read of responses: TCP window shut", Reaction: "connection ended after WriteTimeout", Limit: transport.LimitWriteTime,
			Bytes: serverBytes + 100*(handlerBytes+96<<10), Goroutines: serverGoroutines + 100,
		},
		cfg: Config{KeepAlive: -1},
		h: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			b := make([]byte, 4096)
			for {
				if _, err := w.Write(b); err != nil {
					return
				}
			}
		}),
		run: func(t *testing.T, a *scene) error {
			tc := a.clientTLS()
			p := h2test.NewClient(t, tc)
			p.Greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
			p.Discard()
			p.AllowWriteErrors = true
			tc.NetConn().(*memconn.Conn).StallReads(true)
			p.WriteWindowUpdate(0, 1<<30)
			for i := range 100 {
				p.WriteHeaders(uint32(2*i+1), true, getFields...)
			}
			synctest.Wait()
			a.m.Sample()
			time.Sleep(31 * time.Second)
			return a.over(p)
		},
	}).test(t, "DS-10 DS-14")
	(&assault{
		Attack: hostile.Attack{
			Name: "slow TLS handshakes", Reaction: "closed after http.Server.ReadHeaderTimeout",
			// Of each: the connection's two ends in memory and net/http's goroutine.
			Bytes: serverBytes + 100*96<<10, Goroutines: serverGoroutines + 100,
		},
		set: []func(*http.Server){func(hs *http.Server) { hs.ReadHeaderTimeout = 10 * time.Second }},
		h:   http.NotFoundHandler(),
		run: func(t *testing.T, a *scene) error {
			var conns []*memconn.Conn
			for range 100 {
				nc, err := a.ln.Dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				conns = append(conns, nc)
			}
			for i := range 9 {
				for _, nc := range conns {
					nc.Write([]byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03")[i : i+1])
				}
				time.Sleep(time.Second)
			}
			synctest.Wait()
			a.m.Sample()
			time.Sleep(2 * time.Second)
			for _, nc := range conns {
				if _, err := nc.Write([]byte("x")); err == nil {
					t.Fatal("a connection is still there")
				}
				nc.Close()
			}
			return nil
		},
	}).test(t, "DS-14")
}
