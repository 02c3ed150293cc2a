package h3wt

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// glitches is the burst of the bucket that empty frames are counted in.
const glitches = 1000

func TestEmptyFrames(t *testing.T) {
	bubble(t, "DS-11 empty DATA frames without end", func(t *testing.T) {
		h, accepted := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		str := c.accepted()
		s := <-accepted
		str.Write(bytes.Repeat(dataFrame(nil), glitches-10))
		time.Sleep(time.Second)
		if s.Context().Err() != nil {
			t.Fatal("the session ended below the limit")
		}
		str.Write(bytes.Repeat(dataFrame(nil), 2*glitches))
		time.Sleep(time.Second)
		if s.Context().Err() == nil {
			t.Fatal("the session goes on beyond the limit")
		}
		wantViolation(t, s, transport.ViolationGeneric)
		wantLimit(t, s, transport.LimitCapsules)
		c.wantOpen()
	})
}

func TestSmallCredit(t *testing.T) {
	bubble(t, "H3-055 H3-056 a stream that nobody reads leaves the rest of the session's window to others", func(t *testing.T) {
		const window = 64 << 10
		handler, accepted := sessions(t, nil)
		limits := &transport.Config{InitialSessionWindow: window, MaxSessionWindow: window}
		h := serve(t, simulated(t), &Server{Handler: handler, Config: &Config{Session: limits}})
		defer h.stop()
		cc := h.client(nil)
		defer cc.Close()
		s, err := cc.Dial(context.Background(), testURL, nil)
		if err != nil {
			t.Fatal(err)
		}
		served := <-accepted
		open := func() (transport.SendStream, transport.ReceiveStream) {
			u, err := s.OpenUniStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			u.SetWriteDeadline(time.Now().Add(time.Minute))
			u.Write([]byte{0})
			v, err := served.AcceptUniStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			return u, v
		}
		// All but 4,000 bytes stand unread, and that is less than what a
		// window announces by itself.
		unread, _ := open()
		if _, err := unread.Write(make([]byte, window-4000)); err != nil {
			t.Fatal(err)
		}
		u, v := open()
		const total = 10 * window
		go func() {
			u.Write(make([]byte, total))
			u.Close()
		}()
		if n, err := io.Copy(io.Discard, v); n != total+1 || err != nil {
			t.Fatalf("%d bytes, %v, want %d", n, err, total+1)
		}
	})
}
