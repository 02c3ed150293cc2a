package wswt

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/internal/handshake"
	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
)

// testKey and testAccept are the example of RFC 6455 section 1.3.
const (
	testKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	testAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// opening is the opening handshake of a client, which changes edit.
func opening(changes ...string) string {
	lines := []string{
		"GET /wt?x=1 HTTP/1.1",
		"Host: example.com",
		"Upgrade: websocket",
		"Connection: Upgrade",
		"Sec-WebSocket-Key: " + testKey,
		"Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Protocol: " + Subprotocol,
	}
	return edit(lines, changes)
}

// edit replaces, adds or (by "-Name") removes lines of a head; one with " HTTP/" or
// that begins with "HTTP/" is the first.
func edit(lines, changes []string) string {
	for _, c := range changes {
		name, _, _ := strings.Cut(c, ":")
		if del, ok := strings.CutPrefix(c, "-"); ok {
			lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, del+":") })
			continue
		}
		if i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, name+":") }); i >= 0 {
			lines[i] = c
		} else if strings.Contains(c, " HTTP/") || strings.HasPrefix(c, "HTTP/") {
			lines[0] = c
		} else {
			lines = append(lines, c)
		}
	}
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// testServer is an http.Server in memory whose handler accepts sessions.
type testServer struct {
	t        testing.TB
	srv      *Server
	upgraded <-chan accepted
	ln       *memconn.Listener
	cert     *testcert.Cert
	stop     func()
}

func newTestServer(t testing.TB, cfg *Config, opts *transport.UpgradeOptions, wrap func(http.Handler) http.Handler) *testServer {
	t.Helper()
	s := &testServer{t: t, srv: NewServer(cfg), ln: memconn.Listen(nil), cert: testcert.New(t)}
	h, upgraded := upgradeHandler(s.srv, opts)
	s.upgraded = upgraded
	if wrap != nil {
		h = wrap(h)
	}
	s.stop = serveHTTP(s.ln, s.cert.ServerConfig("http/1.1"), h)
	return s
}

// dial returns a TLS connection to the server.
func (s *testServer) dial() *tls.Conn {
	s.t.Helper()
	nc, err := s.ln.Dial(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return tls.Client(nc, s.cert.ClientConfig("example.com", "http/1.1"))
}

// ask sends a handshake and returns the response and the connection.
func (s *testServer) ask(request string) (*http.Response, *bufio.Reader, *tls.Conn) {
	s.t.Helper()
	tc := s.dial()
	if _, err := tc.Write([]byte(request)); err != nil {
		s.t.Fatal(err)
	}
	br := bufio.NewReader(tc)
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, br, tc
}

func TestUpgradeAccepts(t *testing.T) {
	encoded := func(p string) string { return Subprotocol + "." + base64.RawURLEncoding.EncodeToString([]byte(p)) }
	for _, tt := range []struct {
		name    string
		changes []string
		opts    transport.UpgradeOptions
		chosen  string // subprotocol
		proto   string
	}{
		{name: "the example of RFC 6455"},
		{name: "letter case of tokens", changes: []string{"Upgrade: WebSocket", "Connection: keep-alive, UPGRADE"}},
		{name: "permessage-deflate is not answered", changes: []string{"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x"}},
		{name: "same origin", changes: []string{"Origin: https://example.com"}},
		{name: "listed origin", changes: []string{"Origin: https://app.example.org"}, opts: transport.UpgradeOptions{Origins: []string{"*.example.org"}}},
		{name: "CheckOrigin decides", changes: []string{"Origin: https://evil.example"}, opts: transport.UpgradeOptions{CheckOrigin: func(*http.Request) bool { return true }}},
		{name: "Origin without a scheme, allowed", changes: []string{"Origin: example.com"}, opts: transport.UpgradeOptions{AllowOriginWithoutScheme: true}},
		{name: "other subprotocols beside ours", changes: []string{"Sec-WebSocket-Protocol: chat, " + Subprotocol + ",mqtt"}},
		{name: "application protocol", changes: []string{"Sec-WebSocket-Protocol: " + encoded("moq-00") + ", " + Subprotocol},
			opts: transport.UpgradeOptions{Protocols: []string{"moq-00"}, RequireProtocol: true}, chosen: encoded("moq-00"), proto: "moq-00"},
		{name: "the client's preference counts", changes: []string{"Sec-WebSocket-Protocol: " + encoded("b") + ", " + encoded("a") + ", " + Subprotocol},
			opts: transport.UpgradeOptions{Protocols: []string{"a", "b"}}, chosen: encoded("b"), proto: "b"},
		{name: "in several lines", changes: []string{"Sec-WebSocket-Protocol: " + Subprotocol, "X: y\r\nSec-WebSocket-Protocol: " + encoded("a")},
			opts: transport.UpgradeOptions{Protocols: []string{"a"}}, chosen: encoded("a"), proto: "a"},
		{name: "none fits and none is required", changes: []string{"Sec-WebSocket-Protocol: " + encoded("c") + ", " + Subprotocol},
			opts: transport.UpgradeOptions{Protocols: []string{"a"}}},
		{name: "what is no protocol is ignored", changes: []string{"Sec-WebSocket-Protocol: " + Subprotocol + ".a=, " + Subprotocol + ".!, " + Subprotocol + "., " + Subprotocol + ".AA, " + Subprotocol + ".YR, " + Subprotocol + ".YQ, " + Subprotocol},
			opts: transport.UpgradeOptions{Protocols: []string{"a"}}, chosen: Subprotocol + ".YQ", proto: "a"}, // YR has spare bits, AA is NUL
		{name: "the status is of no consequence", opts: transport.UpgradeOptions{StatusCode: 299}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tt.opts.Header = http.Header{"X-Answer": {"yes"}}
				s := newTestServer(t, nil, &tt.opts, func(h http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						w.Header().Set("X-Middleware", "kept")
						w.Header().Set("Content-Type", "text/plain") // cannot stand here
						h.ServeHTTP(wrapped{w}, r)
					})
				})
				defer s.stop()
				resp, br, tc := s.ask(opening(tt.changes...))
				defer tc.Close()
				a := <-s.upgraded
				if resp.StatusCode != 101 || a.err != nil {
					t.Fatalf("status %d, %v", resp.StatusCode, a.err)
				}
				if tt.chosen == "" {
					tt.chosen = Subprotocol
				}
				want := http.Header{
					"Upgrade": {"websocket"}, "Connection": {"Upgrade"},
					fieldAccept: {testAccept}, fieldProtocol: {tt.chosen},
					"X-Answer": {"yes"}, "X-Middleware": {"kept"},
				}
				if fmt.Sprint(resp.Header) != fmt.Sprint(want) {
					t.Errorf("header\n got %v\nwant %v", resp.Header, want)
				}
				info := a.s.Info()
				if info.Protocol != transport.WebSocket || info.ID != 0 || info.ApplicationProtocol != tt.proto || info.TLS == nil ||
					info.Unreliable || info.Header.Get("Sec-WebSocket-Version") != "13" || info.RemoteAddr == nil || info.LocalAddr == nil {
					t.Errorf("Info %+v", info)
				}
				own, err1 := a.s.ExportKeyingMaterial("label", []byte("context"), 32)
				cs := tc.ConnectionState()
				peer, err2 := cs.ExportKeyingMaterial("EXPORTER-WebTransport", append(make([]byte, 8), "\x05label\x07context"...), 32)
				if err1 != nil || err2 != nil || string(own) != string(peer) {
					t.Errorf("keying material differs: %v, %v", err1, err2)
				}
				s.srv.Shutdown(ended()) // says WT_DRAIN_SESSION
				if f, err := readFrame(br); err != nil || f.OpCode != ws.OpBinary {
					t.Errorf("frame %+v, %v", f.Header, err)
				}
				tc.Close()
				s.srv.Close()
			})
		})
	}
}

// wrapped is middleware's ResponseWriter.
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ended is a context that has ended.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestUpgradeRefuses(t *testing.T) {
	b64 := func(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for _, tt := range []struct {
		name    string
		changes []string
		content string
		opts    transport.UpgradeOptions
		status  int
	}{
		{name: "not GET", changes: []string{"POST / HTTP/1.1"}, status: 405},
		{name: "no Upgrade", changes: []string{"-Upgrade"}, status: 405},
		{name: "Upgrade to something else", changes: []string{"Upgrade: h2c"}, status: 405},
		{name: "no Connection", changes: []string{"-Connection"}, status: 405},
		{name: "Connection without upgrade", changes: []string{"Connection: keep-alive"}, status: 405},
		{name: "no subprotocol", changes: []string{"-Sec-WebSocket-Protocol"}, status: 405},
		{name: "another subprotocol", changes: []string{"Sec-WebSocket-Protocol: chat"}, status: 405},
		{name: "letter case of the subprotocol", changes: []string{"Sec-WebSocket-Protocol: Towpath.capsule.v1"}, status: 405},
		{name: "a version of ours to come", changes: []string{"Sec-WebSocket-Protocol: towpath.capsule.v10"}, status: 405},
		{name: "too many subprotocols", changes: []string{"Sec-WebSocket-Protocol: " + strings.Repeat("x,", maxOffers) + Subprotocol}, status: 431},
		{name: "too long subprotocols", changes: []string{"Sec-WebSocket-Protocol: " + strings.Repeat("x", maxOfferSize) + "," + Subprotocol}, status: 431},
		{name: "no version", changes: []string{"-Sec-WebSocket-Version"}, status: 426},
		{name: "version 8", changes: []string{"Sec-WebSocket-Version: 8"}, status: 426},
		{name: "two versions", changes: []string{"Sec-WebSocket-Version: 13", "X: y\r\nSec-WebSocket-Version: 13"}, status: 426},
		{name: "HTTP/1.0", changes: []string{"GET / HTTP/1.0"}, status: 400},
		{name: "no key", changes: []string{"-Sec-WebSocket-Key"}, status: 400},
		{name: "two keys", changes: []string{"X: y\r\nSec-WebSocket-Key: " + testKey}, status: 400},
		{name: "key of 15 bytes", changes: []string{"Sec-WebSocket-Key: " + b64(15)}, status: 400},
		{name: "key of 17 bytes", changes: []string{"Sec-WebSocket-Key: " + b64(17)}, status: 400},
		{name: "key that is no base64", changes: []string{"Sec-WebSocket-Key: ????????????????????????"}, status: 400},
		{name: "content", changes: []string{"Content-Length: 1"}, content: "x", status: 400},
		{name: "chunked content", changes: []string{"Transfer-Encoding: chunked"}, content: "1\r\nx\r\n0\r\n\r\n", status: 400},
		{name: "another origin", changes: []string{"Origin: https://evil.example"}, status: 403},
		{name: "the origin of plain HTTP", changes: []string{"Origin: http://example.com"}, status: 403},
		{name: "the opaque origin", changes: []string{"Origin: null"}, status: 403},
		{name: "Origin without a scheme", changes: []string{"Origin: example.com"}, status: 403},
		{name: "CheckOrigin decides", opts: transport.UpgradeOptions{CheckOrigin: func(*http.Request) bool { return false }}, status: 403},
		{name: "a protocol is required and none offered", opts: transport.UpgradeOptions{Protocols: []string{"a"}, RequireProtocol: true}, status: 400},
		{name: "a protocol is required and none fits", changes: []string{"Sec-WebSocket-Protocol: towpath.capsule.v1.YQ, towpath.capsule.v1"},
			opts: transport.UpgradeOptions{Protocols: []string{"b"}, RequireProtocol: true}, status: 400},
		{name: "none fits and the client has not offered the bare name", changes: []string{"Sec-WebSocket-Protocol: towpath.capsule.v1.YQ"},
			opts: transport.UpgradeOptions{Protocols: []string{"b"}}, status: 400},
		{name: "options: status", opts: transport.UpgradeOptions{StatusCode: 302}, status: 500},
		{name: "options: header", opts: transport.UpgradeOptions{Header: http.Header{"Upgrade": {"x"}}}, status: 500},
		{name: "options: header of the handshake", opts: transport.UpgradeOptions{Header: http.Header{"sec-websocket-protocol": {"x"}}}, status: 500},
		{name: "options: pattern", opts: transport.UpgradeOptions{Origins: []string{"["}}, status: 500},
		{name: "options: protocol", opts: transport.UpgradeOptions{Protocols: []string{""}}, status: 500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newTestServer(t, nil, &tt.opts, nil)
				defer s.stop()
				resp, _, tc := s.ask(opening(tt.changes...) + tt.content)
				defer tc.Close()
				a := <-s.upgraded
				if resp.StatusCode != tt.status || a.err == nil || a.s != nil {
					t.Errorf("status %d, %v; want %d and an error", resp.StatusCode, a.err, tt.status)
				}
				if got := resp.Header.Get("Sec-WebSocket-Version"); (got == "13") != (tt.status == 426) {
					t.Errorf("Sec-WebSocket-Version %q", got)
				}
				if s.srv.count != 0 {
					t.Errorf("%d sessions are counted", s.srv.count)
				}
			})
		})
	}
}

func TestIsUpgrade(t *testing.T) {
	for name, want := range map[string]bool{Subprotocol: true, "x, " + subprotocolOf("a"): true, "chat": false, "": false} {
		r := httptest.NewRequest("GET", "https://example.com/", nil)
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set("Connection", "upgrade")
		r.Header.Set("Sec-WebSocket-Protocol", name)
		if got := IsUpgrade(r); got != want {
			t.Errorf("IsUpgrade with %q is %v", name, got)
		}
		r.Method = "CONNECT"
		if IsUpgrade(r) {
			t.Error("IsUpgrade of a CONNECT")
		}
	}
}

// TestSubprotocols makes sure that every application protocol that Dial accepts
// has a subprotocol that the server reads back.
func TestSubprotocols(t *testing.T) {
	var printable []byte
	for c := byte(0x20); c < 0x7f; c++ {
		printable = append(printable, c)
	}
	for n := 1; n <= handshake.MaxProtocol; n++ {
		p := strings.Repeat(string(printable), 1+n/len(printable))[:n]
		if o, ok := parseOffer(subprotocolOf(p)); !ok || o.application != p {
			t.Fatalf("%q is read as %+v, %v", p, o, ok)
		}
	}
	if _, ok := parseOffer(Subprotocol + "." + base64.RawURLEncoding.EncodeToString(make([]byte, handshake.MaxProtocol+1))); ok {
		t.Error("a protocol that is too long was read")
	}
	// The most that a client can offer is not over a server's bounds.
	var offered []string
	for i := range handshake.MaxMembers {
		offered = append(offered, fmt.Sprintf("%0*d", handshake.MaxProtocol, i))
	}
	r, err := newRequest("https://example.com/", &transport.DialOptions{Protocols: offered})
	if err != nil {
		t.Fatal(err)
	}
	all, ok := new(Config).offers(http.Header{fieldProtocol: {r.subprotocols()}})
	if !ok || len(all) != handshake.MaxMembers+1 || all[7].application != offered[7] || all[handshake.MaxMembers].subprotocol != Subprotocol {
		t.Errorf("%d of %d are read", len(all), handshake.MaxMembers+1)
	}
}
