package h3wt

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
)

func TestServerSettings(t *testing.T) {
	bubble(t, "H3-001 H3-002 H3-009 a server announces WebTransport", func(t *testing.T) {
		h, _ := serveRaw(t, nil, nil)
		defer h.stop()
		qc := h.dialQUIC(fullQUIC)
		s := receivedSettings(t, qc)
		if !s.EnableExtendedConnect || !s.EnableDatagrams {
			t.Errorf("settings 0x8 and 0x33 are %v and %v", s.EnableExtendedConnect, s.EnableDatagrams)
		}
		for id, want := range map[uint64]uint64{
			settingEnabled: 1, settingMaxSessions: DefaultMaxSessions, settingDraft07: 1, settingDraft02: 1,
			settingInitialMaxData: pooledWindow, settingInitialMaxStreamsBidi: 100, settingInitialMaxStreamsUni: 100,
		} {
			if got, ok := s.Other[id]; !ok || got != want {
				t.Errorf("setting %#x is %d, %v, want %d", id, got, ok, want)
			}
		}
		state := qc.ConnectionState()
		if !state.SupportsDatagrams.Remote || !state.SupportsStreamResetPartialDelivery.Remote {
			t.Error("a transport parameter is missing")
		}
		qc.CloseWithError(0x100, "")
	})

	for _, missing := range []struct {
		what     string
		conf     *quic.Config
		settings []uint64
	}{
		{"SETTINGS_H3_DATAGRAM", fullQUIC, without(modernSettings, 0x33)},
		{"max_datagram_frame_size", &quic.Config{EnableStreamResetPartialDelivery: true}, without(modernSettings, 0x33)},
		{"reset_stream_at", &quic.Config{EnableDatagrams: true}, modernSettings},
	} {
		bubble(t, "H3-007 the request of a client without "+missing.what+" is malformed", func(t *testing.T) {
			h, accepted := serveRaw(t, nil, nil)
			defer h.stop()
			c := h.rawDial(missing.conf, missing.settings...)
			defer c.close()
			for range 2 {
				c.wantAborted(c.request(connectHeaders(protocolH3)), 0x10e)
			}
			if len(accepted) > 0 {
				t.Error("a session was accepted")
			}
		})
	}

	bubble(t, "H3-007 SETTINGS_H3_DATAGRAM without max_datagram_frame_size", func(t *testing.T) {
		h, _ := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(&quic.Config{EnableStreamResetPartialDelivery: true}, modernSettings...)
		<-c.Conn.Context().Done() // RFC 9297 section 2.1.1: H3_SETTINGS_ERROR
		if e, ok := errors.AsType[*quic.ApplicationError](context.Cause(c.Conn.Context())); !ok || e.ErrorCode != 0x109 {
			t.Errorf("the connection ended with %v", context.Cause(c.Conn.Context()))
		}
	})

	for _, old := range []struct {
		what     string
		settings []uint64
	}{
		{"draft 14", []uint64{0x33, 1, settingMaxSessions, 1}},
		{"draft 07", []uint64{0x33, 1, settingDraft07, 1}},
		{"draft 02", []uint64{0x33, 1, settingDraft02, 1}},
		{"drafts 09 to 12", []uint64{0x33, 1}},
	} {
		bubble(t, "H3-007 H3-009 H3-070 a client of "+old.what+" needs no reset_stream_at", func(t *testing.T) {
			h, accepted := serveRaw(t, nil, nil)
			defer h.stop()
			c := h.rawDial(&quic.Config{EnableDatagrams: true}, old.settings...)
			defer c.close()
			str := c.request(connectHeaders(protocolLegacy))
			c.wantStatus(str, 200)
			s := <-accepted
			// Native streams, and a plain RESET_STREAM.
			u, err := s.OpenUniStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			u.Write([]byte("native"))
			in := c.acceptUni()
			want := append(varints(uniStreamType, 0), "native"...)
			got := make([]byte, len(want))
			if _, err := in.Read(got); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("read %q, %v", got, err)
			}
			u.CancelWrite(7)
			c.wantReset(in, uint64(streamCode(7)))
		})
	}

	bubble(t, "H3-008 no request and no stream is processed before the client's SETTINGS", func(t *testing.T) {
		h, accepted := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC)
		defer c.close()
		str := c.request(connectHeaders(protocolH3))
		c.uniStream(varints(uniStreamType, 0), []byte("early"))
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if len(accepted) > 0 {
			t.Fatal("a session was accepted without SETTINGS")
		}
		c.control(modernSettings...)
		c.wantStatus(str, 200)
		s := <-accepted
		v, err := s.AcceptUniStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if p := make([]byte, 5); mustRead(t, v, p) != "early" {
			t.Fatalf("read %q", p)
		}
	})
	bubble(t, "H3-008 a client that sends no SETTINGS is refused", func(t *testing.T) {
		h, _ := serveRaw(t, &Config{SettingsTimeout: 2 * time.Second}, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC)
		defer c.close()
		start := time.Now()
		c.wantAborted(c.request(connectHeaders(protocolH3)), 0x10e)
		if d := time.Since(start); d < 2*time.Second || d > 2100*time.Millisecond {
			t.Errorf("refused after %v", d)
		}
	})
	bubble(t, "H3-053 a limit on streams above 2^60 in SETTINGS", func(t *testing.T) {
		h, _ := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, append([]uint64{settingInitialMaxStreamsUni, 1<<60 + 1}, modernSettings...)...)
		c.request(connectHeaders(protocolH3))
		c.wantClosed(0x109)
	})
}

// mustRead reads all of p and returns it.
func mustRead(t testing.TB, r interface{ Read([]byte) (int, error) }, p []byte) string {
	t.Helper()
	for n := 0; n < len(p); {
		m, err := r.Read(p[n:])
		n += m
		if err != nil && n < len(p) {
			t.Fatalf("Read: %v", err)
		}
	}
	return string(p)
}

// acceptUni takes the next stream of ours that is not HTTP/3's own.
func (c *rawConn) acceptUni() *quic.ReceiveStream {
	c.Helper()
	for {
		str, err := c.AcceptUniStream(context.Background())
		if err != nil {
			c.Fatal(err)
		}
		var b [1]byte
		if _, err := str.Peek(b[:]); err != nil {
			return str // reset
		}
		if b[0] > 3 {
			return str
		}
	}
}
