package h2conn_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/h2test"
)

func TestStreamIDs(t *testing.T) {
	connErrors(t, false, []violation{
		{"BP-010 even id", http2.ErrCodeProtocol, func(p *h2test.Peer) { p.WriteHeaders(2, true, get...) }},
		{"BP-010 5 then 3", http2.ErrCodeProtocol, func(p *h2test.Peer) {
			p.WriteHeaders(5, true, get...)
			p.WriteHeaders(3, true, get...)
		}},
		{"BP-013 DATA on idle stream", http2.ErrCodeProtocol, func(p *h2test.Peer) { p.WriteData(1, false, "x") }},
		{"BP-013 RST_STREAM on idle stream", http2.ErrCodeProtocol, func(p *h2test.Peer) { p.WriteRST(1, 0) }},
		{"BP-013 WINDOW_UPDATE on idle stream", http2.ErrCodeProtocol, func(p *h2test.Peer) { p.WriteWindowUpdate(1, 1) }},
		{"BP-013 BP-017 WINDOW_UPDATE 0 on idle stream", http2.ErrCodeProtocol, func(p *h2test.Peer) { p.WriteWindowUpdate(1, 0) }},
		{"BP-013 DATA on an idle even stream", http2.ErrCodeProtocol, func(p *h2test.Peer) {
			p.WriteHeaders(5, true, get...)
			p.WriteData(2, false, "x")
		}},
	})
	atClient := []violation{
		{"BP-011 HEADERS on a stream never opened", http2.ErrCodeProtocol, func(p *h2test.Peer) { p.WriteHeaders(3, true, ":status", "200") }},
		{"BP-011 HEADERS on an even stream", http2.ErrCodeProtocol, func(p *h2test.Peer) { p.WriteHeaders(2, true, ":status", "200") }},
		{"BP-013 DATA on idle stream", http2.ErrCodeProtocol, func(p *h2test.Peer) { p.WriteData(3, false, "x") }},
		{"BP-013 RST_STREAM on idle stream", http2.ErrCodeProtocol, func(p *h2test.Peer) { p.WriteRST(3, 0) }},
		{"BP-013 WINDOW_UPDATE on idle stream", http2.ErrCodeProtocol, func(p *h2test.Peer) { p.WriteWindowUpdate(3, 1) }},
	}
	for _, v := range atClient {
		t.Run(v.name+" (client)", func(t *testing.T) {
			clientTest(t, nil, func(t *testing.T, c *client) {
				c.open(get, false)
				v.write(c.Peer)
				c.WantConnError(v.name, v.code)
			})
		})
	}
	t.Run("BP-010 ids may be skipped, and skipped ones are closed", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(7, true, get...)
			s.stream(7)
			s.WriteRST(5, http2.ErrCodeCancel)
			s.WriteWindowUpdate(3, 1)
			s.WriteData(3, false, "x")
			s.WantIdle("ignored")
		})
	})
}

func TestHalfClosed(t *testing.T) {
	late := map[string]func(p *h2test.Peer){
		"DATA":    func(p *h2test.Peer) { p.WriteData(1, false, "late") },
		"HEADERS": func(p *h2test.Peer) { p.WriteHeaders(1, true, "x", "late") },
	}
	for name, write := range late {
		t.Run("BP-014 "+name+" on half-closed (remote) stream", func(t *testing.T) {
			serverTest(t, nil, func(t *testing.T, s *server) {
				s.WriteHeaders(1, true, post...)
				r := s.stream(1)
				write(s.Peer)
				s.WantRST("ended", 1, http2.ErrCodeStreamClosed)
				if _, _, reset := r.snapshot(); reset == nil || reset.Remote || r.resets != 1 {
					t.Errorf("owner was told %v", reset)
				}
				write(s.Peer)
				s.WantIdle("BP-032: one error per stream")
			})
		})
		t.Run("BP-014 "+name+" after the response's end (client)", func(t *testing.T) {
			clientTest(t, nil, func(t *testing.T, c *client) {
				c.open(post, false)
				c.WriteHeaders(1, true, ":status", "200")
				write(c.Peer)
				c.WantRST("ended", 1, http2.ErrCodeStreamClosed)
			})
		})
		t.Run("BP-015 "+name+" after our RST_STREAM is ignored", func(t *testing.T) {
			serverTest(t, nil, func(t *testing.T, s *server) {
				s.WriteHeaders(1, false, post...)
				r := s.stream(1)
				r.st.Reset(http2.ErrCodeCancel)
				s.WantRST("ours", 1, http2.ErrCodeCancel)
				write(s.Peer)
				s.WriteRST(1, http2.ErrCodeCancel)
				s.WriteWindowUpdate(1, 5)
				s.WantIdle("all crossed ours")
				if data, _, reset := r.snapshot(); data != "" || reset != nil {
					t.Errorf("owner was told %q %v after its own reset", data, reset)
				}
			})
		})
		t.Run("BP-016 BP-032 "+name+" after the peer's RST_STREAM", func(t *testing.T) {
			serverTest(t, nil, func(t *testing.T, s *server) {
				s.WriteHeaders(1, false, post...)
				s.WriteRST(1, http2.ErrCodeCancel)
				s.WantIdle("no RST_STREAM in reply to one")
				write(s.Peer)
				s.WantRST("a stream error, once", 1, http2.ErrCodeStreamClosed)
				write(s.Peer)
				s.WantIdle("not twice")
			})
		})
	}
	t.Run("BP-015 HEADERS after our reset keep the HPACK state", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			s.stream(1).st.Reset(http2.ErrCodeCancel)
			s.WantRST("ours", 1, http2.ErrCodeCancel)
			s.WriteHeaders(1, true, "x-late", "enters the table")
			s.WriteHeaders(3, true, append(get, "x-late", "enters the table")...)
			if v := s.stream(3).request.Value("x-late"); v != "enters the table" {
				t.Errorf("got %q", v)
			}
		})
	})
	done := func(s *server) {
		s.WriteHeaders(1, true, get...)
		r := s.stream(1)
		r.st.WriteHeaders(ok200, true, nil)
		s.WantHeaders("answer", 1)
		r.st.Done()
	}
	t.Run("BP-016 WINDOW_UPDATE and RST_STREAM after both ends are tolerated", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			done(s)
			s.WriteWindowUpdate(1, 1)
			s.WriteRST(1, http2.ErrCodeCancel)
			s.WantIdle("tolerated")
		})
	})
	t.Run("BP-016 HEADERS after both ends", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			done(s)
			s.WriteHeaders(1, true, get...)
			s.WantConnError("used id", http2.ErrCodeStreamClosed)
		})
	})
	t.Run("BP-016 DATA after both ends", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			done(s)
			s.WriteData(1, false, "x")
			s.WantRST("closed", 1, http2.ErrCodeStreamClosed)
		})
	})
}

func TestStreamLimit(t *testing.T) {
	limit := &h2conn.Config{MaxConcurrentStreams: 2}
	t.Run("BP-031 H2-041 a stream above the limit is refused", func(t *testing.T) {
		serverTest(t, limit, func(t *testing.T, s *server) {
			s.WriteHeaders(1, true, get...)
			s.WriteHeaders(3, false, post...)
			s.WriteHeaders(5, true, get...)
			s.WantRST("the third", 5, http2.ErrCodeRefusedStream)
			if s.streams[5] != nil {
				t.Error("the handler saw it")
			}
			r := s.stream(1)
			r.st.WriteHeaders(ok200, true, nil)
			s.WantHeaders("answer", 1)
			s.WriteHeaders(7, true, get...)
			s.stream(7) // the client saw stream 1 end
			s.WriteRST(7, http2.ErrCodeCancel)
			s.WriteHeaders(9, true, get...)
			s.WantRST("7 was reset, and its handler runs", 9, http2.ErrCodeRefusedStream)
			s.stream(7).st.Done()
			s.WriteHeaders(11, true, get...)
			s.WantIdle("now it fits")
			s.stream(11)
		})
	})
	t.Run("DS-01 handlers that outlive their streams are bounded at twice the limit", func(t *testing.T) {
		serverTest(t, limit, func(t *testing.T, s *server) {
			for id := uint32(1); id < 9; id += 2 {
				s.WriteHeaders(id, true, get...)
				s.stream(id).st.WriteHeaders(ok200, true, nil)
				s.WantHeaders("answer", id)
			}
			s.WriteHeaders(9, true, get...)
			s.WantRST("4 handlers run", 9, http2.ErrCodeRefusedStream)
			s.stream(3).st.Done()
			s.WriteHeaders(11, true, get...)
			s.WantIdle("3 handlers run")
			s.stream(11)
		})
	})
	t.Run("BP-031 before SETTINGS were acknowledged it is refused too", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newServer(t, &h2conn.Config{MaxConcurrentStreams: 1, Resets: h2conn.Rate{Burst: 1, PerSecond: 1}})
			defer s.stop()
			s.Preface()
			s.Drain()
			s.WriteHeaders(1, true, get...)
			for id := uint32(3); id < 20; id += 2 {
				s.WriteHeaders(id, true, get...)
				s.WantRST("it could not know", id, http2.ErrCodeRefusedStream)
			}
		})
	})
	t.Run("H2-042 the handler refuses", func(t *testing.T) {
		serverTest(t, limit, func(t *testing.T, s *server) {
			s.accept = func(*stream) bool { return false }
			for id := uint32(1); id < 20; id += 2 {
				s.WriteHeaders(id, false, post...)
				s.WantRST("refused, and not charged", id, http2.ErrCodeRefusedStream)
			}
			s.accept = func(r *stream) bool {
				r.st.Reset(http2.ErrCodeCancel)
				if r.st.ID()%4 == 1 {
					r.st.Done()
				}
				return false
			}
			for id := uint32(21); id < 60; id += 2 {
				s.WriteHeaders(id, false, post...)
				s.WantRST("reset and refused, and not charged", id, http2.ErrCodeCancel)
			}
		})
	})
	t.Run("H2-041 OpenStream waits for the server's limit", func(t *testing.T) {
		clientTest(t, nil, func(t *testing.T, c *client) {
			a := c.open(get, true)
			if c.c.CanOpen() {
				t.Error("CanOpen at the limit")
			}
			open := func(ctx context.Context) (*h2conn.Stream, error) {
				return c.c.OpenStream(ctx, &h2conn.Open{Fields: fields(get...), End: true, Receiver: &stream{}})
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			start := time.Now()
			if _, err := open(ctx); !errors.Is(err, h2conn.ErrStreamLimit) || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("at the limit: %v after %v", err, time.Since(start))
			}
			first := h2test.RunAsync(func() (*h2conn.Stream, error) { return open(context.Background()) })
			if first.Done() {
				t.Fatal("opened above the limit")
			}
			second := h2test.RunAsync(func() (*h2conn.Stream, error) { return open(context.Background()) })
			c.WantIdle("nothing above the limit")
			c.WriteHeaders(1, true, ":status", "200")
			if st, err := first.Result(); err != nil || st.ID() != 3 {
				t.Error(st, err)
			}
			c.WantHeaders("the one that waited longest", 3)
			c.WriteSettings(set(http2.SettingMaxConcurrentStreams, 2))
			c.WantFrame("ack before the stream", h2test.Settings{Ack: true})
			if st, err := second.Result(); err != nil || st.ID() != 5 {
				t.Error(st, err)
			}
			c.WantHeaders("a raised limit counts", 5)
			if _, _, reset := a.snapshot(); reset != nil {
				t.Error(reset)
			}
			c.WriteRST(3, http2.ErrCodeCancel)
			c.WriteHeaders(5, true, ":status", "200")
			synctest.Wait()
			done, cancel := context.WithCancel(context.Background())
			cancel()
			if _, err := open(done); err != nil {
				t.Errorf("with room a done context does not matter: %v", err)
			}
		}, set(http2.SettingMaxConcurrentStreams, 1))
	})
	t.Run("H2-010 the SETTINGS ACK leaves before the first HEADERS", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newClient(t, &h2conn.Config{KnownSettings: []http2.SettingID{0x2b60}})
			defer c.stop()
			c.Start()
			c.SkipUntil("client's own start", func(f h2test.Frame) bool { _, ok := f.(h2test.WindowUpdate); return ok })
			var seen []uint32
			open := func(end bool) *h2test.Result[*h2conn.Stream] {
				return h2test.RunAsync(func() (*h2conn.Stream, error) {
					return c.c.OpenStream(context.Background(), &h2conn.Open{Fields: fields(connect...), End: end, Receiver: &stream{},
						OnWrite: func(st *h2conn.Stream, peer h2conn.Settings) error {
							v, _ := peer.Value(0x2b60)
							seen = append(seen, v)
							if v == 0 {
								st.Reset(http2.ErrCodeCancel) // must not become a frame either
								return errors.New("not offered")
							}
							return nil
						}})
				})
			}
			r := open(false)
			c.WantIdle("no HEADERS before the server's SETTINGS")
			c.WriteSettings(set(0x2b60, 1), set(0x8, 1))
			c.WantFrame("ACK first", h2test.Settings{Ack: true})
			c.WantHeaders("then the request", 1)
			r.Result()
			c.WriteSettings(set(0x2b60, 0))
			c.WantFrame("ACK", h2test.Settings{Ack: true})
			st, err := open(false).Result()
			if err != nil {
				t.Fatal(err)
			}
			c.WantIdle("H2-006: withdrawn as it was to be written, without a frame")
			st.Reset(http2.ErrCodeCancel)
			c.WantIdle("nor a reset")
			c.WriteSettings(set(0x2b60, 1))
			c.WantFrame("ACK", h2test.Settings{Ack: true})
			open(true).Result()
			c.WantHeaders("offered again; the id of the withdrawn one is skipped", 5)
			if len(seen) != 3 || seen[0] != 1 || seen[1] != 0 || seen[2] != 1 {
				t.Errorf("OnWrite saw %v", seen)
			}
		})
	})
}

func TestResponse(t *testing.T) {
	t.Run("H2-040 interim responses, then the final one, then data", func(t *testing.T) {
		clientTest(t, nil, func(t *testing.T, c *client) {
			s := c.open(get, true)
			c.WriteHeaders(1, false, ":status", "100")
			c.WriteHeaders(1, false, ":status", "103", "link", "x")
			c.WriteHeaders(1, false, ":status", "200", "a", "b")
			c.WriteData(1, false, "body")
			c.WriteHeaders(1, true, "x-trailer", "t")
			data, ended, reset := s.snapshot()
			if len(s.interim) != 2 || s.interim[1] != 103 || s.response.Value("a") != "b" || data != "body" || !ended || reset != nil || s.trailers[0].Value != "t" {
				t.Errorf("got %v %+v %q %v %v %v", s.interim, s.response, data, ended, reset, s.trailers)
			}
			c.WantIdle("all said")
		})
	})
	t.Run("the response's snapshot is what we acknowledged before it", func(t *testing.T) {
		serverTest(t, &h2conn.Config{KnownSettings: []http2.SettingID{0x2b61}}, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			r := s.stream(1)
			s.WriteSettings(set(0x2b61, 5))
			s.WantFrame("ack", h2test.Settings{Ack: true})
			var got uint32
			r.st.WriteHeaders(ok200, false, func(peer h2conn.Settings) { got, _ = peer.Value(0x2b61) })
			s.WantHeaders("answer", 1)
			if got != 5 {
				t.Errorf("snapshot %d", got)
			}
		}, set(0x2b61, 4))
	})
	t.Run("an answered request that goes on is stopped with NO_ERROR", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			r := s.stream(1)
			r.st.Done()
			r.st.WriteHeaders(fields(":status", "403"), true, nil)
			if h := s.WantHeaders("answer", 1); !h.EndStream || h.Value(":status") != "403" {
				t.Error(h)
			}
			s.WantRST("stop sending", 1, http2.ErrCodeNo)
			if err := r.st.WriteHeaders(ok200, true, nil); err == nil {
				t.Error("a second response was taken")
			}
		})
	})
	t.Run("BP-015 a reset drops what was not written", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			r := s.stream(1)
			s.nc.StallWrites(true)
			s.WritePing(false, [8]byte{}) // the writer is in a write now
			synctest.Wait()
			r.respond(t)
			r.write("dropped", true)
			r.st.Reset(http2.ErrCodeInternal)
			s.nc.StallWrites(false)
			s.WantFrame("under way before", h2test.Ping{Ack: true})
			s.WantRST("nothing before it", 1, http2.ErrCodeInternal)
			if err := r.st.WriteHeaders(ok200, true, nil); err == nil {
				t.Error("headers after reset")
			}
		})
	})
	t.Run("H2-044 REFUSED_STREAM says not processed", func(t *testing.T) {
		clientTest(t, nil, func(t *testing.T, c *client) {
			a, b := c.open(get, true), c.open(get, true)
			c.WriteRST(1, http2.ErrCodeRefusedStream)
			c.WriteRST(3, http2.ErrCodeCancel)
			if _, _, reset := a.snapshot(); reset == nil || !reset.NotProcessed || !reset.Remote {
				t.Errorf("refused: %v", reset)
			}
			if _, _, reset := b.snapshot(); reset == nil || reset.NotProcessed || reset.Code != http2.ErrCodeCancel {
				t.Errorf("cancelled: %v", reset)
			}
		})
	})
}
