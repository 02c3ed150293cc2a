package h2conn_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/h2test"
)

func TestGoAway(t *testing.T) {
	t.Run("BP-027 a server says 2^31-1, waits a round trip, names the last stream and ends with it", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, true, get...)
			r := s.stream(1)
			s.c.GoAway()
			s.WantFrame("no more streams, please", h2test.GoAway{Last: 1<<31 - 1})
			ping := s.Next("a PING tells when it was seen").(h2test.Ping)
			s.WriteHeaders(3, true, get...)
			on := s.stream(3) // was on its way
			s.WritePing(true, ping.Data)
			s.WantFrame("final", h2test.GoAway{Last: 3})
			s.WriteHeaders(5, true, get...)
			s.WriteData(5, true, "x")
			s.WantIdle("discarded")
			if !s.c.Draining() || s.streams[5] != nil {
				t.Error("not draining, or a stream was taken")
			}
			r.st.WriteHeaders(ok200, true, nil)
			s.WantHeaders("open streams go on", 1)
			on.respond(t)
			s.WantHeaders("open streams go on", 3)
			on.write("last words", true)
			s.WantData("whole", 3, true, "last words")
			s.WantClosed("with the last stream")
			if _, err := s.done.Result(); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("BP-027 an unanswered PING does not hold the final GOAWAY", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, true, get...)
			s.stream(1)
			start := time.Now()
			s.c.GoAway()
			s.c.GoAway() // once
			s.WantFrame("first", h2test.GoAway{Last: 1<<31 - 1})
			s.Next("PING")
			s.WantIdle("waits")
			time.Sleep(time.Second)
			s.WantFrame("final", h2test.GoAway{Last: 1})
			if time.Since(start) != time.Second {
				t.Errorf("after %v", time.Since(start))
			}
		})
	})
	t.Run("BP-027 Close says GOAWAY and fails the streams", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, true, get...)
			r := s.stream(1)
			start := time.Now()
			closed := h2test.RunAsync(func() (int, error) { return 0, s.c.Close() })
			s.WantFrame("closing", h2test.GoAway{Last: 1})
			s.WantClosed("nothing else")
			s.NetConn().Close()
			closed.Result()
			if time.Since(start) != 0 {
				t.Errorf("took %v", time.Since(start))
			}
			if _, _, reset := r.snapshot(); reset == nil || !errors.Is(reset, net.ErrClosed) {
				t.Errorf("stream failed with %v", reset)
			}
			if err := r.st.WriteHeaders(ok200, true, nil); err == nil {
				t.Error("headers after the end")
			}
		})
	})
	t.Run("BP-027 Close is bounded if the peer neither reads nor closes", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.nc.StallWrites(true)
			s.WritePing(false, [8]byte{})
			synctest.Wait()
			start := time.Now()
			s.c.Close()
			if d := time.Since(start); d > 2*time.Second {
				t.Errorf("took %v", d)
			}
		})
	})
	t.Run("BP-027 a client says GOAWAY and ends with its last stream", func(t *testing.T) {
		clientTest(t, nil, func(t *testing.T, c *client) {
			s := c.open(get, true)
			c.c.GoAway()
			c.WantFrame("nothing of yours was taken", h2test.GoAway{})
			if _, err := c.c.OpenStream(context.Background(), &h2conn.Open{Fields: fields(get...), Receiver: &stream{}}); !errors.Is(err, h2conn.ErrGoAway) {
				t.Error(err)
			}
			c.WriteHeaders(1, true, ":status", "200")
			if _, ended, _ := s.snapshot(); !ended {
				t.Error("the stream did not go on")
			}
			c.WantClosed("drained")
		})
	})
	t.Run("H2-044 streams above the server's last id were not processed", func(t *testing.T) {
		var heard []uint32
		cfg := &h2conn.Config{OnGoAway: func(last uint32, _ http2.ErrCode) { heard = append(heard, last) }}
		clientTest(t, cfg, func(t *testing.T, c *client) {
			a, b := c.open(get, true), c.open(get, true)
			w := h2test.RunAsync(func() (*h2conn.Stream, error) {
				return c.c.OpenStream(context.Background(), &h2conn.Open{Fields: fields(get...), Receiver: &stream{}})
			})
			if w.Done() {
				t.Fatal("above the limit")
			}
			c.WriteGoAway(1<<31-1, http2.ErrCodeNo)
			if _, err := w.Result(); !errors.Is(err, h2conn.ErrGoAway) {
				t.Errorf("a waiting call got %v", err)
			}
			if _, _, reset := b.snapshot(); reset != nil || !c.c.Draining() || c.c.CanOpen() {
				t.Errorf("2^31-1 excludes nothing: %v", reset)
			}
			c.WriteGoAway(1, http2.ErrCodeNo)
			if _, _, reset := b.snapshot(); reset == nil || !reset.NotProcessed || !errors.Is(reset, h2conn.ErrGoAway) {
				t.Errorf("stream 3: %v", reset)
			}
			c.WriteHeaders(1, true, ":status", "200")
			if _, ended, reset := a.snapshot(); !ended || reset != nil {
				t.Errorf("stream 1: %v", reset)
			}
			c.WantGoAway("ends with the last stream", http2.ErrCodeNo)
			c.WantClosed("drained")
			if len(heard) != 2 || heard[1] != 1 {
				t.Errorf("hook heard %v", heard)
			}
		}, set(http2.SettingMaxConcurrentStreams, 2))
	})
	t.Run("BP-026 last id grows", func(t *testing.T) {
		clientTest(t, nil, func(t *testing.T, c *client) {
			c.open(get, true)
			c.WriteGoAway(1, http2.ErrCodeNo)
			c.WriteGoAway(3, http2.ErrCodeNo)
			c.WantConnError("cannot take it back", http2.ErrCodeProtocol)
		})
	})
	t.Run("BP-027 a server whose client goes away ends with its streams", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, true, get...)
			r := s.stream(1)
			s.WriteGoAway(0, http2.ErrCodeNo)
			s.WantIdle("the stream goes on")
			r.st.WriteHeaders(ok200, true, nil)
			s.WantHeaders("answer", 1)
			s.WantFrame("then the end", h2test.GoAway{Last: 1})
			s.WantClosed("end")
		})
	})
	t.Run("a lost connection fails every stream", func(t *testing.T) {
		clientTest(t, nil, func(t *testing.T, c *client) {
			a, b := c.open(get, true), c.open(get, false)
			c.Peer.Close()
			<-c.c.Done()
			for _, s := range []*stream{a, b} {
				_, ended, reset := s.snapshot()
				var ce *h2conn.ConnError
				if ended || s.resets != 1 || !errors.As(reset, &ce) || ce.Cause == nil {
					t.Errorf("ended %v, %d resets, %v", ended, s.resets, reset)
				}
			}
			if err := c.c.Err(); err == nil {
				t.Error("no reason")
			}
			if _, err := c.c.OpenStream(context.Background(), &h2conn.Open{Fields: fields(get...), Receiver: &stream{}}); err == nil {
				t.Error("opened on a dead connection")
			}
		})
	})
	t.Run("BP-027 Close before Serve", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a, b := net.Pipe()
			defer a.Close()
			c := h2conn.Server(b, nil, nil)
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if err := c.Serve(); !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		})
	})
	t.Run("BP-027 Abort from a callback", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.accept = func(r *stream) bool {
				r.st.Conn().Abort(http2.ErrCodeInadequateSecurity, "no")
				return true
			}
			s.WriteHeaders(1, true, get...)
			s.WantConnError("its code", http2.ErrCodeInadequateSecurity)
		})
	})
}

func TestPriorityUpdate(t *testing.T) {
	t.Run("BP-028 PRIORITY_UPDATE from a server", func(t *testing.T) {
		clientTest(t, nil, func(t *testing.T, c *client) {
			c.open(get, true)
			c.WritePriorityUpdate(1, "u=1")
			c.WantConnError("only clients send it", http2.ErrCodeProtocol)
		})
	})
	raw := func(id uint32, b ...byte) func(p *h2test.Peer) {
		return func(p *h2test.Peer) { p.WriteRawFrame(http2.FramePriorityUpdate, 0, id, b) }
	}
	connErrors(t, false, []violation{
		{"BP-029 PRIORITY_UPDATE on a stream", http2.ErrCodeProtocol, raw(1, 0, 0, 0, 1)},
		{"BP-029 PRIORITY_UPDATE for stream 0", http2.ErrCodeProtocol, raw(0, 0, 0, 0, 0, 'u')},
		{"BP-029 PRIORITY_UPDATE of 3 bytes", http2.ErrCodeFrameSize, raw(0, 0, 0, 1)},
		{"BP-029 PRIORITY_UPDATE for an even stream", http2.ErrCodeProtocol, raw(0, 0, 0, 0, 2, 'u')},
	})
	t.Run("BP-029 PRIORITY_UPDATE beyond the stream limit", func(t *testing.T) {
		serverTest(t, &h2conn.Config{MaxConcurrentStreams: 3}, func(t *testing.T, s *server) {
			s.WriteHeaders(1, true, get...)
			s.WritePriorityUpdate(3, "u=1")
			s.WritePriorityUpdate(5, "u=1")
			s.WritePriorityUpdate(5, "u=2")
			s.WantIdle("1 open, 2 idle")
			s.WritePriorityUpdate(7, "u=1")
			s.WantConnError("the third idle one", http2.ErrCodeProtocol)
		})
	})
	t.Run("BP-029 DS-06 PRIORITY_UPDATE reaches its stream, early or late", func(t *testing.T) {
		serverTest(t, &h2conn.Config{MaxConcurrentStreams: 3}, func(t *testing.T, s *server) {
			s.WritePriorityUpdate(3, "u=6")
			s.WritePriorityUpdate(5, "u=0")
			s.WriteHeaders(5, false, post...)
			r := s.stream(5)
			if r.request.Priority != "u=0" {
				t.Errorf("early: %q", r.request.Priority)
			}
			s.WritePriorityUpdate(5, "u=7, i")
			if r.snapshot(); r.priority != "u=7, i" {
				t.Errorf("late: %q", r.priority)
			}
			s.WriteRST(5, http2.ErrCodeCancel)
			for range 10 { // 3 is closed by 5, 5 was reset: nothing is kept for them
				s.WritePriorityUpdate(3, "u=1")
				s.WritePriorityUpdate(5, "u=1")
			}
			s.WriteHeaders(7, false, post...)
			s.stream(7)
			s.WantIdle("all fine")
		})
	})
}
