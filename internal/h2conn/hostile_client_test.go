package h2conn_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/transport"
)

const okBlock = "\x88" // :status 200

// TestHostileServer has a server attack the client of a connection, which has a
// request open on stream 1.
func TestHostileServer(t *testing.T) {
	onStream1 := func(typ http2.FrameType, flags http2.Flags, payload string) func([]byte, int) []byte {
		return always(frame(nil, typ, flags, 1, payload))
	}
	onConn := func(typ http2.FrameType, flags http2.Flags, payload string) func([]byte, int) []byte {
		return always(frame(nil, typ, flags, 0, payload))
	}
	smallBudget, noBudget := h2conn.Config{Glitches: small}, &h2conn.Config{Glitches: free, Resets: free}
	for _, a := range []struct {
		id, name string
		code     http2.ErrCode
		limit    transport.Limit
		cfg      h2conn.Config
		first    []byte
		frames   func(b []byte, i int) []byte
		free     *h2conn.Config
	}{
		{id: "DS-11", name: "interim responses without end", limit: transport.LimitFrames, cfg: smallBudget,
			frames: onStream1(http2.FrameHeaders, endHeaders, "\x08\x03103"), free: noBudget},
		{id: "DS-05", name: "PING flood by a server", limit: transport.LimitFrames, cfg: smallBudget,
			frames: onConn(http2.FramePing, 0, "12345678"), free: noBudget},
		{id: "DS-08", name: "SETTINGS flood by a server", limit: transport.LimitFrames, cfg: smallBudget,
			frames: onConn(http2.FrameSettings, 0, ""), free: noBudget},
		{id: "DS-04", name: "WINDOW_UPDATE flood by a server", limit: transport.LimitFrames, cfg: smallBudget,
			frames: onStream1(http2.FrameWindowUpdate, 0, number(1)), free: noBudget},
		{id: "DS-11", name: "GOAWAY flood by a server", limit: transport.LimitFrames, cfg: smallBudget,
			frames: onConn(http2.FrameGoAway, 0, number(1)+number(0)), free: noBudget},
		{id: "DS-11", name: "empty DATA flood by a server", limit: transport.LimitFrames, cfg: smallBudget,
			first:  frame(nil, http2.FrameHeaders, endHeaders, 1, okBlock),
			frames: onStream1(http2.FrameData, 0, ""), free: noBudget},
		{id: "DS-11", name: "flood of frames of an unknown type by a server", limit: transport.LimitFrames, cfg: smallBudget,
			frames: onConn(0xf0, 0, "12345678"), free: noBudget},
		{id: "DS-03 BP-023", name: "CONTINUATION flood by a server", limit: transport.LimitHeaderSize,
			first:  frame(nil, http2.FrameHeaders, 0, 1, ""),
			frames: onStream1(http2.FrameContinuation, 0, "\x00\x01a\x01b"),
			free:   &h2conn.Config{MaxContinuations: 1 << 30, MaxHeaderListSize: 16 << 20}},
		{id: "BP-011", name: "pushed streams", code: http2.ErrCodeProtocol,
			frames: onStream1(http2.FramePushPromise, http2.FlagPushPromiseEndHeaders, number(2)+getBlock)},
		{id: "DS-13 BP-019", name: "data beyond the connection's window by a server", code: http2.ErrCodeFlowControl, limit: transport.LimitFlowControl,
			cfg:    h2conn.Config{ReceiveBuffer: 16384, ConnWindow: 65535, MaxConnWindow: 65535, StreamWindow: 1 << 20},
			first:  frame(nil, http2.FrameHeaders, endHeaders, 1, okBlock),
			frames: onStream1(http2.FrameData, 0, strings.Repeat("x", 16384))},
		{id: "DS-13 BP-018", name: "window overflow by a server", code: http2.ErrCodeFlowControl, limit: transport.LimitFlowControl,
			frames: onConn(http2.FrameWindowUpdate, 0, number(1<<31-1))},
	} {
		t.Run(a.id+" "+a.name, func(t *testing.T) {
			reaction := calm
			if a.code == 0 {
				a.code = http2.ErrCodeEnhanceYourCalm
			} else {
				reaction = "connection ended with " + a.code.String()
			}
			m := hostile.Start(t, hostile.Attack{Name: a.name, Victim: "h2", Reaction: reaction, Limit: a.limit,
				Bytes: boundBytes, Goroutines: boundGoroutines})
			attack := func(t *testing.T, cfg *h2conn.Config, steps int, sample bool) error {
				c := newClient(t, cfg)
				defer c.stop()
				c.Greet()
				r := c.open(get, true)
				r.keep = true
				c.Discard()
				c.AllowWriteErrors = true
				c.WriteBytes(a.first)
				var b []byte
				for i := 0; i < steps && c.c.Err() == nil; i++ {
					b = a.frames(b[:0], i)
					c.WriteBytes(b)
					synctest.Wait()
					if sample && i&(i-1) == 0 {
						m.Sample()
					}
				}
				if sample {
					m.Sample()
					_, _, reset := r.snapshot()
					if reset == nil {
						t.Error("the request's owner was not told")
					} else {
						wantLimit(t, reset, a.limit)
					}
				}
				return c.c.Err()
			}
			var end error
			synctest.Test(t, func(t *testing.T) { end = attack(t, &a.cfg, 100_000, true) })
			var ce *h2conn.ConnError
			if !errors.As(end, &ce) || ce.Code != a.code {
				t.Fatalf("ended with %v, want %v", end, a.code)
			}
			if a.free != nil {
				m.Cost(2000, func(n int) {
					synctest.Test(t, func(t *testing.T) {
						if err := attack(t, a.free, n, false); err != nil {
							t.Fatalf("ended, although nothing stops it: %v", err)
						}
					})
				})
			}
			m.End(end)
		})
	}
	for _, tt := range []struct{ id, name, block string }{
		{"DS-12 BP-023", "HPACK bomb in a response", okBlock + "\x40\x01a\x7f\xa1\x1e" + strings.Repeat("x", 4000) + strings.Repeat("\xbe", 12000)},
		{"DS-12 DS-09 BP-023", "response of many fields", okBlock + strings.Repeat("\x8f", 16000)},
	} {
		t.Run(tt.id+" "+tt.name, func(t *testing.T) {
			m := hostile.Start(t, hostile.Attack{Name: tt.name, Victim: "h2", Reaction: "stream reset with ENHANCE_YOUR_CALM", Limit: transport.LimitHeaderSize,
				Bytes: boundBytes, Goroutines: boundGoroutines})
			var end error
			synctest.Test(t, func(t *testing.T) {
				c := newClient(t, nil)
				defer c.stop()
				c.Greet()
				r := c.open(get, true)
				c.WriteBytes(frame(nil, http2.FrameHeaders, endHeaders, 1, tt.block))
				c.WantRST("too large", 1, http2.ErrCodeEnhanceYourCalm)
				m.Sample()
				_, _, reset := r.snapshot()
				end = reset
				if err := c.c.Err(); err != nil {
					t.Errorf("the connection ended: %v", err)
				}
				c.open(get, true)
			})
			m.End(end)
		})
	}
}
