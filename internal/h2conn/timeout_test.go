package h2conn_test

import (
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/h2test"
)

// within fails unless the connection gives its error exactly after d.
func within(t *testing.T, p *h2test.Peer, why string, d time.Duration, code http2.ErrCode) {
	t.Helper()
	time.Sleep(d - time.Nanosecond)
	for _, f := range p.Drain() {
		if _, ok := f.(h2test.GoAway); ok {
			t.Fatalf("%s: too early: %v", why, f)
		}
	}
	time.Sleep(time.Nanosecond)
	p.WantConnError(why, code)
}

func TestTimeouts(t *testing.T) {
	t.Run("no deadline is left behind a write", func(t *testing.T) {
		serverTest(t, &h2conn.Config{KeepAlive: -1}, func(t *testing.T, s *server) {
			time.Sleep(time.Minute) // more than WriteTimeout
			// As crypto/tls does from Read when the peer asks for new keys. An
			// error would fail every later Write.
			if _, err := s.nc.Write(nil); err != nil {
				t.Errorf("a write beside those of the connection: %v", err)
			}
		})
	})
	t.Run("DS-14 a client that says nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, &h2conn.Config{PrefaceTimeout: 3 * time.Second})
			defer s.stop()
			s.Start()
			within(t, s.Peer, "no preface", 3*time.Second, http2.ErrCodeSettingsTimeout)
		})
	})
	t.Run("DS-14 a preface without SETTINGS", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, nil)
			defer s.stop()
			s.Start()
			s.WriteBytes([]byte(http2.ClientPreface))
			within(t, s.Peer, "no SETTINGS", 10*time.Second, http2.ErrCodeSettingsTimeout)
		})
	})
	t.Run("DS-14 a server that says nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newClient(t, nil)
			defer c.stop()
			c.Start()
			within(t, c.Peer, "no SETTINGS", 10*time.Second, http2.ErrCodeSettingsTimeout)
		})
	})
	t.Run("BP-009 SETTINGS that are never acknowledged", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, &h2conn.Config{SettingsTimeout: 5 * time.Second})
			defer s.stop()
			s.Preface()
			within(t, s.Peer, "no ACK", 5*time.Second, http2.ErrCodeSettingsTimeout)
		})
	})
	t.Run("DS-14 DS-03 a header block that drips", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			b := s.Encode(get...)
			s.WriteHeadersFrame(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:1]})
			for i := range 9 {
				time.Sleep(time.Second)
				s.WriteContinuation(1, false, b[i+1:i+2])
			}
			within(t, s.Peer, "10 s from its first frame", time.Second, http2.ErrCodeEnhanceYourCalm)
		})
	})
	t.Run("DS-14 a header block that ends in time", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			b := s.Encode(get...)
			s.WriteHeadersFrame(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:1], EndStream: true})
			time.Sleep(9 * time.Second)
			s.WriteContinuation(1, true, b[1:])
			time.Sleep(5 * time.Second)
			s.stream(1)
			s.WantIdle("no timeout after its end")
		})
	})
	t.Run("DS-15 an idle connection is ended gracefully", func(t *testing.T) {
		serverTest(t, &h2conn.Config{IdleTimeout: time.Minute}, func(t *testing.T, s *server) {
			s.AnswerPings = false
			time.Sleep(50 * time.Second)
			s.WriteHeaders(1, true, get...)
			r := s.stream(1)
			r.st.WriteHeaders(ok200, true, nil)
			r.st.Done()
			s.WantHeaders("answer", 1)
			time.Sleep(time.Minute - time.Nanosecond)
			s.WantIdle("a stream starts the time anew")
			time.Sleep(time.Nanosecond)
			s.WantFrame("idle", h2test.GoAway{Last: 1<<31 - 1})
			ping := s.Next("PING").(h2test.Ping)
			s.WritePing(true, ping.Data)
			s.WantFrame("final", h2test.GoAway{Last: 1})
			s.WantClosed("end")
		})
	})
	t.Run("DS-15 a PING does not keep a connection without streams", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.Ignore = nil
			for range 11 {
				time.Sleep(10 * time.Second)
				s.WritePing(false, [8]byte{})
				s.WantFrame("answered", h2test.Ping{Ack: true})
			}
			time.Sleep(10 * time.Second)
			s.WantGoAway("2 min", http2.ErrCodeNo)
		})
	})
	t.Run("DS-15 a client's connection may idle", func(t *testing.T) {
		clientTest(t, nil, func(t *testing.T, c *client) {
			time.Sleep(24 * time.Hour)
			c.WantIdle("no timeout, no PING")
			c.open(get, true)
		})
	})
	t.Run("DS-14 keep-alive ends a dead connection", func(t *testing.T) {
		clientTest(t, nil, func(t *testing.T, c *client) {
			c.open(get, true)
			time.Sleep(15*time.Second - 1)
			c.WantIdle("not yet")
			time.Sleep(time.Nanosecond)
			p := c.Next("after 15 s of silence").(h2test.Ping)
			c.WritePing(true, p.Data)
			time.Sleep(15 * time.Second)
			c.Next("again")
			time.Sleep(10 * time.Second)
			c.WriteWindowUpdate(0, 1)
			time.Sleep(14 * time.Second)
			c.WantIdle("any frame is a sign of life")
			time.Sleep(time.Second)
			// The PING before this one is still unanswered and is not repeated.
			time.Sleep(15*time.Second - 1)
			c.WantIdle("not yet")
			time.Sleep(time.Nanosecond)
			c.WantConnError("30 s of silence", http2.ErrCodeInternal)
		})
	})
	t.Run("DS-14 a frame that drips is no sign of life", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.AllowWriteErrors = true
			s.WriteHeaders(1, false, post...)
			s.stream(1)
			s.WriteBytes([]byte{0, 0x40, 0, 0, 0, 0, 0, 0, 1})
			for range 30 {
				time.Sleep(time.Second)
				s.WriteBytes([]byte{'x'})
			}
			s.Next("PING after 15 s")
			s.WantConnError("no frame in 30 s", http2.ErrCodeInternal)
		})
	})
	t.Run("DS-14 DS-10 a peer that does not read", func(t *testing.T) {
		serverTest(t, &h2conn.Config{WriteTimeout: 7 * time.Second, KeepAlive: -1}, func(t *testing.T, s *server) {
			s.WriteHeaders(1, true, get...)
			r := s.stream(1)
			s.nc.StallWrites(true)
			start := time.Now()
			r.respond(t)
			<-s.c.Done()
			if d := time.Since(start); d != 7*time.Second {
				t.Errorf("ended after %v", d)
			}
			if _, _, reset := r.snapshot(); reset == nil {
				t.Error("owner was not told")
			}
		})
	})
	t.Run("DS-14 the timers can be switched off", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, &h2conn.Config{PrefaceTimeout: -1, SettingsTimeout: -1, IdleTimeout: -1, KeepAlive: -1})
			defer s.stop()
			s.Start()
			time.Sleep(time.Hour)
			s.WriteBytes([]byte(http2.ClientPreface))
			s.WriteSettings()
			time.Sleep(time.Hour)
			s.WriteHeaders(1, true, get...)
			s.stream(1)
			time.Sleep(time.Hour)
			for _, f := range s.Drain() {
				switch f.(type) {
				case h2test.GoAway, h2test.Ping, h2test.Closed:
					t.Errorf("got %v", f)
				}
			}
		})
	})
	t.Run("DS-14 a peer that ignores GOAWAY is closed on", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.AllowWriteErrors = true
			start := time.Now()
			s.WriteHeaders(2, true, get...)
			s.WantConnError("even id", http2.ErrCodeProtocol)
			for range 10 {
				s.WritePing(false, [8]byte{})
			}
			<-s.c.Done()
			if d := time.Since(start); d != time.Second {
				t.Errorf("ended after %v", d)
			}
		})
	})
}
