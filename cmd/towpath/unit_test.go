package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
)

func TestParseEcho(t *testing.T) {
	def := echoQuery{closeReason: "server bye", closeAfter: 300 * time.Millisecond}
	with := func(change func(*echoQuery)) echoQuery { q := def; change(&q); return q }
	for _, c := range []struct {
		query string
		want  echoQuery
		bad   bool
	}{
		{"", def, false},
		{"srv=1", with(func(q *echoQuery) { q.serverStreams = true }), false},
		{"srv=0", def, false},
		{"srv=2", def, true},
		{"reset=0", with(func(q *echoQuery) { q.reset = true }), false},
		{"reset=4294967295", with(func(q *echoQuery) { q.reset, q.resetCode = true, 4294967295 }), false},
		{"reset=4294967296", def, true},
		{"close=7&reason=x%20y&after=20", with(func(q *echoQuery) {
			q.closing, q.closeCode, q.closeReason, q.closeAfter = true, 7, "x y", 20*time.Millisecond
		}), false},
		{"close=0&reason=", with(func(q *echoQuery) { q.closing, q.closeReason = true, "" }), false},
		{"close=-1", def, true},
		{"after=1e9", def, true},
		{"after=4294967296", def, true},
	} {
		q, err := url.ParseQuery(c.query)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseEcho(q)
		if (err != nil) != c.bad || err == nil && got != c.want {
			t.Errorf("%q: %+v, %v", c.query, got, err)
		}
	}
	for query, want := range map[string]int64{"": 1 << 20, "bytes=0": 0, "bytes=123": 123, "bytes=-1": -1, "bytes=x": -1} {
		q, _ := url.ParseQuery(query)
		n, err := parseSource(q)
		if (err != nil) != (want < 0) || err == nil && n != want {
			t.Errorf("%q: %d, %v", query, n, err)
		}
	}
}

func TestSelfSigned(t *testing.T) {
	now := time.Now()
	for host, also := range map[string]string{"": "localhost", "example.com": "example.com", "192.0.2.1": "192.0.2.1", "0.0.0.0": "127.0.0.1", "::1": "::1"} {
		c, err := selfSigned(host, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Leaf.VerifyHostname(also); err != nil {
			t.Errorf("%q: %v", host, err)
		}
		key, ok := c.Leaf.PublicKey.(*ecdsa.PublicKey)
		if !ok || key.Curve != elliptic.P256() {
			t.Errorf("key %T", c.Leaf.PublicKey)
		}
		if d := c.Leaf.NotAfter.Sub(c.Leaf.NotBefore); d >= 14*24*time.Hour || now.Before(c.Leaf.NotBefore) {
			t.Errorf("valid for %v from %v", d, c.Leaf.NotBefore)
		}
	}
}

func TestParseHash(t *testing.T) {
	const plain = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	colons := strings.ToUpper(plain[:2])
	for i := 2; i < len(plain); i += 2 {
		colons += ":" + strings.ToUpper(plain[i:i+2])
	}
	for _, s := range []string{plain, colons} {
		h, err := parseHash(s)
		if err != nil || fmt.Sprintf("%x", h) != plain {
			t.Errorf("%s: %x, %v", s, h, err)
		}
	}
	for _, s := range []string{"", plain[:62], plain + "00", "x" + plain[1:]} {
		if _, err := parseHash(s); !errors.As(err, new(usageError)) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		err   error
		heard bool
		want  string
	}{
		{&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNREFUSED)}, false, "refused"},
		{fmt.Errorf("x: %w", transport.ErrNotWebTransport), true, "no WebTransport"},
		{syscall.EHOSTUNREACH, false, "unreachable"},
		{syscall.EPERM, false, "forbidden here"},
		{errors.New("timeout"), false, "silent"},
		{errors.New("timeout"), true, "failed"},
		{negotiate.ErrNoHTTP2, true, "no HTTP/2"},
		{&transport.RejectedError{StatusCode: 404}, true, "status 404"},
		{fmt.Errorf("x: %w", &tls.CertificateVerificationError{Err: errors.New("expired")}), true, "untrusted"},
		{fmt.Errorf("x: %w", &negotiate.PinError{Reason: "other hash"}), true, "untrusted"},
	} {
		if got := verdict(negotiate.Attempt{Err: c.err, Heard: c.heard}); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}

func TestUDPVerdict(t *testing.T) {
	way := func(p transport.Protocol, heard bool, err error) negotiate.ProbeResult {
		return negotiate.ProbeResult{Attempt: negotiate.Attempt{Protocol: p, Heard: heard, Err: err, Ready: -1}}
	}
	for _, c := range []struct {
		rs   []negotiate.ProbeResult
		want string
	}{
		{nil, "not tried"},
		{[]negotiate.ProbeResult{way(transport.HTTP2, true, nil)}, "not tried"},
		{[]negotiate.ProbeResult{way(transport.HTTP3, false, syscall.ECONNREFUSED)}, "refused"},
		{[]negotiate.ProbeResult{way(transport.HTTP3, false, syscall.ECONNREFUSED), way(transport.HTTP3, true, transport.ErrNotWebTransport)}, "open"},
		{[]negotiate.ProbeResult{way(transport.HTTP3, false, errors.New("x"))}, "silent"},
	} {
		if got := udpVerdict(c.rs); got != c.want {
			t.Errorf("%v: %q, want %q", c.rs, got, c.want)
		}
	}
}

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		err  error
		says string
	}{
		{&negotiate.PinError{Reason: "r"}, "is --cert-hash the one"},
		{&transport.RejectedError{StatusCode: 403}, "does not accept this client"},
		{&transport.RejectedError{StatusCode: 404}, "no WebTransport at this path"},
		{&transport.RejectedError{StatusCode: 400, Body: []byte("after is \x1b no number\nmore")}, `it says "after is \x1b no number"`},
		{&negotiate.ProxyError{Proxy: "http://p", StatusCode: 407}, "http://NAME:PASSWORD@HOST:PORT"},
		{&negotiate.DialError{Host: "h:1", Errs: []error{transport.ErrNotWebTransport}}, "does not speak WebTransport"},
		{x509.UnknownAuthorityError{}, "unknown authority"},
	} {
		if got := explain(c.err); !strings.Contains(got.Error(), c.says) {
			t.Errorf("%v: %q lacks %q", c.err, got, c.says)
		}
	}
	for err, says := range map[error]string{
		syscall.EADDRINUSE: "in use", syscall.EACCES: "no permission", syscall.EADDRNOTAVAIL: "not an address of this machine",
		&net.DNSError{Name: "nowhere"}: "nowhere has no address", errOther: "other",
	} {
		if got := explainListen("--addr", "a:1", err); !strings.Contains(got.Error(), says) {
			t.Errorf("%v: %q lacks %q", err, got, says)
		}
	}
}

var errOther = errors.New("other")

func TestTable(t *testing.T) {
	var b bytes.Buffer
	table{{"a", "long heading", ""}, {"é", "x", "z"}, {"longer"}}.print(&b, "> ")
	want := "> a       long heading\n> é       x             z\n> longer\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", &b, want)
	}
	for v, want := range map[float64]string{0.1234: "0.12 ms", 1.25: "1.2 ms", 12.6: "13 ms", 1234: "1234 ms"} {
		if got := millis(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

func TestReachable(t *testing.T) {
	for in, want := range map[string]string{"127.0.0.1:5": "127.0.0.1:5", "0.0.0.0:5": "localhost:5", "[::]:5": "localhost:5", "[::1]:5": "[::1]:5"} {
		a, err := net.ResolveTCPAddr("tcp", in)
		if err != nil {
			t.Fatal(err)
		}
		if got := reachable(a); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
