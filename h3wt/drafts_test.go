package h3wt

import (
	"context"
	"errors"
	"testing"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// announced are settings that announce these values of each range, the newest
// first.
func announced(values ...uint64) PeerSettings {
	p := PeerSettings{ExtendedConnect: true, Datagrams: true, QUICDatagrams: true, ResetStreamAt: true}
	for i, set := range []*uint64{&p.Enabled, &p.MaxSessions, &p.Draft07, &p.Draft02} {
		if i < len(values) {
			*set = values[i]
		}
	}
	return p
}

func TestDraftInUse(t *testing.T) {
	for _, v := range []struct {
		name     string
		settings PeerSettings
		min      Draft
		server   Draft // in use with a server that sent them; 0 is none
		client   Draft // with a client
	}{
		{"all", announced(1, 1, 1, 1), Draft02, Draft15, Draft15},
		{"13 and older", announced(0, 1, 1, 1), Draft02, Draft13, Draft13},
		{"07 and older", announced(0, 0, 16, 1), Draft02, Draft07, Draft07},
		{"02", announced(0, 0, 0, 1), Draft02, Draft02, Draft02},
		{"none", announced(), Draft02, 0, Draft07},
		{"02, from 07 on", announced(0, 0, 0, 1), Draft07, 0, Draft07},
		{"07 and older, from 13 on", announced(0, 0, 1, 1), Draft13, 0, 0},
		{"13, from 14 on", announced(0, 1, 1, 1), 14, Draft13, Draft13},
		{"13, from 15 on", announced(0, 1, 1, 1), Draft15, 0, 0},
		{"all, from 15 on", announced(1, 1, 1, 1), Draft15, Draft15, Draft15},
		{"all, from one on that does not exist", announced(1, 1, 1, 1), 99, Draft15, Draft15},
		{"none, from 15 on", announced(), Draft15, 0, 0},
	} {
		t.Run("H3-009 the highest draft in common: "+v.name, func(t *testing.T) {
			for _, role := range []struct {
				name  string
				rules func(Draft) (*draftRules, string)
				want  Draft
			}{{"server", v.settings.serverRules, v.server}, {"client", v.settings.clientRules, v.client}} {
				r, why := role.rules(v.min)
				if (r == nil) != (role.want == 0) || (why == "") != (role.want != 0) || r != nil && r.draft != role.want {
					t.Errorf("%s: %+v, %q, want %v", role.name, r, why, role.want)
				}
			}
		})
	}
	t.Run("H3-009 each range announces itself", func(t *testing.T) {
		for _, min := range []Draft{Draft02, Draft07, Draft13, Draft15} {
			c := (&Config{MinDraft: min}).settle()
			s := c.settings()
			for i := range drafts {
				r := &drafts[i]
				if v, ok := s[r.setting]; ok != (r.draft >= min) || ok && v == 0 {
					t.Errorf("from %v on, setting %#x is %d, %v", min, r.setting, v, ok)
				}
			}
		}
		// Draft 13 takes 1 for no flow control.
		for n, want := range map[int]uint64{1: 2, 2: 2, 7: 7} {
			c := (&Config{MaxSessions: n}).settle()
			if got := c.settings()[settingMaxSessions]; got != want {
				t.Errorf("for %d sessions %d are announced, want %d", n, got, want)
			}
		}
	})
	t.Run("the table is in order", func(t *testing.T) {
		next := Draft(17)
		for _, r := range drafts {
			if r.draft > Draft(r.last) || Draft(r.last) >= next || r.setting == 0 || r.name == "" || r.token == "" {
				t.Errorf("%v: %+v", r.draft, r)
			}
			next = r.draft
		}
		if got := Draft13.String(); got != "drafts 13 to 14" {
			t.Errorf("Draft13 is %q", got)
		}
		if got := Draft(3).String(); got != "no draft" {
			t.Errorf("an unknown draft is %q", got)
		}
	})
	t.Run("H3-004 flags above 1", func(t *testing.T) {
		for _, v := range []struct {
			p              PeerSettings
			min            Draft
			client, server bool // invalid to a client, to a server
		}{
			{announced(2), Draft02, true, false}, // drafts 15 and 16 let a client send any
			{announced(1, 0, 0, 2), Draft02, true, true},
			{announced(1, 0, 0, 2), Draft07, false, false}, // an unknown setting
			{announced(1, 5, 5, 1), Draft02, false, false},
		} {
			if got := v.p.invalid(v.min, false) != ""; got != v.client {
				t.Errorf("%+v from %v on: invalid to a client %v", v.p, v.min, got)
			}
			if got := v.p.invalid(v.min, true) != ""; got != v.server {
				t.Errorf("%+v from %v on: invalid to a server %v", v.p, v.min, got)
			}
		}
	})
}

func TestMinDraft(t *testing.T) {
	strict := &Config{MinDraft: Draft15}
	bubble(t, "H3-009 a strict server announces no older draft and refuses its clients", func(t *testing.T) {
		h, accepted := serveRaw(t, strict, nil)
		defer h.stop()
		qc := h.dialQUIC(fullQUIC)
		other := receivedSettings(t, qc).Other
		qc.CloseWithError(0x100, "")
		for _, id := range []uint64{settingMaxSessions, settingDraft07, settingDraft02} {
			if v, ok := other[id]; ok {
				t.Errorf("setting %#x is announced: %d", id, v)
			}
		}
		if other[settingEnabled] != 1 {
			t.Error("WT_ENABLED is not announced")
		}
		for _, p := range recordedClients {
			if p.setting(settingEnabled) != 0 {
				continue
			}
			c := h.rawDial(p.quic(), p.settings...)
			c.wantAborted(c.request(connectHeaders(protocolH3, p.fields...)), 0x10e)
			c.close()
		}
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		c.wantStatus(c.request(connectHeaders(protocolLegacy)), 501)
		c.accepted()
		<-accepted
		if len(accepted) > 0 {
			t.Error("another session was accepted")
		}
	})
	for _, p := range recordedServers {
		if p.setting(settingEnabled) != 0 {
			continue
		}
		bubble(t, "H3-005 H3-009 a strict client refuses the server "+p.name, func(t *testing.T) {
			srv := rawListen(t, p.quic())
			defer srv.stop()
			client, c := srv.connect(strict)
			c.control(p.settings...)
			if _, err := NewClientConn(context.Background(), client, strict); !errors.Is(err, transport.ErrNotWebTransport) {
				t.Errorf("NewClientConn: %v, want ErrNotWebTransport", err)
			}
			c.wantClosed(codeRequirementsNotMet)
		})
	}
	bubble(t, "H3-004 ENABLE_WEBTRANSPORT of 2, at a server", func(t *testing.T) {
		h, _ := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, 0x33, 1, settingDraft02, 2)
		c.request(connectHeaders(protocolLegacy))
		c.wantClosed(0x109)
	})
}

func TestOneSession(t *testing.T) {
	// Two sessions are announced, so that draft 13 has flow control on.
	bubble(t, "H3-045 a server for one session refuses a second of drafts 13 and 14", func(t *testing.T) {
		h, accepted := serveRaw(t, &Config{MaxSessions: 1}, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, 0x33, 1, settingMaxSessions, 16)
		defer c.close()
		str := c.request(connectHeaders(protocolLegacy))
		c.wantStatus(str, 200)
		s := <-accepted
		if _, err := s.OpenStream(canceled); !errors.Is(err, transport.ErrStreamLimit) {
			t.Errorf("OpenStream without credit: %v", err)
		}
		c.wantAborted(c.request(connectHeaders(protocolLegacy)), 0x10b)
		c.wantOpen()
	})
}

// What a limit does that does not raise the one in force depends on the draft.
func TestLimitsByDraft(t *testing.T) {
	pooled := []uint64{0x33, 1, settingInitialMaxData, 1000, settingInitialMaxStreamsBidi, 10, settingInitialMaxStreamsUni, 10}
	with := func(more ...uint64) []uint64 { return append(append([]uint64(nil), pooled...), more...) }
	same := []capsule.Capsule{capsule.MaxData{MaximumData: 1000}, capsule.MaxStreams{MaximumStreams: 10}, capsule.MaxStreams{Uni: true, MaximumStreams: 10}}
	lower := []capsule.Capsule{capsule.MaxData{MaximumData: 999}, capsule.MaxStreams{MaximumStreams: 9}, capsule.MaxStreams{Uni: true, MaximumStreams: 9}}
	for _, v := range []struct {
		name        string
		settings    []uint64
		token       string
		same, lower bool // end the session
	}{
		{"H3-052 drafts 15 and 16", with(settingEnabled, 1), protocolH3, true, true},
		{"drafts 13 and 14", with(settingMaxSessions, 4), protocolLegacy, false, true},
		{"draft 12", with(), protocolLegacy, false, false},
	} {
		try := func(what string, capsules []capsule.Capsule, fatal bool) {
			for _, one := range capsules {
				bubble(t, v.name+": "+what+", "+one.Type().String(), func(t *testing.T) {
					h, accepted := serveRaw(t, nil, nil)
					defer h.stop()
					c := h.rawDial(fullQUIC, v.settings...)
					defer c.close()
					str := c.request(connectHeaders(v.token))
					c.wantStatus(str, 200)
					s := <-accepted
					c.capsules(str, one)
					if fatal {
						wantViolation(t, s, transport.ViolationFlowControl)
						c.wantStopped(str, codeFlowControl)
						return
					}
					c.capsules(str, capsule.DrainSession{})
					<-s.Draining() // what followed was read
					if err := context.Cause(s.Context()); err != nil {
						t.Fatalf("the session ended: %v", err)
					}
					// The limit in force stays.
					for range 10 {
						if _, err := s.OpenStream(canceled); err != nil {
							t.Fatalf("OpenStream: %v", err)
						}
					}
					if _, err := s.OpenStream(canceled); !errors.Is(err, transport.ErrStreamLimit) {
						t.Fatalf("the 11th OpenStream: %v", err)
					}
				})
			}
		}
		try("the same limit again", same, v.same)
		try("a lower limit", lower, v.lower)
	}
}

// Drafts 10 to 12 write application protocols as Tokens, the others as Strings.
func TestProtocolsByDraft(t *testing.T) {
	for _, v := range []struct {
		name     string
		settings []uint64
		token    string
		offer    string
		answer   string // "" is none
	}{
		{"Tokens of draft 12", []uint64{0x33, 1}, protocolLegacy, "a, b", "b"},
		{"Strings of a client that announces nothing", []uint64{0x33, 1}, protocolLegacy, `"a", "b"`, `"b"`},
		{"Strings of draft 02", []uint64{0x33, 1, settingDraft02, 1}, protocolLegacy, `"a", "b"`, `"b"`},
		{"H3-019 Tokens of drafts 13 and 14", []uint64{0x33, 1, settingMaxSessions, 1}, protocolLegacy, "a, b", ""},
		{"H3-019 Tokens of drafts 15 and 16", modernSettings, protocolH3, "a, b", ""},
	} {
		bubble(t, v.name+", at a server", func(t *testing.T) {
			h, accepted := serveRaw(t, nil, &transport.UpgradeOptions{Protocols: []string{"b", "c"}})
			defer h.stop()
			c := h.rawDial(fullQUIC, v.settings...)
			defer c.close()
			str := c.request(connectHeaders(v.token, "wt-available-protocols", v.offer))
			_, block := c.readFrame(str)
			s := <-accepted
			want := ""
			if v.answer != "" {
				want = "b"
			}
			if got := s.Info().ApplicationProtocol; got != want {
				t.Errorf("the protocol is %q, want %q", got, want)
			}
			for _, value := range []string{"b", `"b"`} {
				if got := hasField(block, "wt-protocol", value); got != (value == v.answer) {
					t.Errorf("answered with %s: %v", value, got)
				}
			}
		})
	}
	for _, v := range []struct {
		name     string
		settings []uint64
		answer   string
		want     string
	}{
		{"a Token of draft 12", []uint64{0x33, 1, 0x8, 1, settingDraft07, 1}, "b", "b"},
		{"a Token of draft 12 that was not offered", []uint64{0x33, 1, 0x8, 1, settingDraft07, 1}, "c", ""},
		{"a String of draft 07", []uint64{0x33, 1, 0x8, 1, settingDraft07, 1}, `"b"`, "b"},
		{"H3-019 a Token of drafts 15 and 16", serverSettings, "b", ""},
	} {
		bubble(t, v.name+", at a client", func(t *testing.T) {
			srv := rawListen(t, fullQUIC)
			defer srv.stop()
			cc, c := srv.client(nil, v.settings...)
			defer cc.Close()
			done := dialing(cc, &transport.DialOptions{Protocols: []string{"a", "b"}})
			str, _ := c.acceptRequest()
			c.answer(str, ":status", "200", "wt-protocol", v.answer)
			d := <-done
			if d.err != nil {
				t.Fatalf("Dial: %v", d.err)
			}
			if got := d.s.Info().ApplicationProtocol; got != v.want {
				t.Errorf("the protocol is %q, want %q", got, v.want)
			}
		})
	}
}
