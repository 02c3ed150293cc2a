package h2wt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/internal/handshake"
	"github.com/towpath-go/towpath/internal/session"
	"github.com/towpath-go/towpath/transport"
)

// initial are SETTINGS with a value of its own for each limit.
func initial(data, uni, local, remote, streamsUni, streamsBidi uint32) []http2.Setting {
	return []http2.Setting{
		{ID: 0x2b61, Val: data}, {ID: 0x2b62, Val: uni}, {ID: 0x2b63, Val: local}, {ID: 0x2b66, Val: remote},
		{ID: 0x2b64, Val: streamsUni}, {ID: 0x2b65, Val: streamsBidi},
	}
}

// flood writes to a stream until its session ends.
func flood(w transport.SendStream) { _, _ = w.Write(make([]byte, 1<<20)) }

func TestSendLimits(t *testing.T) {
	// Which of the peer's limits holds for what we send on which stream.
	type limits struct{ uni, bidiOwn, bidiPeer int }
	check := func(t *testing.T, client bool, c *capsulePeer, s transport.Session, want limits) {
		t.Helper()
		own, peer := uint64(0), uint64(1)
		if !client {
			own, peer = 1, 0
		}
		c.data(peer, false, 1) // the peer opens a bidirectional stream
		accepted, err := s.AcceptStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		opened, err := s.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		uni, err := s.OpenUniStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range []transport.SendStream{accepted, opened, uni} {
			go flood(w)
		}
		c.read()
		for id, n := range map[uint64]int{own + 2: want.uni, own: want.bidiOwn, peer: want.bidiPeer} {
			if c.sent[id] != n {
				t.Errorf("%d bytes on stream %d, want %d", c.sent[id], id, n)
			}
		}
	}
	for _, tt := range []struct {
		name string
		init string
		want limits
	}{
		{"H2-078 H2-071 H2-140 SETTINGS alone", "-", limits{uni: 100, bidiOwn: 300, bidiPeer: 200}},
		{"H2-074 header larger", "u=101, bl=201, br=301", limits{uni: 101, bidiOwn: 301, bidiPeer: 201}},
		{"H2-074 header smaller", "u=99, bl=199, br=299", limits{uni: 100, bidiOwn: 300, bidiPeer: 200}},
		{"H2-074 per item", "u=5, br=4000", limits{uni: 100, bidiOwn: 4000, bidiPeer: 200}},
	} {
		bubble(t, tt.name+": server sends", func(t *testing.T) {
			fields := []string{"webtransport-init", tt.init}
			if tt.init == "-" {
				fields = nil
			}
			srv, c, s := serverSession(t, nil, nil, initial(1e6, 100, 200, 300, 5, 5), fields...)
			defer srv.stop()
			defer c.p.Close()
			check(t, false, c, s, tt.want)
		})
		bubble(t, tt.name+": client sends, H2-080", func(t *testing.T) {
			fields := []string{"webtransport-init", tt.init}
			if tt.init == "-" {
				fields = nil
			}
			settings := append(initial(1e6, 100, 200, 300, 5, 5), http2.Setting{ID: 8, Val: 1}, http2.Setting{ID: 0x2b60, Val: 1})
			conn, c, s := clientSession(t, nil, nil, settings, fields...)
			defer conn.Close()
			defer c.p.Close()
			check(t, true, c, s, tt.want)
		})
	}
	bubble(t, "H2-140 the session's data limit", func(t *testing.T) {
		srv, c, s := serverSession(t, nil, nil, initial(250, 100, 200, 300, 5, 5))
		defer srv.stop()
		defer c.p.Close()
		for range 3 {
			w, err := s.OpenUniStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			go flood(w)
		}
		c.read()
		if n := c.sent[3] + c.sent[7] + c.sent[11]; n != 250 {
			t.Errorf("%d bytes in all, want 250", n)
		}
	})
	bubble(t, "H2-078 H2-140 the stream limits", func(t *testing.T) {
		srv, c, s := serverSession(t, nil, nil, initial(250, 100, 200, 300, 2, 1))
		defer srv.stop()
		defer c.p.Close()
		done, cancel := context.WithCancel(t.Context())
		cancel()
		for i := range 3 {
			if _, err := s.OpenUniStream(done); (err == nil) != (i < 2) || err != nil && !errors.Is(err, transport.ErrStreamLimit) {
				t.Errorf("uni stream %d: %v", i, err)
			}
			if _, err := s.OpenStream(done); (err == nil) != (i < 1) || err != nil && !errors.Is(err, transport.ErrStreamLimit) {
				t.Errorf("bidi stream %d: %v", i, err)
			}
		}
	})
	bubble(t, "H2-079 H2-155 no limit was given: nothing until a capsule", func(t *testing.T) {
		srv, c, s := serverSession(t, nil, nil, nil)
		defer srv.stop()
		defer c.p.Close()
		open := h2test.RunAsync(func() (transport.SendStream, error) { return s.OpenUniStream(t.Context()) })
		if open.Done() {
			t.Fatal("a stream without credit")
		}
		c.want("blocked", "WT_STREAMS_BLOCKED(uni) max=0")
		if err := s.SendDatagram([]byte("hi")); err != nil {
			t.Error(err)
		}
		c.want("datagrams need no credit", "datagram 2")
		c.send(capsule.MaxStreams{Uni: true, MaximumStreams: 1})
		w, err := open.Result()
		if err != nil {
			t.Fatal(err)
		}
		go flood(w)
		c.read()
		if c.sent[3] != 0 {
			t.Errorf("%d bytes without credit", c.sent[3])
		}
		c.send(capsule.MaxData{MaximumData: 10})
		c.read()
		if c.sent[3] != 0 {
			t.Errorf("%d bytes without stream credit", c.sent[3])
		}
		c.send(capsule.MaxStreamData{StreamID: 3, MaximumStreamData: 7})
		c.read()
		if c.sent[3] != 7 {
			t.Errorf("%d bytes, want 7", c.sent[3])
		}
	})
}

func TestSettingsSnapshot(t *testing.T) {
	bubble(t, "H2-070 H2-073 server raises its limits between CONNECT and 200", func(t *testing.T) {
		p, conn, _ := greeted(t, nil, append(initial(50, 50, 50, 50, 5, 5), http2.Setting{ID: 8, Val: 1}, http2.Setting{ID: 0x2b60, Val: 1}))
		defer p.Close()
		defer conn.Close()
		dial := dialAsync(t.Context(), conn, nil)
		p.WantHeaders("CONNECT", 1)
		p.WriteSettings(initial(1e6, 1e6, 1e6, 1e6, 50, 50)...)
		p.WantFrame("acknowledged", h2test.Settings{Ack: true})
		p.WriteHeaders(1, false, ":status", "200")
		s, err := dial.Result()
		if err != nil {
			t.Fatal(err)
		}
		c := newCapsulePeer(t, p, 1)
		w, err := s.OpenUniStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		go flood(w)
		c.read()
		if c.sent[2] != 50 {
			t.Errorf("%d bytes, want the 50 acknowledged with the CONNECT", c.sent[2])
		}
		p.WriteSettings(initial(2e6, 2e6, 2e6, 2e6, 50, 50)...)
		c.want("H2-073: they have no effect on a session", "SETTINGS ACK")
		// The next session has the new ones.
		dial = dialAsync(t.Context(), conn, nil)
		p.WantHeaders("CONNECT", 3)
		p.WriteHeaders(3, false, ":status", "200")
		if s, err = dial.Result(); err != nil {
			t.Fatal(err)
		}
		if w, err = s.OpenUniStream(t.Context()); err != nil {
			t.Fatal(err)
		}
		c = newCapsulePeer(t, p, 3)
		go flood(w)
		c.read()
		// HTTP/2's own window of 65,535 bytes is what stops it.
		if c.sent[2] < 60_000 {
			t.Errorf("%d bytes with limits of 2,000,000", c.sent[2])
		}
	})
	bubble(t, "H2-071 H2-073 client changes its limits while the handler waits", func(t *testing.T) {
		for _, raise := range []bool{false, true} {
			decide := make(chan struct{})
			h, up := upgradeHandler(nil)
			srv := newServer(t, waitFor(decide, h), nil)
			p, _ := srv.peer(initial(50, 50, 50, 50, 5, 5)...)
			p.WriteHeaders(1, false, connectFields()...)
			limit := uint32(20)
			if raise {
				limit = 70
			}
			p.WriteSettings(initial(limit, limit, limit, limit, 5, 5)...)
			p.WantFrame("acknowledged before the 200", h2test.Settings{Ack: true})
			close(decide)
			wantStatus(t, p, 1, "200", false)
			p.WriteSettings(initial(1e6, 1e6, 1e6, 1e6, 50, 50)...)
			a := <-up
			if a.err != nil {
				t.Fatal(a.err)
			}
			w, err := a.s.OpenUniStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			go flood(w)
			c := newCapsulePeer(t, p, 1)
			c.read()
			if c.sent[3] != int(limit) {
				t.Errorf("%d bytes, want the %d acknowledged before the 200", c.sent[3], limit)
			}
			p.Close()
			srv.stop()
		}
	})
	bubble(t, "H2-072 what the peer has not acknowledged does not bind it", func(t *testing.T) {
		// The server answers before it acknowledges the client's SETTINGS: it
		// may send nothing until capsules allow it, and the client sends those.
		p, result := newScriptedServer(t, nil)
		defer p.Close()
		p.Preface(enabled(100)...)
		conn, err := result.Result()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		dial := dialAsync(t.Context(), conn, nil)
		p.SkipUntil("CONNECT", func(f h2test.Frame) bool { _, ok := f.(h2test.Headers); return ok })
		p.WriteHeaders(1, false, ":status", "200")
		s, err := dial.Result()
		if err != nil {
			t.Fatal(err)
		}
		c := newCapsulePeer(t, p, 1)
		got := c.read()
		for _, want := range []string{
			fmt.Sprintf("WT_MAX_DATA max=%d", transport.DefaultInitialSessionWindow),
			fmt.Sprintf("WT_MAX_STREAMS(bidi) max=%d", transport.DefaultMaxIncomingStreams),
			fmt.Sprintf("WT_MAX_STREAMS(uni) max=%d", transport.DefaultMaxIncomingStreams),
		} {
			if !slices.Contains(got, want) {
				t.Errorf("capsules %q, want %s", got, want)
			}
		}
		// A server that counts on them nevertheless is tolerated, and the
		// header's limits hold in any case.
		c.data(3, true, 1000)
		r, err := s.AcceptUniStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if b, err := transport.ReadMessage(r, 2000); len(b) != 1000 || err != nil {
			t.Errorf("read %d bytes, %v", len(b), err)
		}
	})
}

func TestSettingsSnapshotOfAServer(t *testing.T) {
	bubble(t, "H2-072 a client that asks before it acknowledges the server's SETTINGS", func(t *testing.T) {
		h, up := upgradeHandler(nil)
		srv := newServer(t, h, nil)
		defer srv.stop()
		p := h2test.NewClient(t, srv.clientTLS())
		defer p.Close()
		p.Preface(wtLimits(100)...)
		p.WriteHeaders(1, false, connectFields()...)
		p.SkipUntil("200", func(f h2test.Frame) bool { h, ok := f.(h2test.Headers); return ok && h.Value(":status") == "200" })
		if a := <-up; a.err != nil {
			t.Fatal(a.err)
		}
		got := newCapsulePeer(t, p, 1).read()
		for _, want := range []string{
			fmt.Sprintf("WT_MAX_DATA max=%d", transport.DefaultInitialSessionWindow),
			fmt.Sprintf("WT_MAX_STREAMS(bidi) max=%d", transport.DefaultMaxIncomingStreams),
			fmt.Sprintf("WT_MAX_STREAMS(uni) max=%d", transport.DefaultMaxIncomingStreams),
		} {
			if !slices.Contains(got, want) {
				t.Errorf("capsules %q, want %s: it may use nothing else", got, want)
			}
		}
	})
}

func TestReceiveLimits(t *testing.T) {
	const window = 1000
	cfg := &transport.Config{
		InitialStreamWindow: window, MaxStreamWindow: window,
		InitialSessionWindow: 5 * window / 2, MaxSessionWindow: 5 * window / 2,
		MaxIncomingStreams: 3, MaxIncomingUniStreams: 3,
	}
	for _, tt := range []struct {
		name   string
		client bool // that the scripted peer is
		send   func(c *capsulePeer)
		ok     bool
	}{
		{"H2-142 H2-078 own bidi stream at its limit", true, func(c *capsulePeer) { c.data(0, false, window) }, true},
		{"H2-142 H2-078 own bidi stream, one byte more", true, func(c *capsulePeer) { c.data(0, false, window+1) }, false},
		{"H2-142 H2-078 uni stream at its limit", true, func(c *capsulePeer) { c.data(2, false, window) }, true},
		{"H2-142 H2-078 uni stream, one byte more", true, func(c *capsulePeer) { c.data(2, false, window); c.data(2, true, 1) }, false},
		{"H2-141 H2-078 session at its limit", true, func(c *capsulePeer) { c.data(2, false, window); c.data(6, false, window); c.data(0, false, window/2) }, true},
		{"H2-141 H2-078 session, one byte more", true, func(c *capsulePeer) { c.data(2, false, window); c.data(6, false, window); c.data(0, false, window/2+1) }, false},
		{"H2-143 H2-078 last stream", true, func(c *capsulePeer) { c.data(8, false, 0); c.data(10, false, 0) }, true},
		{"H2-143 H2-078 one bidi stream more", true, func(c *capsulePeer) { c.data(12, false, 0) }, false},
		{"H2-143 H2-078 one uni stream more", true, func(c *capsulePeer) { c.data(14, false, 0) }, false},
		{"H2-142 H2-078 server's bidi stream at its limit", false, func(c *capsulePeer) { c.data(1, false, window) }, true},
		{"H2-142 H2-078 server's bidi stream, one byte more", false, func(c *capsulePeer) { c.data(1, false, window+1) }, false},
		{"H2-142 H2-078 server's uni stream, one byte more", false, func(c *capsulePeer) { c.data(3, false, window+1) }, false},
		{"H2-143 H2-078 one stream of the server more", false, func(c *capsulePeer) { c.data(15, false, 0) }, false},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var c *capsulePeer
			var s transport.Session
			if tt.client {
				srv, cp, ss := serverSession(t, &Config{Session: cfg}, nil, wtLimits(1000))
				defer srv.stop()
				c, s = cp, ss
			} else {
				conn, cp, ss := clientSession(t, &Config{Session: cfg}, nil, enabled(1000))
				defer conn.Close()
				c, s = cp, ss
			}
			defer c.p.Close()
			tt.send(c)
			if tt.ok {
				c.want("within the limits")
				return
			}
			c.want("over a limit", "RST_STREAM FLOW_CONTROL_ERROR")
			var pe *transport.ProtocolError
			if err := context.Cause(s.Context()); !errors.As(err, &pe) || pe.Violation != transport.ViolationFlowControl {
				t.Errorf("session ended with %v", err)
			}
		})
	}
	bubble(t, "H2-074 H2-078 a session's own Config has larger limits than the connection's", func(t *testing.T) {
		own := &transport.Config{InitialStreamWindow: 4000, InitialSessionWindow: 9000, MaxIncomingStreams: 9, MaxIncomingUniStreams: 9, Dialect: transport.DialectDraft15}
		conn, c, s := clientSession(t, &Config{Session: cfg}, &transport.DialOptions{Config: own}, enabled(1000))
		defer conn.Close()
		defer c.p.Close()
		got := c.read()
		for _, want := range []string{"WT_MAX_DATA max=9000", "WT_MAX_STREAMS(bidi) max=9", "WT_MAX_STREAMS(uni) max=9"} {
			if !slices.Contains(got, want) {
				t.Errorf("capsules %q, want %s", got, want)
			}
		}
		// The stream windows were in WebTransport-Init.
		c.data(3, false, 4000)
		c.data(1, false, 4000)
		c.want("within the limits")
		c.data(7, false, 1001)
		c.want("over the session's limit", "RST_STREAM FLOW_CONTROL_ERROR")
		<-s.Context().Done()
	})
	bubble(t, "H2-074 H2-078 an accepted session's own Config has larger limits than the connection's", func(t *testing.T) {
		own := &transport.Config{InitialStreamWindow: 4000, InitialSessionWindow: 9000, MaxIncomingStreams: 9, MaxIncomingUniStreams: 9, Dialect: transport.DialectDraft15}
		srv, c, _ := serverSession(t, &Config{Session: cfg}, &transport.UpgradeOptions{Config: own}, wtLimits(1000))
		defer srv.stop()
		defer c.p.Close()
		got := c.read()
		for _, want := range []string{"WT_MAX_DATA max=9000", "WT_MAX_STREAMS(bidi) max=9", "WT_MAX_STREAMS(uni) max=9"} {
			if !slices.Contains(got, want) {
				t.Errorf("capsules %q, want %s", got, want)
			}
		}
		c.data(2, false, 1)
		if got := c.read(); !slices.Contains(got, "WT_MAX_STREAM_DATA stream=2 max=4000") {
			t.Errorf("capsules %q, want a stream window of 4000", got)
		}
	})
}

func TestLimitsOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A connection to get settings from: they have no exported constructor.
		p, c, _ := greeted(t, nil, append(initial(1, 2, 3, 4, 5, 6), http2.Setting{ID: 8, Val: 1}, http2.Setting{ID: 0x2b60, Val: 1}))
		defer p.Close()
		defer c.Close()
		s, _ := c.h2.PeerSettings()
		got := limitsOf(s, handshake.Init{Uni: 20, BidiLocal: 1, BidiRemote: 999_999_999_999_999}, false)
		want := session.InitialLimits{
			MaxData: 1, MaxStreamDataUni: 20, MaxStreamDataBidiLocal: 3, MaxStreamDataBidiRemote: 999_999_999_999_999,
			MaxStreamsUni: 5, MaxStreamsBidi: 6,
		}
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if got := c.PeerSettings(); got != (PeerSettings{
			ConnectProtocol: true, MaxConcurrentStreams: 1<<32 - 1, Enabled: 1, InitialMaxData: 1,
			InitialMaxStreamDataUni: 2, InitialMaxStreamDataBidiLocal: 3, InitialMaxStreamDataBidiRemote: 4,
			HasBidiRemote: true, InitialMaxStreamsUni: 5, InitialMaxStreamsBidi: 6,
		}) {
			t.Errorf("PeerSettings %+v", got)
		}
	})
	bubble(t, "H2-078 Legacy: one setting for all bidirectional streams", func(t *testing.T) {
		p, c, _ := greeted(t, &Config{Session: &transport.Config{Dialect: transport.DialectLegacy}}, []http2.Setting{{ID: 8, Val: 1}, {ID: 0x2b63, Val: 7}})
		defer p.Close()
		defer c.Close()
		s, _ := c.h2.PeerSettings()
		if l := limitsOf(s, handshake.Init{}, true); l.MaxStreamDataBidiRemote != 7 {
			t.Errorf("Legacy: %+v", l)
		}
		if l := limitsOf(s, handshake.Init{}, false); l.MaxStreamDataBidiRemote != 0 {
			t.Errorf("Draft15: %+v", l)
		}
	})
}
