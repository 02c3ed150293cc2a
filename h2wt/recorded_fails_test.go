package h2wt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/transport"
)

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
		own.Write(bytes.Repeat([]byte("x"), 100_000))
		data, _ := w.read()
		if n := strings.Count(data, "x"); n != 16384 {
			t.Errorf("%d bytes of the stream came, want 16384", n)
		}
	})
	bubble(t, "reset and stop have two fields", func(t *testing.T) {
		var log logBook
		srv, w, s := start(t, &log)
		defer srv.stop()
		defer w.p.Close()
		w.write("99 0b 4d 3b 01 01", `99 0b 4d 3b 06 01 "hello"`, "99 0b 4d 39 02 01 07", "99 0b 4d 3a 02 01 09")
		synctest.Wait()
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
