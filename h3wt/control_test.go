package h3wt

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// A blocked CONNECT stream: the peer gives no credit for capsules. Beyond it
// quic-go keeps a packet's worth.
func TestBlockedControl(t *testing.T) {
	const (
		window = 4 << 10
		rounds = 300 // of half a window, each of which moves the window: more capsules than a packet holds
	)
	blocked := func(name string, test func(t *testing.T, c *rawConn, str *quic.Stream, s transport.Session)) {
		bubble(t, name, func(t *testing.T) {
			h, accepted := serveRaw(t, &Config{Session: &transport.Config{InitialSessionWindow: window, MaxSessionWindow: window}}, nil)
			defer h.stop()
			conf := fullQUIC.Clone()
			conf.InitialStreamReceiveWindow, conf.MaxStreamReceiveWindow = 100, 100
			c := h.rawDial(conf, pooledSettings...)
			defer c.close()
			// The answer stays unread. Meanwhile the window moves on.
			str := c.request(connectHeaders(protocolH3))
			s := <-accepted
			for range rounds {
				c.uniStream(varints(uniStreamType, 0), make([]byte, window/2)).Close()
				v, err := s.AcceptUniStream(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, v)
			}
			synctest.Wait()
			test(t, c, str, s)
		})
	}
	blocked("limits that wait for credit are sent once, with their last value", func(t *testing.T, c *rawConn, str *quic.Stream, s transport.Session) {
		c.wantStatus(str, 200)
		go func() {
			time.Sleep(time.Second)
			s.Drain() // the last capsule
		}()
		var last uint64
		count := 0
		var d capsule.Decoder
		for drained := false; !drained; {
			_, p := c.readFrame(str)
			if err := d.Feed(p, limits(func(one capsule.Capsule) {
				switch one := one.(type) {
				case capsule.MaxData:
					last = one.MaximumData
				case capsule.DrainSession:
					drained = true
				}
				count++
			})); err != nil {
				t.Fatal(err)
			}
		}
		if want := uint64(rounds*window/2 + window/2); last < want {
			t.Errorf("the last limit is %d, want at least %d", last, want)
		}
		// 1452 bytes of capsules, and one of each kind.
		if count > 1452/7+5 {
			t.Errorf("%d capsules were sent", count)
		}
	})
	blocked("a close that cannot be sent is given up, and said so", func(t *testing.T, c *rawConn, str *quic.Stream, s transport.Session) {
		start := time.Now()
		err := s.CloseWithError(1, strings.Repeat("x", 1024))
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("CloseWithError: %v", err)
		}
		if d := time.Since(start); d != transport.DefaultCloseTimeout {
			t.Errorf("CloseWithError took %v", d)
		}
		c.wantReset(str, codeSessionGone)
		wantSessionEnd(t, s, transport.SessionError{Code: 1, Reason: strings.Repeat("x", 1024)})
	})
}
