package h2wt

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/transport"
)

// The peers here send what implementations in the field were seen to send, byte
// for byte. Types: 3b and 3c are WT_STREAM, in the older drafts' reading without
// and with FIN.

// accept accepts a scripted client's session with DialectAuto.
func accept(t *testing.T, cfg *Config, opts *transport.UpgradeOptions, settings []http2.Setting, id uint32, fields ...string) (*testServer, *wire, transport.Session) {
	t.Helper()
	h, up := upgradeHandler(opts)
	srv := newServerAsIs(t, h, cfg)
	p, _ := srv.peer(settings...)
	p.WriteHeaders(id, false, fields...)
	wantStatus(t, p, id, "200", false)
	a := <-up
	if a.err != nil {
		t.Fatal(a.err)
	}
	return srv, &wire{t, p, id}, a.s
}

// dialed is a client's session with a scripted server.
func dialed(t *testing.T, cfg *Config, opts *transport.DialOptions, settings []http2.Setting, answer ...string) (*ClientConn, *wire, transport.Session) {
	t.Helper()
	p, c := greetedAsIs(t, cfg, settings)
	dial := dialAsync(t.Context(), c, opts)
	p.WantHeaders("CONNECT", 1)
	p.WriteHeaders(1, false, append([]string{":status", "200"}, answer...)...)
	s, err := dial.Result()
	if err != nil {
		t.Fatal(err)
	}
	return c, &wire{t, p, 1}, s
}

// wantRead reads a stream to its end.
func wantRead(t *testing.T, r io.Reader, want string) {
	t.Helper()
	if b, err := io.ReadAll(r); string(b) != want || err != nil {
		t.Errorf("ReadAll = %q, %v, want %q", b, err, want)
	}
}

// wantPart reads what is there of a stream that has not ended.
func wantPart(t *testing.T, r interface {
	io.Reader
	SetReadDeadline(time.Time) error
}, want string) {
	t.Helper()
	r.SetReadDeadline(time.Now().Add(time.Second))
	if b, err := io.ReadAll(r); string(b) != want || !isTimeout(err) {
		t.Errorf("ReadAll = %q, %v, want %q and no end", b, err, want)
	}
	r.SetReadDeadline(time.Time{})
}

func must[T any](t *testing.T) func(v T, err error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// wantEnd wants a session that the peer has closed.
func wantEnd(t *testing.T, s transport.Session, code transport.SessionErrorCode, reason string) {
	t.Helper()
	<-s.Context().Done()
	se, ok := errors.AsType[*transport.SessionError](context.Cause(s.Context()))
	if !ok || se.Code != code || se.Reason != reason || !se.Remote || se.Err != nil {
		t.Errorf("session ended with %#v, want %d %q by the peer", context.Cause(s.Context()), code, reason)
	}
}

// The privileged API of Firefox ESR 153. It announces nothing of WebTransport,
// ends no stream, and leaves its CONNECT stream open after its close.
func TestRecordedFirefox(t *testing.T) {
	settings := []http2.Setting{{ID: 1, Val: 65536}, {ID: 2, Val: 0}, {ID: 4, Val: 131072}, {ID: 5, Val: 16384}}
	bubble(t, "a session", func(t *testing.T) {
		var log logBook
		h, up := upgradeHandler(nil)
		cfg := auto(&log)
		srv := newServerAsIs(t, h, cfg)
		defer srv.stop()
		p := h2test.NewClient(t, srv.clientTLS())
		defer p.Close()
		server := p.Greet(settings...)
		// It wants a number of sessions, and limits by the name of before draft
		// 14.
		for id, least := range map[http2.SettingID]uint32{0x8: 1, 0x2b60: 1, 0x2b63: 1, 0x2b65: 1} {
			if v, _ := server.Value(id); v < least {
				t.Errorf("setting %#x is %d, want at least %d", uint16(id), v, least)
			}
		}
		p.WriteWindowUpdate(0, 12517377)
		p.WriteHeadersFrame(http2.HeadersFrameParam{
			StreamID: 3, EndHeaders: true, Priority: http2.PriorityParam{Weight: 41}, BlockFragment: p.Encode(
				":method", "CONNECT", ":path", "/echo", ":authority", "example.com", ":scheme", "https", ":protocol", "webtransport",
				"user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0", "accept", "*/*",
				"accept-language", "en-US,en;q=0.5", "accept-encoding", "gzip, deflate, br, zstd", "sec-webtransport-http3-draft02", "1",
				"origin", "https://example.com", "sec-fetch-dest", "webtransport", "sec-fetch-mode", "no-cors", "sec-fetch-site", "same-origin",
				"priority", "u=4", "pragma", "no-cache", "cache-control", "no-cache"),
		})
		wantStatus(t, p, 3, "200", false)
		a := <-up
		if a.err != nil {
			t.Fatal(a.err)
		}
		w, s := &wire{t, p, 3}, a.s
		if got := log.lines("session dialect"); len(got) != 1 || got[0] !=
			`level=INFO msg="session dialect" session=3 dialect=legacy reason=announced parity="learnt from the first stream"` {
			t.Errorf("log %q", got)
		}

		w.write(`99 0b 4d 3b 06 00 "hello"`, `99 0b 4d 3b 03 02 "un"`, `99 0b 4d 3b 02 02 "i"`)
		st := must[transport.Stream](t)(s.AcceptStream(t.Context()))
		uni := must[transport.ReceiveStream](t)(s.AcceptUniStream(t.Context()))
		wantPart(t, st, "hello")
		wantPart(t, uni, "uni")

		w.write(`00 02 "hi"`)
		if d, err := s.ReceiveDatagram(t.Context()); string(d) != "hi" || err != nil {
			t.Errorf("datagram %q, %v", d, err)
		}
		w.write(`99 0b 4d 43 01 02`, `99 0b 4d 42 02 00 05`) // blocked, with limits of its own idea
		w.write(`99 0b 4d 39 03 00 2a 05`, `99 0b 4d 3a 02 00 2b`)
		if _, err := io.ReadAll(st); !isStreamError(err, 42) {
			t.Errorf("read after the reset: %v", err)
		}
		if _, err := st.Write([]byte("x")); !isStreamError(err, 43) {
			t.Errorf("write after it asked to stop: %v", err)
		}
		if err := s.SendDatagram([]byte("ho")); err != nil {
			t.Error(err)
		}
		w.want("the reset that it asked for, and a datagram", `99 0b 4d 39 03 00 2b 00`, `00 02 "ho"`)

		start := time.Now()
		w.write(`68 43 0e 00 00 04 d2 "client bye"`)
		wantEnd(t, s, 1234, "client bye")
		w.want("the answer", "END_STREAM")
		time.Sleep(transport.DefaultCloseTimeout)
		if _, events := w.read(); len(events) != 1 || events[0] != "RST_STREAM CANCEL" {
			t.Errorf("after %v came %q, want the stream to be reset", time.Since(start), events)
		}
		p.WantIdle("the connection stays")
	})
	bubble(t, "the request that it sends by mistake", func(t *testing.T) {
		srv := newServerAsIs(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Method) }), nil)
		defer srv.stop()
		p, _ := srv.peer(settings...)
		defer p.Close()
		p.WriteHeaders(3, true, ":method", "GET", ":path", "/echo", ":authority", "example.com", ":scheme", "https",
			"te", "trailers", "sec-webtransport-http3-draft02", "1")
		wantStatus(t, p, 3, "200", false)
		p.WantData("an ordinary response", 3, true, "GET")
	})
}

func isStreamError(err error, code transport.StreamErrorCode) bool {
	se, ok := errors.AsType[*transport.StreamError](err)
	return ok && se.Code == code && se.Remote
}

// failsSettings are those of fails-components, of its client and of its server.
var failsSettings = announced(0x2b61, 16384, 0x2b62, 16384, 0x2b63, 16384, 0x2b64, 100, 0x2b65, 100)

// @fails-components/webtransport 1.6.8. It opens odd streams on the client and even
// ones on the server.
func TestRecordedFailsComponentsClient(t *testing.T) {
	fields := []string{":method", "CONNECT", ":protocol", "webtransport", ":scheme", "https", ":path", "//echo?x=1",
		"authority", "localhost", "origin", "localhost", "wt-available-protocols", `"first","second"`, ":authority", "localhost:4433"}
	// The order of pseudo-header fields is Node's; they come first.
	fields = append(append([]string{}, fields[:8]...), append([]string{":authority", "localhost:4433"}, fields[8:14]...)...)
	start := func(t *testing.T, log *logBook) (*testServer, *wire, transport.Session) {
		t.Helper()
		srv, w, s := accept(t, auto(log), &transport.UpgradeOptions{AllowOriginWithoutScheme: true, Protocols: []string{"second"}}, failsSettings, 1, fields...)
		log.want(t, transport.DialectLegacy, reasonAnnounced, "swapped")
		return srv, w, s
	}
	bubble(t, "its Origin needs the option", func(t *testing.T) {
		h, _ := upgradeHandler(nil)
		srv := newServerAsIs(t, h, nil)
		defer srv.stop()
		p, _ := srv.peer(failsSettings...)
		defer p.Close()
		p.WriteHeaders(1, false, fields...)
		wantReject(t, p, 1, "403")
	})
	bubble(t, "streams of both sides, both kinds", func(t *testing.T) {
		var log logBook
		srv, w, s := start(t, &log)
		defer srv.stop()
		defer w.p.Close()
		// It opens, gives credit, writes header and payload apart, ends.
		w.write("99 0b 4d 3b 01 01", "99 0b 4d 3e 05 01 80 00 40 00", "99 0b 4d 3b 06 01", `"hello"`, "99 0b 4d 3c 01 01")
		st := must[transport.Stream](t)(s.AcceptStream(t.Context()))
		if st.StreamID() != 1 {
			t.Errorf("stream %d", st.StreamID())
		}
		wantRead(t, st, "hello")
		io.WriteString(st, "hello")
		st.Close()
		w.want("the answer, its end apart", `99 0b 4d 3b 06 01 "hello"`, "99 0b 4d 3c 01 01")

		w.write("99 0b 4d 3b 01 03", "99 0b 4d 3b 03 03", `"ab"`, "99 0b 4d 3c 01 03")
		wantRead(t, must[transport.ReceiveStream](t)(s.AcceptUniStream(t.Context())), "ab")

		own := must[transport.Stream](t)(s.OpenStream(t.Context()))
		io.WriteString(own, "ping")
		own.Close()
		w.want("a server's stream is even, opened apart", "99 0b 4d 3b 01 00", `99 0b 4d 3b 05 00 "ping"`, "99 0b 4d 3c 01 00")
		w.write("99 0b 4d 3b 01 00", "99 0b 4d 3e 05 00 80 00 40 00", "99 0b 4d 3b 05 00", `"pong"`, "99 0b 4d 3c 01 00")
		wantRead(t, own, "pong")
		push := must[transport.SendStream](t)(s.OpenUniStream(t.Context()))
		io.WriteString(push, "push")
		push.Close()
		w.want("a server's unidirectional stream", "99 0b 4d 3b 01 02", `99 0b 4d 3b 05 02 "push"`, "99 0b 4d 3c 01 02")
	})
	bubble(t, "the limit on bidirectional streams is 0x2b63's", func(t *testing.T) {
		var log logBook
		srv, w, s := start(t, &log)
		defer srv.stop()
		defer w.p.Close()
		own := must[transport.Stream](t)(s.OpenStream(t.Context()))
		own.SetWriteDeadline(time.Now().Add(time.Second))
		own.Write(make([]byte, 100_000))
		data, _ := w.read()
		if n := len(data); n < 16384 || n > 16384+100 {
			t.Errorf("%d bytes came, want 16384 of data and their capsules", n)
		}
	})
	bubble(t, "reset and stop have two fields", func(t *testing.T) {
		var log logBook
		srv, w, s := start(t, &log)
		defer srv.stop()
		defer w.p.Close()
		w.write("99 0b 4d 3b 01 01", `99 0b 4d 3b 06 01 "hello"`, "99 0b 4d 39 02 01 07", "99 0b 4d 3a 02 01 09")
		st := must[transport.Stream](t)(s.AcceptStream(t.Context()))
		if _, err := io.ReadAll(st); !isStreamError(err, 7) {
			t.Errorf("read: %v", err)
		}
		if _, err := st.Write([]byte("x")); !isStreamError(err, 9) {
			t.Errorf("write: %v", err)
		}
		w.want("the reset that it asked for", "99 0b 4d 39 03 01 09 00")
	})
	bubble(t, "datagrams, header and payload apart", func(t *testing.T) {
		var log logBook
		srv, w, s := start(t, &log)
		defer srv.stop()
		defer w.p.Close()
		w.write("00 02", `"hi"`)
		if d, err := s.ReceiveDatagram(t.Context()); string(d) != "hi" || err != nil {
			t.Errorf("datagram %q, %v", d, err)
		}
		s.SendDatagram([]byte("ho"))
		w.want("a datagram", `00 02 "ho"`)
	})
	bubble(t, "its close: capsule, END_STREAM, RST_STREAM with the application's code, GOAWAY", func(t *testing.T) {
		var log logBook
		srv, w, s := start(t, &log)
		defer srv.stop()
		defer w.p.Close()
		w.write("68 43 0e")
		w.p.WriteData(1, true, unhex(t, `00 00 04 d2 "client bye"`))
		w.p.WriteRST(1, 0x4d2)
		w.p.WriteGoAway(0, http2.ErrCodeNo)
		wantEnd(t, s, 1234, "client bye")
		if got := log.lines("session ended"); len(got) != 1 {
			t.Errorf("log %q", got)
		}
		for _, e := range w.p.Drain() {
			if r, ok := e.(h2test.RSTStream); ok {
				t.Errorf("%v, although nothing was wrong", r)
			}
		}
	})
	bubble(t, "the server's close: it answers with RST_STREAM and the application's code", func(t *testing.T) {
		var log logBook
		srv, w, s := start(t, &log)
		defer srv.stop()
		defer w.p.Close()
		closing := h2test.RunAsync(func() (bool, error) { return true, s.CloseWithError(77, "server bye") })
		w.want("capsule and END_STREAM", `68 43 0e 00 00 00 4d "server bye"`, "END_STREAM")
		time.Sleep(transport.DefaultCloseTimeout / 2)
		w.p.WantIdle("no RST_STREAM before the peer has ended")
		w.p.WriteRST(1, 77)
		if _, err := closing.Result(); err != nil {
			t.Errorf("CloseWithError: %v", err)
		}
		se, ok := errors.AsType[*transport.SessionError](context.Cause(s.Context()))
		if !ok || se.Code != 77 || se.Remote || se.Err != nil {
			t.Errorf("session ended with %v", context.Cause(s.Context()))
		}
		w.p.WantIdle("nothing is left to say")
	})
	bubble(t, "it takes the value of wt-protocol for the protocol", func(t *testing.T) {
		h, up := upgradeHandler(&transport.UpgradeOptions{AllowOriginWithoutScheme: true, Protocols: []string{"second"}})
		srv := newServerAsIs(t, h, nil)
		defer srv.stop()
		p, _ := srv.peer(failsSettings...)
		defer p.Close()
		p.WriteHeaders(1, false, fields...)
		if got := wantStatus(t, p, 1, "200", false); got.Value("wt-protocol") != "second" {
			t.Errorf("wt-protocol %q", got.Value("wt-protocol"))
		}
		if a := <-up; a.err != nil || a.s.Info().ApplicationProtocol != "second" {
			t.Errorf("%v, %+v", a.err, a.s)
		}
	})
	bubble(t, "draft 13 with the same settings and the draft's parity", func(t *testing.T) {
		var log logBook
		srv, w, s := accept(t, auto(&log), nil, failsSettings, 1, connectFields()...)
		defer srv.stop()
		defer w.p.Close()
		w.write(`99 0b 4d 3b 03 00 "ab"`, "99 0b 4d 3c 01 00")
		st := must[transport.Stream](t)(s.AcceptStream(t.Context()))
		wantRead(t, st, "ab")
		own := must[transport.SendStream](t)(s.OpenUniStream(t.Context()))
		own.Close()
		w.want("a server's stream is odd", "99 0b 4d 3b 01 03", "99 0b 4d 3c 01 03")
	})
	bubble(t, "the same settings, and the server opens the first stream", func(t *testing.T) {
		var log logBook
		srv, w, s := accept(t, auto(&log), nil, failsSettings, 1, connectFields()...)
		defer srv.stop()
		defer w.p.Close()
		own := must[transport.SendStream](t)(s.OpenUniStream(t.Context()))
		own.Close()
		w.want("a server's stream is even", "99 0b 4d 3b 01 02", "99 0b 4d 3c 01 02")
	})
}

func TestRecordedFailsComponentsServer(t *testing.T) {
	bubble(t, "a session", func(t *testing.T) {
		var log logBook
		c, w, s := dialed(t, auto(&log), &transport.DialOptions{Protocols: []string{"first", "second"}}, failsSettings,
			"wt-protocol", "second", "date", "Mon, 05 Oct 2026 10:00:00 GMT")
		defer c.Close()
		defer w.p.Close()
		log.want(t, transport.DialectLegacy, reasonAnnounced, `"swapped unless the peer's first stream says otherwise"`)
		if got := s.Info().ApplicationProtocol; got != "second" {
			t.Errorf("application protocol %q", got)
		}
		st := must[transport.Stream](t)(s.OpenStream(t.Context()))
		io.WriteString(st, "hello")
		st.Close()
		w.want("a client's stream is odd, opened apart, ended apart", "99 0b 4d 3b 01 01", `99 0b 4d 3b 06 01 "hello"`, "99 0b 4d 3c 01 01")
		w.write("99 0b 4d 3b 01 01", "99 0b 4d 3e 05 01 80 00 40 00", "99 0b 4d 3b 06 01", `"hello"`, "99 0b 4d 3c 01 01")
		wantRead(t, st, "hello")
		w.write("99 0b 4d 3b 01 00", "99 0b 4d 3e 05 00 80 00 40 00", `99 0b 4d 3b 05 00 "ping"`, "99 0b 4d 3c 01 00")
		in := must[transport.Stream](t)(s.AcceptStream(t.Context()))
		if in.StreamID() != 0 {
			t.Errorf("stream %d", in.StreamID())
		}
		wantRead(t, in, "ping")
		in.CancelWrite(3)
		w.want("a reset has three fields, which it takes", "99 0b 4d 39 03 00 03 00")
		uni := must[transport.SendStream](t)(s.OpenUniStream(t.Context()))
		io.WriteString(uni, "u")
		w.want("a client's unidirectional stream", "99 0b 4d 3b 01 03", `99 0b 4d 3b 02 03 "u"`)
		w.write("99 0b 4d 3a 02 03 08")
		synctest.Wait()
		if _, err := uni.Write([]byte("x")); !isStreamError(err, 8) {
			t.Errorf("write: %v", err)
		}
		w.read()

		closing := h2test.RunAsync(func() (bool, error) { return true, s.CloseWithError(9, "bye") })
		w.want("capsule and END_STREAM", `68 43 07 00 00 00 09 "bye"`, "END_STREAM")
		time.Sleep(transport.DefaultCloseTimeout / 2)
		w.p.WantIdle("no RST_STREAM before the peer has ended")
		w.p.WriteRST(1, 9)
		if _, err := closing.Result(); err != nil {
			t.Errorf("CloseWithError: %v", err)
		}
	})
	bubble(t, "its close", func(t *testing.T) {
		var log logBook
		c, w, s := dialed(t, auto(&log), nil, failsSettings)
		defer c.Close()
		defer w.p.Close()
		w.end(`68 43 0e 00 00 00 4d "server bye"`)
		w.p.WriteRST(1, 77)
		wantEnd(t, s, 77, "server bye")
	})
	for _, tt := range []struct {
		name    string
		dialect transport.Dialect
		value   string
		want    string
	}{
		{"H2-057 Auto: bare text that was not offered is no protocol", transport.DialectAuto, "third", ""},
		{"H2-051 Auto: a String still is one", transport.DialectAuto, `"second"`, "second"},
		{"H2-057 Legacy: a Token, as in older drafts", transport.DialectLegacy, "second", "second"},
		{"H2-057 Draft15: a Token is no protocol", transport.DialectDraft15, "second", ""},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			c, w, s := dialed(t, with(tt.dialect), &transport.DialOptions{Protocols: []string{"first", "second"}}, enabled(100), "wt-protocol", tt.value)
			defer c.Close()
			defer w.p.Close()
			if got := s.Info().ApplicationProtocol; got != tt.want {
				t.Errorf("application protocol %q, want %q", got, tt.want)
			}
		})
	}
	bubble(t, "H2-057 a recognised server is held to draft 15", func(t *testing.T) {
		c, w, s := dialed(t, nil, &transport.DialOptions{Protocols: []string{"second"}}, enabled(100), "wt-protocol", "second", "towpath", "1")
		defer c.Close()
		defer w.p.Close()
		if got := s.Info().ApplicationProtocol; got != "" {
			t.Errorf("application protocol %q", got)
		}
	})
}

// proxygen announces itself like draft 15 and has the older reading. Its servers
// send Reliable Size.
func TestRecordedProxygen(t *testing.T) {
	bubble(t, "a session", func(t *testing.T) {
		var log logBook
		c, w, s := dialed(t, auto(&log), nil, enabled(65536))
		defer c.Close()
		defer w.p.Close()
		log.want(t, transport.DialectAuto, reasonPrior, "draft")
		st := must[transport.Stream](t)(s.OpenStream(t.Context()))
		io.WriteString(st, "ping")
		st.Close()
		w.want("the older reading, in a form that cuts nothing short", "99 0b 4d 3b 01 00", `99 0b 4d 3b 05 00 "ping"`, "99 0b 4d 3c 01 00")
		w.write(`99 0b 4d 3b 03 00 "po"`, `99 0b 4d 3c 03 00 "ng"`)
		wantRead(t, st, "pong")
		if got := log.lines("dialect learned"); len(got) != 1 {
			t.Errorf("log %q", got)
		}
		w.write(`99 0b 4d 3c 03 01 "ab"`) // whole in one capsule
		start := time.Now()
		wantRead(t, must[transport.Stream](t)(s.AcceptStream(t.Context())), "ab")
		if d := time.Since(start); d != 0 {
			t.Errorf("once it is known, an end takes %v", d)
		}
		w.write(`99 0b 4d 3b 03 05 "ab"`, "99 0b 4d 39 03 05 07 02")
		if _, err := io.ReadAll(must[transport.Stream](t)(s.AcceptStream(t.Context()))); !isStreamError(err, 7) {
			t.Errorf("read: %v", err)
		}
	})
}

// A peer of draft 15 that is not ours: what the prior takes for FIN is followed by
// data of the same stream.
func TestForeignDraft15(t *testing.T) {
	bubble(t, "H2-110 a client", func(t *testing.T) {
		var log logBook
		srv, w, s := accept(t, auto(&log), nil, wtLimits(65536), 1, connectFields("webtransport-init", "u=65536, bl=65536, br=65536")...)
		defer srv.stop()
		defer w.p.Close()
		log.want(t, transport.DialectAuto, reasonPrior, `"learnt from the first stream"`)
		w.write(`99 0b 4d 3c 04 00 "hel"`, `99 0b 4d 3b 03 00 "lo"`)
		st := must[transport.Stream](t)(s.AcceptStream(t.Context()))
		wantRead(t, st, "hello")
		if got := log.lines("dialect learned"); len(got) != 1 {
			t.Errorf("log %q", got)
		}
		io.WriteString(st, "hello")
		st.Close()
		synctest.Wait()
		w.want("the answer in draft 15", `99 0b 4d 3b 06 00 "hello"`)
	})
	bubble(t, "H2-110 a server", func(t *testing.T) {
		var log logBook
		c, w, s := dialed(t, auto(&log), nil, enabled(65536))
		defer c.Close()
		defer w.p.Close()
		w.write(`99 0b 4d 3c 03 03 "a`+`b"`, `99 0b 4d 3b 01 03`)
		wantRead(t, must[transport.ReceiveStream](t)(s.AcceptUniStream(t.Context())), "ab")
		st := must[transport.Stream](t)(s.OpenStream(t.Context()))
		io.WriteString(st, "ping")
		st.Close()
		w.want("draft 15 from the first capsule", `99 0b 4d 3b 05 00 "ping"`)
	})
}
