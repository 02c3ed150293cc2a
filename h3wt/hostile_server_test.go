package h3wt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/transport"
)

// A server may be hostile to our client as well.
func TestHostileServer(t *testing.T) {
	onClient := func(t *testing.T, cfg *Config, script func(t *testing.T, cc *ClientConn, c *rawConn, s transport.Session, str *quic.Stream)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			defer time.Sleep(time.Second)
			srv := rawListen(t, fullQUIC)
			defer srv.stop()
			cc, c := srv.client(cfg, pooledServerSettings...)
			defer cc.Close()
			s, str := c.established(cc, nil)
			script(t, cc, c, s, str)
		})
	}
	t.Run("DS-17 PADDING capsules", func(t *testing.T) {
		var m *hostile.Meter
		var reached error
		onClient(t, nil, func(t *testing.T, cc *ClientConn, c *rawConn, s transport.Session, str *quic.Stream) {
			m = hostile.Start(t, hostile.Attack{
				Name: "a server's PADDING capsules", Victim: "h3", Reaction: "the session ends with H3_GENERAL_PROTOCOL_ERROR",
				Limit: transport.LimitCapsules, Bytes: processNoise, Goroutines: goroutineNoise,
			})
			go io.Copy(io.Discard, str)
			(&victim{t, nil, c, str, s}).flood(varints(0x190b4d38, 0), 20_000)
			m.Sample()
			wantLimit(t, s, transport.LimitCapsules)
			reached = context.Cause(s.Context())
		})
		m.End(reached)
	})
	t.Run("DS-01 H3-068 streams without a header, and for other sessions", func(t *testing.T) {
		var m *hostile.Meter
		var reached error
		onClient(t, nil, func(t *testing.T, cc *ClientConn, c *rawConn, s transport.Session, str *quic.Stream) {
			m = hostile.Start(t, hostile.Attack{
				Name: "a server's streams for nothing", Victim: "h3", Reaction: "the connection is closed with H3_EXCESSIVE_LOAD",
				Limit: transport.LimitStreamResets, Bytes: processNoise + 2*(2*transport.DefaultMaxIncomingStreams+criticalStreams)*streamCost,
				Goroutines: goroutineNoise,
			})
			for i := range 5000 {
				if i == floodBound-1 {
					m.Sample()
				}
				u, err := c.OpenUniStreamSync(context.Background())
				if err != nil {
					break
				}
				if i%2 == 0 {
					u.Write(varints(uniStreamType, 4000))
				}
				u.CancelWrite(1)
			}
			c.wantClosed(0x107)
			wantLimit(t, s, transport.LimitStreamResets)
			reached = context.Cause(s.Context())
		})
		m.End(reached)
	})
	for _, a := range []struct {
		name, attack string
		answer       []byte
	}{
		{"DS-12 an answer's header of endless length", "an answer whose header is endless", varints(1, 1<<61)},
		{"DS-12 an answer's header of many fields", "header bomb in an answer", h3frame(1, append([]byte{0, 0, 0xc0 | 25}, bytes.Repeat([]byte{0xc0 | 46}, DefaultMaxHeaderBytes-100)...))},
		{"DS-03 interim answers without end", "interim answers without end", bytes.Repeat(headersFrame(":status", "103"), 1000)},
		{"DS-14 no answer at all", "an answer that never comes", []byte{0x40}},
	} {
		t.Run(a.name, func(t *testing.T) {
			var m *hostile.Meter
			onClient(t, nil, func(t *testing.T, cc *ClientConn, c *rawConn, s transport.Session, str *quic.Stream) {
				m = hostile.Start(t, hostile.Attack{
					Name: a.attack, Victim: "h3", Reaction: "Dial fails, at the latest with its context",
					Bytes: processNoise + 3*DefaultMaxHeaderBytes, Goroutines: goroutineNoise,
				})
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				done := make(chan error, 1)
				go func() {
					_, err := cc.Dial(ctx, testURL, nil)
					done <- err
				}()
				request, _ := c.acceptRequest()
				request.Write(a.answer)
				time.Sleep(time.Second)
				m.Sample()
				err := <-done
				if err == nil {
					t.Error("Dial succeeded")
				}
				if len(a.answer) == 1 && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Dial: %v", err)
				}
				if s.Context().Err() != nil {
					t.Errorf("the other session ended: %v", context.Cause(s.Context()))
				}
			})
			m.End(nil)
		})
	}
	t.Run("DS-10 a refusal whose body never ends", func(t *testing.T) {
		var m *hostile.Meter
		onClient(t, nil, func(t *testing.T, cc *ClientConn, c *rawConn, s transport.Session, str *quic.Stream) {
			m = hostile.Start(t, hostile.Attack{
				Name: "a refusal whose body never ends", Victim: "h3", Reaction: "4 KiB of it are kept, for a second",
				Bytes: processNoise + maxRejectedBody + 2*transport.DefaultInitialStreamWindow, Goroutines: goroutineNoise,
			})
			done := dialing(cc, nil)
			request, _ := c.acceptRequest()
			c.answer(request, ":status", "403")
			go func() {
				for {
					if _, err := request.Write(dataFrame(make([]byte, 1000))); err != nil {
						return
					}
				}
			}()
			d := <-done
			m.Sample()
			if e, ok := errors.AsType[*transport.RejectedError](d.err); !ok || e.StatusCode != http.StatusForbidden || len(e.Body) != maxRejectedBody {
				t.Errorf("Dial: %v", d.err)
			}
		})
		m.End(nil)
	})
}
