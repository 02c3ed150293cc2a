package h2test_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/internal/memconn"
)

// TestPeer documents the harness: two peers talk to each other.
func TestPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cn, sn := memconn.Pipe(nil)
		c, s := h2test.NewClient(t, cn), h2test.NewServer(t, sn)
		s.AnswerPings = true
		c.Preface(http2.Setting{ID: http2.SettingEnablePush, Val: 0})
		s.Preface()
		s.WantFrame("client's SETTINGS", h2test.Settings{Settings: []http2.Setting{{ID: http2.SettingEnablePush}}})
		c.WantFrame("server's SETTINGS", h2test.Settings{})

		c.WriteHeaders(1, false, ":method", "GET", "cookie", "a")
		h := s.WantHeaders("the request", 1)
		if h.Value(":method") != "GET" || h.EndStream || h.Frames != 1 {
			t.Errorf("got %v", h)
		}
		block := c.Encode("x", "1", "y", "2")
		c.WriteHeadersFrame(http2.HeadersFrameParam{StreamID: 3, BlockFragment: block[:1]})
		s.WantIdle("the block is incomplete")
		c.WriteContinuation(3, true, block[1:])
		if h := s.WantHeaders("assembled", 3); h.Frames != 2 || h.Value("y") != "2" {
			t.Errorf("got %v", h)
		}
		c.WriteDataPadded(1, true, "hi", 3)
		s.WantFrame("padding is counted", h2test.Data{StreamID: 1, EndStream: true, Data: "hi", Padding: 4})
		c.WriteData(3, false, "x")
		s.WantData("plain", 3, false, "x")
		s.WriteRST(3, http2.ErrCodeCancel)
		c.WantRST("reset", 3, http2.ErrCodeCancel)
		c.WritePing(false, [8]byte{1})
		c.WantFrame("answered by itself", h2test.Ping{Ack: true, Data: [8]byte{1}})
		c.WriteRawFrame(0xfe, 0x1, 7, []byte("?"))
		s.WantFrame("any frame", h2test.Unknown{Type: 0xfe, Flags: 1, StreamID: 7, Payload: "?"})
		c.WriteWindowUpdate(0, 5)
		c.WriteGoAway(0, http2.ErrCodeNo)
		s.SkipUntil("not the update", func(f h2test.Frame) bool { _, ok := f.(h2test.GoAway); return ok })

		r := h2test.RunAsync(func() (int, error) {
			time.Sleep(time.Second)
			return 7, errors.New("seven")
		})
		if r.Done() {
			t.Error("done at once")
		}
		if v, err := r.Result(); v != 7 || err == nil {
			t.Error(v, err)
		}
		c.Close()
		s.WantClosed("client closed")
		s.Close()
	})
}
