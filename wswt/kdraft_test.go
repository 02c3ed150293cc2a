package wswt

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/transport"
)

func TestKDraftSession(t *testing.T) {
	kdraftBubble(t, "the handshake refuses permessage-deflate", nil, func(p *kdraftScript) {
		if got := p.resp.Get("Sec-WebSocket-Protocol"); got != kdraft1 {
			p.t.Errorf("selected %q", got)
		}
		if got, ok := p.resp["Sec-Websocket-Extensions"]; ok {
			p.t.Errorf("extensions %q", got)
		}
		if info := p.s.Info(); info.Protocol != transport.WebSocket || info.ApplicationProtocol != "" || info.ID > 1 {
			p.t.Errorf("%+v", info)
		}
	})
	kdraftBubble(t, "a bidirectional stream of the client", nil, func(p *kdraftScript) {
		p.give()
		p.send("990b4d3b 01", "990b4d3e 01 80004000")
		p.want("credit of the stream", "990b4d3e 01 80040000")
		p.send("990b4d3b 01 68656c6c6f", "990b4d3c 01")
		st := must[transport.Stream](p.t)(p.s.AcceptStream(p.t.Context()))
		if b, err := io.ReadAll(st); string(b) != "hello" || err != nil || st.StreamID() != 1 {
			p.t.Errorf("stream %d: %q, %v", st.StreamID(), b, err)
		}
		st.Write([]byte("olleh"))
		p.want("the answer", "990b4d3b 01 6f6c6c6568")
		st.Close()
		p.want("its end", "990b4d3c 01")
		p.wantIdle("all was said")
	})
	kdraftBubble(t, "a unidirectional stream of the client", nil, func(p *kdraftScript) {
		p.give()
		p.send("990b4d3b 03", "990b4d3e 03 80004000")
		p.want("credit of the stream", "990b4d3e 03 80040000")
		p.send("990b4d3b 03 010203", "990b4d3c 03")
		st := must[transport.ReceiveStream](p.t)(p.s.AcceptUniStream(p.t.Context()))
		if b, err := io.ReadAll(st); !bytes.Equal(b, []byte{1, 2, 3}) || err != nil {
			p.t.Errorf("%x, %v", b, err)
		}
	})
	kdraftBubble(t, "a bidirectional stream of the server", nil, func(p *kdraftScript) {
		p.give()
		synctest.Wait()
		st := must[transport.Stream](p.t)(p.s.OpenStream(p.t.Context()))
		st.Write([]byte("hello"))
		st.Close()
		p.want("opening, then credit at once", "990b4d3b 00", "990b4d42 00 00", "990b4d3e 00 80040000")
		p.wantIdle("there is no credit")
		p.send("990b4d3e 00 80004000")
		p.want("data and FIN", "990b4d3b 00 68656c6c6f", "990b4d3c 00")
		p.send("990b4d3b 00 6869", "990b4d3c 00")
		if b, err := io.ReadAll(st); string(b) != "hi" || err != nil {
			p.t.Errorf("%q, %v", b, err)
		}
	})
	kdraftBubble(t, "a unidirectional stream of the server", nil, func(p *kdraftScript) {
		p.give()
		synctest.Wait()
		st := must[transport.SendStream](p.t)(p.s.OpenUniStream(p.t.Context()))
		st.Write([]byte("hello"))
		p.want("opening", "990b4d3b 02", "990b4d42 02 00")
		p.send("990b4d3e 02 03")
		p.want("as far as the credit goes", "990b4d3b 02 68656c", "990b4d42 02 03")
		p.send("990b4d3e 02 05")
		p.want("the rest", "990b4d3b 02 6c6f")
		if st.StreamID() != 2 {
			p.t.Errorf("stream %d", st.StreamID())
		}
	})
	kdraftBubble(t, "no stream before the client allows one", nil, func(p *kdraftScript) {
		done, cancel := context.WithCancel(p.t.Context())
		cancel()
		if _, err := p.s.OpenStream(done); err != transport.ErrStreamLimit {
			p.t.Errorf("OpenStream: %v", err)
		}
		p.want("bidi is 44 to this peer", "990b4d44 00")
		if _, err := p.s.OpenUniStream(done); err != transport.ErrStreamLimit {
			p.t.Errorf("OpenUniStream: %v", err)
		}
		p.want("uni is 43", "990b4d43 00")
		p.send("990b4d3f 01")
		synctest.Wait()
		must[transport.Stream](p.t)(p.s.OpenStream(done))
	})
	kdraftBubble(t, "no data before the session has credit", nil, func(p *kdraftScript) {
		p.send("990b4d3b 01", "990b4d3e 01 80004000")
		p.want("credit of the stream", "990b4d3e 01 80040000")
		st := must[transport.Stream](p.t)(p.s.AcceptStream(p.t.Context()))
		st.Write([]byte("hello"))
		p.want("WT_DATA_BLOCKED", "990b4d41 00")
		p.wantIdle("there is no credit")
		p.send("990b4d3d 05")
		p.want("data", "990b4d3b 01 68656c6c6f")
	})
	kdraftBubble(t, "datagrams", nil, func(p *kdraftScript) {
		p.send("00 c0ffee", "00")
		for _, want := range []string{"c0ffee", ""} {
			b := must[[]byte](p.t)(p.s.ReceiveDatagram(p.t.Context()))
			if hex.EncodeToString(b) != want {
				p.t.Errorf("datagram %x, want %s", b, want)
			}
		}
		p.s.SendDatagram([]byte{0xca, 0xfe})
		p.want("a short one", "00 cafe")
		p.s.SendDatagram(nil)
		p.want("an empty one", "00")
		for _, n := range []int{124, 125, 126, 16 << 10, 65535} {
			p.s.SendDatagram(bytes.Repeat([]byte{7}, n))
			if m := p.next("a long one"); m.hex != strings.Repeat("07", n+1)[2:] && m.hex != "00"+strings.Repeat("07", n) {
				p.t.Errorf("a datagram of %d bytes became %d bytes in %d frames", n, len(m.hex)/2, m.frames)
			}
		}
		p.wantIdle("all were sent")
	})
	kdraftBubble(t, "a datagram in fragments", nil, func(p *kdraftScript) {
		p.sendFrame(ws.OpBinary, false, nil)
		p.sendFrame(ws.OpContinuation, false, []byte{0, 1})
		p.sendFrame(ws.OpPing, true, nil)
		p.sendFrame(ws.OpContinuation, false, nil)
		p.sendFrame(ws.OpContinuation, true, []byte{2})
		b := must[[]byte](p.t)(p.s.ReceiveDatagram(p.t.Context()))
		if !bytes.Equal(b, []byte{1, 2}) {
			p.t.Errorf("datagram %x", b)
		}
	})
	kdraftBubble(t, "resets", nil, func(p *kdraftScript) {
		p.give()
		p.send("990b4d3b 01", "990b4d3e 01 80004000")
		p.want("credit of the stream", "990b4d3e 01 80040000")
		p.send("990b4d3b 01 01", "990b4d39 01 404d")
		st := must[transport.Stream](p.t)(p.s.AcceptStream(p.t.Context()))
		_, err := io.ReadAll(st)
		wantStreamError(p.t, "reading", err, 77)
		st.Write([]byte("hi"))
		p.want("data", "990b4d3b 01 6869")
		st.CancelWrite(4_000_000_001)
		p.want("WT_RESET_STREAM", "990b4d39 01 c0000000ee6b2801 02")
	})
	kdraftBubble(t, "stops", nil, func(p *kdraftScript) {
		p.give()
		p.send("990b4d3b 01", "990b4d3e 01 80004000")
		p.want("credit of the stream", "990b4d3e 01 80040000")
		p.send("990b4d3a 01 07", "990b4d3e 01 80008000")
		p.want("the answer", "990b4d39 01 07 00")
		st := must[transport.Stream](p.t)(p.s.AcceptStream(p.t.Context()))
		_, err := st.Write([]byte("hi"))
		wantStreamError(p.t, "writing", err, 7)
		st.CancelRead(9)
		p.want("WT_STOP_SENDING", "990b4d3a 01 09")
		p.send("990b4d3b 01 0102") // it does not answer with a reset
		p.wantIdle("what comes is discarded")
	})
	kdraftBubble(t, "close by the client", nil, func(p *kdraftScript) {
		p.send("6843 0000004d 627965 206e6f77")
		p.sendClose(ws.StatusNormalClosure)
		p.wantClose("its own code and reason", ws.StatusNormalClosure, "77:bye now")
		end := p.wantEnded()
		if end.Code != 77 || end.Reason != "bye now" || !end.Remote || end.Err != nil {
			p.t.Errorf("%+v", end)
		}
		p.wantConnectionEnd()
	})
	kdraftBubble(t, "close by the client with a reason too long for a Close frame", nil, func(p *kdraftScript) {
		reason := strings.Repeat("ü", 341)
		p.send("6843 ffffffff " + hex.EncodeToString([]byte(reason)))
		p.wantClose("as much of it as fits", ws.StatusNormalClosure, "4294967295:"+reason[:112])
		if end := p.wantEnded(); end.Code != 0xffffffff || end.Reason != reason || !end.Remote || end.Err != nil {
			p.t.Errorf("%+v", end)
		}
	})
	kdraftBubble(t, "close by the client with a Close frame alone", nil, func(p *kdraftScript) {
		p.sendClose(ws.StatusNormalClosure)
		p.wantClose("the answer", ws.StatusNormalClosure, "0:")
		if end := p.wantEnded(); end.Code != 0 || end.Reason != "" || !end.Remote || end.Err != nil {
			p.t.Errorf("%+v", end)
		}
		p.wantConnectionEnd()
	})
	kdraftBubble(t, "close by the server", nil, func(p *kdraftScript) {
		closed := make(chan error, 1)
		go func() { closed <- p.s.CloseWithError(1234, "server bye") }()
		p.want("WT_CLOSE_SESSION", "6843 000004d2 "+hex.EncodeToString([]byte("server bye")))
		p.wantClose("and no more", ws.StatusNormalClosure, "")
		p.sendClose(ws.StatusNormalClosure)
		if err := <-closed; err != nil {
			p.t.Error(err)
		}
		if end := p.wantEnded(); end.Code != 1234 || end.Remote {
			p.t.Errorf("%+v", end)
		}
		p.wantConnectionEnd()
	})
	kdraftBubble(t, "draining", nil, func(p *kdraftScript) {
		p.s.Drain()
		p.want("WT_DRAIN_SESSION", "800078ae")
		p.send("800078ae")
		<-p.s.Draining()
	})
	kdraftBubble(t, "a message of all the credit of a stream", nil, func(p *kdraftScript) {
		const size = transport.DefaultInitialStreamWindow
		p.send("990b4d3b 01")
		p.want("credit of the stream", "990b4d3e 01 80040000")
		p.sendFrame(ws.OpBinary, true, append(unhex(p.t, "990b4d3b 01"), make([]byte, size)...))
		st := must[transport.Stream](p.t)(p.s.AcceptStream(p.t.Context()))
		if n, err := io.ReadFull(st, make([]byte, size)); err != nil {
			p.t.Errorf("%d bytes, %v", n, err)
		}
	})
	kdraftBubble(t, "a datagram above the application's limit", &Config{Session: &transport.Config{MaxDatagramSize: 1000}}, func(p *kdraftScript) {
		p.send("00 "+strings.Repeat("aa", 1001), "00 "+strings.Repeat("bb", 1000))
		b := must[[]byte](p.t)(p.s.ReceiveDatagram(p.t.Context()))
		if len(b) != 1000 || b[0] != 0xbb {
			p.t.Errorf("a datagram of %d bytes", len(b))
		}
		if dropped := p.s.Stats().DatagramsDroppedIncoming; dropped != 1 {
			p.t.Errorf("%d dropped", dropped)
		}
	})
}

func wantStreamError(t *testing.T, what string, err error, code transport.StreamErrorCode) {
	t.Helper()
	var se *transport.StreamError
	if !errors.As(err, &se) || se.Code != code || !se.Remote {
		t.Errorf("%s: %v, want code %d", what, err, code)
	}
}

// What a peer breaks ends the session with a typed error, and the connection
// with a status.
func TestKDraftHostile(t *testing.T) {
	const (
		malformed = transport.ViolationMalformed
		state     = transport.ViolationStreamState
		flow      = transport.ViolationFlowControl
		excess    = transport.ViolationExcess
	)
	opened := []string{"990b4d3b 01"}
	for _, c := range []struct {
		name     string
		messages []string
		status   ws.StatusCode
		what     transport.Violation
	}{
		{"an empty message", []string{""}, 1002, malformed},
		{"a message shorter than a type", []string{"990b4d"}, 1002, malformed},
		{"a WT_STREAM without Stream ID", []string{"990b4d3b"}, 1002, malformed},
		{"a WT_STREAM with half a Stream ID", []string{"990b4d3b 4001", "990b4d3b 40"}, 1002, malformed},
		{"a WT_MAX_DATA cut short", []string{"990b4d3d 800040"}, 1002, malformed},
		{"a WT_RESET_STREAM without code", append(opened, "990b4d39 01"), 1002, malformed},
		{"a WT_CLOSE_SESSION with half a code", []string{"6843 0000"}, 1002, malformed},
		{"a WT_CLOSE_SESSION that is not UTF-8", []string{"6843 00000000 ff"}, 1002, transport.ViolationGeneric},
		{"a WT_CLOSE_SESSION that is too long", []string{"6843 00000000" + strings.Repeat("61", 1025)}, 1009, excess},
		{"a WT_MAX_DATA with a Length", []string{"990b4d3d 04 80004000"}, 1002, malformed},
		{"a datagram that is too long", []string{"00" + strings.Repeat("61", 65536)}, 1009, excess},
		{"a WT_STREAM on a stream of the server's", []string{"990b4d3b 00"}, 1002, state},
		{"a reset of a stream of the server's", []string{"990b4d39 02 00"}, 1002, state},
		{"data with the opening, before any credit", []string{"990b4d3b 01 61"}, 1002, flow},
		{"one stream more than allowed", []string{"990b4d3b 4191"}, 1002, flow},
		{"a lower limit", []string{"990b4d3d 05", "990b4d3d 04"}, 1002, flow},
		{"data after FIN", append(opened, "990b4d3c 01", "990b4d3c 01"), 1002, state},
		{"streams beyond 2^60", []string{"990b4d3f d000000000000001"}, 1002, flow},
	} {
		kdraftBubble(t, c.name, nil, func(p *kdraftScript) {
			p.send(c.messages...)
			synctest.Wait()
			m := <-p.in
			for !m.closed {
				m = <-p.in // credit
			}
			if m.status != c.status {
				p.t.Errorf("%v, want status %d", m, c.status)
			}
			end := p.wantEnded()
			var pe *transport.ProtocolError
			if !errors.As(end, &pe) || pe.Violation != c.what {
				p.t.Errorf("the session ended with %v, want %v", end, c.what)
			}
		})
	}
	kdraftBubble(t, "a stream message longer than any credit", nil, func(p *kdraftScript) {
		header := ws.Header{Fin: true, OpCode: ws.OpBinary, Masked: true, Length: transport.DefaultMaxStreamWindow + 21}
		if err := ws.WriteHeader(p.nc, header); err != nil {
			p.t.Fatal(err)
		}
		p.wantClose("its header is enough", ws.StatusMessageTooBig, faultTooBig.reason)
		var pe *transport.ProtocolError
		if end := p.wantEnded(); !errors.As(end, &pe) || pe.Violation != excess {
			p.t.Errorf("the session ended with %v", end)
		}
	})
	kdraftBubble(t, "a text message", nil, func(p *kdraftScript) {
		p.sendFrame(ws.OpText, true, []byte("hello"))
		p.wantClose("status", ws.StatusUnsupportedData, faultText.reason)
	})
	for name, part := range map[string]string{"a type": "99", "a datagram": "00 01", "stream data": "990b4d3b 01", "what is skipped": "990b4d38"} {
		kdraftBubble(t, "a Close frame within "+name, nil, func(p *kdraftScript) {
			p.sendFrame(ws.OpBinary, false, unhex(p.t, part))
			p.sendClose(ws.StatusNormalClosure)
			synctest.Wait()
			m := <-p.in
			for !m.closed {
				m = <-p.in // credit
			}
			var pe *transport.ProtocolError
			if end := p.wantEnded(); m.status != 1002 || !errors.As(end, &pe) || pe.Violation != malformed {
				p.t.Errorf("%v; the session ended with %v", m, end)
			}
		})
	}
	kdraftBubble(t, "the connection ends inside a message", nil, func(p *kdraftScript) {
		p.sendFrame(ws.OpBinary, false, unhex(p.t, "990b4d3b"))
		p.nc.Close()
		if end := p.wantEnded(); end.Err == nil || !end.Remote {
			p.t.Errorf("the session ended with %v", end)
		}
	})
	kdraftBubble(t, "the connection ends inside a datagram", nil, func(p *kdraftScript) {
		p.sendFrame(ws.OpBinary, false, make([]byte, 60_000))
		synctest.Wait()
		p.nc.Close()
		p.wantEnded()
	})
	kdraftBubble(t, "more half datagrams than memory", &Config{MaxConnectionMemory: 32 << 10}, func(p *kdraftScript) {
		p.sendFrame(ws.OpBinary, false, make([]byte, 20_000))
		p.wantIdle("there is room for this")
		p.sendFrame(ws.OpContinuation, false, make([]byte, 20_000))
		p.wantClose("and not for that", ws.StatusPolicyViolation, "excessive load")
		var pe *transport.ProtocolError
		if end := p.wantEnded(); !errors.As(end, &pe) || pe.Violation != excess {
			p.t.Errorf("the session ended with %v", end)
		}
	})
	kdraftBubble(t, "memory is given back with each datagram", &Config{MaxConnectionMemory: 128 << 10}, func(p *kdraftScript) {
		for range 20 {
			p.sendFrame(ws.OpBinary, false, make([]byte, 20_000))
			p.sendFrame(ws.OpContinuation, true, make([]byte, 10_000))
			b := must[[]byte](p.t)(p.s.ReceiveDatagram(p.t.Context()))
			if len(b) != 29_999 {
				p.t.Errorf("a datagram of %d bytes", len(b))
			}
		}
		p.wantIdle("nothing is wrong")
	})
	kdraftBubble(t, "half a datagram is not held on to after the end", nil, func(p *kdraftScript) {
		p.sendFrame(ws.OpBinary, false, make([]byte, 60_000))
		synctest.Wait()
		go p.s.CloseWithError(0, "")
		p.want("WT_CLOSE_SESSION", "6843 00000000")
		p.wantClose("Close", ws.StatusNormalClosure, "")
	})
}

// Which of a client's subprotocols a server selects.
func TestKDraftSelection(t *testing.T) {
	const theirs = "webtransport_kDraft2_a, webtransport_kDraft2_b, " + browserOffers
	for _, c := range []struct {
		name, offers string
		supported    []string
		require      bool
		cfg          Config
		selected     string // "" for a refusal
		protocol     string
		status       int
	}{
		{name: "the client's order", offers: browserOffers, selected: kdraft1},
		{name: "the client's order, the other way around", offers: kdraft2 + "," + kdraft1, selected: kdraft2},
		{name: "an application protocol", offers: theirs, supported: []string{"b"}, selected: "webtransport_kDraft2_b", protocol: "b"},
		{name: "the client's first application protocol", offers: theirs, supported: []string{"b", "a"}, selected: "webtransport_kDraft2_a", protocol: "a"},
		{name: "with the first version", offers: "webtransport_kDraft1_a, " + theirs, supported: []string{"a"}, selected: "webtransport_kDraft1_a", protocol: "a"},
		{name: "no application protocol that fits", offers: theirs, supported: []string{"c"}, selected: kdraft1},
		{name: "none that fits, but required", offers: theirs, supported: []string{"c"}, require: true, status: 400},
		{name: "one that fits, required", offers: theirs, supported: []string{"a"}, require: true, selected: "webtransport_kDraft2_a", protocol: "a"},
		{name: "ours is preferred", offers: theirs + ", " + Subprotocol, supported: []string{"a"}, selected: Subprotocol},
		{name: "switched off", offers: theirs, supported: []string{"a"}, cfg: Config{RefuseKDraft: true}, status: 405},
		{name: "switched off, and ours offered", offers: theirs + ", " + Subprotocol, cfg: Config{RefuseKDraft: true}, selected: Subprotocol},
		{name: "another version", offers: "webtransport_kDraft3", status: 405},
	} {
		t.Run(c.name, func(t *testing.T) {
			opts := &transport.UpgradeOptions{Protocols: c.supported, RequireProtocol: c.require}
			synctest.Test(t, func(t *testing.T) {
				ln, cert, got, stop := kdraftServer(t, &c.cfg, opts)
				defer stop()
				nc := dialKDraft(t, ln, cert)
				defer nc.Close()
				resp, _ := kdraftHandshake(t, nc, c.offers)
				a := <-got
				if c.selected == "" {
					if resp.StatusCode != c.status || a.err == nil {
						t.Errorf("status %d, %v; want %d", resp.StatusCode, a.err, c.status)
					}
					return
				}
				if resp.StatusCode != 101 || a.err != nil || resp.Header.Get("Sec-WebSocket-Protocol") != c.selected {
					t.Fatalf("status %d, %q, %v; want %q", resp.StatusCode, resp.Header["Sec-Websocket-Protocol"], a.err, c.selected)
				}
				if p := a.s.Info().ApplicationProtocol; p != c.protocol {
					t.Errorf("application protocol %q, want %q", p, c.protocol)
				}
			})
		})
	}
	t.Run("IsUpgrade asks the server of the context", func(t *testing.T) {
		h := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Protocol": {browserOffers}}
		r := &http.Request{Method: "GET", Header: h}
		if !IsUpgrade(r) {
			t.Error("not by default")
		}
		off := NewServer(&Config{RefuseKDraft: true})
		if IsUpgrade(r.WithContext(off.Context(t.Context()))) {
			t.Error("although they are switched off")
		}
	})
}
