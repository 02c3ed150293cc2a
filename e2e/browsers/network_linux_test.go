package browsers

import (
	"context"
	_ "embed"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"

	"github.com/towpath-go/towpath/e2e/clients"
	"github.com/towpath-go/towpath/e2e/netns"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
)

// A network has a browser in its client host, and sites in its server host.
type network struct {
	*netns.Lab
	browser *browser
	ca      *testcert.Authority // of the sites' certificates
	sites   map[string]*site
}

// newNetwork starts a browser in a lab with sites.
func newNetwork(t testing.TB, k kind, s setting) *network {
	t.Helper()
	n := newLab(t)
	n.browser = n.launch(t, k, s)
	return n
}

// newLab is newNetwork without a browser.
func newLab(t testing.TB) *network {
	t.Helper()
	n := &network{ca: testcert.NewAuthority(t)}
	defer func() {
		if n.Lab == nil {
			clients.Unmeasured("network namespaces") // New has skipped the test
		}
	}()
	n.Lab = netns.New(t, netns.Topology{})
	n.sites = map[string]*site{
		"all":   newSite(t, n.Server, n.ca, 4433, transport.HTTP3, transport.HTTP2, transport.WebSocket),
		"http1": newSite(t, n.Server, n.ca, 4434, transport.HTTP3, transport.WebSocket),
		"http2": newSite(t, n.Server, n.ca, 4435, transport.HTTP2, transport.WebSocket),
	}
	return n
}

// launch starts a browser in the client host.
func (n *network) launch(t testing.TB, k kind, s setting) *browser {
	t.Helper()
	o := s.options(t, k, n.ca)
	o.inside = n.Client.Inside
	return launch(t, k, o)
}

// open opens a page of the site in a new tab, which has the package as the
// module "towpath".
func (n *network) open(t testing.TB, s *site) *page {
	t.Helper()
	p := n.browser.open(t, s.origin()+"/")
	clients.Must(t, s.loadPackage(clients.Limited(t), p))
	return p
}

// A site is a server in a lab's server host, whose handler is in the test. It
// serves the package, and pages that can do what a test wants.
type site struct {
	port     string
	bundle   []byte                 // the package, as the resource /towpath.js
	sessions chan transport.Session // of the resource /session
}

// origin is that of the site's pages, by a name that has an IPv4 address only.
func (s *site) origin() string { return "https://" + netns.ServerName4 + ":" + s.port }

//go:embed page/measure.js
var measureModule []byte

// newSite serves by the transports until the test ends. Without HTTP2 there is
// HTTP/1.1 alone over TCP.
func newSite(t testing.TB, host *netns.Host, ca *testcert.Authority, port int, transports ...transport.Protocol) *site {
	t.Helper()
	s := &site{port: strconv.Itoa(port), bundle: bundle(t), sessions: make(chan transport.Session, 16)}
	var ln net.Listener
	var pc net.PacketConn
	clients.Must(t, host.Inside(func() (err error) {
		ln, pc, err = negotiate.Listen(":"+s.port, transports...)
		return err
	}))
	cert := testcert.Make(t, testcert.Options{Issuer: ca, Hosts: []string{netns.ServerName, netns.ServerName4, netns.ServerName6}})
	srv := &negotiate.Server{
		TLSConfig: cert.ServerConfig(), Transports: transports, Handler: s.handler(),
		// A page that came over HTTP/3 itself waits long for its files when UDP is dropped.
		AltSvc: "-",
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln, pc) }() // ends when the server is closed
	t.Cleanup(func() {
		srv.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve returned %v", err)
		}
	})
	return s
}

// loadPackage gives a page the package. Streams are aborted with its errors then,
// since those that a page makes by the browser's constructor keep 8 bits of a code.
func (s *site) loadPackage(ctx context.Context, p *page) error {
	if err := p.load(ctx, "towpath", s.origin()+"/towpath.js"); err != nil {
		return err
	}
	return p.run(ctx, `() => {
		const { WebTransportError } = towpath.modules.towpath
		towpath.ends.abortReason = (streamErrorCode) => new WebTransportError('aborted', { source: 'stream', streamErrorCode })
	}`, nil, nil)
}

func (s *site) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/{$}", emptyPage)
	for path, module := range map[string][]byte{"/measure.js": measureModule, "/towpath.js": s.bundle} {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/javascript")
			w.Header().Set("Access-Control-Allow-Origin", "*") // for pages that are not the site's
			w.Write(module)
		})
	}
	accept := func(path string, o *transport.UpgradeOptions, use func(transport.Session)) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			session, err := negotiate.Upgrade(w, r, o)
			if err != nil {
				return // the page has been told
			}
			use(session)
		})
	}
	accept("/session", &transport.UpgradeOptions{Protocols: []string{"second"}}, func(session transport.Session) { s.sessions <- session })
	// The page that measures reaches its site by many ports, which are other origins.
	accept("/measure", &transport.UpgradeOptions{Origins: []string{"*"}}, func(transport.Session) {})
	return mux
}

func emptyPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	io.WriteString(w, "<!doctype html><title>Towpath</title><link rel=icon href=data:,>")
}

// accept returns the next session of /session.
func (s *site) accept(t testing.TB, ctx context.Context) transport.Session {
	t.Helper()
	select {
	case session := <-s.sessions:
		t.Cleanup(func() { session.CloseWithError(0, "") })
		return session
	case <-ctx.Done():
		t.Fatal("the handler got no session")
		return nil
	}
}

// carriage names the way by which a session came: "HTTP/3", or "WebSocket over"
// HTTP/1.1 or HTTP/2.
func carriage(s transport.Session) string {
	i := s.Info()
	switch {
	case i.Protocol == transport.HTTP3:
		return "HTTP/3"
	case i.Protocol == transport.WebSocket && i.TLS != nil && i.TLS.NegotiatedProtocol == "h2":
		return "WebSocket over HTTP/2"
	case i.Protocol == transport.WebSocket:
		return "WebSocket over HTTP/1.1"
	}
	return i.Protocol.String()
}
