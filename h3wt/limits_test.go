package h3wt

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

func TestLimits(t *testing.T) {
	bubble(t, "H3-044 H3-045 H3-048 without flow control a second session is refused before any answer", func(t *testing.T) {
		h, accepted := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		str := c.accepted()
		second := c.request(connectHeaders(protocolH3))
		if b, _ := io.ReadAll(second); len(b) > 0 {
			t.Errorf("an answer came before the refusal: %x", b)
		}
		c.wantAborted(second, 0x10b)
		// When the first has ended, the next may come.
		(<-accepted).CloseWithError(0, "")
		c.wantCapsule(str, capsule.CloseSession{})
		c.accepted()
	})
	bubble(t, "H3-042 H3-045 the limit on sessions with flow control", func(t *testing.T) {
		h, _ := serveRaw(t, &Config{MaxSessions: 3}, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, pooledSettings...)
		defer c.close()
		for range 3 {
			c.accepted()
		}
		c.wantAborted(c.request(connectHeaders(protocolH3)), 0x10b)
		c.wantOpen()
	})
	bubble(t, "H3-047 the rate of sessions", func(t *testing.T) {
		h, _ := serveRaw(t, &Config{SessionRate: 2}, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		for range 4 { // the burst
			str := c.accepted()
			c.capsules(str, capsule.CloseSession{})
			str.Close()
			time.Sleep(20 * time.Millisecond)
		}
		c.wantStatus(c.request(connectHeaders(protocolH3)), 429)
		time.Sleep(time.Second)
		c.accepted()
	})
	bubble(t, "H3-044 H3-067 a client keeps to the limits on sessions", func(t *testing.T) {
		srv := rawListen(t, fullQUIC)
		defer srv.stop()
		cc, c := srv.client(nil, serverSettings...)
		s, str := c.established(cc, nil)
		if cc.CanTakeNewSession() {
			t.Error("CanTakeNewSession without flow control beside a session")
		}
		_, err := cc.Dial(context.Background(), testURL, nil)
		if _, ok := errors.AsType[*transport.NotProcessedError](err); !ok {
			t.Errorf("Dial: %v", err)
		}
		go s.CloseWithError(0, "")
		c.wantCapsule(str, capsule.CloseSession{})
		c.established(cc, nil)
		cc.Close()
	})
	bubble(t, "H3-067 MaxSessions of a client", func(t *testing.T) {
		srv := rawListen(t, fullQUIC)
		defer srv.stop()
		cc, c := srv.client(&Config{MaxSessions: 2}, pooledServerSettings...)
		for range 2 {
			if !cc.CanTakeNewSession() {
				t.Error("no room below the limit")
			}
			c.established(cc, nil)
		}
		if _, err := cc.Dial(context.Background(), testURL, nil); cc.CanTakeNewSession() || err == nil {
			t.Errorf("Dial: %v", err)
		}
		cc.Close()
	})
	bubble(t, "H3_REQUEST_REJECTED says that nothing was processed", func(t *testing.T) {
		srv := rawListen(t, fullQUIC)
		defer srv.stop()
		cc, c := srv.client(nil, serverSettings...)
		done := dialing(cc, nil)
		str, _ := c.acceptRequest()
		str.CancelRead(0x10b)
		str.CancelWrite(0x10b)
		if _, ok := errors.AsType[*transport.NotProcessedError]((<-done).err); !ok {
			t.Error("Dial does not say so")
		}
		// Another code does not promise that.
		done = dialing(cc, nil)
		str, _ = c.acceptRequest()
		str.CancelWrite(0x102)
		if e, ok := errors.AsType[*transport.ResetError]((<-done).err); !ok || e.Name != "H3_INTERNAL_ERROR" || e.Connection {
			t.Errorf("Dial: %v", e)
		}
		// Dial ends with its context, and its request with it.
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := cc.Dial(ctx, testURL, nil)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial: %v", err)
		}
		str, err = c.AcceptStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		c.wantStopped(str, 0x10c)
		if !cc.CanTakeNewSession() {
			t.Error("a Dial that failed holds a place")
		}
		cc.Close()
	})
	for _, answer := range []struct {
		name   string
		fields []string
	}{
		{"H3-013 204", []string{":status", "204"}},
		{"H3-013 206", []string{":status", "206"}},
		{"H3-065 content-length", []string{":status", "200", "content-length", "3"}},
		{"H3-065 content-type", []string{":status", "200", "content-type", "text/plain"}},
	} {
		bubble(t, answer.name+" does not accept", func(t *testing.T) {
			srv := rawListen(t, fullQUIC)
			defer srv.stop()
			cc, c := srv.client(nil, serverSettings...)
			done := dialing(cc, nil)
			str, _ := c.acceptRequest()
			c.answer(str, answer.fields...)
			if e, ok := errors.AsType[*transport.ProtocolError]((<-done).err); !ok || e.Violation != transport.ViolationMalformed {
				t.Errorf("Dial: %v", e)
			}
			c.wantStopped(str, 0x10c)
			cc.Close()
		})
	}
	for _, answer := range []struct {
		name, field string
	}{
		{"H3-021 a protocol that was not offered", `"c"`},
		{"H3-022 no protocol where one is required", ""},
		{"H3-022 a malformed one where one is required", `c`},
	} {
		bubble(t, answer.name+" ends the session with WT_ALPN_ERROR", func(t *testing.T) {
			srv := rawListen(t, fullQUIC)
			defer srv.stop()
			cc, c := srv.client(nil, serverSettings...)
			done := dialing(cc, &transport.DialOptions{Protocols: []string{"a"}, RequireProtocol: true})
			str, _ := c.acceptRequest()
			fields := []string{":status", "200"}
			if answer.field != "" {
				fields = append(fields, "wt-protocol", answer.field)
			}
			c.answer(str, fields...)
			if e, ok := errors.AsType[*transport.ProtocolError]((<-done).err); !ok || e.Violation != transport.ViolationALPN {
				t.Errorf("Dial: %v", e)
			}
			c.wantCapsule(str, capsule.CloseSession{ErrorCode: codeALPN})
			c.wantEnd(str)
			str.Close()
			synctest.Wait()
			if !cc.CanTakeNewSession() {
				t.Error("the failed session holds a place")
			}
			cc.Close()
		})
	}
	bubble(t, "H3-019 a malformed WT-Protocol counts as absent", func(t *testing.T) {
		srv := rawListen(t, fullQUIC)
		defer srv.stop()
		cc, c := srv.client(nil, serverSettings...)
		done := dialing(cc, &transport.DialOptions{Protocols: []string{"a"}})
		str, _ := c.acceptRequest()
		c.answer(str, ":status", "200", "wt-protocol", "a")
		if d := <-done; d.err != nil || d.s.Info().ApplicationProtocol != "" {
			t.Errorf("Dial: %v", d.err)
		}
		cc.Close()
	})
}
