package h2wt

import (
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/transport"
)

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
		synctest.Wait()
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
		if got := wantContent(t, p); got != "GET" {
			t.Errorf("content %q", got)
		}
	})
}
