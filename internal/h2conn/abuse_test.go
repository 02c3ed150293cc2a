package h2conn_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/h2test"
)

// flood calls write until the connection has ended, at most limit times, and
// returns how often. It reads nothing meanwhile but what the peer's goroutine
// takes, and fails unless the code is ENHANCE_YOUR_CALM.
func flood(t *testing.T, s *server, limit int, write func(i int)) int {
	t.Helper()
	s.AllowWriteErrors = true
	n := 0
	for ; n < limit && s.c.Err() == nil; n++ {
		write(n)
		s.settle()
	}
	var ce *h2conn.ConnError
	if err := s.c.Err(); !errors.As(err, &ce) || ce.Code != http2.ErrCodeEnhanceYourCalm {
		t.Fatalf("after %d: %v", n, err)
	}
	s.WantConnError("told why", http2.ErrCodeEnhanceYourCalm)
	return n
}

func exactly(t *testing.T, what string, got, want int) {
	t.Helper()
	if got != want {
		t.Errorf("%s: ended after %d, want %d", what, got, want)
	}
}

func TestRapidReset(t *testing.T) {
	t.Run("DS-01 100k opened and reset streams", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			running := 0
			s.accept = func(r *stream) bool {
				running++ // each keeps its handler: Done is never called
				return true
			}
			goroutines := runtime.NumGoroutine()
			n := flood(t, s, 100_000, func(i int) {
				s.WriteHeaders(uint32(2*i+1), true, get...)
				s.WriteRST(uint32(2*i+1), http2.ErrCodeCancel)
			})
			if running != 100 {
				t.Errorf("%d handlers were started, the limit is 100", running)
			}
			// 100 resets of ours, then refusals to a client that knew the limit.
			exactly(t, "resets", n, 1001)
			if g := h2test.Goroutines(goroutines); g > goroutines {
				t.Errorf("%d goroutines, %d before", g, goroutines)
			}
		})
	})
	t.Run("DS-01 handlers that end at once do not help", func(t *testing.T) {
		serverTest(t, &h2conn.Config{Resets: h2conn.Rate{Burst: 50, PerSecond: 1}}, func(t *testing.T, s *server) {
			s.accept = func(r *stream) bool { r.st.Done(); return true }
			n := flood(t, s, 100_000, func(i int) {
				s.WriteHeaders(uint32(2*i+1), false, post...)
				s.WriteRST(uint32(2*i+1), http2.ErrCodeCancel)
			})
			exactly(t, "resets", n, 51)
		})
	})
	t.Run("DS-01 streams that end normally pay for resets", func(t *testing.T) {
		serverTest(t, &h2conn.Config{Resets: h2conn.Rate{Burst: 50, PerSecond: 1}}, func(t *testing.T, s *server) {
			s.accept = func(r *stream) bool {
				if r.request.Path == "/" {
					r.st.WriteHeaders(ok200, true, nil)
				}
				r.st.Done()
				return true
			}
			for i := range 500 {
				id := uint32(4*i + 1)
				s.WriteHeaders(id, true, get...)
				s.WriteHeaders(id+2, false, with(post, ":path", "/cancelled")...)
				s.WriteRST(id+2, http2.ErrCodeCancel)
				s.Drain()
			}
			if err := s.c.Err(); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("DS-01 the budget refills with time", func(t *testing.T) {
		serverTest(t, &h2conn.Config{Resets: h2conn.Rate{Burst: 10, PerSecond: 5}}, func(t *testing.T, s *server) {
			s.accept = func(r *stream) bool { r.st.Done(); return true }
			for i := range 100 {
				s.WriteHeaders(uint32(2*i+1), false, post...)
				s.WriteRST(uint32(2*i+1), http2.ErrCodeCancel)
				time.Sleep(200 * time.Millisecond)
			}
			if err := s.c.Err(); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("DS-01 a budget that is switched off", func(t *testing.T) {
		serverTest(t, &h2conn.Config{Resets: h2conn.Rate{Burst: -1}}, func(t *testing.T, s *server) {
			s.accept = func(r *stream) bool { r.st.Done(); return true }
			for i := range 3000 {
				s.WriteHeaders(uint32(2*i+1), false, post...)
				s.WriteRST(uint32(2*i+1), http2.ErrCodeCancel)
			}
			s.WantIdle("nothing happens")
		})
	})
}

func TestMadeYouReset(t *testing.T) {
	cfg := func() *h2conn.Config {
		return &h2conn.Config{Resets: h2conn.Rate{Burst: 40, PerSecond: 1}, MaxConcurrentStreams: 1000, StreamWindow: 100, MaxStreamWindow: 100}
	}
	triggers := map[string]func(s *server, id uint32){
		"WINDOW_UPDATE 0":        func(s *server, id uint32) { s.WriteWindowUpdate(id, 0) },
		"WINDOW_UPDATE overflow": func(s *server, id uint32) { s.WriteWindowUpdate(id, 1<<31-1) },
		"PRIORITY length":        func(s *server, id uint32) { s.WriteRawFrame(http2.FramePriority, 0, id, nil) },
		"PRIORITY on itself":     func(s *server, id uint32) { s.WritePriority(id, http2.PriorityParam{StreamDep: id}) },
		"window exceeded":        func(s *server, id uint32) { s.WriteData(id, false, strings.Repeat("x", 101)) },
		"second HEADERS":         func(s *server, id uint32) { s.WriteHeaders(id, false, "a", "b") },
		"malformed trailers":     func(s *server, id uint32) { s.WriteHeaders(id, true, "A", "b") },
		"frame too large":        func(s *server, id uint32) { s.WriteRawFrame(0xf0, 0, id, make([]byte, 16385)) },
		"DATA after END_STREAM": func(s *server, id uint32) {
			s.WriteData(id, true, "")
			s.WriteData(id, false, "x")
		},
		"an error the owner finds": func(s *server, id uint32) { s.stream(id).st.Fault(http2.ErrCodeStreamClosed) },
		"DATA after their own RST": func(s *server, id uint32) {
			s.WriteRST(id, http2.ErrCodeCancel)
			s.WriteData(id, false, "x")
		},
	}
	for name, trigger := range triggers {
		t.Run("DS-02 "+name, func(t *testing.T) {
			serverTest(t, cfg(), func(t *testing.T, s *server) {
				started := 0
				s.accept = func(*stream) bool { started++; return true }
				n := flood(t, s, 10_000, func(i int) {
					id := uint32(2*i + 1)
					s.WriteHeaders(id, false, post...)
					trigger(s, id)
				})
				want := 41
				if name == "DATA after their own RST" {
					want = 21 // two charges each
				}
				exactly(t, name, n, want)
				if started != n {
					t.Errorf("%d handlers for %d streams", started, n)
				}
			})
		})
	}
	t.Run("DS-02 DS-01 provoked resets stay charged until the handler is done", func(t *testing.T) {
		serverTest(t, &h2conn.Config{MaxConcurrentStreams: 5}, func(t *testing.T, s *server) {
			for i := range 5 {
				id := uint32(2*i + 1)
				s.WriteHeaders(id, false, post...)
				s.WriteWindowUpdate(id, 0)
				s.WantRST("provoked", id, http2.ErrCodeProtocol)
			}
			s.WriteHeaders(11, true, get...)
			s.WantRST("5 handlers run", 11, http2.ErrCodeRefusedStream)
			s.stream(1).st.Done()
			s.WriteHeaders(13, true, get...)
			s.WantIdle("4 handlers run")
			s.stream(13)
		})
	})
	t.Run("DS-07 malformed requests", func(t *testing.T) {
		serverTest(t, cfg(), func(t *testing.T, s *server) {
			n := flood(t, s, 10_000, func(i int) { s.WriteHeaders(uint32(2*i+1), true, "a", "b") })
			exactly(t, "malformed", n, 41)
		})
	})
	t.Run("DS-07 refused streams of a client that knows the limit", func(t *testing.T) {
		c := cfg()
		c.MaxConcurrentStreams = 1
		serverTest(t, c, func(t *testing.T, s *server) {
			n := flood(t, s, 10_000, func(i int) { s.WriteHeaders(uint32(2*i+1), true, get...) })
			exactly(t, "refused", n, 42)
		})
	})
}

// A peer that resets streams or sends what is of no use faster than it may for long
// is read from with pauses, in which the server hears others.
func TestPauses(t *testing.T) {
	const pause, free = 5 * time.Millisecond, 320
	cancel := func(s *server, i int) {
		s.WriteHeaders(uint32(2*i+1), false, post...)
		s.WriteRST(uint32(2*i+1), http2.ErrCodeCancel)
	}
	priority := func(s *server, _ int) { s.WritePriority(1, http2.PriorityParam{StreamDep: 3}) }
	for _, tt := range []struct {
		name  string
		write func(s *server, i int)
		times int           // how often it is written
		wait  time.Duration // after each
		want  time.Duration
	}{
		{"DS-01 as many resets at once as are free", cancel, free/10 - 1, 0, 0},
		{"DS-01 more of them", cancel, free, 0, 9 * pause},
		{"DS-01 resets no faster than for long", cancel, 900, time.Second / 33, 900 * (time.Second / 33)},
		{"DS-11 frames without use", priority, 10 * free, 0, 9 * pause},
		{"DS-11 frames without use, no faster than for long", priority, 9000, time.Second / 330, 9000 * (time.Second / 330)},
		{"DS-11 useful frames", func(s *server, i int) {
			if i == 0 {
				s.WriteHeaders(1, false, post...)
			}
			s.WriteData(1, false, strings.Repeat("x", 100))
		}, 20_000, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			serverTest(t, nil, func(t *testing.T, s *server) {
				s.accept = func(r *stream) bool { r.st.Done(); return true }
				begin := time.Now()
				for i := range tt.times {
					tt.write(s, i)
					s.settle()
					time.Sleep(tt.wait)
				}
				if d := time.Since(begin); d != tt.want {
					t.Errorf("it took %v to read, want %v", d, tt.want)
				}
				if err := s.c.Err(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// stalled runs f with a server whose writer is stuck in a write.
func stalled(t *testing.T, cfg *h2conn.Config, f func(t *testing.T, s *server)) {
	serverTest(t, cfg, func(t *testing.T, s *server) {
		s.nc.StallWrites(true)
		s.WritePing(false, [8]byte{})
		synctest.Wait()
		s.AllowWriteErrors = true
		f(t, s)
		s.nc.StallWrites(false)
	})
}

// until calls write until the connection has ended and returns how often.
func until(t *testing.T, s *server, limit int, write func(i int)) int {
	t.Helper()
	n := 0
	for ; n < limit && s.c.Err() == nil; n++ {
		write(n)
		s.settle()
	}
	var ce *h2conn.ConnError
	if err := s.c.Err(); !errors.As(err, &ce) || ce.Code != http2.ErrCodeEnhanceYourCalm {
		t.Fatalf("after %d: %v", n, err)
	}
	return n
}

func TestQueuedReplies(t *testing.T) {
	cfg := &h2conn.Config{MaxQueuedControl: 100, Glitches: h2conn.Rate{Burst: -1}, Resets: h2conn.Rate{Burst: -1}}
	t.Run("DS-05 PINGs whose answers are not read", func(t *testing.T) {
		stalled(t, cfg, func(t *testing.T, s *server) {
			n := until(t, s, 1_000_000, func(i int) { s.WritePing(false, [8]byte{byte(i)}) })
			exactly(t, "queued answers", n, 101)
		})
	})
	t.Run("DS-08 SETTINGS whose acknowledgements are not read", func(t *testing.T) {
		stalled(t, cfg, func(t *testing.T, s *server) {
			n := until(t, s, 1_000_000, func(int) { s.WriteSettings() })
			exactly(t, "queued acknowledgements", n, 101)
		})
	})
	t.Run("DS-07 resets that are not read", func(t *testing.T) {
		stalled(t, cfg, func(t *testing.T, s *server) {
			n := until(t, s, 1_000_000, func(i int) { s.WriteHeaders(uint32(2*i+1), true, "a", "b") })
			exactly(t, "queued resets", n, 101)
		})
	})
	t.Run("DS-05 DS-08 the kinds share one bound", func(t *testing.T) {
		stalled(t, cfg, func(t *testing.T, s *server) {
			n := until(t, s, 1_000_000, func(i int) {
				s.WritePing(false, [8]byte{})
				s.WriteSettings()
			})
			exactly(t, "pairs", n, 51)
		})
	})
	t.Run("DS-10 window updates are coalesced", func(t *testing.T) {
		c := *cfg
		c.WriteTimeout = -1
		c.KeepAlive = -1
		c.StreamWindow, c.MaxStreamWindow = 1000, 1000
		stalled(t, &c, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			r := s.stream(1)
			r.keep = true
			s.WriteData(1, false, strings.Repeat("x", 1000))
			synctest.Wait()
			for range 1000 {
				r.st.Consume(1)
			}
			s.nc.StallWrites(false)
			s.WantFrame("under way", h2test.Ping{Ack: true})
			s.WantFrame("one for all", h2test.WindowUpdate{StreamID: 1, Increment: 1000})
			s.WantIdle("no other")
		})
	})
	t.Run("DS-10 the write buffer is bounded, however much could be sent", func(t *testing.T) {
		c := *cfg
		c.WriteTimeout, c.KeepAlive, c.WriteBuffer = -1, -1, 20_000
		serverTest(t, &c, func(t *testing.T, s *server) {
			for i := range 50 {
				id := uint32(2*i + 1)
				s.WriteHeaders(id, true, get...)
				r := s.stream(id)
				r.endless = 'x'
			}
			s.WriteWindowUpdate(0, 1<<30)
			s.nc.StallWrites(true)
			taken := 0
			for i := range 50 {
				s.stream(uint32(2*i + 1)).respond(t)
			}
			synctest.Wait()
			for i := range 50 {
				r := s.stream(uint32(2*i + 1))
				r.mu.Lock()
				taken += r.fills
				r.mu.Unlock()
			}
			if taken > 2 { // at most 16 KiB each
				t.Errorf("%d times bytes were taken from a source", taken)
			}
		}, set(window, 1<<30))
	})
}

func TestNoProgress(t *testing.T) {
	cfg := func() *h2conn.Config { return &h2conn.Config{Glitches: h2conn.Rate{Burst: 50, PerSecond: 1}} }
	open := func(s *server) {
		s.WriteHeaders(1, false, post...)
		s.stream(1)
	}
	frames := []struct {
		name  string
		write func(s *server, i int)
		want  int
	}{
		// The client's SETTINGS have used one.
		{"DS-11 empty DATA", func(s *server, _ int) { s.WriteData(1, false, "") }, 50},
		{"DS-11 DATA with nothing but padding", func(s *server, _ int) { s.WriteDataPadded(1, false, "", 255) }, 50},
		{"DS-05 PING", func(s *server, _ int) { s.WritePing(false, [8]byte{}) }, 50},
		{"DS-05 PING ACK that nobody asked for", func(s *server, _ int) { s.WritePing(true, [8]byte{9}) }, 50},
		{"DS-08 SETTINGS", func(s *server, _ int) { s.WriteSettings() }, 50},
		{"DS-06 PRIORITY", func(s *server, _ int) { s.WritePriority(1, http2.PriorityParam{StreamDep: 3}) }, 50},
		{"DS-06 PRIORITY_UPDATE", func(s *server, _ int) { s.WritePriorityUpdate(1, "u=1") }, 50},
		{"DS-06 PRIORITY_UPDATE before a stream", func(s *server, _ int) { s.WritePriorityUpdate(3, "u=1") }, 50},
		{"DS-04 window updates without data", func(s *server, _ int) { s.WriteWindowUpdate(0, 1) }, 50},
		{"DS-04 window updates of a stream", func(s *server, _ int) { s.WriteWindowUpdate(1, 1) }, 50},
		{"DS-11 unknown frames", func(s *server, _ int) { s.WriteRawFrame(0xf0, 0, 0, make([]byte, 1000)) }, 50},
		{"DS-11 RST_STREAM on closed streams", func(s *server, i int) {
			if i == 0 {
				s.stream(1).st.Reset(http2.ErrCodeCancel)
			}
			s.WriteRST(1, http2.ErrCodeCancel)
		}, 50},
		{"DS-11 empty DATA on closed streams", func(s *server, i int) {
			if i == 0 {
				s.stream(1).st.Reset(http2.ErrCodeCancel)
			}
			s.WriteData(1, false, "")
		}, 50},
		// Each counts as 32.
		{"DS-12 header lists over the limit", func(s *server, i int) {
			s.WriteBytes(frame(nil, http2.FrameHeaders, endHeaders|endStream, uint32(2*i+3), bombBlock(1000)))
		}, 2},
		{"DS-12 trailers over the limit on a closed stream", func(s *server, i int) {
			if i == 0 {
				s.stream(1).st.Reset(http2.ErrCodeCancel)
			}
			s.WriteBytes(frame(nil, http2.FrameHeaders, endHeaders|endStream, 1, bombBlock(1000)))
		}, 2},
	}
	for _, tt := range frames {
		t.Run(tt.name, func(t *testing.T) {
			serverTest(t, cfg(), func(t *testing.T, s *server) {
				open(s)
				exactly(t, tt.name, flood(t, s, 1_000_000, func(i int) { tt.write(s, i) }), tt.want)
			})
		})
	}
	t.Run("DS-11 empty CONTINUATION", func(t *testing.T) {
		c := cfg()
		c.MaxContinuations = 1_000_000
		serverTest(t, c, func(t *testing.T, s *server) {
			s.WriteHeadersFrame(http2.HeadersFrameParam{StreamID: 1, BlockFragment: s.Encode(get...)})
			exactly(t, "frames", flood(t, s, 1_000_000, func(int) { s.WriteContinuation(1, false, nil) }), 50)
		})
	})
	t.Run("DS-11 interim responses", func(t *testing.T) {
		clientTest(t, cfg(), func(t *testing.T, c *client) {
			c.open(get, true)
			c.AllowWriteErrors = true
			n := 0
			for ; c.c.Err() == nil; n++ {
				c.WriteHeaders(1, false, ":status", "103")
				synctest.Wait()
			}
			exactly(t, "responses", n, 50)
			c.WantConnError("too many", http2.ErrCodeEnhanceYourCalm)
		})
	})
	t.Run("DS-11 the default budget bears 10000", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			open(s)
			for range 9999 {
				s.WriteData(1, false, "")
				s.settle()
			}
			s.WantIdle("still fine")
			s.WriteData(1, false, "")
			s.WantConnError("with the SETTINGS the 10001st", http2.ErrCodeEnhanceYourCalm)
		})
	})
	t.Run("DS-04 data dribble: grants of one byte", func(t *testing.T) {
		serverTest(t, cfg(), func(t *testing.T, s *server) {
			s.WriteHeaders(1, true, get...)
			r := s.stream(1)
			r.endless = 'x'
			r.respond(t)
			s.Drain()
			s.Ignore = nil
			n := flood(t, s, 1_000_000, func(int) { s.WriteWindowUpdate(1, 1) })
			// Each is one glitch for the update and one for the byte it forced.
			if n > 26 {
				t.Errorf("%d bytes were dribbled", n)
			}
		}, set(window, 0))
	})
	t.Run("DS-04 honest updates cost nothing", func(t *testing.T) {
		serverTest(t, cfg(), func(t *testing.T, s *server) {
			s.WriteHeaders(1, true, get...)
			r := s.stream(1)
			r.respond(t)
			s.Drain()
			for range 2000 { // small messages, each answered by two updates
				r.write("small message", false)
				s.WantData("message", 1, false, "small message")
				s.WriteWindowUpdate(0, 13)
				s.WriteWindowUpdate(1, 13)
			}
			s.WantIdle("lives")
		})
	})
	t.Run("DS-08 10k entries in a frame", func(t *testing.T) {
		serverTest(t, &h2conn.Config{MaxSettings: 100}, func(t *testing.T, s *server) {
			list := make([]http2.Setting, 100)
			for i := range list {
				list[i] = set(http2.SettingID(0x1000+i), 1)
			}
			s.WriteSettings(list...)
			s.WantFrame("100 are taken", h2test.Settings{Ack: true})
			s.WriteSettings(append(list, list[0])...)
			s.WantConnError("101", http2.ErrCodeEnhanceYourCalm)
		})
	})
	t.Run("DS-13 windows are counted in 64 bits", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			s.WriteWindowUpdate(0, 1<<31-1-65535)
			s.WriteWindowUpdate(1, 1<<31-1-65535)
			s.WriteSettings(set(window, 0))
			s.WantFrame("ack", h2test.Settings{Ack: true})
			s.WriteWindowUpdate(1, 65535)
			s.WantIdle("exactly 2^31-1 both")
			s.WriteWindowUpdate(1, 1)
			s.WantRST("one more", 1, http2.ErrCodeFlowControl)
			s.WriteWindowUpdate(0, 1)
			s.WantConnError("one more", http2.ErrCodeFlowControl)
		})
	})
}

// What arrives behind the GOAWAY is read, or the GOAWAY could be lost; but not
// for as long as somebody likes to send.
func TestDiscardedIsBounded(t *testing.T) {
	serverTest(t, nil, func(t *testing.T, s *server) {
		flood(t, s, 100_000, func(int) { s.WritePing(false, [8]byte{}) })
		start, n := time.Now(), 0
		chunk := make([]byte, 64<<10)
		for ; n < 16<<20; n += len(chunk) {
			if _, err := s.NetConn().Write(chunk); err != nil {
				break
			}
		}
		if n < 1<<20 || n > 2<<20 {
			t.Errorf("%d bytes were taken", n)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("it took %v", d)
		}
	})
}
