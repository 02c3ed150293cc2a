package h2wt

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/transport"
)

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
