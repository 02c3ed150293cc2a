package h3wt

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/transport"
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

func TestClientSettings(t *testing.T) {
	bubble(t, "H3-002 H3-003 H3-009 a client announces WebTransport", func(t *testing.T) {
		srv := rawListen(t, fullQUIC)
		defer srv.stop()
		cc, c := srv.client(nil, serverSettings...)
		str, err := c.AcceptUniStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if typ := c.readVarint(str); typ != 0 {
			t.Fatalf("stream of type %#x, want the control stream", typ)
		}
		typ, p := c.readFrame(str)
		if typ != 4 {
			t.Fatalf("frame of type %#x, want SETTINGS", typ)
		}
		r, got := bytes.NewReader(p), map[uint64]uint64{}
		for r.Len() > 0 {
			id := c.readVarint(r)
			got[id] = c.readVarint(r)
		}
		for id, want := range map[uint64]uint64{0x33: 1, settingEnabled: 1, settingMaxSessions: DefaultMaxSessions, settingDraft07: 1, settingDraft02: 1} {
			if got[id] != want {
				t.Errorf("setting %#x is %d, want %d", id, got[id], want)
			}
		}
		state := c.ConnectionState()
		if !state.SupportsDatagrams.Remote || !state.SupportsStreamResetPartialDelivery.Remote {
			t.Error("a transport parameter is missing")
		}
		cc.Close()
	})

	bubble(t, "H3-004 SETTINGS_WT_ENABLED of 2", func(t *testing.T) {
		srv := rawListen(t, fullQUIC)
		defer srv.stop()
		client, c := srv.connect(nil)
		c.control(0x8, 1, 0x33, 1, settingEnabled, 2)
		_, err := NewClientConn(context.Background(), client, nil)
		if _, ok := errors.AsType[*transport.ProtocolError](err); !ok || !errors.Is(err, transport.ErrNotWebTransport) {
			t.Errorf("NewClientConn: %v", err)
		}
		c.wantClosed(0x109)
	})

	for _, missing := range []struct {
		what     string
		conf     *quic.Config
		settings []uint64
	}{
		{"WT_ENABLED", fullQUIC, without(serverSettings, settingEnabled)},
		{"WT_ENABLED above 0", fullQUIC, append([]uint64{settingEnabled, 0}, without(serverSettings, settingEnabled)...)},
		{"SETTINGS_ENABLE_CONNECT_PROTOCOL", fullQUIC, without(serverSettings, 0x8)},
		{"SETTINGS_H3_DATAGRAM", fullQUIC, without(serverSettings, 0x33)},
		{"max_datagram_frame_size", &quic.Config{EnableStreamResetPartialDelivery: true}, without(serverSettings, 0x33)},
		{"reset_stream_at", &quic.Config{EnableDatagrams: true}, serverSettings},
	} {
		bubble(t, "H3-005 H3-006 FW-05 a server without "+missing.what, func(t *testing.T) {
			srv := rawListen(t, missing.conf)
			defer srv.stop()
			client, c := srv.connect(nil)
			c.control(missing.settings...)
			if _, err := NewClientConn(context.Background(), client, nil); !errors.Is(err, transport.ErrNotWebTransport) {
				t.Errorf("NewClientConn: %v, want ErrNotWebTransport", err)
			}
			if str, err := c.AcceptStream(context.Background()); err == nil {
				t.Errorf("the client opened stream %d", str.StreamID())
			}
			c.wantClosed(codeRequirementsNotMet)
		})
	}

	bubble(t, "H3-005 H3-033 nothing is requested before the server's SETTINGS", func(t *testing.T) {
		srv := rawListen(t, fullQUIC)
		defer srv.stop()
		client, c := srv.connect(nil)
		made := make(chan *ClientConn, 1)
		go func() {
			cc, err := NewClientConn(context.Background(), client, nil)
			if err != nil {
				t.Error(err)
			}
			made <- cc
		}()
		time.Sleep(10 * time.Second)
		select {
		case <-made:
			t.Fatal("NewClientConn returned without SETTINGS")
		default:
		}
		c.control(serverSettings...)
		cc := <-made
		done := dialing(cc, nil)
		c.answer(first(c.acceptRequest()))
		if d := <-done; d.err != nil {
			t.Errorf("Dial: %v", d.err)
		}
		cc.Close()
	})
	bubble(t, "H3-005 waiting for SETTINGS ends with the context", func(t *testing.T) {
		srv := rawListen(t, fullQUIC)
		defer srv.stop()
		client, _ := srv.connect(nil)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := NewClientConn(ctx, client, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("NewClientConn: %v", err)
		}
	})

	for _, v := range []struct {
		what, token string
		settings    []uint64
	}{
		{"drafts 15 and 16 before all others", protocolH3, append([]uint64{settingMaxSessions, 1, settingDraft07, 1, settingDraft02, 1}, serverSettings...)},
		{"draft 14", protocolLegacy, []uint64{0x8, 1, 0x33, 1, settingMaxSessions, 1}},
		{"draft 07", protocolLegacy, []uint64{0x8, 1, 0x33, 1, settingDraft07, 1}},
		{"draft 06", protocolLegacy, []uint64{0x8, 1, 0x33, 1, settingDraft02, 1}},
	} {
		bubble(t, "H3-009 H3-010 the highest version in common: "+v.what, func(t *testing.T) {
			srv := rawListen(t, fullQUIC)
			defer srv.stop()
			cc, c := srv.client(nil, v.settings...)
			done := dialing(cc, nil)
			str, block := c.acceptRequest()
			if !bytes.Contains(block, huffman[v.token]) && !bytes.Contains(block, []byte(v.token)) {
				t.Errorf("the request %x does not have the token %s", block, v.token)
			}
			c.answer(str)
			if d := <-done; d.err != nil {
				t.Errorf("Dial: %v", d.err)
			}
			cc.Close()
		})
	}
}

// huffman are the tokens as QPACK's Huffman code writes them, with the length.
var huffman = map[string][]byte{
	protocolH3:     {0x8b, 0xf0, 0x58, 0xd3, 0x60, 0xea, 0x45, 0x67, 0xb1, 0x2b, 0x4e, 0xcf},
	protocolLegacy: {0x89, 0xf0, 0x58, 0xd3, 0x60, 0xea, 0x45, 0x67, 0xb1, 0x3f},
}

func first(str *quic.Stream, _ []byte) *quic.Stream { return str }

func TestEarlyData(t *testing.T) {
	// 0-RTT is not used: nothing can be replayed, and there are no remembered
	// settings to keep to.
	bubble(t, "H3-015 H3-016 H3-017 FW-09 resumption uses no 0-RTT", func(t *testing.T) {
		handler, accepted := sessions(t, nil)
		h := serve(t, simulated(t), &Server{Handler: handler, QUICConfig: &quic.Config{Allow0RTT: true}})
		defer h.stop()
		conf := h.cert.ClientConfig("example.com", "h3")
		conf.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		var cfg *Config
		for i := range 2 {
			// DialEarly would send 0-RTT if the ticket allowed it.
			qc, err := h.tr.DialEarly(context.Background(), h.addr, conf, cfg.QUIC(nil))
			if err != nil {
				t.Fatal(err)
			}
			cc, err := NewClientConn(context.Background(), qc, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := cc.Dial(context.Background(), testURL, nil); err != nil {
				t.Fatal(err)
			}
			s := <-accepted
			state := qc.ConnectionState()
			if state.Used0RTT {
				t.Error("0-RTT was used")
			}
			if resumed := i == 1; state.TLS.DidResume != resumed || s.Info().TLS.DidResume != resumed {
				t.Errorf("connection %d: resumed %v", i, state.TLS.DidResume)
			}
			time.Sleep(time.Second) // for the ticket
			cc.Close()
		}
	})
}

func TestRequestFields(t *testing.T) {
	bubble(t, "H3-010 FW-06 what the CONNECT request carries", func(t *testing.T) {
		got := make(chan *http.Request, 1)
		h := serve(t, simulated(t), &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got <- r
			Upgrade(w, r, &transport.UpgradeOptions{Origins: []string{"*"}})
		})})
		defer h.stop()
		cc := h.client(nil)
		defer cc.Close()
		_, err := cc.Dial(context.Background(), "https://EXAMPLE.com:8443//a%20b?q=1 2", &transport.DialOptions{
			Origin: "https://origin.example",
			Header: http.Header{"x-extra": {"1", "2"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		r := <-got
		if r.Method != http.MethodConnect || r.Proto != protocolH3 || r.Host != "example.com:8443" || r.RequestURI != "//a%20b?q=1%202" {
			t.Errorf("%s %s %s %s", r.Method, r.Proto, r.Host, r.RequestURI)
		}
		if r.Header.Get("Origin") != "https://origin.example" || len(r.Header["X-Extra"]) != 2 || r.Header[":protocol"][0] != protocolH3 {
			t.Errorf("header %v", r.Header)
		}
		if _, ok := r.Header["User-Agent"]; ok {
			t.Errorf("a User-Agent was made up: %v", r.Header)
		}
	})
	bubble(t, "H3-010 :scheme is https", func(t *testing.T) {
		srv := rawListen(t, fullQUIC)
		defer srv.stop()
		cc, c := srv.client(nil, serverSettings...)
		done := dialing(cc, nil)
		str, block := c.acceptRequest()
		// ":scheme: https" is entry 23 of QPACK's static table.
		if !bytes.Contains(block, []byte{0xc0 | 23}) {
			t.Errorf("the request %x has no :scheme https", block)
		}
		c.answer(str)
		<-done
		cc.Close()
	})
	t.Run("FW-07 only https URLs", func(t *testing.T) {
		c := &ClientConn{}
		for _, u := range []string{"http://example.com/", "wss://example.com/", "https://", "https://u@example.com/", "https://example.com/#f"} {
			if _, err := c.Dial(context.Background(), u, nil); err == nil {
				t.Errorf("Dial %s succeeded", u)
			}
		}
	})
	t.Run("header fields that are the protocol's", func(t *testing.T) {
		c := &ClientConn{}
		for _, name := range []string{"Origin", "WT-Available-Protocols", "Content-Length", "Connection"} {
			if _, err := c.Dial(context.Background(), testURL, &transport.DialOptions{Header: http.Header{name: {"x"}}}); err == nil {
				t.Errorf("Dial with %s succeeded", name)
			}
		}
	})
}
