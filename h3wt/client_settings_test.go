package h3wt

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/transport"
)

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
