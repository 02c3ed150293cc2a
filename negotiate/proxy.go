package negotiate

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"golang.org/x/net/http/httpproxy"
	"golang.org/x/net/proxy"
)

// maxProxyHeader bounds the head of a proxy's answer, in bytes.
const maxProxyHeader = 64 << 10

// A ProxyError says that a proxy did not let the connection through.
type ProxyError struct {
	// Proxy is the proxy's URL without its password, empty if it is not known.
	Proxy string
	// StatusCode is the answer to CONNECT: 407 asks for authentication. It is 0
	// if the proxy gave none, or speaks SOCKS.
	StatusCode int
	// Header is the answer's header, with Proxy-Authenticate for example.
	Header http.Header
	Err    error
}

func (e *ProxyError) Error() string {
	s := "proxy"
	if e.Proxy != "" {
		s += " " + e.Proxy
	}
	if e.StatusCode != 0 {
		s += fmt.Sprintf(" answered %d", e.StatusCode)
		if t := http.StatusText(e.StatusCode); t != "" {
			s += " " + t
		}
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns Err.
func (e *ProxyError) Unwrap() error { return e.Err }

// proxyFromEnvironment is http.ProxyFromEnvironment, read anew each time, with
// ALL_PROXY as a last resort. NO_PROXY holds for that too.
func proxyFromEnvironment(r *http.Request) (*url.URL, error) {
	c := httpproxy.FromEnvironment()
	if c.HTTPSProxy == "" {
		if c.HTTPSProxy = os.Getenv("all_proxy"); c.HTTPSProxy == "" {
			c.HTTPSProxy = os.Getenv("ALL_PROXY")
		}
	}
	return c.ProxyFunc()(r.URL)
}

// dialFunc opens a TCP connection.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// dialProxy opens a TCP connection to hostport through a proxy, which resolves
// the name. Errors are *ProxyError.
func dialProxy(ctx context.Context, dial dialFunc, p *url.URL, hostport string, tlsConf *tls.Config) (net.Conn, error) {
	fail := func(err error) error { return &ProxyError{Proxy: p.Redacted(), Err: err} }
	port := p.Port()
	switch p.Scheme {
	case "http":
		port = cmp.Or(port, "80")
	case "https":
		port = cmp.Or(port, "443")
	case "socks5", "socks5h":
		port = cmp.Or(port, "1080")
	default:
		return nil, fail(fmt.Errorf("scheme %q is not supported, use http, https or socks5", p.Scheme))
	}
	if p.Hostname() == "" {
		return nil, fail(errors.New("the proxy URL has no host"))
	}
	address := net.JoinHostPort(p.Hostname(), port)

	if p.Scheme == "socks5" || p.Scheme == "socks5h" {
		var auth *proxy.Auth
		if p.User != nil {
			pw, _ := p.User.Password()
			auth = &proxy.Auth{User: p.User.Username(), Password: pw}
		}
		d, err := proxy.SOCKS5("tcp", address, auth, contextDialer(dial))
		if err != nil {
			return nil, fail(err)
		}
		c, err := d.(proxy.ContextDialer).DialContext(ctx, "tcp", hostport)
		if err != nil {
			return nil, fail(err)
		}
		return c, nil
	}

	c, err := dial(ctx, "tcp", address)
	if err != nil {
		return nil, fail(err)
	}
	if p.Scheme == "https" {
		conf := tlsConf.Clone()
		if conf == nil {
			conf = &tls.Config{}
		}
		conf.NextProtos = []string{"http/1.1"}
		conf.ServerName = p.Hostname()
		tc := tls.Client(c, conf)
		if err := tc.HandshakeContext(ctx); err != nil {
			_ = c.Close()
			return nil, fail(err)
		}
		c = tc
	}
	if err := connectThrough(ctx, c, p, hostport); err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// connectThrough asks an HTTP proxy for a tunnel (RFC 9110 section 9.3.6).
func connectThrough(ctx context.Context, c net.Conn, p *url.URL, hostport string) error {
	fail := func(err error) error {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return &ProxyError{Proxy: p.Redacted(), Err: err}
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	r := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: hostport}, Host: hostport, Header: http.Header{}}
	if p.User != nil {
		pw, _ := p.User.Password()
		token := base64.StdEncoding.EncodeToString([]byte(p.User.Username() + ":" + pw))
		r.Header.Set("Proxy-Authorization", "Basic "+token)
	}
	if err := r.Write(c); err != nil {
		return fail(err)
	}
	// Each byte comes by its own read, so that nothing behind the head is taken
	// from the tunnel: it belongs to the TLS handshake that follows.
	br := bufio.NewReaderSize(&byteReader{c: c, left: maxProxyHeader}, 16)
	resp, err := http.ReadResponse(br, r)
	if err != nil {
		return fail(err)
	}
	// The content is left alone, since closing it could mean reading it to its
	// end: a refusal's is not worth waiting for, and a 2xx has none, whatever
	// its fields say (RFC 9110 section 9.3.6).
	if resp.StatusCode/100 != 2 {
		return &ProxyError{Proxy: p.Redacted(), StatusCode: resp.StatusCode, Header: resp.Header}
	}
	if !stop() {
		return fail(context.Cause(ctx))
	}
	return c.SetDeadline(time.Time{})
}

// byteReader reads single bytes, up to a bound.
type byteReader struct {
	c    io.Reader
	left int
}

func (r *byteReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, errors.New("the proxy's answer is too long")
	}
	r.left--
	return r.c.Read(p[:1])
}

// contextDialer makes a dialFunc what package proxy wants.
type contextDialer dialFunc

func (d contextDialer) Dial(network, address string) (net.Conn, error) {
	return d(context.Background(), network, address)
}

func (d contextDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return d(ctx, network, address)
}
