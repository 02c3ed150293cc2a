package h2conn_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/transport"
)

// A patience is an attack with time: the peer does little, or nothing.
type patience struct {
	id, name, reaction string
	code               http2.ErrCode
	limit              transport.Limit
	cfg                h2conn.Config
	settings           []http2.Setting
	more               int64 // what the victim may hold besides boundBytes
	ungreeted          bool  // the script begins before the preface
	run                func(t *testing.T, s *server, m *hostile.Meter)
	after              time.Duration // when the connection has to end, from the start of run
}

func (a *patience) test(t *testing.T) {
	t.Run(a.id+" "+a.name, func(t *testing.T) {
		m := hostile.Start(t, hostile.Attack{Name: a.name, Victim: "h2", Reaction: a.reaction, Limit: a.limit,
			Bytes: boundBytes + a.more, Goroutines: boundGoroutines})
		var end error
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, &a.cfg)
			defer s.stop()
			s.AllowWriteErrors = true
			if a.ungreeted {
				s.Start()
			} else {
				s.Greet(a.settings...)
			}
			s.Discard()
			start := time.Now()
			a.run(t, s, m)
			m.Sample()
			synctest.Wait()
			if a.after > 0 {
				time.Sleep(time.Until(start.Add(a.after)))
				synctest.Wait()
			}
			if end = s.c.Err(); end == nil {
				t.Fatalf("the connection lives on after %v", time.Since(start))
			}
			var ce *h2conn.ConnError
			if !errors.As(end, &ce) || ce.Code != a.code {
				t.Errorf("ended with %v, want %v", end, a.code)
			}
			s.nc.StallWrites(false)
		})
		m.End(end)
	})
}

// drip writes bytes one by one, as far as the connection lives.
func drip(s *server, b string, every time.Duration) {
	for i := 0; i < len(b) && s.c.Err() == nil; i++ {
		s.WriteBytes([]byte{b[i]})
		time.Sleep(every)
	}
}

func TestHostileSlow(t *testing.T) {
	// The replies are all there before the writer's time is up.
	unread := h2conn.Config{Glitches: free, Resets: free}
	replies := func(frames func(b []byte, i int) []byte) func(*testing.T, *server, *hostile.Meter) {
		return func(_ *testing.T, s *server, m *hostile.Meter) {
			s.nc.StallWrites(true)
			var b []byte
			for i := 0; i < 100_000 && s.c.Err() == nil; i++ {
				b = frames(b[:0], i)
				s.WriteBytes(b)
				synctest.Wait()
				if i == 900 {
					m.Sample()
				}
			}
		}
	}
	for _, a := range []patience{
		{id: "DS-14", name: "connections without a preface", reaction: "connection ended after 10 s", code: http2.ErrCodeSettingsTimeout,
			limit: transport.LimitHandshakeTime, ungreeted: true, after: 10 * time.Second,
			run: func(*testing.T, *server, *hostile.Meter) {}},
		{id: "DS-14", name: "a preface that dribbles in", reaction: "connection ended after 10 s", code: http2.ErrCodeSettingsTimeout,
			limit: transport.LimitHandshakeTime, ungreeted: true, after: 10 * time.Second,
			run: func(_ *testing.T, s *server, _ *hostile.Meter) { drip(s, http2.ClientPreface, time.Second) }},
		{id: "DS-14", name: "SETTINGS that are never acknowledged", reaction: "connection ended after 30 s", code: http2.ErrCodeSettingsTimeout,
			limit: transport.LimitHandshakeTime, ungreeted: true, after: 30 * time.Second,
			run: func(_ *testing.T, s *server, _ *hostile.Meter) {
				s.WriteBytes([]byte(http2.ClientPreface))
				s.WriteSettings()
			}},
		{id: "DS-14 DS-03", name: "slow headers", reaction: "connection ended after 10 s", code: http2.ErrCodeEnhanceYourCalm,
			limit: transport.LimitHeaderTime, after: 10 * time.Second,
			run: func(_ *testing.T, s *server, _ *hostile.Meter) {
				s.WriteBytes(frame(nil, http2.FrameHeaders, 0, 1, "\x82"))
				for range 9 {
					time.Sleep(time.Second)
					s.WriteBytes(frame(nil, http2.FrameContinuation, 0, 1, "\x8f"))
				}
			}},
		{id: "DS-14", name: "a frame that dribbles in", reaction: "connection ended after 30 s", code: http2.ErrCodeInternal,
			limit: transport.LimitPingTime, after: 30 * time.Second,
			run: func(_ *testing.T, s *server, _ *hostile.Meter) {
				s.WriteBytes(frame(nil, http2.FrameHeaders, endHeaders, 1, postBlock))
				drip(s, string(frame(nil, http2.FrameData, 0, 1, string(make([]byte, 100)))), time.Second)
			}},
		{id: "DS-14", name: "a peer that has gone without a word", reaction: "connection ended after 30 s", code: http2.ErrCodeInternal,
			limit: transport.LimitPingTime, after: 30 * time.Second,
			run: func(_ *testing.T, s *server, _ *hostile.Meter) {
				s.WriteBytes(frame(nil, http2.FrameHeaders, endHeaders, 1, postBlock))
			}},
		{id: "DS-15", name: "idle connection", reaction: "GOAWAY after 2 min", code: http2.ErrCodeNo,
			limit: transport.LimitConnectionIdle, after: 2*time.Minute + 2*time.Second,
			run: func(*testing.T, *server, *hostile.Meter) {}},
		{id: "DS-15 DS-05", name: "PING to keep an idle connection", reaction: "GOAWAY after 2 min", code: http2.ErrCodeNo,
			limit: transport.LimitConnectionIdle, after: 2*time.Minute + 2*time.Second,
			run: func(_ *testing.T, s *server, _ *hostile.Meter) {
				for range 12 {
					time.Sleep(10 * time.Second)
					s.WritePing(false, [8]byte{})
				}
			}},
		{id: "DS-10 DS-14", name: "slow read: TCP window shut", reaction: "connection ended after 30 s", code: http2.ErrCodeInternal,
			limit: transport.LimitWriteTime, more: streamBytes, cfg: h2conn.Config{KeepAlive: -1}, settings: []http2.Setting{set(window, 1<<30)}, after: 30 * time.Second,
			run: func(t *testing.T, s *server, m *hostile.Meter) {
				s.nc.StallWrites(true)
				s.WriteWindowUpdate(0, 1<<30)
				for i := range 100 {
					id := uint32(2*i + 1)
					s.WriteHeaders(id, true, get...)
					r := s.stream(id)
					r.endless = 'x'
					r.respond(t)
				}
				synctest.Wait()
				m.Sample()
			}},
		{id: "DS-05 DS-10", name: "PING flood, TCP window shut", reaction: calm, code: http2.ErrCodeEnhanceYourCalm,
			limit: transport.LimitReplies, more: replyBytes, cfg: unread, run: replies(always(frame(nil, http2.FramePing, 0, 0, "12345678")))},
		{id: "DS-08 DS-10", name: "SETTINGS flood, TCP window shut", reaction: calm, code: http2.ErrCodeEnhanceYourCalm,
			limit: transport.LimitReplies, more: replyBytes, cfg: unread, run: replies(always(frame(nil, http2.FrameSettings, 0, 0, "")))},
		{id: "DS-07 DS-10", name: "reset flood (CVE-2019-9514), TCP window shut", reaction: calm, code: http2.ErrCodeEnhanceYourCalm,
			limit: transport.LimitReplies, more: streamBytes + replyBytes, cfg: unread,
			run: replies(onNew(endStream, badBlock, func(b []byte, _ uint32) []byte { return b }))},
	} {
		a.test(t)
	}
}

// TestHostileZeroWindow has a client that asks for responses and opens no window:
// the connection holds no byte of them, and serves whoever else is there.
func TestHostileZeroWindow(t *testing.T) {
	t.Run("DS-04 DS-10 zero-window stall", func(t *testing.T) {
		m := hostile.Start(t, hostile.Attack{Name: "zero-window stall", Victim: "h2",
			Reaction: "nothing is taken from the senders; other streams go on", Bytes: boundBytes + streamBytes, Goroutines: boundGoroutines})
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, nil)
			defer s.stop()
			s.Greet(set(window, 0))
			for i := range 99 {
				id := uint32(2*i + 1)
				s.WriteHeaders(id, true, get...)
				r := s.stream(id)
				r.endless = 'x'
				r.respond(t)
				s.WantHeaders("the header needs no window", id)
			}
			m.Sample()
			for i := range 99 {
				if r := s.stream(uint32(2*i + 1)); r.fills > 2 {
					t.Fatalf("asked %d times for bytes that cannot go", r.fills)
				}
			}
			s.WriteHeaders(1001, true, get...)
			s.WriteWindowUpdate(1001, 100)
			r := s.stream(1001)
			r.respond(t)
			s.WantHeaders("a stream with a window", 1001)
			r.write("bystander", true)
			s.WantData("goes on", 1001, true, "bystander")
		})
		m.End(nil)
	})
}

// TestHostileHoard has many idle connections: each holds little, and ends.
func TestHostileHoard(t *testing.T) {
	t.Run("DS-15 idle connection hoarding", func(t *testing.T) {
		const n = 200
		// Of an idle connection: the read buffer of 8 KiB, the Framer, HPACK, the
		// closed stream ids, and two stacks; and its end of the script.
		m := hostile.Start(t, hostile.Attack{Name: "idle connection hoarding, of each of 200", Victim: "h2", Limit: transport.LimitConnectionIdle,
			Reaction: "GOAWAY after 2 min", Bytes: n * 96 << 10, Goroutines: 4*n + 1})
		var end error
		synctest.Test(t, func(t *testing.T) {
			all := make([]*server, n)
			for i := range all {
				all[i] = newServer(t, nil)
				defer all[i].stop()
				all[i].Greet()
				all[i].AllowWriteErrors = true
			}
			m.Sample()
			time.Sleep(2*time.Minute + 2*time.Second)
			for _, s := range all {
				<-s.c.Done()
				end = s.c.Err()
				wantLimit(t, end, transport.LimitConnectionIdle)
			}
		})
		m.End(end)
	})
}
