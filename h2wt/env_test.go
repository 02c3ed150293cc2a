package h2wt

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
)

// testServer is an http.Server with ConfigureServer on a network in memory. It
// is made and used inside one bubble.
type testServer struct {
	t    testing.TB
	hs   *http.Server
	srv  *server
	ln   *memconn.Listener
	cert *testcert.Cert
	done chan error
}

// strict is cfg with DialectDraft15 in place of DialectAuto: scripted peers speak
// draft 15 unless a test is about the dialects.
func strict(cfg *Config) *Config {
	d := cfg.clone()
	if d.Session == nil {
		d.Session = new(transport.Config)
	}
	if d.Session.Dialect == transport.DialectAuto {
		d.Session.Dialect = transport.DialectDraft15
	}
	return d
}

// newServer starts a server that is strict. Set changes the http.Server before it
// starts.
func newServer(t testing.TB, h http.Handler, cfg *Config, set ...func(*http.Server)) *testServer {
	t.Helper()
	return newServerAsIs(t, h, strict(cfg), set...)
}

// newServerAsIs starts a server with the Config as it is.
func newServerAsIs(t testing.TB, h http.Handler, cfg *Config, set ...func(*http.Server)) *testServer {
	t.Helper()
	s := &testServer{
		t:    t,
		hs:   &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)},
		ln:   memconn.Listen(nil),
		cert: testcert.New(t),
		done: make(chan error, 1),
	}
	s.hs.TLSConfig = &tls.Config{Certificates: []tls.Certificate{s.cert.TLS}}
	for _, f := range set {
		f(s.hs)
	}
	var err error
	if s.srv, err = configure(s.hs, cfg); err != nil {
		t.Fatal(err)
	}
	go func() { s.done <- s.hs.Serve(tls.NewListener(s.ln, s.hs.TLSConfig)) }()
	return s
}

// stop ends the server and waits until everything of it has ended.
func (s *testServer) stop() {
	s.t.Helper()
	s.hs.Close()
	if err := <-s.done; err != http.ErrServerClosed {
		s.t.Errorf("Serve returned %v", err)
	}
	synctest.Wait()
}

// clientTLS returns the client's end of a new TLS connection to the server.
func (s *testServer) clientTLS(set ...func(*tls.Config)) *tls.Conn {
	s.t.Helper()
	nc, err := s.ln.Dial(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	conf := s.cert.ClientConfig("example.com", "h2")
	for _, f := range set {
		f(conf)
	}
	tc := tls.Client(nc, conf)
	if err := tc.Handshake(); err != nil {
		s.t.Fatalf("TLS handshake: %v", err)
	}
	return tc
}

// peer connects a scripted client that has exchanged settings.
func (s *testServer) peer(settings ...http2.Setting) (*h2test.Peer, h2test.Settings) {
	s.t.Helper()
	p := h2test.NewClient(s.t, s.clientTLS())
	return p, p.Greet(settings...)
}

// conn connects a client of this package.
func (s *testServer) conn(cfg *Config) *ClientConn {
	s.t.Helper()
	c, err := NewClientConn(s.t.Context(), s.clientTLS(), cfg)
	if err != nil {
		s.t.Fatalf("NewClientConn: %v", err)
	}
	return c
}

// accepted is what an upgradeHandler passes on.
type accepted struct {
	s   transport.Session
	err error
}

// upgradeHandler accepts every session and passes it on.
func upgradeHandler(opts *transport.UpgradeOptions) (http.Handler, <-chan accepted) {
	ch := make(chan accepted, 100)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := Upgrade(w, r, opts)
		ch <- accepted{s, err}
	}), ch
}

// bubble runs a test in a bubble.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// newScriptedServer starts a client of this package that is strict against a
// scripted server. The client's NewClientConn runs on its own goroutine.
func newScriptedServer(t testing.TB, cfg *Config) (*h2test.Peer, *h2test.Result[*ClientConn]) {
	t.Helper()
	return newScriptedServerAsIs(t, strict(cfg))
}

// newScriptedServerAsIs does the same with the Config as it is.
func newScriptedServerAsIs(t testing.TB, cfg *Config) (*h2test.Peer, *h2test.Result[*ClientConn]) {
	t.Helper()
	cert := testcert.New(t)
	cn, sn := memconn.Pipe(nil)
	client := h2test.RunAsync(func() (*ClientConn, error) {
		return NewClientConn(t.Context(), tls.Client(cn, cert.ClientConfig("example.com", "h2")), cfg)
	})
	server := tls.Server(sn, cert.ServerConfig("h2"))
	if err := server.Handshake(); err != nil {
		t.Fatal(err)
	}
	return h2test.NewServer(t, server), client
}

// dialAsync starts a Dial on its own goroutine.
func dialAsync(ctx context.Context, c *ClientConn, opts *transport.DialOptions) *h2test.Result[transport.Session] {
	return h2test.RunAsync(func() (transport.Session, error) {
		return c.Dial(ctx, "https://example.com/wt", opts)
	})
}

var _ net.Conn = (*bridgeConn)(nil)

// waitFor is a handler that waits for decide first.
func waitFor(decide <-chan struct{}, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-decide
		h.ServeHTTP(w, r)
	})
}
