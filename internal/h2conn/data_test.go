package h2conn_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/block"
	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/internal/memconn"
)

// A keeper keeps every block that it gets, until it is read.
type keeper struct {
	*stream
	blocks []*block.Block
	parts  [][]byte
}

func (k *keeper) DataBlock(b *block.Block, p []byte) (int, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.blocks, k.parts = append(k.blocks, b), append(k.parts, p)
	return 0, true
}

func (k *keeper) Data([]byte) int { panic("Data of a BlockReceiver") }

// keepers has every request answered by a keeper.
type keepers struct{ got *keeper }

func (h *keepers) Request(st *h2conn.Stream, hd *h2conn.Header) h2conn.Receiver {
	h.got = &keeper{stream: &stream{st: st, request: clone(hd)}}
	return h.got
}

func TestData(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 5<<10) // 80 KiB
	config := &h2conn.Config{MaxFrameSize: 128 << 10}
	t.Run("a frame longer than a block comes in pieces", func(t *testing.T) {
		serverTest(t, config, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			r := s.stream(1)
			s.WriteData(1, false, long[:70_000])
			s.WriteData(1, true, long[70_000:])
			if data, ended, _ := r.snapshot(); data != long || !ended {
				t.Errorf("%d bytes, ended %v", len(data), ended)
			}
		})
	})
	t.Run("bytes are handed on before the rest of their frame comes", func(t *testing.T) {
		serverTest(t, config, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			r := s.stream(1)
			f := frame(nil, http2.FrameData, http2.FlagDataEndStream, 1, long)
			s.WriteBytes(f[:9+2*block.Size+1])
			if data, ended, _ := r.snapshot(); data != long[:2*block.Size] || ended {
				t.Errorf("%d bytes, ended %v", len(data), ended)
			}
			s.WriteBytes(f[9+2*block.Size+1:])
			if data, ended, _ := r.snapshot(); data != long || !ended {
				t.Errorf("%d bytes, ended %v", len(data), ended)
			}
		})
	})
	t.Run("padding is read, dropped, and given credit for", func(t *testing.T) {
		serverTest(t, &h2conn.Config{StreamWindow: 1000, MaxStreamWindow: 1000}, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			r := s.stream(1)
			r.keep = true
			padded := func(pad int, data string, flags http2.Flags) {
				s.WriteBytes(frame(nil, http2.FrameData, http2.FlagDataPadded|flags, 1, string([]byte{byte(pad)})+data+strings.Repeat("\x00", pad)))
			}
			padded(255, "a", 0)
			padded(0, "b", 0)
			s.WantIdle("less than half the window is free")
			padded(255, "", 0)
			s.WantFrame("all but the data", h2test.WindowUpdate{StreamID: 1, Increment: 3 + 255 + 255})
			padded(10, "c", http2.FlagDataEndStream)
			if data, ended, _ := r.snapshot(); data != "abc" || !ended {
				t.Errorf("%q, ended %v", data, ended)
			}
		})
	})
	t.Run("what is left of a frame is dropped once its stream was reset", func(t *testing.T) {
		serverTest(t, config, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			r := s.stream(1)
			f := frame(nil, http2.FrameData, 0, 1, long)
			s.WriteBytes(f[:9+block.Size])
			synctest.Wait()
			r.st.Reset(http2.ErrCodeCancel)
			s.WantRST("by the owner", 1, http2.ErrCodeCancel)
			s.WriteBytes(f[9+block.Size:])
			s.WritePing(false, [8]byte{1})
			s.WantFrame("the next frame is found", h2test.Ping{Ack: true, Data: [8]byte{1}})
			if data, _, _ := r.snapshot(); len(data) > 2*block.Size {
				t.Errorf("%d bytes were handed on", len(data))
			}
		})
	})
	t.Run("a Receiver keeps blocks", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			cn, sn := memconn.Pipe(nil)
			s, h := h2test.NewClient(t, cn), &keepers{}
			c := h2conn.Server(sn, config, h)
			served := h2test.RunAsync(func() (struct{}, error) { return struct{}{}, c.Serve() })
			defer func() {
				s.AllowWriteErrors = true
				c.Close()
				s.Close()
				served.Result()
			}()
			s.Greet()
			s.WriteHeaders(1, false, post...)
			s.WriteData(1, false, long[:20_000])
			s.WriteData(1, true, long[20_000:])
			synctest.Wait()
			h.got.mu.Lock()
			defer h.got.mu.Unlock()
			got := ""
			for i, p := range h.got.parts {
				if off := h.got.blocks[i].Offset(p); off != 0 {
					t.Errorf("piece %d is at %d of its block", i, off)
				}
				got += string(p)
			}
			if got != long || len(h.got.parts) != 6 || !h.got.ended {
				t.Errorf("%d bytes in %d pieces, ended %v", len(got), len(h.got.parts), h.got.ended)
			}
		})
	})
	t.Run("a frame that comes piece by piece is a sign of life", func(t *testing.T) {
		serverTest(t, &h2conn.Config{MaxFrameSize: 128 << 10, KeepAlive: 10 * time.Second, PingTimeout: 5 * time.Second}, func(t *testing.T, s *server) {
			s.WriteHeaders(1, false, post...)
			s.stream(1)
			f := frame(nil, http2.FrameData, 0, 1, long)
			for len(f) > 0 {
				n := min(len(f), block.Size)
				s.WriteBytes(f[:n])
				f = f[n:]
				time.Sleep(9 * time.Second)
			}
			// The PINGs so far measure, and need no answer in time.
			s.WritePing(false, [8]byte{1})
			s.SkipUntil("it lives", func(f h2test.Frame) bool { return f == h2test.Ping{Ack: true, Data: [8]byte{1}} })
		})
	})
}
