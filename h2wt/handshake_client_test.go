package h2wt

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/transport"
)

// enabled are a server's SETTINGS that offer WebTransport with the same value
// for each limit.
func enabled(v uint32) []http2.Setting {
	return append(wtLimits(v), http2.Setting{ID: 0x8, Val: 1}, http2.Setting{ID: 0x2b60, Val: 1})
}

// greeted starts a client against a scripted server that offers WebTransport.
func greeted(t testing.TB, cfg *Config, settings []http2.Setting) (*h2test.Peer, *ClientConn, h2test.Settings) {
	t.Helper()
	p, result := newScriptedServer(t, cfg)
	got := p.Greet(settings...)
	c, err := result.Result()
	if err != nil {
		t.Fatalf("NewClientConn: %v", err)
	}
	return p, c, got
}

func TestClientSettings(t *testing.T) {
	bubble(t, "H2-009 H2-011 H2-005 the client's first SETTINGS", func(t *testing.T) {
		p, c, got := greeted(t, &Config{Session: &transport.Config{InitialStreamWindow: 5000, MaxIncomingUniStreams: 3}}, enabled(100))
		defer p.Close()
		defer c.Close()
		for id, v := range map[http2.SettingID]uint32{
			0x2: 0, 0x9: 1, 0x2b61: transport.DefaultInitialSessionWindow,
			0x2b62: 5000, 0x2b63: 5000, 0x2b66: 5000, 0x2b64: 3, 0x2b65: transport.DefaultMaxIncomingStreams,
		} {
			if g, ok := got.Value(id); !ok || g != v {
				t.Errorf("setting %#x = %d, %v, want %d", uint16(id), g, ok, v)
			}
		}
		for _, id := range []http2.SettingID{0x2b60, 0x8} {
			if _, ok := got.Value(id); ok {
				t.Errorf("the client announced %#x", uint16(id))
			}
		}
	})

	legacy := &Config{Session: &transport.Config{Dialect: transport.DialectLegacy}}
	for _, tt := range []struct {
		name     string
		cfg      *Config
		settings []http2.Setting
		ok       bool
	}{
		{"H2-004 without WT_ENABLED", nil, append(wtLimits(5), http2.Setting{ID: 8, Val: 1}), false},
		{"H2-004 FW-05 with WT_ENABLED = 0", nil, []http2.Setting{{ID: 8, Val: 1}, {ID: 0x2b60, Val: 0}}, false},
		{"H2-005 without ENABLE_CONNECT_PROTOCOL", nil, []http2.Setting{{ID: 0x2b60, Val: 1}}, false},
		{"H2-004 FW-05 FW-25 nothing at all", nil, nil, false},
		{"H2-004 both", nil, []http2.Setting{{ID: 8, Val: 1}, {ID: 0x2b60, Val: 1}}, true},
		{"H2-004 Legacy: any limit will do", legacy, []http2.Setting{{ID: 8, Val: 1}, {ID: 0x2b63, Val: 1}}, true},
		{"H2-003 Legacy: WT_ENABLED is a count", legacy, []http2.Setting{{ID: 8, Val: 1}, {ID: 0x2b60, Val: 100}}, true},
		{"H2-004 Legacy: no limit either", legacy, []http2.Setting{{ID: 8, Val: 1}, {ID: 0x2b63, Val: 0}}, false},
		{"H2-005 Legacy: without ENABLE_CONNECT_PROTOCOL", legacy, []http2.Setting{{ID: 0x2b60, Val: 1}}, false},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			p, result := newScriptedServer(t, tt.cfg)
			defer p.Close()
			p.Preface(tt.settings...)
			c, err := result.Result()
			if tt.ok {
				if err != nil {
					t.Fatal(err)
				}
				c.Close()
				return
			}
			if err != transport.ErrNotWebTransport { // itself: no detail
				t.Errorf("NewClientConn: %v, want ErrNotWebTransport", err)
			}
			p.WantConnError("the connection is of no use", http2.ErrCodeNo)
		})
	}
	for _, v := range []uint32{2, 100} {
		bubble(t, "H2-003 WT_ENABLED above 1 ends the connection", func(t *testing.T) {
			p, result := newScriptedServer(t, nil)
			defer p.Close()
			p.Preface(http2.Setting{ID: 8, Val: 1}, http2.Setting{ID: 0x2b60, Val: v})
			p.Next("SETTINGS")
			p.WantConnError("the value is not valid", http2.ErrCodeProtocol)
			_, err := result.Result()
			var reset *transport.ResetError
			if !errors.As(err, &reset) || !reset.Connection || reset.Code != 1 || !strings.Contains(err.Error(), "PROTOCOL_ERROR") {
				t.Errorf("NewClientConn: %v", err)
			}
		})
	}
	bubble(t, "H2-004 a server that delays its SETTINGS", func(t *testing.T) {
		p, result := newScriptedServer(t, nil)
		defer p.Close()
		p.Start()
		p.Next("SETTINGS")
		time.Sleep(5 * time.Second)
		if result.Done() {
			t.Fatal("NewClientConn returned before the SETTINGS")
		}
		p.WriteSettings(enabled(1)...)
		c, err := result.Result()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	})
	bubble(t, "H2-004 DS-14 a server that never sends SETTINGS", func(t *testing.T) {
		p, result := newScriptedServer(t, &Config{PrefaceTimeout: 3 * time.Second})
		defer p.Close()
		p.Start()
		start := time.Now()
		if _, err := result.Result(); err == nil {
			t.Fatal("NewClientConn succeeded")
		}
		if d := time.Since(start); d < 3*time.Second || d > 5*time.Second {
			t.Errorf("it took %v", d)
		}
	})
	bubble(t, "H2-006 the latest WT_ENABLED decides, and running sessions go on", func(t *testing.T) {
		p, c, _ := greeted(t, nil, enabled(100))
		defer p.Close()
		defer c.Close()
		dial := dialAsync(t.Context(), c, nil)
		p.WantHeaders("CONNECT", 1)
		p.WriteHeaders(1, false, ":status", "200")
		s, err := dial.Result()
		if err != nil {
			t.Fatal(err)
		}
		p.WriteSettings(http2.Setting{ID: 0x2b60, Val: 0})
		p.WantFrame("acknowledged", h2test.Settings{Ack: true})
		if _, err := c.Dial(t.Context(), "https://example.com/", nil); !errors.Is(err, transport.ErrNotWebTransport) {
			t.Errorf("Dial: %v, want ErrNotWebTransport", err)
		}
		if c.CanTakeNewSession() {
			t.Error("CanTakeNewSession")
		}
		if err := s.SendDatagram([]byte("hi")); err != nil {
			t.Error(err)
		}
		p.WantData("the session goes on", 1, false, "\x00\x02hi")
		p.WriteSettings(http2.Setting{ID: 0x2b60, Val: 1})
		p.WantFrame("acknowledged", h2test.Settings{Ack: true})
		dial = dialAsync(t.Context(), c, nil)
		p.WantHeaders("CONNECT", 3)
		p.WriteHeaders(3, false, ":status", "200")
		if _, err := dial.Result(); err != nil {
			t.Error(err)
		}
	})
	bubble(t, "H2-006 WT_ENABLED = 0 while a Dial waits for a stream", func(t *testing.T) {
		p, c, _ := greeted(t, nil, append(enabled(100), http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0}))
		defer p.Close()
		defer c.Close()
		dial := dialAsync(t.Context(), c, nil)
		p.WantIdle("no stream is allowed")
		p.WriteSettings(http2.Setting{ID: 0x2b60, Val: 0}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
		if _, err := dial.Result(); !errors.Is(err, transport.ErrNotWebTransport) {
			t.Errorf("Dial: %v, want ErrNotWebTransport", err)
		}
		p.WantFrame("acknowledged", h2test.Settings{Ack: true})
		p.WantIdle("no CONNECT")
	})
	bubble(t, "H2-008 ENABLE_CONNECT_PROTOCOL back to 0 ends the connection", func(t *testing.T) {
		p, c, _ := greeted(t, nil, enabled(100))
		defer p.Close()
		defer c.Close()
		p.WriteSettings(http2.Setting{ID: 8, Val: 0})
		p.WantConnError("RFC 8441", http2.ErrCodeProtocol)
		<-c.Done()
		if c.Err() == nil {
			t.Error("no error")
		}
	})
	bubble(t, "H2-008 ENABLE_CONNECT_PROTOCOL above 1 ends the connection", func(t *testing.T) {
		p, c, _ := greeted(t, nil, enabled(100))
		defer p.Close()
		defer c.Close()
		p.WriteSettings(http2.Setting{ID: 8, Val: 2})
		p.WantConnError("RFC 8441", http2.ErrCodeProtocol)
	})
	bubble(t, "H2-010 SETTINGS ACK leaves before the CONNECT", func(t *testing.T) {
		p, result := newScriptedServer(t, nil)
		defer p.Close()
		dial := h2test.RunAsync(func() (transport.Session, error) {
			c, err := result.Result()
			if err != nil {
				return nil, err
			}
			return c.Dial(t.Context(), "https://example.com/", nil)
		})
		p.Preface(enabled(100)...)
		p.SkipUntil("SETTINGS ACK or HEADERS", func(f h2test.Frame) bool {
			if _, ok := f.(h2test.Headers); ok {
				t.Fatal("HEADERS came before the ACK")
			}
			s, ok := f.(h2test.Settings)
			return ok && s.Ack
		})
		p.WantHeaders("CONNECT", 1)
		p.WriteRST(1, http2.ErrCodeCancel)
		dial.Result()
		c, _ := result.Result()
		c.Close()
	})
}

func TestClientRequest(t *testing.T) {
	bubble(t, "H2-020 H2-021 H2-022 H2-023 H2-050 H2-075 FW-06 FW-07 the CONNECT", func(t *testing.T) {
		p, c, _ := greeted(t, nil, enabled(100))
		defer p.Close()
		defer c.Close()
		dial := h2test.RunAsync(func() (transport.Session, error) {
			return c.Dial(t.Context(), "https://Example.com:8443?a=b", &transport.DialOptions{
				Header:    http.Header{"Authorization": {"Bearer x"}, "Priority": {"u=1"}},
				Origin:    "https://example.org",
				Protocols: []string{"chat-v2", `q"\`},
				Config:    &transport.Config{InitialStreamWindow: 1 << 20, Dialect: transport.DialectDraft15},
			})
		})
		h := p.WantHeaders("CONNECT", 1)
		want := []string{
			":method", "CONNECT", ":protocol", "webtransport", ":scheme", "https",
			":authority", "example.com:8443", ":path", "/?a=b",
			"origin", "https://example.org",
			"wt-available-protocols", `"chat-v2", "q\"\\"`,
			"webtransport-init", "u=1048576, bl=1048576, br=1048576, towpath=1",
			"capsule-protocol", "?1",
			"authorization", "Bearer x", "priority", "u=1",
		}
		if !slices.Equal(h.Fields, want) {
			t.Errorf("fields\n got %q\nwant %q", h.Fields, want)
		}
		if h.EndStream {
			t.Error("END_STREAM on the request")
		}
		if !slices.Contains(h.Sensitive, "authorization") {
			t.Error("a secret may be indexed")
		}
		p.WriteRST(1, http2.ErrCodeCancel)
		dial.Result()
	})
	bubble(t, "H2-075 H2-023 WebTransport-Init is never below the SETTINGS; no Origin by default", func(t *testing.T) {
		p, c, got := greeted(t, nil, enabled(100))
		defer p.Close()
		defer c.Close()
		dial := dialAsync(t.Context(), c, &transport.DialOptions{Config: &transport.Config{InitialStreamWindow: 1, Dialect: transport.DialectDraft15}})
		h := p.WantHeaders("CONNECT", 1)
		if v, _ := got.Value(0x2b62); v != 262144 || h.Value("webtransport-init") != "u=262144, bl=262144, br=262144, towpath=1" {
			t.Errorf("setting %d, WebTransport-Init %q", v, h.Value("webtransport-init"))
		}
		if h.Value("origin") != "" || h.Value("wt-available-protocols") != "" {
			t.Errorf("fields %q", h.Fields)
		}
		p.WriteRST(1, http2.ErrCodeCancel)
		dial.Result()
	})
	for _, tt := range []struct {
		name, url string
		opts      *transport.DialOptions
		want      error
	}{
		{"H2-021 http URL", "http://example.com/", nil, nil},
		{"H2-022 no host", "https:///x", nil, nil},
		{"H2-023 Origin in Header", "https://example.com/", &transport.DialOptions{Header: http.Header{"Origin": {"x"}}}, nil},
		{"H2-023 Origin with a line break", "https://example.com/", &transport.DialOptions{Origin: "a\nb"}, nil},
		{"H2-030 content-type", "https://example.com/", &transport.DialOptions{Header: http.Header{"Content-Type": {"x"}}}, nil},
		{"H2-050 duplicate protocol", "https://example.com/", &transport.DialOptions{Protocols: []string{"a", "a"}}, nil},
		{"H2-056 RequireProtocol without protocols", "https://example.com/", &transport.DialOptions{RequireProtocol: true}, nil},
		{"FW-23 unreliable delivery required", "https://example.com/", &transport.DialOptions{RequireUnreliable: true}, transport.ErrUnsupported},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			p, c, _ := greeted(t, nil, enabled(100))
			defer p.Close()
			defer c.Close()
			s, err := c.Dial(t.Context(), tt.url, tt.opts)
			if err == nil || s != nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("Dial = %v, %v", s, err)
			}
			if _, err := Dial(t.Context(), tt.url, nil, tt.opts); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("package's Dial: %v", err)
			}
			p.WantIdle("nothing was sent")
		})
	}
	bubble(t, "H2-045 more sessions than MaxSessions", func(t *testing.T) {
		p, c, _ := greeted(t, &Config{MaxSessions: 1}, enabled(100))
		defer p.Close()
		defer c.Close()
		first := dialAsync(t.Context(), c, nil)
		p.WantHeaders("CONNECT", 1)
		_, err := c.Dial(t.Context(), "https://example.com/", nil)
		var np *transport.NotProcessedError
		if !errors.As(err, &np) {
			t.Errorf("Dial: %v, want NotProcessedError", err)
		}
		if c.CanTakeNewSession() {
			t.Error("CanTakeNewSession")
		}
		p.WriteHeaders(1, true, ":status", "404")
		if _, err := first.Result(); err == nil {
			t.Error("Dial succeeded")
		}
		p.WantRST("the client ends its side", 1, http2.ErrCodeCancel)
		if !c.CanTakeNewSession() {
			t.Error("CanTakeNewSession is false with none")
		}
	})
	bubble(t, "ctx ends while waiting", func(t *testing.T) {
		p, c, _ := greeted(t, nil, enabled(100))
		defer p.Close()
		defer c.Close()
		ctx, cancel := context.WithCancelCause(t.Context())
		dial := dialAsync(ctx, c, nil)
		p.WantHeaders("CONNECT", 1)
		cause := errors.New("enough")
		cancel(cause)
		if _, err := dial.Result(); !errors.Is(err, cause) {
			t.Errorf("Dial: %v", err)
		}
		p.WantRST("not wanted any more", 1, http2.ErrCodeCancel)
		p.WriteHeaders(1, false, ":status", "200")
		p.WantIdle("a late answer is ignored")
	})
}

func TestClientResponse(t *testing.T) {
	dialOpts := &transport.DialOptions{Protocols: []string{"a", "b"}}
	for _, tt := range []struct {
		name   string
		opts   *transport.DialOptions
		fields []string
		app    string
	}{
		{"H2-029 200", nil, []string{":status", "200"}, ""},
		{"H2-029 another 2xx", nil, []string{":status", "201"}, ""},
		{"H2-051 FW-08 protocol", dialOpts, []string{":status", "200", "wt-protocol", `"b"`}, "b"},
		{"H2-053 protocol with parameters", dialOpts, []string{":status", "200", "wt-protocol", `"b";x=1`}, "b"},
		{"H2-057 protocol as a Token is absent", dialOpts, []string{":status", "200", "wt-protocol", `b`}, ""},
		{"H2-057 no protocol", dialOpts, []string{":status", "200"}, ""},
		{"H2-057 H2-058 two protocol lines are absent", dialOpts, []string{":status", "200", "wt-protocol", `"a"`, "wt-protocol", `"b"`}, ""},
		{"H2-051 required protocol", &transport.DialOptions{Protocols: []string{"a"}, RequireProtocol: true}, []string{":status", "200", "wt-protocol", `"a"`}, "a"},
		{"H2-080 a malformed WebTransport-Init is ignored", nil, []string{":status", "200", "webtransport-init", "u="}, ""},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			p, c, _ := greeted(t, nil, enabled(100))
			defer p.Close()
			defer c.Close()
			dial := dialAsync(t.Context(), c, tt.opts)
			p.WantHeaders("CONNECT", 1)
			p.WriteHeaders(1, false, append(tt.fields, "x-extra", "1")...)
			s, err := dial.Result()
			if err != nil {
				t.Fatal(err)
			}
			info := s.Info()
			if info.ApplicationProtocol != tt.app || info.ID != 1 || info.Protocol != transport.HTTP2 || info.Unreliable ||
				info.Header.Get("X-Extra") != "1" || info.TLS == nil || info.LocalAddr == nil || info.RemoteAddr == nil {
				t.Errorf("Info %+v", info)
			}
			p.WantIdle("the session waits for its application")
		})
	}
	bubble(t, "H2-040 1xx responses are skipped", func(t *testing.T) {
		p, c, _ := greeted(t, nil, enabled(100))
		defer p.Close()
		defer c.Close()
		dial := dialAsync(t.Context(), c, nil)
		p.WantHeaders("CONNECT", 1)
		p.WriteHeaders(1, false, ":status", "103", "link", "</a>")
		p.WriteHeaders(1, false, ":status", "102")
		if dial.Done() {
			t.Fatal("Dial returned")
		}
		p.WriteHeaders(1, false, ":status", "200")
		if _, err := dial.Result(); err != nil {
			t.Fatal(err)
		}
	})
	for _, tt := range []struct {
		name   string
		fields []string
		end    bool
	}{
		{"H2-031 204", []string{":status", "204"}, false},
		{"H2-031 205", []string{":status", "205"}, false},
		{"H2-031 206", []string{":status", "206"}, false},
		{"H2-030 content-length on the response", []string{":status", "200", "content-length", "5"}, false},
		{"H2-030 content-type on the response", []string{":status", "200", "content-type", "text/plain"}, false},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			p, c, _ := greeted(t, nil, enabled(100))
			defer p.Close()
			defer c.Close()
			dial := dialAsync(t.Context(), c, nil)
			p.WantHeaders("CONNECT", 1)
			p.WriteHeaders(1, tt.end, tt.fields...)
			_, err := dial.Result()
			var pe *transport.ProtocolError
			if !errors.As(err, &pe) || pe.Violation != transport.ViolationMalformed {
				t.Errorf("Dial: %v", err)
			}
			p.WantRST("malformed", 1, http2.ErrCodeProtocol)
		})
	}
	for _, tt := range []struct {
		name   string
		opts   *transport.DialOptions
		fields []string
	}{
		{"H2-055 protocol that was not offered", dialOpts, []string{":status", "200", "wt-protocol", `"x"`}},
		{"H2-055 protocol where none was offered", nil, []string{":status", "200", "wt-protocol", `"x"`}},
		{"H2-056 required and absent", &transport.DialOptions{Protocols: []string{"a"}, RequireProtocol: true}, []string{":status", "200"}},
		{"H2-056 required and malformed", &transport.DialOptions{Protocols: []string{"a"}, RequireProtocol: true}, []string{":status", "200", "wt-protocol", "a"}},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			p, c, _ := greeted(t, nil, enabled(100))
			defer p.Close()
			defer c.Close()
			dial := dialAsync(t.Context(), c, tt.opts)
			p.WantHeaders("CONNECT", 1)
			p.WriteHeaders(1, false, tt.fields...)
			_, err := dial.Result()
			var pe *transport.ProtocolError
			if !errors.As(err, &pe) || pe.Violation != transport.ViolationALPN {
				t.Errorf("Dial: %v", err)
			}
			p.WantData("WT_CLOSE_SESSION with WT_ALPN_ERROR", 1, true, "\x68\x43\x04\x08\x17\xb3\xdd")
			p.WriteData(1, true, "")
			p.WantIdle("closed")
			if !c.CanTakeNewSession() {
				t.Error("the connection is of no use any more")
			}
		})
	}
	for _, tt := range []struct {
		name, status, location string
		body                   []string
		end                    bool // of the last body part
		want                   int
	}{
		{"H2-038 404", "404", "", []string{"nothing here"}, true, 12},
		{"H2-038 403 without content", "403", "", nil, true, 0},
		{"H2-038 content that looks like a capsule", "403", "", []string{"\x68\x43\x04\x00\x00\x00\x00"}, true, 7},
		{"H2-038 content beyond the bound", "500", "", []string{strings.Repeat("x", 4000), strings.Repeat("y", 4000)}, false, 4096},
		{"H2-039 redirection", "302", "https://elsewhere.example/", nil, true, 0},
		{"H2-038 H2-025 405", "405", "", nil, true, 0},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			p, c, _ := greeted(t, nil, enabled(100))
			defer p.Close()
			defer c.Close()
			dial := dialAsync(t.Context(), c, nil)
			p.WantHeaders("CONNECT", 1)
			p.AllowWriteErrors = true
			p.WriteHeaders(1, len(tt.body) == 0 && tt.end, ":status", tt.status, "location", tt.location)
			for i, b := range tt.body {
				p.WriteData(1, tt.end && i == len(tt.body)-1, b)
			}
			_, err := dial.Result()
			var re *transport.RejectedError
			if !errors.As(err, &re) {
				t.Fatalf("Dial: %v", err)
			}
			if http.StatusText(re.StatusCode) == "" || !strings.HasPrefix(tt.status, re.Header.Get(":status")) ||
				re.Header.Get("Location") != tt.location || len(re.Body) != tt.want {
				t.Errorf("rejected with %+v, want body of %d", re, tt.want)
			}
			p.WantRST("the client ends its side", 1, http2.ErrCodeCancel)
			p.WantIdle("no other request")
		})
	}
	bubble(t, "H2-038 content that never ends", func(t *testing.T) {
		p, c, _ := greeted(t, nil, enabled(100))
		defer p.Close()
		defer c.Close()
		dial := dialAsync(t.Context(), c, nil)
		p.WantHeaders("CONNECT", 1)
		p.WriteHeaders(1, false, ":status", "404")
		p.WriteData(1, false, "abc")
		synctest.Wait()
		start := time.Now()
		_, err := dial.Result()
		var re *transport.RejectedError
		if !errors.As(err, &re) || string(re.Body) != "abc" {
			t.Errorf("Dial: %v", err)
		}
		if d := time.Since(start); d != rejectBodyWait {
			t.Errorf("it took %v", d)
		}
	})
	bubble(t, "H2-038 NO_ERROR behind the rejection loses nothing", func(t *testing.T) {
		p, c, _ := greeted(t, nil, enabled(100))
		defer p.Close()
		defer c.Close()
		dial := dialAsync(t.Context(), c, nil)
		p.WantHeaders("CONNECT", 1)
		p.WriteHeaders(1, false, ":status", "404")
		p.WriteData(1, true, "abc")
		p.WriteRST(1, http2.ErrCodeNo)
		_, err := dial.Result()
		var re *transport.RejectedError
		if !errors.As(err, &re) || string(re.Body) != "abc" {
			t.Errorf("Dial: %v", err)
		}
	})

	for _, tt := range []struct {
		name         string
		end          func(p *h2test.Peer)
		notProcessed bool
		code         uint64
	}{
		{"H2-044 REFUSED_STREAM", func(p *h2test.Peer) { p.WriteRST(1, http2.ErrCodeRefusedStream) }, true, 7},
		{"H2-044 GOAWAY with a lower id", func(p *h2test.Peer) { p.WriteGoAway(0, http2.ErrCodeNo) }, true, 7},
		{"H2-180 another reset", func(p *h2test.Peer) { p.WriteRST(1, http2.ErrCodeInternal) }, false, 2},
		{"H2-180 a code without name", func(p *h2test.Peer) { p.WriteRST(1, 0x4d2) }, false, 0x4d2},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			p, c, _ := greeted(t, nil, enabled(100))
			defer p.Close()
			defer c.Close()
			dial := dialAsync(t.Context(), c, nil)
			p.WantHeaders("CONNECT", 1)
			tt.end(p)
			_, err := dial.Result()
			var np *transport.NotProcessedError
			var re *transport.ResetError
			if errors.As(err, &np) != tt.notProcessed || !errors.As(err, &re) || re.Code != tt.code {
				t.Errorf("Dial: %#v", err)
			}
		})
	}
	bubble(t, "H2-180 the connection is lost", func(t *testing.T) {
		p, c, _ := greeted(t, nil, enabled(100))
		defer c.Close()
		dial := dialAsync(t.Context(), c, nil)
		p.WantHeaders("CONNECT", 1)
		p.Close()
		if _, err := dial.Result(); err == nil {
			t.Error("Dial succeeded")
		}
		<-c.Done()
		if c.CanTakeNewSession() {
			t.Error("CanTakeNewSession")
		}
	})
	bubble(t, "H2-036 trailers instead of capsules", func(t *testing.T) {
		p, c, _ := greeted(t, nil, enabled(100))
		defer p.Close()
		defer c.Close()
		dial := dialAsync(t.Context(), c, nil)
		p.WantHeaders("CONNECT", 1)
		p.WriteHeaders(1, false, ":status", "200")
		s, err := dial.Result()
		if err != nil {
			t.Fatal(err)
		}
		p.WriteHeaders(1, true, "x-trailer", "1")
		p.WantRST("malformed", 1, http2.ErrCodeProtocol)
		<-s.Context().Done()
		var pe *transport.ProtocolError
		if err := context.Cause(s.Context()); !errors.As(err, &pe) || pe.Violation != transport.ViolationMalformed {
			t.Errorf("session ended with %v", err)
		}
	})
	bubble(t, "H2-179 a response with END_STREAM is a session closed cleanly", func(t *testing.T) {
		p, c, _ := greeted(t, nil, enabled(100))
		defer p.Close()
		defer c.Close()
		dial := dialAsync(t.Context(), c, nil)
		p.WantHeaders("CONNECT", 1)
		p.WriteHeaders(1, true, ":status", "200")
		s, err := dial.Result()
		if err != nil {
			t.Fatal(err)
		}
		<-s.Context().Done()
		var se *transport.SessionError
		if err := context.Cause(s.Context()); !errors.As(err, &se) || se.Code != 0 || se.Reason != "" || se.Err != nil || !se.Remote {
			t.Errorf("session ended with %#v", err)
		}
		p.WantData("END_STREAM in answer", 1, true, "")
	})
}
