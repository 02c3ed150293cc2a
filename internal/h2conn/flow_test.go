package h2conn_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/h2test"
)

const window = http2.SettingInitialWindowSize

func TestSendWindows(t *testing.T) {
	connErrors(t, true, []violation{
		{"BP-018 connection window above 2^31-1", http2.ErrCodeFlowControl, func(p *h2test.Peer) {
			p.WriteWindowUpdate(0, 1<<31-1)
		}},
	})
	t.Run("BP-005 INITIAL_WINDOW_SIZE overflows a stream", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			s.WriteWindowUpdate(1, 1<<31-1-65535)
			s.WantIdle("just fits")
			s.WriteSettings(set(window, 65536))
			s.WantConnError("one more", http2.ErrCodeFlowControl)
		})
	})
	t.Run("BP-018 stream window above 2^31-1", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			s.WriteWindowUpdate(1, 1<<31-1)
			s.WantRST("overflow", 1, http2.ErrCodeFlowControl)
			s.WritePing(false, [8]byte{})
			s.WantFrame("the connection lives", h2test.Ping{Ack: true})
		})
	})
	t.Run("BP-017 WINDOW_UPDATE 0 on a stream", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			s.WriteWindowUpdate(1, 0)
			s.WantRST("0", 1, http2.ErrCodeProtocol)
			s.WriteWindowUpdate(1, 0)
			s.WantIdle("one error per stream")
		})
	})
	t.Run("BP-006 a lowered INITIAL_WINDOW_SIZE makes windows negative", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, true, get...)
			r := s.stream(1)
			r.respond(t)
			s.WantHeaders("answer", 1)
			r.write("12345678", false)
			s.WantData("8 of 10", 1, false, "12345678")
			s.WriteSettings(set(window, 3))
			s.WantFrame("ack", h2test.Settings{Ack: true})
			r.write("abcdefgh", false)
			s.WantIdle("window is 3-8")
			s.WriteWindowUpdate(1, 5)
			s.WantIdle("window is 0")
			s.WriteWindowUpdate(1, 2)
			s.WantData("two more", 1, false, "ab")
			s.WriteSettings(set(window, 4))
			s.WantFrame("ack", h2test.Settings{Ack: true})
			s.WantData("a raised setting opens it by the difference", 1, false, "c")
			s.WriteWindowUpdate(1, 100)
			s.WantData("the rest", 1, false, "defgh")
			r.write("", true)
			s.WantData("end", 1, true, "")
		}, set(window, 10))
	})
	t.Run("END_STREAM needs no window", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, true, get...)
			r := s.stream(1)
			r.respond(t)
			s.WantHeaders("answer", 1)
			r.write("ab", false)
			s.WantIdle("no window")
			s.WriteHeaders(3, true, get...)
			e := s.stream(3)
			e.respond(t)
			s.WantHeaders("answer", 3)
			e.write("", true)
			s.WantData("nothing but the end", 3, true, "")
			s.WriteWindowUpdate(1, 2)
			s.WantData("all of it", 1, false, "ab")
			r.write("", true)
			s.WantData("the window is closed again", 1, true, "")
		}, set(window, 0))
	})
	t.Run("BP-006 both windows and MAX_FRAME_SIZE bound what is sent", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, true, get...)
			r := s.stream(1)
			r.endless = 'x'
			r.respond(t)
			s.WantHeaders("answer", 1)
			got := func() (n, largest int) {
				for _, f := range s.Drain() {
					d := f.(h2test.Data)
					n += len(d.Data)
					largest = max(largest, len(d.Data))
				}
				return n, largest
			}
			if n, largest := got(); n != 65535 || largest > 16384 {
				t.Errorf("connection window: %d bytes, frames of %d", n, largest)
			}
			s.WriteSettings(set(http2.SettingMaxFrameSize, 20000))
			s.WantFrame("ack", h2test.Settings{Ack: true})
			s.WriteWindowUpdate(0, 1<<20)
			if n, largest := got(); n != 100000-65535 || largest > 20000 {
				t.Errorf("stream window: %d bytes, frames of %d", n, largest)
			}
			fills := r.fills
			synctest.Wait()
			if r.fills != fills {
				t.Error("the source is asked although no window is open")
			}
		}, set(window, 100000))
	})
	t.Run("DS-10 the source is not asked while the socket does not take bytes", func(t *testing.T) {
		serverTest(t, &h2conn.Config{WriteTimeout: time.Minute, KeepAlive: -1}, func(t *testing.T, s *server) {
			s.WriteHeaders(1, true, get...)
			s.WriteWindowUpdate(0, 1<<30)
			r := s.stream(1)
			s.nc.StallWrites(true)
			r.endless = 'x'
			r.respond(t)
			synctest.Wait()
			if r.fills > 5 {
				t.Errorf("asked %d times with the socket stalled", r.fills)
			}
			time.Sleep(59 * time.Second)
			select {
			case <-s.c.Done():
				t.Error("ended before the write timeout")
			default:
			}
			time.Sleep(time.Second)
			<-s.c.Done()
			if r.fills > 5 {
				t.Errorf("asked %d times", r.fills)
			}
		}, set(window, 1<<30))
	})
}

func TestReceiveWindows(t *testing.T) {
	small := &h2conn.Config{StreamWindow: 1000, MaxStreamWindow: 1000, ConnWindow: 65535, MaxConnWindow: 65535}
	t.Run("BP-019 one byte over the stream window", func(t *testing.T) {
		serverTest(t, small, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			s.stream(1).keep = true
			s.WriteData(1, false, strings.Repeat("x", 1000))
			s.WantIdle("fits")
			s.WriteData(1, false, "x")
			s.WantRST("over", 1, http2.ErrCodeFlowControl)
		})
	})
	t.Run("BP-019 padding counts on the stream window", func(t *testing.T) {
		serverTest(t, small, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			s.stream(1).keep = true
			s.WriteData(1, false, strings.Repeat("x", 990))
			s.WriteDataPadded(1, false, "x", 9)
			s.WantRST("11 bytes with 10 left", 1, http2.ErrCodeFlowControl)
		})
	})
	t.Run("BP-019 one byte over the connection window", func(t *testing.T) {
		// 65535 bytes of credit are withheld once the receivers hold 1 byte.
		cfg := &h2conn.Config{ConnWindow: 65535, MaxConnWindow: 65535, ReceiveBuffer: 1}
		serverTest(t, cfg, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			r := s.stream(1)
			r.keep = true
			for range 5 {
				s.WriteData(1, false, strings.Repeat("x", 13107))
			}
			s.WantIdle("fits")
			s.WriteData(1, false, "x")
			s.WantConnError("over", http2.ErrCodeFlowControl)
		})
	})
	t.Run("H2-156 every DATA byte counts on the connection, padding and closed streams too", func(t *testing.T) {
		cfg := &h2conn.Config{ConnWindow: 65535, MaxConnWindow: 65535}
		serverTest(t, cfg, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			s.stream(1).st.Reset(http2.ErrCodeCancel)
			s.WantRST("ours", 1, http2.ErrCodeCancel)
			for range 3 {
				s.WriteData(1, false, strings.Repeat("x", 10000))
			}
			s.WantIdle("less than half of the window")
			s.WriteHeaders(3, false, post...)
			r := s.stream(3)
			r.keep = true
			for range 10 {
				s.WriteDataPadded(3, false, "", 255)
			}
			s.WriteDataPadded(3, false, strings.Repeat("y", 200), 6)
			s.WantFrame("at half of it, with padding", h2test.WindowUpdate{Increment: 30000 + 2560 + 207})
		})
	})
	t.Run("BP-019 stream credit returns as it is consumed, at half a window", func(t *testing.T) {
		serverTest(t, small, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			r := s.stream(1)
			r.keep = true
			s.WriteData(1, false, strings.Repeat("x", 1000))
			synctest.Wait()
			r.st.Consume(499)
			s.WantIdle("less than half")
			r.st.Consume(1)
			s.WantFrame("half", h2test.WindowUpdate{StreamID: 1, Increment: 500})
			s.WriteData(1, false, strings.Repeat("x", 500))
			synctest.Wait()
			r.st.Consume(1000)
			s.WantFrame("all of it in one", h2test.WindowUpdate{StreamID: 1, Increment: 1000})
			s.WriteData(1, true, strings.Repeat("x", 1000))
			synctest.Wait()
			r.st.Consume(1000)
			s.WantIdle("no credit after the end")
		})
	})
	t.Run("BP-019 Consume of bytes that did not come panics", func(t *testing.T) {
		serverTest(t, small, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			r := s.stream(1)
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			r.st.Consume(1)
		})
	})
	t.Run("H2-035 100 held streams do not stop another", func(t *testing.T) {
		serverTest(t, &h2conn.Config{MaxConcurrentStreams: 101}, func(t *testing.T, s *server) {
			s.accept = func(r *stream) bool {
				if r.request.Method == "CONNECT" {
					r.keep = true
					r.st.HoldCredit()
				}
				return true
			}
			// On the wire the windows are what the peer thinks they are.
			conn := int64(1 << 20)
			take := func() {
				for _, f := range s.Drain() {
					u, ok := f.(h2test.WindowUpdate)
					if !ok || u.StreamID != 0 {
						t.Fatalf("got %v", f)
					}
					conn += int64(u.Increment)
				}
			}
			chunk := strings.Repeat("x", 16384)
			for i := range 100 {
				id := uint32(2*i + 1)
				s.WriteHeaders(id, false, ":method", "CONNECT", ":authority", "a")
				for range 16 { // one initial window
					if conn < int64(len(chunk)) {
						t.Fatalf("stream %d: connection window is at %d", id, conn)
					}
					s.WriteData(id, false, chunk)
					conn -= int64(len(chunk))
					take()
				}
			}
			s.WriteHeaders(201, true, get...)
			r := s.stream(201)
			r.st.WriteHeaders(ok200, true, nil)
			s.WantHeaders("the other request is served", 201)
			first := s.stream(1)
			first.st.Consume(256 << 10)
			s.WantIdle("held")
			first.st.ReleaseCredit()
			s.WantFrame("released", h2test.WindowUpdate{StreamID: 1, Increment: 256 << 10})
			s.WriteData(3, false, "x")
			s.WantRST("one byte above the held window", 3, http2.ErrCodeFlowControl)
		})
	})
	t.Run("connection credit is withheld above ReceiveBuffer", func(t *testing.T) {
		cfg := &h2conn.Config{ReceiveBuffer: 100_000, ConnWindow: 65535, MaxConnWindow: 65535}
		serverTest(t, cfg, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			r := s.stream(1)
			r.keep = true
			window, sent := 65535, 0
			for window >= 1000 {
				s.WriteData(1, false, strings.Repeat("x", 1000))
				window, sent = window-1000, sent+1000
				for _, f := range s.Drain() {
					window += int(f.(h2test.WindowUpdate).Increment)
				}
			}
			if sent > 100_000+65535 {
				t.Errorf("peer could send %d bytes", sent)
			}
			data, _, _ := r.snapshot()
			r.st.Consume(len(data))
			updates := 0
			for _, f := range s.Drain() {
				if f.(h2test.WindowUpdate).StreamID == 0 {
					updates++
				}
			}
			if updates != 1 {
				t.Errorf("%d connection updates after all was consumed", updates)
			}
		})
	})
	t.Run("BP-019 INITIAL_WINDOW_SIZE of ours binds the peer when it acknowledges", func(t *testing.T) {
		serverTest(t, small, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			s.stream(1).keep = true
			if err := s.c.UpdateSettings(set(window, 500)); err != nil {
				t.Fatal(err)
			}
			s.Drain()
			s.WriteData(1, false, strings.Repeat("x", 1000))
			s.WantIdle("it had not seen the change")
			s.WriteSettingsAck()
			s.WriteHeaders(3, false, post...)
			s.stream(3).keep = true
			s.WriteData(3, false, strings.Repeat("x", 501))
			s.WantRST("now it has", 3, http2.ErrCodeFlowControl)
			r := s.stream(1)
			r.st.Consume(249)
			s.WantIdle("less than half of the new window")
			r.st.Consume(751)
			s.WantFrame("from -500 to 500", h2test.WindowUpdate{StreamID: 1, Increment: 1000})
			if err := s.c.UpdateSettings(set(window, 2000)); err != nil {
				t.Fatal(err)
			}
			s.Drain()
			s.WriteData(1, false, strings.Repeat("x", 2000))
			s.WantIdle("raised")
		})
	})
}

func TestWindowGrowth(t *testing.T) {
	t.Run("windows grow to their maximum at speed", func(t *testing.T) {
		if stream, conn := growth(t, nil, 0); stream <= 1<<20 || conn <= 4<<20 {
			t.Errorf("largest updates %d and %d", stream, conn)
		}
	})
	t.Run("windows of a slow stream do not grow", func(t *testing.T) {
		// 16 KiB in 10 ms are less than a quarter of a window per round trip.
		if stream, conn := growth(t, nil, 10*time.Millisecond); stream > 128<<10+16384 || conn > 512<<10+16384 {
			t.Errorf("largest updates %d and %d", stream, conn)
		}
	})
	t.Run("windows do not grow if the owner says no", func(t *testing.T) {
		if stream, conn := growth(t, &h2conn.Config{MayGrow: func() bool { return false }}, 0); stream > 256<<10 || conn > 1<<20 {
			t.Errorf("largest updates %d and %d", stream, conn)
		}
	})
}

// growth sends 32 MiB to a server that measured a round trip of 20 ms, with a
// pause after each frame, and returns the largest increments.
func growth(t *testing.T, cfg *h2conn.Config, pause time.Duration) (stream, conn uint32) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, cfg)
		defer s.stop()
		s.Preface()
		s.Drain()
		time.Sleep(20 * time.Millisecond)
		s.WriteSettingsAck()
		synctest.Wait()
		if rtt, ok := s.c.RTT(); !ok || rtt != 20*time.Millisecond {
			t.Fatalf("round-trip time %v %v", rtt, ok)
		}
		s.WriteHeaders(1, false, post...)
		s.stream(1)
		window := map[uint32]int{0: 1 << 20, 1: 256 << 10}
		for sent := 0; sent < 32<<20; {
			n := min(window[0], window[1], 16384)
			if n > 0 {
				s.WriteData(1, false, strings.Repeat("x", n))
				sent += n
				window[0], window[1] = window[0]-n, window[1]-n
				time.Sleep(pause)
			}
			if n == 16384 && sent>>14&7 != 0 {
				continue
			}
			for _, f := range s.Drain() {
				u, ok := f.(h2test.WindowUpdate)
				if !ok {
					continue // a PING that measures
				}
				window[u.StreamID] += int(u.Increment)
				if u.StreamID == 0 {
					conn = max(conn, u.Increment)
				} else {
					stream = max(stream, u.Increment)
				}
			}
		}
		if window[0] > 16<<20 || window[1] > 4<<20 {
			t.Errorf("windows %v exceed their maximum", window)
		}
	})
	return stream, conn
}

func TestFairness(t *testing.T) {
	t.Run("H2-184 streams of one urgency share by bytes", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.nc.StallWrites(true)
			s.WritePing(false, [8]byte{}) // the writer is in a write now
			synctest.Wait()
			for i := range 3 {
				id := uint32(2*i + 1)
				s.WriteHeaders(id, true, get...)
				r := s.stream(id)
				r.endless = byte('a' + i)
				r.respond(t)
			}
			s.WriteWindowUpdate(0, 3<<20)
			synctest.Wait()
			s.nc.StallWrites(false)
			sent := map[uint32]int{}
			total := 0
			for _, f := range s.Drain() {
				if d, ok := f.(h2test.Data); ok {
					sent[d.StreamID] += len(d.Data)
					if total += len(d.Data); total <= 2<<20 {
						for id, n := range sent {
							if diff := n - sent[1]; diff > 33<<10 || diff < -33<<10 {
								t.Fatalf("after %d bytes stream %d has %d, stream 1 %d", total, id, n, sent[1])
							}
						}
					}
				}
			}
			if total != 3<<20+65535 {
				t.Errorf("%d bytes were sent", total)
			}
		}, set(window, 1<<30))
	})
	t.Run("H2-184 a sparse stream gets its turn among greedy ones", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			for _, id := range []uint32{1, 3} {
				s.WriteHeaders(id, true, get...)
				r := s.stream(id)
				r.endless = 'g'
				r.respond(t)
			}
			s.WriteHeaders(5, true, get...)
			sparse := s.stream(5)
			sparse.respond(t)
			s.Drain()
			s.nc.StallWrites(true)
			s.WriteWindowUpdate(0, 4<<20)
			synctest.Wait()
			sparse.write("now", false)
			synctest.Wait()
			s.nc.StallWrites(false)
			before := 0
			for _, f := range s.Drain() {
				d := f.(h2test.Data)
				if d.StreamID == 5 {
					if before > 64<<10+2*16<<10+2048 {
						t.Errorf("%d bytes went before it", before)
					}
					return
				}
				before += len(d.Data)
			}
			t.Error("it was never sent")
		}, set(window, 1<<30))
	})
	t.Run("H2-184 a lower urgency waits", func(t *testing.T) {
		serverTest(t, nil, func(t *testing.T, s *server) {
			s.WriteHeaders(1, true, get...)
			s.WriteHeaders(3, true, get...)
			low, high := s.stream(1), s.stream(3)
			low.endless, high.endless = 'l', 'h'
			low.respond(t)
			high.respond(t)
			s.Drain()
			low.st.SetPriority(5)
			high.st.SetPriority(1)
			s.WriteWindowUpdate(0, 100000)
			for _, f := range s.Drain() {
				if d, ok := f.(h2test.Data); ok && d.StreamID == 1 {
					t.Errorf("got %v", d)
				}
			}
			high.st.Reset(http2.ErrCodeCancel)
			s.WantRST("over", 3, http2.ErrCodeCancel)
			s.WriteWindowUpdate(0, 10)
			s.WantData("its turn", 1, false, "llllllllll")
		}, set(window, 1<<30))
	})
}
