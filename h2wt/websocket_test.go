package h2wt

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
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

// websocketConnection is what OpenWebSocket's net.Conn is besides.
type websocketConnection interface {
	net.Conn
	CloseWrite() error
	ConnectionState() tls.ConnectionState
	RTT() (time.Duration, bool)
}

var (
	_ websocketConnection = (*websocketConn)(nil)
	_ websocketConnection = (*bridgeConn)(nil)
)

// websocketOnly are a server's SETTINGS with extended CONNECT and nothing else.
var websocketOnly = []http2.Setting{{ID: 0x8, Val: 1}}

// opened is what OpenWebSocket returns.
type opened struct {
	nc     net.Conn
	header http.Header
}

func openAsync(ctx context.Context, c *ClientConn, header http.Header) *h2test.Result[opened] {
	return h2test.RunAsync(func() (opened, error) {
		nc, h, err := c.OpenWebSocket(ctx, "wss://example.com/ws", header)
		return opened{nc, h}, err
	})
}

// openedWebSocket opens a WebSocket to a scripted server.
func openedWebSocket(t *testing.T, cfg Config) (*h2test.Peer, *ClientConn, net.Conn) {
	t.Helper()
	cfg.AcceptWebSocketOnly = true
	p, c, _ := greeted(t, &cfg, websocketOnly)
	result := openAsync(t.Context(), c, nil)
	p.WantHeaders("CONNECT", 1)
	p.WriteHeaders(1, false, ":status", "200")
	o, err := result.Result()
	if err != nil {
		t.Fatal(err)
	}
	return p, c, o.nc
}

func TestOpenWebSocketSettings(t *testing.T) {
	only := &Config{AcceptWebSocketOnly: true}
	for _, tt := range []struct {
		name          string
		cfg           *Config
		settings      []http2.Setting
		conn, session bool
	}{
		{"extended CONNECT suffices where that is wanted", only, websocketOnly, true, false},
		{"and not elsewhere", nil, websocketOnly, false, false},
		{"WebTransport is found all the same", only, enabled(1), true, true},
		{"nothing at all", only, nil, false, false},
		{"WebTransport's settings without extended CONNECT", only, []http2.Setting{{ID: 0x2b60, Val: 1}}, false, false},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			p, result := newScriptedServer(t, tt.cfg)
			defer p.Close()
			p.Preface(tt.settings...)
			c, err := result.Result()
			if !tt.conn {
				if err != transport.ErrNotWebTransport {
					t.Errorf("NewClientConn: %v, want ErrNotWebTransport", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if c.OffersWebTransport() != tt.session || c.CanTakeNewSession() != tt.session {
				t.Errorf("offers sessions: %v; can take one: %v", c.OffersWebTransport(), c.CanTakeNewSession())
			}
			if tt.session {
				return
			}
			p.Drain()
			if _, err := c.Dial(t.Context(), "https://example.com/", nil); err != transport.ErrNotWebTransport {
				t.Errorf("Dial: %v, want ErrNotWebTransport", err)
			}
			p.WantIdle("nothing was requested")
		})
	}
	bubble(t, "TLS 1.2 without extended master secret is for WebSockets alone", func(t *testing.T) {
		p, c, _ := greeted(t, only, enabled(1))
		defer p.Close()
		defer c.Close()
		c.tlsErr = errors.New("too old") // what NewClientConn notes
		if c.OffersWebTransport() {
			t.Error("sessions are offered")
		}
		if _, err := c.Dial(t.Context(), "https://example.com/", nil); err != transport.ErrNotWebTransport {
			t.Errorf("Dial: %v", err)
		}
	})
}

func TestOpenWebSocketRequest(t *testing.T) {
	bubble(t, "the CONNECT of RFC 8441 section 5", func(t *testing.T) {
		p, c, _ := greeted(t, &Config{AcceptWebSocketOnly: true}, websocketOnly)
		defer p.Close()
		defer c.Close()
		result := h2test.RunAsync(func() (opened, error) {
			nc, h, err := c.OpenWebSocket(t.Context(), "https://Example.com:8443?a=b", http.Header{
				"Origin":                 {"https://example.org"},
				"Sec-WebSocket-Protocol": {"chat, superchat"},
				"Authorization":          {"Bearer x"},
			})
			return opened{nc, h}, err
		})
		h := p.WantHeaders("CONNECT", 1)
		want := []string{
			":method", "CONNECT", ":protocol", "websocket", ":scheme", "https",
			":authority", "example.com:8443", ":path", "/?a=b",
			"sec-websocket-version", "13",
			"authorization", "Bearer x", "origin", "https://example.org", "sec-websocket-protocol", "chat, superchat",
		}
		if !slices.Equal(h.Fields, want) || h.EndStream {
			t.Errorf("END_STREAM %v, fields\n got %q\nwant %q", h.EndStream, h.Fields, want)
		}
		p.WriteHeaders(1, false, ":status", "103")
		if result.Done() {
			t.Fatal("an interim response was taken for the answer")
		}
		p.WriteHeaders(1, false, ":status", "201", "sec-websocket-protocol", "chat")
		o, err := result.Result()
		if err != nil || o.header.Get("Sec-WebSocket-Protocol") != "chat" {
			t.Errorf("OpenWebSocket: %v, %v", o.header, err)
		}
		p.WantIdle("the stream waits for its owner")
	})
	for _, tt := range []struct {
		name, url string
		header    http.Header
	}{
		{"http URL", "http://example.com/", nil},
		{"ws URL", "ws://example.com/", nil},
		{"no host", "wss:///x", nil},
		{"fragment", "wss://example.com/#x", nil},
		{"Upgrade", "wss://example.com/", http.Header{"Upgrade": {"websocket"}}},
		{"Connection", "wss://example.com/", http.Header{"Connection": {"upgrade"}}},
		{"Sec-WebSocket-Key", "wss://example.com/", http.Header{"Sec-WebSocket-Key": {"x"}}},
		{"Sec-WebSocket-Version", "wss://example.com/", http.Header{"sec-websocket-version": {"8"}}},
		{"Content-Length", "wss://example.com/", http.Header{"Content-Length": {"1"}}},
		{"line break", "wss://example.com/", http.Header{"X-A": {"a\nb"}}},
	} {
		bubble(t, "not valid: "+tt.name, func(t *testing.T) {
			p, c, _ := greeted(t, &Config{AcceptWebSocketOnly: true}, websocketOnly)
			defer p.Close()
			defer c.Close()
			if nc, _, err := c.OpenWebSocket(t.Context(), tt.url, tt.header); err == nil || nc != nil {
				t.Errorf("OpenWebSocket = %v, %v", nc, err)
			}
			p.WantIdle("nothing was sent")
		})
	}
	bubble(t, "ctx ends while waiting", func(t *testing.T) {
		p, c, _ := greeted(t, &Config{AcceptWebSocketOnly: true}, websocketOnly)
		defer p.Close()
		defer c.Close()
		ctx, cancel := context.WithCancelCause(t.Context())
		result := openAsync(ctx, c, nil)
		p.WantHeaders("CONNECT", 1)
		cause := errors.New("enough")
		cancel(cause)
		if _, err := result.Result(); !errors.Is(err, cause) {
			t.Errorf("OpenWebSocket: %v", err)
		}
		p.WantRST("not wanted any more", 1, http2.ErrCodeCancel)
		p.WriteHeaders(1, false, ":status", "200")
		p.WantIdle("a late answer is ignored")
	})
	bubble(t, "ctx ends while the server's stream limit is waited for", func(t *testing.T) {
		p, c, _ := greeted(t, &Config{AcceptWebSocketOnly: true}, append(websocketOnly, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0}))
		defer p.Close()
		defer c.Close()
		ctx, cancel := context.WithCancelCause(t.Context())
		result := openAsync(ctx, c, nil)
		p.WantIdle("no stream is allowed")
		cause := errors.New("enough")
		cancel(cause)
		if _, err := result.Result(); !errors.Is(err, cause) {
			t.Errorf("OpenWebSocket: %v", err)
		}
		p.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
		p.WantFrame("acknowledged", h2test.Settings{Ack: true})
		p.WantIdle("nobody waits any more")
	})
	bubble(t, "the server's stream limit is waited for", func(t *testing.T) {
		p, c, _ := greeted(t, &Config{AcceptWebSocketOnly: true}, append(websocketOnly, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0}))
		defer p.Close()
		defer c.Close()
		result := openAsync(t.Context(), c, nil)
		p.WantIdle("no stream is allowed")
		p.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
		p.WantFrame("acknowledged", h2test.Settings{Ack: true})
		p.WantHeaders("CONNECT", 1)
		p.WriteHeaders(1, false, ":status", "200")
		if _, err := result.Result(); err != nil {
			t.Error(err)
		}
	})
}

func TestOpenWebSocketRefused(t *testing.T) {
	for _, tt := range []struct {
		name, status string
		end          bool
		body         []string
		want         string
	}{
		{"403 without content", "403", true, nil, ""},
		{"404 with content", "404", false, []string{"no", "thing"}, "nothing"},
		{"content beyond the bound", "500", false, []string{strings.Repeat("x", 4000), strings.Repeat("x", 4000)}, strings.Repeat("x", 4096)},
		{"redirection", "302", true, nil, ""},
		{"2xx with END_STREAM", "200", true, nil, ""},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			p, c, _ := greeted(t, &Config{AcceptWebSocketOnly: true}, websocketOnly)
			defer p.Close()
			defer c.Close()
			result := openAsync(t.Context(), c, nil)
			p.WantHeaders("CONNECT", 1)
			p.AllowWriteErrors = true
			p.WriteHeaders(1, tt.end, ":status", tt.status, "x-a", "1")
			for i, b := range tt.body {
				p.WriteData(1, i == len(tt.body)-1, b)
			}
			o, err := result.Result()
			re, ok := errors.AsType[*transport.RejectedError](err)
			if !ok || o.nc != nil || http.StatusText(re.StatusCode) == "" || re.Header.Get("X-A") != "1" || string(re.Body) != tt.want {
				t.Fatalf("OpenWebSocket: %#v", err)
			}
			p.WantRST("the client ends its side", 1, http2.ErrCodeCancel)
			p.WantIdle("no other request")
		})
	}
	bubble(t, "content that never ends", func(t *testing.T) {
		p, c, _ := greeted(t, &Config{AcceptWebSocketOnly: true}, websocketOnly)
		defer p.Close()
		defer c.Close()
		result := openAsync(t.Context(), c, nil)
		p.WantHeaders("CONNECT", 1)
		p.WriteHeaders(1, false, ":status", "404")
		p.WriteData(1, false, "abc")
		synctest.Wait()
		start := time.Now()
		_, err := result.Result()
		if re, ok := errors.AsType[*transport.RejectedError](err); !ok || string(re.Body) != "abc" || time.Since(start) != rejectBodyWait {
			t.Errorf("OpenWebSocket: %v after %v", err, time.Since(start))
		}
	})
	bubble(t, "ctx ends while content comes", func(t *testing.T) {
		p, c, _ := greeted(t, &Config{AcceptWebSocketOnly: true}, websocketOnly)
		defer p.Close()
		defer c.Close()
		ctx, cancel := context.WithCancel(t.Context())
		result := openAsync(ctx, c, nil)
		p.WantHeaders("CONNECT", 1)
		p.WriteHeaders(1, false, ":status", "404")
		synctest.Wait()
		start := time.Now()
		cancel()
		_, err := result.Result()
		if _, ok := errors.AsType[*transport.RejectedError](err); !ok || time.Since(start) != 0 {
			t.Errorf("OpenWebSocket: %v after %v", err, time.Since(start))
		}
	})
	for _, tt := range []struct {
		name         string
		end          func(p *h2test.Peer)
		notProcessed bool
		code         uint64
	}{
		{"REFUSED_STREAM", func(p *h2test.Peer) { p.WriteRST(1, http2.ErrCodeRefusedStream) }, true, 7},
		{"GOAWAY with a lower id", func(p *h2test.Peer) { p.WriteGoAway(0, http2.ErrCodeNo) }, true, 7},
		{"HTTP_1_1_REQUIRED", func(p *h2test.Peer) { p.WriteRST(1, http2.ErrCodeHTTP11Required) }, false, 13},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			p, c, _ := greeted(t, &Config{AcceptWebSocketOnly: true}, websocketOnly)
			defer p.Close()
			defer c.Close()
			result := openAsync(t.Context(), c, nil)
			p.WantHeaders("CONNECT", 1)
			tt.end(p)
			_, err := result.Result()
			_, np := errors.AsType[*transport.NotProcessedError](err)
			re, ok := errors.AsType[*transport.ResetError](err)
			if np != tt.notProcessed || !ok || re.Code != tt.code {
				t.Errorf("OpenWebSocket: %#v", err)
			}
		})
	}
}

// The end of a stream may be seen together with the answer before it.
func TestConnectAnswer(t *testing.T) {
	for range 100 {
		a, ended := newConnectAnswer(), make(chan struct{})
		a.written <- nil
		a.final <- &connectResponse{status: 404}
		close(ended)
		resp, err := a.wait(t.Context(), ended, func() error { return errSessionReset })
		if err != nil || resp.status != 404 {
			t.Fatalf("wait = %v, %v, want the answer", resp, err)
		}
	}
	a, ended := newConnectAnswer(), make(chan struct{})
	close(ended)
	if _, err := a.wait(t.Context(), ended, func() error { return errSessionReset }); err != errSessionReset {
		t.Errorf("wait = %v", err)
	}
}
