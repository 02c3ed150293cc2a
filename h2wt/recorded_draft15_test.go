package h2wt

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/transport"
)

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
		synctest.Wait()
		st.Close()
		w.want("the answer in draft 15", `99 0b 4d 3c 06 00 "hello"`, `99 0b 4d 3b 01 00`)
	})
	bubble(t, "H2-110 a server", func(t *testing.T) {
		var log logBook
		c, w, s := dialed(t, auto(&log), nil, enabled(65536))
		defer c.Close()
		defer w.p.Close()
		w.write(`99 0b 4d 3c 03 03 "ab"`, `99 0b 4d 3b 01 03`)
		wantRead(t, must[transport.ReceiveStream](t)(s.AcceptUniStream(t.Context())), "ab")
		st := must[transport.Stream](t)(s.OpenStream(t.Context()))
		io.WriteString(st, "ping")
		synctest.Wait()
		st.Close()
		w.want("draft 15 from the first capsule", `99 0b 4d 3c 05 00 "ping"`, `99 0b 4d 3b 01 00`)
	})
}
