package h2wt

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/transport"
)

// wtLimits are a client's SETTINGS with the same value for each limit.
func wtLimits(v uint32) []http2.Setting {
	var s []http2.Setting
	for _, id := range []http2.SettingID{0x2b61, 0x2b62, 0x2b63, 0x2b64, 0x2b65, 0x2b66} {
		s = append(s, http2.Setting{ID: id, Val: v})
	}
	return s
}

// connectFields are those of a WebTransport CONNECT. More are names and values;
// a name that is there already is replaced, and left out if the value is "-".
func connectFields(more ...string) []string {
	fields := []string{
		":method", "CONNECT",
		":protocol", "webtransport",
		":scheme", "https",
		":authority", "example.com",
		":path", "/wt",
	}
	for i := 0; i < len(more); i += 2 {
		at := -1
		for j := 0; j < len(fields); j += 2 {
			if fields[j] == more[i] {
				at = j
			}
		}
		switch {
		case more[i+1] == "-":
			fields = slices.Delete(fields, at, at+2)
		case at >= 0:
			fields[at+1] = more[i+1]
		default:
			fields = append(fields, more[i], more[i+1])
		}
	}
	return fields
}

// wantStatus wants a response with that status.
func wantStatus(t testing.TB, p *h2test.Peer, id uint32, status string, end bool) h2test.Headers {
	t.Helper()
	h := p.WantHeaders("the response", id)
	if h.Value(":status") != status || h.EndStream != end {
		t.Fatalf("stream %d: response %v, want status %s, END_STREAM %v", id, h, status, end)
	}
	return h
}

// wantReject wants a rejection: a final response without content, and then
// NO_ERROR, which asks the client to stop sending.
func wantReject(t testing.TB, p *h2test.Peer, id uint32, status string) h2test.Headers {
	t.Helper()
	h := wantStatus(t, p, id, status, true)
	p.WantRST("the client is to stop sending", id, http2.ErrCodeNo)
	return h
}

func TestServerSettings(t *testing.T) {
	bubble(t, "H2-001 H2-002 H2-011 H2-008 FW-02 first SETTINGS announce WebTransport and all limits", func(t *testing.T) {
		h, _ := upgradeHandler(nil)
		srv := newServer(t, h, &Config{Session: &transport.Config{
			InitialSessionWindow: 1 << 40, InitialStreamWindow: 100_000,
			MaxIncomingStreams: 7, MaxIncomingUniStreams: -1,
		}})
		defer srv.stop()
		p, got := srv.peer()
		defer p.Close()
		want := map[http2.SettingID]uint32{
			0x8: 1, 0x2b60: 1, 0x9: 1,
			0x3:    DefaultMaxConcurrentStreams,
			0x2b61: 1<<32 - 1, // cut to what a setting can say
			0x2b62: 100_000, 0x2b63: 100_000, 0x2b66: 100_000,
			0x2b64: 0, 0x2b65: 7,
		}
		for id, v := range want {
			if g, ok := got.Value(id); !ok || g != v {
				t.Errorf("setting %#x = %d, %v, want %d", uint16(id), g, ok, v)
			}
		}
	})
	bubble(t, "H2-009 a client's WT_ENABLED is ignored", func(t *testing.T) {
		h, up := upgradeHandler(nil)
		srv := newServer(t, h, nil)
		defer srv.stop()
		p, _ := srv.peer(http2.Setting{ID: 0x2b60, Val: 100})
		defer p.Close()
		p.WriteHeaders(1, false, connectFields()...)
		wantStatus(t, p, 1, "200", false)
		if a := <-up; a.err != nil {
			t.Error(a.err)
		}
	})
	bubble(t, "H2-007 H2-073 a server that has withdrawn WT_ENABLED", func(t *testing.T) {
		h, up := upgradeHandler(nil)
		srv := newServer(t, h, nil)
		defer srv.stop()
		p, _ := srv.peer(wtLimits(100)...)
		defer p.Close()
		p.WriteHeaders(1, false, connectFields()...)
		wantStatus(t, p, 1, "200", false)
		for c := range srv.srv.conns {
			if err := c.h2.UpdateSettings(http2.Setting{ID: 0x2b60, Val: 0}); err != nil {
				t.Fatal(err)
			}
		}
		p.WantFrame("withdrawn", h2test.Settings{Settings: []http2.Setting{{ID: 0x2b60, Val: 0}}})
		p.WriteHeaders(3, false, connectFields()...)
		wantStatus(t, p, 3, "200", false) // not acknowledged yet
		p.WriteSettingsAck()
		p.WriteHeaders(5, false, connectFields()...)
		wantReject(t, p, 5, "501")
		if err := (<-up).s.SendDatagram([]byte("hi")); err != nil {
			t.Error(err)
		}
		p.WantData("a running session goes on", 1, false, "\x00\x02hi")
	})
	bubble(t, "H2-008 ENABLE_CONNECT_PROTOCOL of a client above 1 ends the connection", func(t *testing.T) {
		srv := newServer(t, http.NotFoundHandler(), nil)
		defer srv.stop()
		p, _ := srv.peer()
		defer p.Close()
		p.WriteSettings(http2.Setting{ID: 0x8, Val: 2})
		p.WantConnError("the value is not valid", http2.ErrCodeProtocol)
	})
}

func TestServerMalformedConnect(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fields []string
	}{
		{"H2-024 no :scheme", connectFields(":scheme", "-")},
		{"H2-024 empty :scheme", connectFields(":scheme", "")},
		{"H2-024 :scheme http", connectFields(":scheme", "http")},
		{"H2-024 no :authority", connectFields(":authority", "-")},
		{"H2-024 empty :authority", connectFields(":authority", "")},
		{"H2-024 no :path", connectFields(":path", "-")},
		{"H2-024 empty :path", connectFields(":path", "")},
		{"H2-024 :protocol without CONNECT", connectFields(":method", "GET")},
		{"H2-024 empty :protocol", connectFields(":protocol", "")},
		{"H2-024 no :method", connectFields(":method", "-")},
		{"H2-024 repeated :path", append([]string{":path", "/a"}, connectFields()...)},
		{"H2-024 repeated :protocol", append([]string{":protocol", "webtransport"}, connectFields()...)},
		{"H2-024 unknown pseudo field", append([]string{":foo", "x"}, connectFields()...)},
		{"H2-030 content-length", connectFields("content-length", "0")},
		{"H2-030 content-type", connectFields("content-type", "text/plain")},
		{"H2-030 transfer-encoding", connectFields("transfer-encoding", "chunked")},
		{"H2-030 connection", connectFields("connection", "close")},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			h, up := upgradeHandler(nil)
			srv := newServer(t, h, nil)
			defer srv.stop()
			p, _ := srv.peer()
			defer p.Close()
			p.WriteHeaders(1, false, tt.fields...)
			p.WantRST("malformed", 1, http2.ErrCodeProtocol)
			select {
			case <-up:
				t.Error("the handler ran")
			default:
			}
			p.WriteHeaders(3, false, connectFields()...)
			wantStatus(t, p, 3, "200", false)
		})
	}
}

// opaqueWriter is middleware's, without Unwrap.
type opaqueWriter struct{ http.ResponseWriter }

func TestUpgradeSaysWhatHidesTheWriter(t *testing.T) {
	for method, says := range map[string]string{"CONNECT": "Unwrap() http.ResponseWriter", "GET": "does not ask for"} {
		rec := httptest.NewRecorder()
		_, err := Upgrade(opaqueWriter{rec}, httptest.NewRequest(method, "https://example.com/", nil), nil)
		if err == nil || !strings.Contains(err.Error(), says) || rec.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: status %d, %v", method, rec.Code, err)
		}
	}
}

func TestServerDecisions(t *testing.T) {
	type step struct {
		name   string
		fields []string
		opts   *transport.UpgradeOptions
		status string
	}
	for _, tt := range []step{
		{"H2-026 unknown :protocol", connectFields(":protocol", "foo"), nil, "501"},
		{"H2-026 :protocol webtransport-h3", connectFields(":protocol", "webtransport-h3"), nil, "501"},
		{"H2-028 H2-027 wrong origin", connectFields("origin", "https://evil.example"), nil, "403"},
		{"H2-028 H2-027 an origin without a scheme", connectFields("origin", "example.com"), nil, "403"},
		{"H2-028 H2-027 null origin", connectFields("origin", "null"), nil, "403"},
		{"H2-028 H2-027 CheckOrigin alone decides", connectFields("origin", "https://example.com"),
			&transport.UpgradeOptions{Origins: []string{"*"}, CheckOrigin: func(*http.Request) bool { return false }}, "403"},
		{"H2-076 WebTransport-Init with a String", connectFields("webtransport-init", `u="1"`), nil, "400"},
		{"H2-076 WebTransport-Init without value", connectFields("webtransport-init", `u=`), nil, "400"},
		{"H2-076 WebTransport-Init with a bare key", connectFields("webtransport-init", `bl`), nil, "400"},
		{"H2-054 FW-08 no offer fits", connectFields("wt-available-protocols", `"x"`),
			&transport.UpgradeOptions{Protocols: []string{"a"}, RequireProtocol: true}, "400"},
		{"H2-054 no offer", connectFields(), &transport.UpgradeOptions{Protocols: []string{"a"}, RequireProtocol: true}, "400"},
		{"H2-029 status 204", connectFields(), &transport.UpgradeOptions{StatusCode: 204}, "500"},
		{"H2-029 status 205", connectFields(), &transport.UpgradeOptions{StatusCode: 205}, "500"},
		{"H2-029 status 206", connectFields(), &transport.UpgradeOptions{StatusCode: 206}, "500"},
		{"H2-029 status 404", connectFields(), &transport.UpgradeOptions{StatusCode: 404}, "500"},
		{"H2-030 content-type on the response", connectFields(), &transport.UpgradeOptions{Header: http.Header{"Content-Type": {"x"}}}, "500"},
		{"H2-027 a pattern that is none", connectFields(), &transport.UpgradeOptions{Origins: []string{"[x"}}, "500"},
		{"H2-050 a protocol that is none", connectFields(), &transport.UpgradeOptions{Protocols: []string{"é"}}, "500"},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			h, up := upgradeHandler(tt.opts)
			srv := newServer(t, h, nil)
			defer srv.stop()
			p, _ := srv.peer(wtLimits(100)...)
			defer p.Close()
			p.WriteHeaders(1, false, tt.fields...)
			wantReject(t, p, 1, tt.status)
			select {
			case a := <-up:
				if a.err == nil {
					t.Error("Upgrade returned no error")
				}
			default:
				if tt.status != "501" {
					t.Error("the handler did not run")
				}
			}
		})
	}
	bubble(t, "H2-025 H3-011 a handler that does not upgrade", func(t *testing.T) {
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/nothing" {
				return
			}
			if n, err := w.Write([]byte("hello")); n != 0 || err != http.ErrBodyNotAllowed {
				t.Errorf("Write = %d, %v", n, err)
			}
		}), nil)
		defer srv.stop()
		p, _ := srv.peer()
		defer p.Close()
		p.WriteHeaders(1, false, connectFields()...)
		wantReject(t, p, 1, "405")
		p.WriteHeaders(3, false, connectFields(":path", "/nothing")...)
		wantReject(t, p, 3, "405")
	})
	bubble(t, "H2-025 any other answer passes", func(t *testing.T) {
		srv := newServer(t, http.NotFoundHandler(), nil)
		defer srv.stop()
		p, _ := srv.peer()
		defer p.Close()
		p.WriteHeaders(1, false, connectFields()...)
		wantStatus(t, p, 1, "404", false)
		if got := wantContent(t, p); got != "404 page not found\n" {
			t.Errorf("content %q", got)
		}
		p.WantRST("the client is to stop sending", 1, http2.ErrCodeNo)
	})
	bubble(t, "H2-037 END_STREAM on the request", func(t *testing.T) {
		h, _ := upgradeHandler(nil)
		srv := newServer(t, h, nil)
		defer srv.stop()
		p, _ := srv.peer()
		defer p.Close()
		p.WriteHeaders(1, true, connectFields()...)
		wantStatus(t, p, 1, "400", true)
		p.WantIdle("both sides have ended")
	})
	bubble(t, "H2-042 more sessions than MaxSessions", func(t *testing.T) {
		h, up := upgradeHandler(nil)
		srv := newServer(t, h, &Config{MaxSessions: 2})
		defer srv.stop()
		p, _ := srv.peer(wtLimits(100)...)
		defer p.Close()
		p.WriteHeaders(1, false, connectFields()...)
		wantStatus(t, p, 1, "200", false)
		p.WriteHeaders(3, false, connectFields()...)
		wantStatus(t, p, 3, "200", false)
		p.WriteHeaders(5, false, connectFields()...)
		wantReject(t, p, 5, "429")
		// One that has ended makes room.
		a := <-up
		closed := h2test.RunAsync(func() (int, error) { return 0, a.s.CloseWithError(0, "") })
		p.WantData("close", 1, true, "\x68\x43\x04\x00\x00\x00\x00")
		p.WriteData(1, true, "")
		closed.Result()
		p.WriteHeaders(7, false, connectFields()...)
		wantStatus(t, p, 7, "200", false)
	})
	bubble(t, "H2-041 BP-031 more streams than MaxConcurrentStreams", func(t *testing.T) {
		h, _ := upgradeHandler(nil)
		srv := newServer(t, h, &Config{MaxConcurrentStreams: 2})
		defer srv.stop()
		p, _ := srv.peer(wtLimits(100)...)
		defer p.Close()
		p.WriteHeaders(1, false, connectFields()...)
		wantStatus(t, p, 1, "200", false)
		p.WriteHeaders(3, false, connectFields()...)
		wantStatus(t, p, 3, "200", false)
		p.WriteHeaders(5, false, connectFields()...)
		p.WantRST("one too many", 5, http2.ErrCodeRefusedStream)
	})
	bubble(t, "H2-043 a stream that reached a handler is not refused", func(t *testing.T) {
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }), nil)
		defer srv.stop()
		p, _ := srv.peer()
		defer p.Close()
		p.WriteHeaders(1, false, connectFields()...)
		p.WantRST("the handler panicked", 1, http2.ErrCodeInternal)
	})
	bubble(t, "DS-20 H2-042 a handler that does not decide", func(t *testing.T) {
		var cause error
		done := make(chan error)
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			cause = r.Context().Err()
			_, err := Upgrade(w, r, nil)
			done <- err
		}), &Config{UpgradeTimeout: 5 * time.Second, KeepAlive: -1})
		defer srv.stop()
		p, _ := srv.peer()
		defer p.Close()
		p.WriteHeaders(1, false, connectFields()...)
		p.WriteData(1, false, "\x99\x0b\x4d\x3c\x01\x02")
		p.WantIdle("the handler has time")
		start := time.Now()
		if err := <-done; err == nil {
			t.Error("Upgrade after the answer returned no error")
		}
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("answered after %v", d)
		}
		if cause == nil {
			t.Error("the request's context did not end")
		}
		wantReject(t, p, 1, "503")
	})
	bubble(t, "H2-025 Upgrade of an ordinary request", func(t *testing.T) {
		h, up := upgradeHandler(nil)
		srv := newServer(t, h, nil)
		defer srv.stop()
		p, _ := srv.peer()
		defer p.Close()
		p.WriteHeaders(1, true, ":method", "GET", ":scheme", "https", ":authority", "example.com", ":path", "/")
		wantStatus(t, p, 1, "405", true)
		if a := <-up; a.err == nil {
			t.Error("Upgrade returned no error")
		}
	})
}

func TestServerAccepts(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fields []string
		opts   *transport.UpgradeOptions
		status string
		proto  string // wt-protocol
		app    string
	}{
		{"H2-020 H2-029 plainly", connectFields(), nil, "200", "", ""},
		{"H2-029 with another 2xx", connectFields(), &transport.UpgradeOptions{StatusCode: 299}, "299", "", ""},
		{"H2-027 same origin", connectFields("origin", "https://example.com:443"), nil, "200", "", ""},
		{"H2-027 FW-06 listed origin", connectFields("origin", "https://a.b.example"), &transport.UpgradeOptions{Origins: []string{"*.b.example"}}, "200", "", ""},
		{"H2-027 an origin without a scheme where that is allowed", connectFields("origin", "example.com"),
			&transport.UpgradeOptions{AllowOriginWithoutScheme: true}, "200", "", ""},
		{"H2-051 H2-050 the client's first offer that fits", connectFields("wt-available-protocols", `"x", "b", "a"`),
			&transport.UpgradeOptions{Protocols: []string{"a", "b"}}, "200", `"b"`, "b"},
		{"H2-051 quoting", connectFields("wt-available-protocols", `"q\"\\"`),
			&transport.UpgradeOptions{Protocols: []string{`q"\`}}, "200", `"q\"\\"`, `q"\`},
		{"H2-051 H2-054 none fits and none is required", connectFields("wt-available-protocols", `"x"`),
			&transport.UpgradeOptions{Protocols: []string{"a"}}, "200", "", ""},
		{"H2-051 server speaks none", connectFields("wt-available-protocols", `"x"`), nil, "200", "", ""},
		{"H2-052 Token in the list", connectFields("wt-available-protocols", `"a", b`),
			&transport.UpgradeOptions{Protocols: []string{"a"}}, "200", "", ""},
		{"H2-053 parameters", connectFields("wt-available-protocols", `"a";x=1`),
			&transport.UpgradeOptions{Protocols: []string{"a"}}, "200", `"a"`, "a"},
		{"H2-058 two lines", append(connectFields("wt-available-protocols", `"x"`), "wt-available-protocols", `"a"`),
			&transport.UpgradeOptions{Protocols: []string{"a"}}, "200", `"a"`, "a"},
		{"H2-077 unknown keys and parameters in WebTransport-Init", connectFields("webtransport-init", `x=1, u=5;p=2`), nil, "200", "", ""},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			h, up := upgradeHandler(tt.opts)
			srv := newServer(t, h, nil)
			defer srv.stop()
			p, _ := srv.peer(wtLimits(100)...)
			defer p.Close()
			p.WriteHeaders(1, false, tt.fields...)
			got := wantStatus(t, p, 1, tt.status, false)
			if g := got.Value("wt-protocol"); g != tt.proto {
				t.Errorf("wt-protocol %q, want %q", g, tt.proto)
			}
			if g := got.Value("capsule-protocol"); g != "?1" {
				t.Errorf("capsule-protocol %q, want ?1", g)
			}
			for _, name := range []string{"content-length", "content-type", "transfer-encoding"} {
				if g := got.Value(name); g != "" {
					t.Errorf("H2-030: %s %q on the response", name, g)
				}
			}
			a := <-up
			if a.err != nil {
				t.Fatal(a.err)
			}
			if g := a.s.Info().ApplicationProtocol; g != tt.app {
				t.Errorf("ApplicationProtocol %q, want %q", g, tt.app)
			}
			if g := a.s.Info().ID; g != 1 {
				t.Errorf("session ID %d, want 1", g)
			}
			p.WantIdle("nothing else")
		})
	}
	bubble(t, "H2-030 what middleware set is merged, but for content fields", func(t *testing.T) {
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Content-Length", "5")
			w.Header().Set("X-Middleware", "m")
			w.Header().Set("X-Both", "m")
			if _, err := Upgrade(wrapped{w}, r, &transport.UpgradeOptions{Header: http.Header{"X-Both": {"h"}}}); err != nil {
				t.Error(err)
			}
			if _, err := Upgrade(w, r, nil); err == nil {
				t.Error("second Upgrade returned no error")
			}
			w.WriteHeader(500) // too late to matter
			if _, err := w.Write([]byte("x")); err == nil {
				t.Error("Write after Upgrade returned no error")
			}
		}), nil)
		defer srv.stop()
		p, _ := srv.peer()
		defer p.Close()
		p.WriteHeaders(1, false, connectFields()...)
		got := wantStatus(t, p, 1, "200", false)
		fields := strings.Join(got.Fields, "|")
		if !strings.Contains(fields, "x-middleware|m") || !strings.Contains(fields, "x-both|h") ||
			strings.Contains(fields, "x-both|m") || strings.Contains(fields, "content-") {
			t.Errorf("fields %q", got.Fields)
		}
		p.WantIdle("the response is complete")
	})
	bubble(t, "H2-020 the request as a handler sees it", func(t *testing.T) {
		var r *http.Request
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			r = req
			Upgrade(w, req, nil)
		}), nil)
		defer srv.stop()
		p, _ := srv.peer()
		defer p.Close()
		p.WriteHeaders(1, false, connectFields(":path", "/a/b?c=d", "x-a", "1")...)
		wantStatus(t, p, 1, "200", false)
		synctest.Wait()
		if r.Method != "CONNECT" || r.Proto != "HTTP/2.0" || r.ProtoMajor != 2 || r.Host != "example.com" ||
			r.URL.Path != "/a/b" || r.URL.RawQuery != "c=d" || r.RequestURI != "/a/b?c=d" ||
			r.Header[":protocol"][0] != "webtransport" || r.Header.Get("X-A") != "1" || r.TLS == nil || r.RemoteAddr == "" {
			t.Errorf("request %+v", r)
		}
	})
}

// wrapped is a ResponseWriter of some middleware.
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestServerEarlyData(t *testing.T) {
	early := "\x99\x0b\x4d\x3b\x06\x02hello" // WT_STREAM with FIN, id 2
	bubble(t, "H2-034 H2-033 H2-032 capsules before the response are processed after it", func(t *testing.T) {
		decide := make(chan struct{})
		up := make(chan accepted, 1)
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-decide
			s, err := Upgrade(w, r, nil)
			up <- accepted{s, err}
		}), nil)
		defer srv.stop()
		p, _ := srv.peer(wtLimits(100)...)
		defer p.Close()
		p.WriteHeaders(1, false, connectFields()...)
		p.WriteData(1, false, early[:7])
		p.WriteData(1, false, early[7:])
		p.WantIdle("undecided")
		close(decide)
		wantStatus(t, p, 1, "200", false)
		a := <-up
		if a.err != nil {
			t.Fatal(a.err)
		}
		st, err := a.s.AcceptUniStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := transport.ReadMessage(st, 100); string(got) != "hello" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
	})
	bubble(t, "H2-033 H2-028 capsules before a rejection are dropped", func(t *testing.T) {
		decide := make(chan struct{})
		h, up := upgradeHandler(nil)
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-decide
			h.ServeHTTP(w, r)
		}), nil)
		defer srv.stop()
		p, _ := srv.peer(wtLimits(100)...)
		defer p.Close()
		p.WriteHeaders(1, false, connectFields("origin", "https://evil.example")...)
		// Not even a capsule that breaks the rules is looked at.
		p.WriteData(1, false, early+"\x80\x00\x78\xae\x01x")
		close(decide)
		wantReject(t, p, 1, "403")
		if a := <-up; a.err == nil {
			t.Error("Upgrade returned no error")
		}
		p.WriteData(1, false, early)
		p.WantIdle("late bytes are dropped")
	})
	bubble(t, "H2-033 malformed capsules before an acceptance end the session after it", func(t *testing.T) {
		decide := make(chan struct{})
		h, up := upgradeHandler(nil)
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-decide
			h.ServeHTTP(w, r)
		}), nil)
		defer srv.stop()
		p, _ := srv.peer(wtLimits(100)...)
		defer p.Close()
		p.WriteHeaders(1, false, connectFields()...)
		p.WriteData(1, false, "\x80\x00\x78\xae\x01x")
		p.WantIdle("undecided")
		close(decide)
		wantStatus(t, p, 1, "200", false)
		p.WantRST("WT_DRAIN_SESSION has no content", 1, http2.ErrCodeProtocol)
		<-up
	})
	bubble(t, "H2-034 END_STREAM before the response is a session closed cleanly", func(t *testing.T) {
		decide := make(chan struct{})
		h, up := upgradeHandler(nil)
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-decide
			h.ServeHTTP(w, r)
		}), nil)
		defer srv.stop()
		p, _ := srv.peer(wtLimits(100)...)
		defer p.Close()
		p.WriteHeaders(1, false, connectFields()...)
		p.WriteData(1, true, early)
		close(decide)
		wantStatus(t, p, 1, "200", false)
		p.WantData("END_STREAM in answer", 1, true, "")
		a := <-up
		if a.err != nil {
			t.Fatal(a.err)
		}
		<-a.s.Context().Done()
	})
	bubble(t, "H2-180 a reset before the response fails Upgrade", func(t *testing.T) {
		decide := make(chan struct{})
		h, up := upgradeHandler(nil)
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-decide
			if r.Context().Err() == nil {
				t.Error("the request's context lives on")
			}
			h.ServeHTTP(w, r)
		}), nil)
		defer srv.stop()
		p, _ := srv.peer(wtLimits(100)...)
		defer p.Close()
		p.WriteHeaders(1, false, connectFields()...)
		p.WriteRST(1, http2.ErrCodeCancel)
		synctest.Wait()
		close(decide)
		if a := <-up; a.err == nil {
			t.Error("Upgrade returned no error")
		}
		p.WantIdle("the stream is gone")
	})
	bubble(t, "H2-035 padding brings an undecided session no credit either", func(t *testing.T) {
		decide := make(chan struct{})
		h, _ := upgradeHandler(nil)
		srv := newServer(t, waitFor(decide, h), nil)
		defer srv.stop()
		p, set := srv.peer(wtLimits(100)...)
		defer p.Close()
		window, _ := set.Value(http2.SettingInitialWindowSize)
		p.WriteHeaders(1, false, connectFields()...)
		for left := int(window); left >= 257; left -= 257 {
			p.WriteDataPadded(1, false, "\x00", 255) // of a DATAGRAM capsule
		}
		for _, f := range p.Drain() {
			if u, ok := f.(h2test.WindowUpdate); !ok || u.StreamID != 0 {
				t.Fatalf("got %v, want connection credit only", f)
			}
		}
		close(decide)
		p.SkipUntil("credit once it is accepted", func(f h2test.Frame) bool {
			u, ok := f.(h2test.WindowUpdate)
			return ok && u.StreamID == 1
		})
	})
	bubble(t, "H2-035 DS-20 BP-019 undecided sessions are bounded by one initial window and starve nobody", func(t *testing.T) {
		decide := make(chan struct{})
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				return
			}
			<-decide
		}), nil)
		defer srv.stop()
		p, set := srv.peer(wtLimits(100)...)
		defer p.Close()
		window, _ := set.Value(http2.SettingInitialWindowSize)
		id := uint32(1)
		for range DefaultMaxSessions {
			p.WriteHeaders(id, false, connectFields()...)
			for left := int(window); left > 0; left -= 16384 {
				p.WriteData(id, false, strings.Repeat("x", min(left, 16384)))
				for _, f := range p.Drain() {
					if u, ok := f.(h2test.WindowUpdate); !ok || u.StreamID != 0 {
						t.Fatalf("got %v, want connection credit only", f)
					}
				}
			}
			id += 2
		}
		p.WriteHeaders(id, true, ":method", "GET", ":scheme", "https", ":authority", "example.com", ":path", "/")
		wantStatus(t, p, id, "200", true)
		p.WriteData(1, false, "x")
		p.WantRST("one byte over the initial window", 1, http2.ErrCodeFlowControl)
		close(decide)
	})
}
