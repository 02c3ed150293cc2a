package h2wt

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/transport"
)

// What a client may hold for one connection: as a server, without http.Server.
const clientBytes = (256 + 160 + 128 + 128) << 10

// The connection's two goroutines; and one each of Dial, the script's peer and the
// bubble.
const clientGoroutines = 5

// TestHostileServer has servers answer a Dial with anything but a session. The
// Dial ends, and tells why.
func TestHostileServer(t *testing.T) {
	block := func(n int) []string {
		var fields []string
		for range n {
			fields = append(fields, "x", strings.Repeat("x", 4000))
		}
		return append([]string{":status", "200"}, fields...)
	}
	// 10000 frames of no use are read with 31 pauses of 5 ms.
	const pauses = 31 * 5 * time.Millisecond
	for _, tt := range []struct {
		id, name, reaction string
		limit              transport.Limit
		cfg                Config
		bytes              int64 // besides clientBytes
		// answer is the server's script; it has read the CONNECT. What it passes each
		// number of a frame to samples now and then.
		answer func(p *h2test.Peer, each func(i int))
		within time.Duration
		check  func(t *testing.T, err error)
		// reset says that the connection lives on.
		reset bool
	}{
		{id: "DS-11 H2-040", name: "1xx without end to a Dial", reaction: "ENHANCE_YOUR_CALM on the connection", limit: transport.LimitFrames, within: pauses,
			answer: func(p *h2test.Peer, each func(int)) {
				for i := range 10_001 {
					p.WriteHeaders(1, false, ":status", "103")
					each(i)
				}
			}},
		{id: "DS-05", name: "PING flood to a Dial", reaction: "ENHANCE_YOUR_CALM on the connection", limit: transport.LimitFrames, within: pauses,
			answer: func(p *h2test.Peer, each func(int)) {
				for i := range 10_001 {
					p.WritePing(false, [8]byte{})
					synctest.Wait()
					each(i)
				}
			}},
		{id: "DS-08", name: "SETTINGS flood to a Dial", reaction: "ENHANCE_YOUR_CALM on the connection", limit: transport.LimitFrames, within: pauses,
			answer: func(p *h2test.Peer, each func(int)) {
				for i := range 10_001 {
					p.WriteSettings()
					synctest.Wait()
					each(i)
				}
			}},
		{id: "DS-03 BP-023", name: "CONTINUATION flood to a Dial", reaction: "ENHANCE_YOUR_CALM on the connection", limit: transport.LimitHeaderSize,
			answer: func(p *h2test.Peer, _ func(int)) {
				p.WriteHeadersFrame(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.Encode(":status", "200")})
				for range 100 {
					p.WriteContinuation(1, false, p.Encode("a", "b"))
				}
			}},
		{id: "DS-12 BP-023", name: "header bomb to a Dial", reaction: "ENHANCE_YOUR_CALM on the stream", limit: transport.LimitHeaderSize, reset: true,
			answer: func(p *h2test.Peer, _ func(int)) { p.WriteHeaders(1, false, block(400)...) }},
		{id: "H2-038", name: "refusal with a body without end", reaction: "Dial returns with its first 4 KiB", bytes: 300 << 10, reset: true,
			answer: func(p *h2test.Peer, _ func(int)) {
				p.WriteHeaders(1, false, ":status", "403")
				for range 16 {
					p.WriteData(1, false, strings.Repeat("x", 16384))
				}
			},
			check: func(t *testing.T, err error) {
				if re, ok := errors.AsType[*transport.RejectedError](err); !ok || len(re.Body) != 4096 {
					t.Errorf("Dial: %v, want 4 KiB of a body", err)
				}
			}},
		{id: "H2-038 DS-14", name: "refusal with a body that dribbles in", reaction: "Dial returns after a second", within: time.Second, reset: true,
			answer: func(p *h2test.Peer, _ func(int)) {
				p.WriteHeaders(1, false, ":status", "403")
				p.WriteData(1, false, "x")
				time.Sleep(500 * time.Millisecond)
				p.WriteData(1, false, "y")
			},
			check: func(t *testing.T, err error) {
				if re, ok := errors.AsType[*transport.RejectedError](err); !ok || string(re.Body) != "xy" {
					t.Errorf("Dial: %v, want what had come", err)
				}
			}},
		{id: "DS-14", name: "a server that takes and says nothing", reaction: "Dial returns after 30 s", limit: transport.LimitPingTime, within: 30 * time.Second,
			answer: func(p *h2test.Peer, _ func(int)) {}},
	} {
		t.Run(tt.id+" "+tt.name, func(t *testing.T) {
			m := hostile.Start(t, hostile.Attack{Name: tt.name, Victim: "h2", Reaction: tt.reaction, Limit: tt.limit,
				Bytes: clientBytes + tt.bytes, Goroutines: clientGoroutines + 1})
			var end error
			synctest.Test(t, func(t *testing.T) {
				p, result := newScriptedServer(t, &tt.cfg)
				p.Greet(enabled(100)...)
				conn, err := result.Result()
				if err != nil {
					t.Fatal(err)
				}
				p.AllowWriteErrors = true
				dial := dialAsync(t.Context(), conn, nil)
				p.WantHeaders("CONNECT", 1)
				p.Discard()
				start := time.Now()
				tt.answer(p, func(i int) {
					if i&(i-1) == 0 {
						m.Sample()
					}
				})
				m.Sample()
				_, err = dial.Result()
				m.Sample()
				if d := time.Since(start); d > tt.within {
					t.Errorf("Dial returned after %v", d)
				}
				if tt.limit != "" {
					end = err
				}
				if err == nil {
					t.Error("there is a session")
				}
				if tt.check != nil {
					tt.check(t, err)
				}
				synctest.Wait()
				if lives := conn.Err() == nil; lives != tt.reset {
					t.Errorf("the connection lives: %v, %v", lives, conn.Err())
				}
				conn.Close()
				p.Close()
			})
			m.End(end)
		})
	}
	t.Run("DS-19 DS-16 data hoarded by a server in sessions that nobody reads", func(t *testing.T) {
		// The account of the connection, in buffers that may be a half larger.
		m := hostile.Start(t, hostile.Attack{Name: "data hoarded by a server in sessions that nobody reads", Victim: "h2", Limit: transport.LimitMemory,
			Reaction: "newest session ended with ENHANCE_YOUR_CALM", Bytes: clientBytes + 3<<20, Goroutines: clientGoroutines + 1})
		var end error
		synctest.Test(t, func(t *testing.T) {
			p, conn, _ := greeted(t, &Config{MaxConnectionMemory: 2 << 20}, enabled(100_000))
			defer p.Close()
			defer conn.Close()
			var sessions []transport.Session
			for i := range 4 {
				id := uint32(2*i + 1)
				dial := dialAsync(t.Context(), conn, nil)
				p.SkipUntil("CONNECT", func(f h2test.Frame) bool { h, ok := f.(h2test.Headers); return ok && h.StreamID == id })
				p.WriteHeaders(id, false, ":status", "200")
				s, err := dial.Result()
				if err != nil {
					t.Fatal(err)
				}
				sessions = append(sessions, s)
				c := newCapsulePeer(t, p, id)
				p.AllowWriteErrors = true
				for j := range 3 {
					c.data(uint64(4*j+1), false, 200<<10)
				}
				synctest.Wait()
				m.Sample()
				if held := conn.budget.Held(); held > 2<<20 {
					t.Errorf("%d bytes are held", held)
				}
			}
			synctest.Wait()
			// The fourth held too little when the account was full.
			for i, s := range sessions {
				err := context.Cause(s.Context())
				if (err != nil) != (i == 2) {
					t.Errorf("session %d: %v", i, err)
				}
				if err != nil {
					end = err
				}
			}
		})
		m.End(end)
	})
}
