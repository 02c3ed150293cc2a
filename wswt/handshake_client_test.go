package wswt

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/handshake"
	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
)

// dialed is what DialConn returned.
type dialed struct {
	s   transport.Session
	err error
}

// script runs DialConn against a scripted server.
func script(t testing.TB, ctx context.Context, opts *transport.DialOptions, cfg *Config) (*tls.Conn, *http.Request, <-chan dialed) {
	t.Helper()
	cert := testcert.New(t)
	a, b := memconn.Pipe(nil)
	result := make(chan dialed, 1)
	go func() {
		s, err := DialConn(ctx, tls.Client(a, cert.ClientConfig("example.com", "http/1.1")), "https://example.com:8443/wt?x=1", opts, cfg)
		result <- dialed{s, err}
	}()
	server := tls.Server(b, cert.ServerConfig("http/1.1"))
	r, err := http.ReadRequest(bufio.NewReader(server))
	if err != nil {
		t.Fatal(err)
	}
	return server, r, result
}

// acceptance is the response that accepts, which changes edit.
func acceptance(r *http.Request, changes ...string) string {
	lines := []string{
		"HTTP/1.1 101 Switching Protocols",
		"Upgrade: websocket",
		"Connection: Upgrade",
		"Sec-WebSocket-Accept: " + acceptOf(r.Header.Get("Sec-WebSocket-Key")),
		"Sec-WebSocket-Protocol: " + Subprotocol,
	}
	return edit(lines, changes)
}

func TestDialRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, r, result := script(t, t.Context(), &transport.DialOptions{
			Header:    http.Header{"X-Token": {"1"}, "x-token": {"2"}, "Cookie": {"a=b"}},
			Origin:    "https://app.example",
			Protocols: []string{"moq-00", "a b"},
		}, nil)
		if r.Method != "GET" || r.RequestURI != "/wt?x=1" || r.Host != "example.com:8443" || r.Proto != "HTTP/1.1" || !isWebSocket(r) {
			t.Errorf("request %s %s %s, host %s, %v", r.Method, r.RequestURI, r.Proto, r.Host, r.Header)
		}
		if err := checkRequest(r); err != nil {
			t.Error(err)
		}
		for name, want := range map[string]string{
			"Sec-WebSocket-Version":    "13",
			"Sec-WebSocket-Protocol":   "towpath.capsule.v1.bW9xLTAw, towpath.capsule.v1.YSBi, towpath.capsule.v1",
			"Sec-WebSocket-Extensions": "",
			"Origin":                   "https://app.example",
			"Cookie":                   "a=b",
		} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		io.WriteString(server, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"+acceptance(r, "Sec-WebSocket-Protocol: towpath.capsule.v1.YSBi", "Set-Cookie: c=d"))
		d := <-result
		if d.err != nil {
			t.Fatal(d.err)
		}
		info := d.s.Info()
		if info.ApplicationProtocol != "a b" || info.Header.Get("Set-Cookie") != "c=d" || info.Protocol != transport.WebSocket || info.TLS == nil || info.ID != 0 {
			t.Errorf("Info %+v", info)
		}
		server.Close()
		<-d.s.Context().Done()
	})
}

func TestDialErrors(t *testing.T) {
	const bad, alpn = transport.ViolationMalformed, transport.ViolationALPN
	for _, tt := range []struct {
		name    string
		changes []string
		what    transport.Violation
	}{
		{"no Upgrade", []string{"-Upgrade"}, bad},
		{"another Upgrade", []string{"Upgrade: h2c"}, bad},
		{"no Connection", []string{"-Connection"}, bad},
		{"no Sec-WebSocket-Accept", []string{"-Sec-WebSocket-Accept"}, bad},
		{"a wrong Sec-WebSocket-Accept", []string{"Sec-WebSocket-Accept: " + testAccept}, bad},
		{"two Sec-WebSocket-Accept", []string{"X: y\r\nSec-WebSocket-Accept: " + testAccept}, bad},
		{"an extension", []string{"Sec-WebSocket-Extensions: permessage-deflate"}, bad},
		{"HTTP/1.0", []string{"HTTP/1.0 101 Switching Protocols"}, bad},
		{"no HTTP", []string{"SSH-2.0 HTTP/"}, bad},
		{"no subprotocol", []string{"-Sec-WebSocket-Protocol"}, alpn},
		{"another subprotocol", []string{"Sec-WebSocket-Protocol: chat"}, alpn},
		{"a protocol that was not offered", []string{"Sec-WebSocket-Protocol: towpath.capsule.v1.YWI"}, alpn},
		{"two subprotocols", []string{"Sec-WebSocket-Protocol: towpath.capsule.v1.YQ, towpath.capsule.v1"}, alpn},
		{"two subprotocols in two lines", []string{"X: y\r\nSec-WebSocket-Protocol: towpath.capsule.v1"}, alpn},
		{"a head without end", []string{"X: " + strings.Repeat("x", maxHead)}, transport.ViolationExcess},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, r, result := script(t, t.Context(), &transport.DialOptions{Protocols: []string{"a"}}, nil)
				go func() {
					io.WriteString(server, acceptance(r, tt.changes...))
					io.Copy(io.Discard, server)
					server.Close()
				}()
				d := <-result
				if pe, ok := errors.AsType[*transport.ProtocolError](d.err); !ok || pe.Violation != tt.what || d.s != nil {
					t.Errorf("Dial: %v (%T), want a %v", d.err, d.err, tt.what)
				}
			})
		})
	}
	t.Run("too many interim responses", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server, r, result := script(t, t.Context(), nil, nil)
			defer server.Close()
			io.WriteString(server, strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", maxInterim)+acceptance(r))
			if d := <-result; d.err == nil {
				t.Error("Dial succeeded")
			} else if _, ok := errors.AsType[*transport.ProtocolError](d.err); !ok {
				t.Errorf("Dial: %v", d.err)
			}
		})
	})
	for _, status := range []int{200, 301, 302, 401, 403, 404, 407, 426, 429, 500, 503} {
		t.Run(fmt.Sprintf("status %d", status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, _, result := script(t, t.Context(), nil, nil)
				go func() {
					fmt.Fprintf(server, "HTTP/1.1 %d X\r\nLocation: https://elsewhere.example/\r\nContent-Length: 100000\r\n\r\n", status)
					server.Write([]byte(strings.Repeat("y", 100_000)))
					server.Close()
				}()
				d := <-result
				re, ok := errors.AsType[*transport.RejectedError](d.err)
				if !ok || re.StatusCode != status || re.Header.Get("Location") == "" || len(re.Body) == 0 || len(re.Body) > maxRejectBody {
					t.Errorf("Dial: %+v", d.err)
				}
			})
		})
	}
	t.Run("a body that does not come", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server, _, result := script(t, t.Context(), nil, nil)
			defer server.Close()
			start := time.Now()
			io.WriteString(server, "HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nno")
			d := <-result
			re, ok := errors.AsType[*transport.RejectedError](d.err)
			if !ok || string(re.Body) != "no" || time.Since(start) != rejectBodyWait {
				t.Errorf("Dial: %v after %v", d.err, time.Since(start))
			}
		})
	})
	t.Run("the connection ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			server, _, result := script(t, t.Context(), nil, nil)
			io.WriteString(server, "HTTP/1.1 101")
			server.Close()
			if d := <-result; !errors.Is(d.err, io.ErrUnexpectedEOF) {
				t.Errorf("Dial: %v", d.err)
			}
		})
	})
	t.Run("no answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			server, _, result := script(t, t.Context(), nil, nil)
			defer server.Close()
			if d := <-result; d.err != errHandshakeTimeout || time.Since(start) != DefaultHandshakeTimeout {
				t.Errorf("Dial: %v after %v", d.err, time.Since(start))
			}
		})
	})
	t.Run("a server that reads nothing", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			cc, sc := tlsPipe(t)
			defer sc.NetConn().Close()
			cc.NetConn().(*memconn.Conn).StallWrites(true)
			start := time.Now()
			if _, err := DialConn(t.Context(), cc, "https://example.com/", nil, nil); err != errHandshakeTimeout || time.Since(start) != DefaultHandshakeTimeout {
				t.Errorf("Dial: %v after %v", err, time.Since(start))
			}
		})
	})
	t.Run("a server that reads the request and nothing more", func(t *testing.T) {
		for _, answer := range []string{"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "no HTTP\r\n\r\n", "HTTP/1.1 101 x\r\n\r\n"} {
			synctest.Test(t, func(t *testing.T) {
				cc, sc := tlsPipe(t)
				defer sc.NetConn().Close()
				result := make(chan error, 1)
				go func() {
					_, err := DialConn(t.Context(), cc, "https://example.com/", nil, nil)
					result <- err
				}()
				start := time.Now()
				if _, err := http.ReadRequest(bufio.NewReader(sc)); err != nil {
					t.Fatal(err)
				}
				cc.NetConn().(*memconn.Conn).StallWrites(true)
				io.WriteString(sc, answer)
				if err := <-result; err == nil || time.Since(start) != 0 {
					t.Errorf("Dial: %v after %v", err, time.Since(start))
				}
			})
		}
	})
	t.Run("the context ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			why := errors.New("why")
			ctx, cancel := context.WithCancelCause(t.Context())
			server, _, result := script(t, ctx, nil, &Config{HandshakeTimeout: -1})
			defer server.Close()
			time.Sleep(time.Hour)
			cancel(why)
			if d := <-result; d.err != why {
				t.Errorf("Dial: %v", d.err)
			}
		})
	})
	t.Run("another protocol by ALPN", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			cert := testcert.New(t)
			a, b := memconn.Pipe(nil)
			server := tls.Server(b, cert.ServerConfig("h2"))
			go func() {
				server.Handshake()
				io.Copy(io.Discard, server)
				server.Close()
			}()
			if _, err := DialConn(t.Context(), tls.Client(a, cert.ClientConfig("example.com", "h2")), "https://example.com/", nil, nil); err == nil {
				t.Error("Dial succeeded")
			}
		})
	})
}

func TestDialOptions(t *testing.T) {
	for _, tt := range []struct {
		name, url string
		opts      transport.DialOptions
	}{
		{"http URL", "http://example.com/", transport.DialOptions{}},
		{"ws URL", "ws://example.com/", transport.DialOptions{}},
		{"fragment", "wss://example.com/#x", transport.DialOptions{}},
		{"Host", "https://example.com/", transport.DialOptions{Header: http.Header{"Host": {"x"}}}},
		{"Origin", "https://example.com/", transport.DialOptions{Header: http.Header{"Origin": {"x"}}}},
		{"Connection", "https://example.com/", transport.DialOptions{Header: http.Header{"Connection": {"x"}}}},
		{"Sec-WebSocket-Protocol", "https://example.com/", transport.DialOptions{Header: http.Header{"sec-websocket-protocol": {"x"}}}},
		{"Sec-WebSocket-Extensions", "https://example.com/", transport.DialOptions{Header: http.Header{"Sec-WebSocket-Extensions": {"x"}}}},
		{"header injection", "https://example.com/", transport.DialOptions{Header: http.Header{"X": {"x\r\nY: z"}}}},
		{"origin injection", "https://example.com/", transport.DialOptions{Origin: "x\r\nY: z"}},
		{"protocol", "https://example.com/", transport.DialOptions{Protocols: []string{"ä"}}},
		{"RequireProtocol alone", "https://example.com/", transport.DialOptions{RequireProtocol: true}},
		{"RequireUnreliable", "https://example.com/", transport.DialOptions{RequireUnreliable: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := net.Pipe()
			defer b.Close()
			_, err := DialConn(t.Context(), tls.Client(a, &tls.Config{InsecureSkipVerify: true}), tt.url, &tt.opts, nil)
			if err == nil || errors.Is(err, transport.ErrUnsupported) != tt.opts.RequireUnreliable {
				t.Errorf("DialConn: %v", err)
			}
			if _, err := a.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("the connection is still there: %v", err)
			}
			if _, err := Dial(t.Context(), tt.url, nil, &tt.opts); err == nil {
				t.Error("Dial succeeded")
			}
			if _, err := DialHTTP2(t.Context(), nil, tt.url, &tt.opts, nil); err == nil {
				t.Error("DialHTTP2 succeeded")
			}
		})
	}
}

func TestDialRequiresProtocol(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server, r, result := script(t, t.Context(), &transport.DialOptions{Protocols: []string{"a"}, RequireProtocol: true}, nil)
		io.WriteString(server, acceptance(r))
		d := <-result
		if pe, ok := errors.AsType[*transport.ProtocolError](d.err); !ok || pe.Violation != transport.ViolationALPN || d.s != nil {
			t.Errorf("Dial: %v", d.err)
		}
		f, err := readFrame(server)
		want := capsule.CloseSession{ErrorCode: handshake.AlpnError}.Append(nil)
		if err != nil || f.OpCode != ws.OpBinary || string(f.payload) != string(want) {
			t.Errorf("frame %+v %x, %v, want WT_CLOSE_SESSION with WT_ALPN_ERROR", f.Header, f.payload, err)
		}
		if f, err = readFrame(server); err != nil || f.OpCode != ws.OpClose {
			t.Errorf("frame %+v, %v", f.Header, err)
		}
		server.Close()
	})
}

// TestDial connects over loopback by Dial itself.
func TestDial(t *testing.T) {
	cert := testcert.New(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := NewServer(nil)
	h, upgraded := upgradeHandler(srv, &transport.UpgradeOptions{Protocols: []string{"p"}})
	stop := serveHTTP(ln, cert.ServerConfig("http/1.1", "h2"), h)
	defer stop()
	defer srv.Close()
	for _, scheme := range []string{"https", "WSS"} {
		c, err := Dial(t.Context(), scheme+"://"+ln.Addr().String()+"/", cert.ClientConfig("example.com", "h2"), &transport.DialOptions{Protocols: []string{"p"}})
		if err != nil {
			t.Fatal(err)
		}
		a := <-upgraded
		if p := a.s.Info().ApplicationProtocol; p != "p" || c.Info().ApplicationProtocol != "p" {
			t.Errorf("application protocols %q and %q", p, c.Info().ApplicationProtocol)
		}
		if err := c.CloseWithError(5, "over"); err != nil {
			t.Error(err)
		}
		<-a.s.Context().Done()
		if se, ok := errors.AsType[*transport.SessionError](context.Cause(a.s.Context())); !ok || se.Code != 5 || se.Reason != "over" {
			t.Errorf("the server's session ended with %v", se)
		}
	}
}
