package negotiate

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/towpath-go/towpath/internal/testcert"
)

// echoTCP is a TCP server that sends back what it gets.
func echoTCP(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() { // ends when the listener is closed
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the connection
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	return ln.Addr().String()
}

// A httpProxy is an HTTP proxy with Basic authentication "user:secret" if auth is set.
type httpProxy struct {
	auth     bool
	tunnels  atomic.Int32
	lastHost atomic.Value
}

func (p *httpProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.lastHost.Store(r.Host)
	if p.auth && r.Header.Get("Proxy-Authorization") != "Basic dXNlcjpzZWNyZXQ=" {
		w.Header().Set("Proxy-Authenticate", `Basic realm="towpath"`)
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	out, err := net.Dial("tcp", r.Host)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer out.Close()
	p.tunnels.Add(1)
	in, buf, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer in.Close()
	buf.WriteString("HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n")
	buf.Flush()
	go func() { // ends with out
		io.Copy(in, out)
		in.Close()
	}()
	io.Copy(out, buf.Reader)
}

func plainDial(ctx context.Context, network, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, address)
}

func wantEcho(t *testing.T, c net.Conn) {
	t.Helper()
	defer c.Close()
	if _, err := io.WriteString(c, "through\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(c).ReadString('\n'); line != "through\n" {
		t.Errorf("echo %q, %v", line, err)
	}
}

func TestProxyConnect(t *testing.T) {
	target := echoTCP(t)
	h := &httpProxy{auth: true}
	srv := httptest.NewServer(h)
	defer srv.Close()
	u, _ := url.Parse(srv.URL)

	t.Run("with Basic authentication", func(t *testing.T) {
		p := *u
		p.User = url.UserPassword("user", "secret")
		c, err := dialProxy(t.Context(), plainDial, &p, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		wantEcho(t, c)
		if got := h.lastHost.Load(); got != target {
			t.Errorf("the proxy was asked for %v, want %v", got, target)
		}
	})
	t.Run("407 is a ProxyError with its status", func(t *testing.T) {
		_, err := dialProxy(t.Context(), plainDial, u, target, nil)
		var pe *ProxyError
		if !errors.As(err, &pe) || pe.StatusCode != 407 || pe.Header.Get("Proxy-Authenticate") == "" {
			t.Fatalf("got %v, want 407 with its header", err)
		}
		if !strings.Contains(err.Error(), "407 Proxy Authentication Required") {
			t.Errorf("the error says %q", err)
		}
	})
	t.Run("the password is not in the error", func(t *testing.T) {
		p := *u
		p.User = url.UserPassword("user", "wrong-password")
		_, err := dialProxy(t.Context(), plainDial, &p, target, nil)
		if err == nil || strings.Contains(err.Error(), "wrong-password") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the target refuses", func(t *testing.T) {
		p := *u
		p.User = url.UserPassword("user", "secret")
		_, err := dialProxy(t.Context(), plainDial, &p, closedPort(t).String(), nil)
		var pe *ProxyError
		if !errors.As(err, &pe) || pe.StatusCode != 502 {
			t.Errorf("got %v, want 502", err)
		}
	})
	t.Run("https proxy", func(t *testing.T) {
		cert := testcert.New(t)
		ts := httptest.NewUnstartedServer(&httpProxy{})
		ts.TLS = cert.ServerConfig("http/1.1")
		ts.StartTLS()
		defer ts.Close()
		p, _ := url.Parse(ts.URL)
		c, err := dialProxy(t.Context(), plainDial, p, target, &tls.Config{RootCAs: cert.Pool})
		if err != nil {
			t.Fatal(err)
		}
		wantEcho(t, c)
	})
}

// scriptedProxy answers the first connection with fixed bytes and waits.
func scriptedProxy(t *testing.T, answer string) *url.URL {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() { // ends with the connection, which the test closes
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		br := bufio.NewReader(c)
		if _, err := http.ReadRequest(br); err != nil {
			return
		}
		io.WriteString(c, answer)
		io.Copy(io.Discard, br)
	}()
	return &url.URL{Scheme: "http", Host: ln.Addr().String()}
}

func TestProxyHostile(t *testing.T) {
	t.Run("bytes behind the head belong to the tunnel", func(t *testing.T) {
		c, err := dialProxy(t.Context(), plainDial, scriptedProxy(t, "HTTP/1.1 200 OK\r\n\r\nearly"), "a.test:443", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		b := make([]byte, 5)
		if _, err := io.ReadFull(c, b); string(b) != "early" {
			t.Errorf("read %q, %v", b, err)
		}
	})
	t.Run("an endless head is cut off", func(t *testing.T) {
		for _, n := range []int{maxProxyHeader - 100, maxProxyHeader + 1} {
			head := "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", n) + "\r\n\r\n"
			_, err := dialProxy(t.Context(), plainDial, scriptedProxy(t, head), "a.test:443", nil)
			if want := len(head) > maxProxyHeader; (err != nil) != want {
				t.Errorf("a head of %d bytes: %v", len(head), err)
			}
		}
	})
	t.Run("an answer's content is not waited for", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := dialProxy(ctx, plainDial, scriptedProxy(t, "HTTP/1.1 407 No\r\nContent-Length: 10\r\n\r\n"), "a.test:443", nil)
		if pe, ok := errors.AsType[*ProxyError](err); !ok || pe.StatusCode != 407 || ctx.Err() != nil {
			t.Errorf("got %v, %v", err, ctx.Err())
		}
		// RFC 9110 section 9.3.6: a 2xx to CONNECT has no content whatever it says.
		for _, field := range []string{"Content-Length: 3", "Transfer-Encoding: chunked"} {
			c, err := dialProxy(ctx, plainDial, scriptedProxy(t, "HTTP/1.1 200 OK\r\n"+field+"\r\n\r\nearly"), "a.test:443", nil)
			if err != nil {
				t.Fatalf("%s: %v", field, err)
			}
			defer c.Close()
			b := make([]byte, 5)
			if _, err := io.ReadFull(c, b); string(b) != "early" {
				t.Errorf("%s: read %q, %v", field, b, err)
			}
		}
	})
	t.Run("not HTTP", func(t *testing.T) {
		_, err := dialProxy(t.Context(), plainDial, scriptedProxy(t, "SSH-2.0-test\r\n"), "a.test:443", nil)
		var pe *ProxyError
		if !errors.As(err, &pe) || pe.StatusCode != 0 {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the context ends while the proxy is silent", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err := dialProxy(ctx, plainDial, scriptedProxy(t, ""), "a.test:443", nil)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("unknown scheme, no host", func(t *testing.T) {
		for _, s := range []string{"ftp://127.0.0.1:21", "http://:80"} {
			u, _ := url.Parse(s)
			var pe *ProxyError
			if _, err := dialProxy(t.Context(), plainDial, u, "a.test:443", nil); !errors.As(err, &pe) {
				t.Errorf("%s: got %v", s, err)
			}
		}
	})
}

// socksServer speaks as much of RFC 1928 and 1929 as the test needs.
func socksServer(t *testing.T, user, password string) *url.URL {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	serve := func(c net.Conn) error {
		b := make([]byte, 262)
		if _, err := io.ReadFull(c, b[:2]); err != nil {
			return err
		}
		if _, err := io.ReadFull(c, b[:b[1]]); err != nil {
			return err
		}
		if user != "" {
			c.Write([]byte{5, 2})
			io.ReadFull(c, b[:2])
			u := make([]byte, b[1])
			io.ReadFull(c, u)
			io.ReadFull(c, b[:1])
			p := make([]byte, b[0])
			io.ReadFull(c, p)
			if string(u) != user || string(p) != password {
				c.Write([]byte{1, 1})
				return errors.New("wrong password")
			}
			c.Write([]byte{1, 0})
		} else {
			c.Write([]byte{5, 0})
		}
		if _, err := io.ReadFull(c, b[:4]); err != nil {
			return err
		}
		var host string
		switch b[3] {
		case 1:
			io.ReadFull(c, b[:4])
			host = net.IP(b[:4]).String()
		case 3:
			io.ReadFull(c, b[:1])
			n := b[0]
			io.ReadFull(c, b[:n])
			host = string(b[:n])
		}
		io.ReadFull(c, b[:2])
		out, err := net.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(b)))))
		if err != nil {
			c.Write([]byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0})
			return err
		}
		defer out.Close()
		c.Write([]byte{5, 0, 0, 1, 127, 0, 0, 1, 0, 1})
		go func() { // ends with out
			io.Copy(c, out)
			c.Close()
		}()
		_, err = io.Copy(out, c)
		return err
	}
	go func() { // ends when the listener is closed
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { // ends with the connection
				defer c.Close()
				_ = serve(c)
			}()
		}
	}()
	return &url.URL{Scheme: "socks5", Host: ln.Addr().String()}
}

func TestProxySOCKS5(t *testing.T) {
	target := echoTCP(t)
	t.Run("open", func(t *testing.T) {
		c, err := dialProxy(t.Context(), plainDial, socksServer(t, "", ""), target, nil)
		if err != nil {
			t.Fatal(err)
		}
		wantEcho(t, c)
	})
	t.Run("name and password, the proxy resolves", func(t *testing.T) {
		u := socksServer(t, "user", "secret")
		u.User = url.UserPassword("user", "secret")
		_, port, _ := net.SplitHostPort(target)
		c, err := dialProxy(t.Context(), plainDial, u, "localhost:"+port, nil)
		if err != nil {
			t.Fatal(err)
		}
		wantEcho(t, c)
	})
	t.Run("wrong password", func(t *testing.T) {
		u := socksServer(t, "user", "secret")
		u.User = url.UserPassword("user", "no")
		_, err := dialProxy(t.Context(), plainDial, u, target, nil)
		var pe *ProxyError
		if !errors.As(err, &pe) || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the target refuses", func(t *testing.T) {
		_, err := dialProxy(t.Context(), plainDial, socksServer(t, "", ""), closedPort(t).String(), nil)
		if err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("got %v", err)
		}
	})
}

func TestProxyFromEnvironment(t *testing.T) {
	for _, c := range []struct {
		name string
		env  map[string]string
		host string
		want string
	}{
		{"nothing set", nil, "example.com", ""},
		{"HTTPS_PROXY", map[string]string{"HTTPS_PROXY": "http://p:1"}, "example.com", "http://p:1"},
		{"HTTP_PROXY is not for https", map[string]string{"HTTP_PROXY": "http://p:1"}, "example.com", ""},
		{"ALL_PROXY as a last resort", map[string]string{"ALL_PROXY": "socks5://p:2"}, "example.com", "socks5://p:2"},
		{"HTTPS_PROXY before ALL_PROXY", map[string]string{"HTTPS_PROXY": "http://p:1", "ALL_PROXY": "socks5://p:2"}, "example.com", "http://p:1"},
		{"NO_PROXY holds for ALL_PROXY", map[string]string{"ALL_PROXY": "socks5://p:2", "NO_PROXY": "example.com"}, "example.com", ""},
		{"loopback needs no proxy", map[string]string{"ALL_PROXY": "socks5://p:2"}, "127.0.0.1", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, k := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy", "REQUEST_METHOD"} {
				t.Setenv(k, c.env[k])
			}
			u, err := proxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "https", Host: c.host + ":443"}})
			got := ""
			if u != nil {
				got = u.String()
			}
			if err != nil || got != c.want {
				t.Errorf("got %q, %v, want %q", got, err, c.want)
			}
		})
	}
}
