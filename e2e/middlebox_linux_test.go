package e2e_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/netns"
	"github.com/towpath-go/towpath/internal/testcert"
)

// Middleboxes that end TLS on the router: the client believes their certificate,
// and they have a connection of their own to the server. They are net/http's
// ReverseProxy, which passes an Upgrade on over HTTP/1.1 alone.

// boxArgs describe a middlebox.
type boxArgs struct {
	Kind      string // "http11", or "h2" for HTTP/2 and HTTP/1.1 without extended CONNECT
	Cert, Key []byte // DER, PKCS #8
	Root      []byte // of the server, DER
}

// startBox starts a middlebox. It logs each request as a proxy does.
var startBox = netns.Register("middlebox", func(_ context.Context, a boxArgs) (struct{}, error) {
	key, err := x509.ParsePKCS8PrivateKey(a.Key)
	if err != nil {
		return struct{}{}, err
	}
	root, err := x509.ParseCertificate(a.Root)
	if err != nil {
		return struct{}{}, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	target := &url.URL{Scheme: "https", Host: netns.ServerName4 + ":" + labPort}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}, // HTTP/1.1
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	conf := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{a.Cert}, PrivateKey: key}}}
	box := &http.Server{TLSConfig: conf, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		logProxy("%s %s %s %s", r.Proto, r.Method, r.URL.Path, r.Header.Get("Upgrade"))
		proxy.ServeHTTP(w, r)
	})}
	box.Protocols = new(http.Protocols)
	box.Protocols.SetHTTP1(true)
	box.Protocols.SetHTTP2(a.Kind == "h2")
	ln, err := net.Listen("tcp", ":"+labPort)
	if err != nil {
		return struct{}{}, err
	}
	go func() { // ends with the host
		logProxy("the middlebox ended: %v", box.ServeTLS(ln, "", ""))
	}()
	return struct{}{}, nil
})

// stand puts a middlebox of that kind before the server's TCP. The client
// believes it, and the server no more.
func (s *site) stand(kind string) {
	s.t.Helper()
	cert := testcert.Make(s.t, testcert.Options{Hosts: []string{netns.ServerName, netns.ServerName4, netns.ServerName6}})
	key, err := x509.MarshalPKCS8PrivateKey(cert.TLS.PrivateKey)
	if err != nil {
		s.t.Fatal(err)
	}
	startBox.Call(s.t, s.Router, boxArgs{Kind: kind, Cert: cert.Leaf.Raw, Key: key, Root: s.root})
	s.Intercept(s.t, labPort)
	s.root = cert.Leaf.Raw
}

const boxUpgrade = "HTTP/1.1 GET /echo websocket"

// TestHTTP11Only is a network that drops UDP and looks into TLS with something
// that speaks HTTP/1.1 alone.
func TestHTTP11Only(t *testing.T) {
	for _, host := range []string{netns.ServerName4, netns.ServerName6} {
		t.Run(host, func(t *testing.T) {
			s := newSite(t, netns.Topology{}, dropUDP, false)
			s.stand("http11")
			r := s.want("ws", dialArgs{URL: labURL(host)})
			h2, ws := r.attempt(t, "h2 tcp"), r.attempt(t, "ws tcp")
			if h2.Started < halfHeadStart || !strings.Contains(h2.Err, "chose HTTP/1.1") {
				t.Errorf("h2 started after %v and ended with %q; want at least %v and ALPN's choice", h2.Started, h2.Err, halfHeadStart)
			}
			if ws.Note != "on the same connection" || ws.Started < h2.Ended || ws.Outcome != "won" {
				t.Errorf("ws: %+v; want it on the connection of h2, which ended after %v", ws, h2.Ended)
			}
			if log := takeProxyLog.Call(t, s.Router, struct{}{}); !slices.Equal(log, []string{boxUpgrade}) {
				t.Errorf("the middlebox saw %q, want one request", log)
			}
			if s.Dropped(t) == 0 {
				t.Error("no UDP packet came to the filter")
			}
			awaitMark.Call(t, s.Client, "")
			s.Filter(t, dropUDP) // counts anew
			r = s.want("ws", dialArgs{URL: labURL(host)})
			if r.Memory != "UDP marked broken" || s.Dropped(t) != 0 {
				t.Errorf("memory %q, %d UDP packets; want the mark and none", r.Memory, s.Dropped(t))
			}
			// The cost: half of the head start, and what a dial by WebSocket
			// alone takes.
			takeProxyLog.Call(t, s.Router, struct{}{})
			var direct time.Duration
			for range 3 {
				r := s.dial(dialArgs{URL: labURL(host), Dialer: "ws", Discard: true})
				if r.Err != "" {
					t.Fatal(r.Err)
				}
				direct = max(direct, r.Took)
			}
			s.fastest(func(dialer string) time.Duration {
				return s.want("ws", dialArgs{URL: labURL(host), Dialer: dialer}).Took
			}, halfHeadStart+direct+50*time.Millisecond, fmt.Sprintf("a dial beside one by WebSocket alone of %v", direct))
		})
	}
}

// TestH2WithoutConnect is a network that drops UDP and looks into TLS with
// something that speaks HTTP/2, but no extended CONNECT.
func TestH2WithoutConnect(t *testing.T) {
	s := newSite(t, netns.Topology{}, dropUDP, false)
	s.stand("h2")
	r := s.want("ws", dialArgs{URL: labURL(netns.ServerName4)})
	h2, ws := r.attempt(t, "h2 tcp"), r.attempt(t, "ws tcp")
	if h2.Outcome != "failed" || h2.Requested >= 0 || !strings.Contains(h2.Err, "does not offer WebTransport") {
		t.Errorf("h2: %+v; want it to fail for want of settings, before a request", h2)
	}
	if ws.Note != "" || ws.Started < h2.Ended {
		t.Errorf("ws: %+v; want a connection of its own, after h2 ended at %v", ws, h2.Ended)
	}
	if log := takeProxyLog.Call(t, s.Router, struct{}{}); !slices.Equal(log, []string{boxUpgrade}) {
		t.Errorf("the middlebox saw %q, want one request", log)
	}
	awaitMark.Call(t, s.Client, "")
	if r := s.want("ws", dialArgs{URL: labURL(netns.ServerName4)}); r.Memory != "UDP marked broken" {
		t.Errorf("memory %q, want the mark", r.Memory)
	}
}
