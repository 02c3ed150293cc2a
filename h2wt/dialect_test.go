package h2wt

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/transport"
)

// with is a Config of connections with that dialect.
func with(d transport.Dialect) *Config {
	return &Config{Session: &transport.Config{Dialect: d}}
}

// auto is with DialectAuto, logging to b.
func auto(b *logBook) *Config {
	return &Config{Session: &transport.Config{Logger: b.logger()}, KeepAlive: -1}
}

// announced are a server's SETTINGS with extended CONNECT and these besides, ids
// and values in turn.
func announced(idsAndValues ...uint32) []http2.Setting {
	s := []http2.Setting{{ID: 0x8, Val: 1}}
	for i := 0; i < len(idsAndValues); i += 2 {
		s = append(s, http2.Setting{ID: http2.SettingID(idsAndValues[i]), Val: idsAndValues[i+1]})
	}
	return s
}

// greetedAsIs is greeted with the Config as it is.
func greetedAsIs(t testing.TB, cfg *Config, settings []http2.Setting) (*h2test.Peer, *ClientConn) {
	t.Helper()
	p, result := newScriptedServerAsIs(t, cfg)
	p.Greet(settings...)
	c, err := result.Result()
	if err != nil {
		t.Fatalf("NewClientConn: %v", err)
	}
	return p, c
}

func TestDialectServers(t *testing.T) {
	for _, tt := range []struct {
		name             string
		settings         []http2.Setting
		auto, old, draft bool // whether a client of that dialect accepts the server
	}{
		{"H2-004 draft 15", announced(0x2b60, 1), true, true, true},
		{"H2-003 H2-004 a number of sessions", announced(0x2b60, 100), true, true, false},
		{"H2-004 the number 0", announced(0x2b60, 0, 0x2b61, 5), false, false, false},
		{"H2-004 draft 13: limits alone", announced(0x2b61, 16384, 0x2b62, 16384, 0x2b63, 16384, 0x2b64, 100, 0x2b65, 100), true, true, false},
		{"H2-004 one limit", announced(0x2b63, 1), true, true, false},
		{"H2-004 draft 14: another limit", announced(0x2b66, 1), true, true, false},
		{"H2-004 limits of 0", announced(0x2b61, 0, 0x2b66, 0), false, false, false},
		{"H2-004 extended CONNECT alone", announced(), false, false, false},
		{"H2-005 no extended CONNECT", announced(0x2b60, 1, 0x2b61, 5)[1:], false, false, false},
	} {
		for d, ok := range map[transport.Dialect]bool{transport.DialectAuto: tt.auto, transport.DialectLegacy: tt.old, transport.DialectDraft15: tt.draft} {
			bubble(t, tt.name+", client "+d.String(), func(t *testing.T) {
				p, result := newScriptedServerAsIs(t, with(d))
				defer p.Close()
				p.Preface(tt.settings...)
				c, err := result.Result()
				if (err == nil) != ok {
					t.Errorf("NewClientConn: %v, want ok %v", err, ok)
				}
				if err == nil {
					c.Close()
				}
			})
			if !tt.auto || ok {
				continue
			}
			bubble(t, tt.name+", a session that is "+d.String()+" on a connection that is not", func(t *testing.T) {
				p, c := greetedAsIs(t, with(transport.DialectAuto), tt.settings)
				defer p.Close()
				defer c.Close()
				if _, err := c.Dial(t.Context(), "https://example.com/", &transport.DialOptions{Config: &transport.Config{Dialect: d}}); err != transport.ErrNotWebTransport {
					t.Errorf("Dial: %v, want ErrNotWebTransport", err)
				}
				p.WantIdle("nothing was requested")
			})
		}
	}
	bubble(t, "H2-006 Auto: the latest WT_ENABLED decides, limits do not save it", func(t *testing.T) {
		p, c := greetedAsIs(t, nil, enabled(100))
		defer p.Close()
		defer c.Close()
		for v, want := range []error{transport.ErrNotWebTransport, nil} {
			p.WriteSettings(http2.Setting{ID: 0x2b60, Val: uint32(v)})
			p.WantFrame("acknowledged", h2test.Settings{Ack: true})
			if c.OffersWebTransport() != (want == nil) {
				t.Errorf("WT_ENABLED = %d: OffersWebTransport is %v", v, c.OffersWebTransport())
			}
		}
	})
	for _, tt := range []struct {
		name     string
		dialect  transport.Dialect
		settings []http2.Setting
		sessions int // 0: not bounded by the server
	}{
		{"H2-003 Auto: a value above 1 is a number of sessions", transport.DialectAuto, announced(0x2b60, 2), 2},
		{"H2-003 Auto: also of a server that knows 0x2b66", transport.DialectAuto, announced(0x2b60, 3, 0x2b66, 1), 3},
		{"H2-003 Auto: 1 is none", transport.DialectAuto, announced(0x2b60, 1, 0x2b63, 1), 0},
		{"H2-003 Auto: no value is none", transport.DialectAuto, announced(0x2b63, 1), 0},
		{"H2-003 Legacy: 1 is one", transport.DialectLegacy, announced(0x2b60, 1, 0x2b63, 1), 1},
		{"H2-003 Legacy: 1 is none of a server that knows 0x2b66", transport.DialectLegacy, announced(0x2b60, 1, 0x2b63, 1, 0x2b66, 0), 0},
		{"H2-003 Draft15: 1 is none", transport.DialectDraft15, announced(0x2b60, 1), 0},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			cfg := with(tt.dialect)
			cfg.MaxSessions = 5
			p, c := greetedAsIs(t, cfg, tt.settings)
			defer p.Close()
			defer c.Close()
			most := 5
			if tt.sessions > 0 {
				most = tt.sessions
			}
			var last transport.Session
			id := uint32(1)
			for range most {
				if !c.CanTakeNewSession() {
					t.Fatalf("no session before stream %d", id)
				}
				dial := dialAsync(t.Context(), c, nil)
				p.WantHeaders("CONNECT", id)
				p.WriteHeaders(id, false, ":status", "200")
				s, err := dial.Result()
				if err != nil {
					t.Fatal(err)
				}
				last, id = s, id+2
			}
			if c.CanTakeNewSession() {
				t.Error("another session is possible")
			}
			if _, err := c.Dial(t.Context(), "https://example.com/", nil); !isNotProcessed(err) {
				t.Errorf("one more: %v, want NotProcessedError", err)
			}
			p.WantIdle("it was not requested")
			p.WriteRST(id-2, http2.ErrCodeCancel)
			<-last.Context().Done()
			synctest.Wait()
			if !c.CanTakeNewSession() {
				t.Error("the place of a session that ended is not free")
			}
		})
	}
}

func isNotProcessed(err error) bool {
	_, ok := errors.AsType[*transport.NotProcessedError](err)
	return ok
}

// What a client makes of a server's SETTINGS and answer.
func TestDialectOfClients(t *testing.T) {
	draft15 := enabled(1000)
	fails := announced(0x2b61, 16384, 0x2b62, 16384, 0x2b63, 16384, 0x2b64, 100, 0x2b65, 100)
	const swapped = `"swapped unless the peer's first stream says otherwise"`
	for _, tt := range []struct {
		name     string
		dialect  transport.Dialect
		settings []http2.Setting
		answer   []string
		want     transport.Dialect
		reason   agreementReason
		parity   string
	}{
		{"Auto and an answer", transport.DialectAuto, draft15, []string{"towpath", "1"}, transport.DialectDraft15, reasonRecognised, "draft"},
		{"Auto and no answer", transport.DialectAuto, draft15, nil, transport.DialectAuto, reasonPrior, "draft"},
		{"Auto and another version's answer", transport.DialectAuto, draft15, []string{"towpath", "2"}, transport.DialectAuto, reasonPrior, "draft"},
		{"Auto and no Integer", transport.DialectAuto, draft15, []string{"towpath", "?1"}, transport.DialectAuto, reasonPrior, "draft"},
		{"Auto and two answers", transport.DialectAuto, draft15, []string{"towpath", "1", "towpath", "1"}, transport.DialectAuto, reasonPrior, "draft"},
		{"Auto and a number of sessions", transport.DialectAuto, announced(0x2b60, 5, 0x2b66, 1), nil, transport.DialectLegacy, reasonAnnounced, "draft"},
		{"Auto and no WT_ENABLED, but 0x2b66", transport.DialectAuto, announced(0x2b61, 5, 0x2b66, 1), nil, transport.DialectLegacy, reasonAnnounced, "draft"},
		{"Auto and fails-components", transport.DialectAuto, fails, nil, transport.DialectLegacy, reasonAnnounced, swapped},
		{"Draft15 and an answer", transport.DialectDraft15, draft15, []string{"towpath", "1"}, transport.DialectDraft15, reasonConfigured, "draft"},
		{"Draft15 and no answer", transport.DialectDraft15, draft15, nil, transport.DialectDraft15, reasonConfigured, "draft"},
		{"Legacy and an answer that was not asked for", transport.DialectLegacy, draft15, []string{"towpath", "1"}, transport.DialectLegacy, reasonConfigured, "draft"},
		{"Legacy and settings like fails-components'", transport.DialectLegacy, fails, nil, transport.DialectLegacy, reasonConfigured, "draft"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			var log logBook
			cfg := with(tt.dialect)
			cfg.Session.Logger = log.logger()
			p, c := greetedAsIs(t, cfg, tt.settings)
			defer p.Close()
			defer c.Close()
			dial := dialAsync(t.Context(), c, nil)
			h := p.WantHeaders("CONNECT", 1)
			if asks := strings.HasSuffix(h.Value("webtransport-init"), ", towpath=1"); asks != (tt.dialect != transport.DialectLegacy) || h.Value("towpath") != "" {
				t.Errorf("request %q", h.Fields)
			}
			p.WantIdle("no capsule before the answer")
			p.WriteHeaders(1, false, append([]string{":status", "200"}, tt.answer...)...)
			if _, err := dial.Result(); err != nil {
				t.Fatal(err)
			}
			log.want(t, tt.want, tt.reason, tt.parity)
		})
	}
	bubble(t, "a session's own Config decides, not the connection's", func(t *testing.T) {
		var conn, own logBook
		p, c := greetedAsIs(t, auto(&conn), draft15)
		defer p.Close()
		defer c.Close()
		dial := dialAsync(t.Context(), c, &transport.DialOptions{Config: &transport.Config{Dialect: transport.DialectLegacy, Logger: own.logger()}})
		if h := p.WantHeaders("CONNECT", 1); strings.Contains(h.Value("webtransport-init"), "towpath") {
			t.Errorf("request %q", h.Fields)
		}
		p.WriteHeaders(1, false, ":status", "200", "towpath", "1")
		if _, err := dial.Result(); err != nil {
			t.Fatal(err)
		}
		own.want(t, transport.DialectLegacy, reasonConfigured, "draft")
		if got := conn.lines("session dialect"); got != nil {
			t.Errorf("the connection's log has %q", got)
		}
	})
}

// What a server makes of a client's SETTINGS and request.
func TestDialectOfServers(t *testing.T) {
	draft15 := wtLimits(1000)
	fails := announced(0x2b61, 16384, 0x2b62, 16384, 0x2b63, 16384, 0x2b64, 100, 0x2b65, 100)
	const learn, swapped = `"learnt from the first stream"`, `"swapped unless the peer's first stream says otherwise"`
	const key = "u=1, bl=1, br=1, towpath=1"
	for _, tt := range []struct {
		name     string
		dialect  transport.Dialect
		settings []http2.Setting
		fields   []string
		answers  bool
		want     transport.Dialect
		reason   agreementReason
		parity   string
	}{
		{"Auto and the key", transport.DialectAuto, draft15, []string{"webtransport-init", key}, true, transport.DialectDraft15, reasonRecognised, "draft"},
		{"Auto and the key beside old settings", transport.DialectAuto, fails, []string{"webtransport-init", key}, true, transport.DialectDraft15, reasonRecognised, "draft"},
		{"Auto and no key", transport.DialectAuto, draft15, []string{"webtransport-init", "u=1"}, false, transport.DialectAuto, reasonPrior, learn},
		{"Auto and nothing", transport.DialectAuto, nil, nil, false, transport.DialectAuto, reasonPrior, learn},
		{"H2-077 Auto and another version's key", transport.DialectAuto, draft15, []string{"webtransport-init", "towpath=2"}, false, transport.DialectAuto, reasonPrior, learn},
		{"H2-077 Auto and a malformed key", transport.DialectAuto, draft15, []string{"webtransport-init", `towpath=(1 "x")`}, false, transport.DialectAuto, reasonPrior, learn},
		{"Auto and a response field in the request", transport.DialectAuto, draft15, []string{"towpath", "1"}, false, transport.DialectAuto, reasonPrior, learn},
		{"H2-009 Auto and a client with WT_ENABLED", transport.DialectAuto, announced(0x2b60, 1, 0x2b61, 16384), nil, false, transport.DialectLegacy, reasonAnnounced, learn},
		{"H2-009 Auto and a client with WT_ENABLED, but 0x2b66", transport.DialectAuto, append(announced(0x2b60, 1), draft15...), nil, false, transport.DialectAuto, reasonPrior, learn},
		{"Auto and settings of fails-components", transport.DialectAuto, fails, nil, false, transport.DialectAuto, reasonPrior, swapped},
		{"Auto and fields of fails-components", transport.DialectAuto, fails, []string{"authority", "example.com"}, false, transport.DialectLegacy, reasonAnnounced, "swapped"},
		{"Auto and Firefox", transport.DialectAuto, nil, []string{"sec-webtransport-http3-draft02", "1"}, false, transport.DialectLegacy, reasonAnnounced, learn},
		{"no dialect and the key", 200, draft15, []string{"webtransport-init", key}, true, transport.DialectDraft15, reasonRecognised, "draft"},
		{"no dialect and no key", 200, draft15, nil, false, transport.DialectAuto, reasonPrior, learn},
		{"Draft15 and the key", transport.DialectDraft15, draft15, []string{"webtransport-init", key}, true, transport.DialectDraft15, reasonConfigured, "draft"},
		{"Draft15 and no key", transport.DialectDraft15, draft15, nil, false, transport.DialectDraft15, reasonConfigured, "draft"},
		{"Draft15 and fails-components", transport.DialectDraft15, fails, []string{"authority", "example.com"}, false, transport.DialectDraft15, reasonConfigured, "draft"},
		{"Legacy and the key", transport.DialectLegacy, draft15, []string{"webtransport-init", key}, false, transport.DialectLegacy, reasonConfigured, "draft"},
		{"Legacy and fails-components", transport.DialectLegacy, fails, []string{"authority", "example.com"}, false, transport.DialectLegacy, reasonConfigured, "draft"},
	} {
		for _, own := range []bool{false, true} {
			name := tt.name
			if own {
				name += ", in the session's own Config"
			}
			bubble(t, name, func(t *testing.T) {
				var log, other logBook
				cfg, opts := with(tt.dialect), new(transport.UpgradeOptions)
				cfg.Session.Logger = log.logger()
				if own {
					opts.Config, cfg = cfg.Session, with(transport.DialectLegacy)
					cfg.Session.Logger = other.logger()
				}
				h, up := upgradeHandler(opts)
				srv := newServerAsIs(t, h, cfg)
				defer srv.stop()
				p, _ := srv.peer(tt.settings...)
				defer p.Close()
				p.WriteHeaders(1, false, connectFields(tt.fields...)...)
				answer := map[bool]string{true: "1"}[tt.answers]
				if got := wantStatus(t, p, 1, "200", false); got.Value("towpath") != answer {
					t.Errorf("answer %q, want %q", got.Fields, answer)
				}
				if a := <-up; a.err != nil {
					t.Fatal(a.err)
				}
				log.want(t, tt.want, tt.reason, tt.parity)
				if got := other.lines("session dialect"); got != nil {
					t.Errorf("the connection's log has %q", got)
				}
			})
		}
	}
	bubble(t, "H2-076 another key that is wrong is an error all the same", func(t *testing.T) {
		h, _ := upgradeHandler(nil)
		srv := newServerAsIs(t, h, nil)
		defer srv.stop()
		p, _ := srv.peer(draft15...)
		defer p.Close()
		p.WriteHeaders(1, false, connectFields("webtransport-init", "towpath=1, u=x")...)
		if got := wantReject(t, p, 1, "400"); got.Value("towpath") != "" {
			t.Errorf("response %q", got.Fields)
		}
	})
	bubble(t, "the application cannot set the field", func(t *testing.T) {
		h, up := upgradeHandler(&transport.UpgradeOptions{Header: http.Header{"Towpath": {"1"}}})
		srv := newServerAsIs(t, h, nil)
		defer srv.stop()
		p, _ := srv.peer(draft15...)
		defer p.Close()
		p.WriteHeaders(1, false, connectFields()...)
		wantReject(t, p, 1, "500")
		if a := <-up; a.err == nil {
			t.Error("Upgrade succeeded")
		}
	})
}

// Two endpoints of this package, whatever they are set to, as far as a dialect is
// common to them; what goes over the wire is seen in the clear.
func TestDialectBetweenTowpaths(t *testing.T) {
	for _, tt := range []struct {
		client, server transport.Dialect
		old            bool // the older drafts' types are on the wire
	}{
		{transport.DialectAuto, transport.DialectAuto, false},
		{transport.DialectAuto, transport.DialectDraft15, false},
		{transport.DialectDraft15, transport.DialectAuto, false},
		{transport.DialectDraft15, transport.DialectDraft15, false},
		{transport.DialectAuto, transport.DialectLegacy, true},
		{transport.DialectLegacy, transport.DialectAuto, true},
		{transport.DialectLegacy, transport.DialectLegacy, true},
	} {
		bubble(t, fmt.Sprintf("H2-110 client %v, server %v", tt.client, tt.server), func(t *testing.T) {
			h, up := upgradeHandler(nil)
			srv := newServerAsIs(t, h, with(tt.server))
			defer srv.stop()
			var seen tap
			c, err := NewClientConn(t.Context(), seen.dial(t, srv), with(tt.client))
			if err != nil {
				t.Fatal(err)
			}
			s, err := c.Dial(t.Context(), "https://example.com/", nil)
			if err != nil {
				t.Fatal(err)
			}
			a := <-up
			if a.err != nil {
				t.Fatal(a.err)
			}
			for _, ends := range [][2]transport.Session{{s, a.s}, {a.s, s}} {
				st, err := ends[0].OpenStream(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				io.WriteString(st, "hello")
				synctest.Wait() // so that data and end are two capsules
				if err := st.Close(); err != nil {
					t.Fatal(err)
				}
				in, err := ends[1].AcceptStream(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if b, err := io.ReadAll(in); string(b) != "hello" || err != nil {
					t.Errorf("ReadAll = %q, %v", b, err)
				}
				io.WriteString(in, "back")
				synctest.Wait()
				in.Close()
				if b, err := io.ReadAll(st); string(b) != "back" || err != nil {
					t.Errorf("ReadAll of the answer = %q, %v", b, err)
				}
			}
			synctest.Wait()
			wantUp, wantDown := `99 0b 4d 3c 06 00 "hello" 99 0b 4d 3b 01 00`, `99 0b 4d 3c 05 00 "back" 99 0b 4d 3b 01 00`
			if tt.old {
				wantUp, wantDown = `99 0b 4d 3b 01 00 99 0b 4d 3b 06 00 "hello" 99 0b 4d 3c 01 00`, `99 0b 4d 3b 05 00 "back" 99 0b 4d 3c 01 00`
			}
			if got := seen.data(t, true); !strings.HasPrefix(got, unhex(t, wantUp)) {
				t.Errorf("from the client came\n% x, want it to begin with\n%s", got, wantUp)
			}
			if got := seen.data(t, false); !strings.Contains(got, unhex(t, wantDown)) {
				t.Errorf("from the server came\n% x, want in it\n%s", got, wantDown)
			}
			s.CloseWithError(0, "")
			c.Close()
			seen.done.Wait()
		})
	}
}
