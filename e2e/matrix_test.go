package e2e_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/h3wt"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/transport/transporttest"
)

// Each way's Caps: what the suite may expect of it over real sockets.
var (
	h2Caps = transporttest.Caps{
		ReliableDatagrams: true, ConfiguredDatagramSize: true, SendBuffer: true, DenseStreamIDs: true, TLS: true, Parallel: true,
	}
	wsCaps = transporttest.Caps{
		ReliableDatagrams: true, ConfiguredDatagramSize: true, SendBuffer: true, DenseStreamIDs: true, TLS: true, Parallel: true,
		FixedLimits: true, // the subprotocol's; package wswt runs the suite without that, over both roads
	}
	h3Caps = transporttest.Caps{TLS: true, LateReceived: true, Parallel: true}
)

// TestMatrix runs the conformance suite over real sockets on loopback: each
// backend alone, and each as the negotiation brings it about. A WebSocket by
// itself, also over HTTP/2, is in the conformance tests of package wswt. They
// run side by side, since most of their time is waiting, and no case asserts
// that something happens quickly.
func TestMatrix(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() { // after all of them
		for range 1000 {
			if runtime.NumGoroutine() <= before {
				return
			}
			<-time.After(10 * time.Millisecond)
		}
		t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
	})
	for name, backend := range map[string]struct {
		pair transporttest.MakePair
		caps transporttest.Caps
	}{
		"h2wt":                           {pairH2, h2Caps},
		"h3wt":                           {pairH3, h3Caps},
		"negotiated":                     {pairNegotiated(), h3Caps},
		"negotiated without UDP":         {pairNegotiated(transport.HTTP2), h2Caps},
		"negotiated with HTTP/1.1 alone": {pairNegotiated(transport.WebSocket), wsCaps},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			transporttest.TestSession(t, backend.pair, backend.caps)
		})
	}
}

// An acceptor is an http.Handler that upgrades each session and hands it over.
type acceptor struct {
	upgrade  func(http.ResponseWriter, *http.Request, *transport.UpgradeOptions) (transport.Session, error)
	config   *transport.Config
	sessions chan transport.Session
}

func newAcceptor(upgrade func(http.ResponseWriter, *http.Request, *transport.UpgradeOptions) (transport.Session, error), config *transport.Config) *acceptor {
	return &acceptor{upgrade: upgrade, config: config, sessions: make(chan transport.Session, 1)}
}

func (a *acceptor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s, err := a.upgrade(w, r, &transport.UpgradeOptions{Config: a.config}); err == nil {
		a.sessions <- s
	}
}

// accepted waits for the server's session.
func (a *acceptor) accepted(t testing.TB) transport.Session {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case s := <-a.sessions:
		return s
	case <-ctx.Done():
		t.Fatal("the handler got no session")
		return nil
	}
}

func listenTCP(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

func listenUDP(t testing.TB) net.PacketConn {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return pc
}

// background runs serve, which returns when stop is called, and checks what it
// returned.
func background(t testing.TB, serve func() error, stop func(), want error) (wait func()) {
	served := make(chan error, 1)
	go func() { served <- serve() }() // ends when wait is called
	return func() {
		stop()
		if err := <-served; !errors.Is(err, want) {
			t.Errorf("Serve returned %v, want %v", err, want)
		}
	}
}

// dialled completes a pair: it dials, and waits for the server's session.
func dialled(t testing.TB, a *acceptor, stop func(), dial func(ctx context.Context) (transport.Session, error)) (c, s transport.Session, stopAll func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := dial(ctx)
	if err != nil {
		stop()
		t.Fatal(err)
	}
	s = a.accepted(t)
	return c, s, func() {
		c.CloseWithError(0, "")
		s.CloseWithError(0, "")
		stop()
	}
}

func pairH2(t testing.TB, client, server *transport.Config) (c, s transport.Session, stop func()) {
	cert := testcert.New(t)
	a := newAcceptor(h2wt.Upgrade, server)
	hs := &http.Server{Handler: a, TLSConfig: cert.ServerConfig()}
	if err := h2wt.ConfigureServer(hs, &h2wt.Config{Session: server}); err != nil {
		t.Fatal(err)
	}
	ln := listenTCP(t)
	wait := background(t, func() error { return hs.ServeTLS(ln, "", "") }, func() { hs.Close() }, http.ErrServerClosed)
	return dialled(t, a, wait, func(ctx context.Context) (transport.Session, error) {
		return h2wt.Dial(ctx, "https://"+ln.Addr().String()+"/", cert.ClientConfig("127.0.0.1"), &transport.DialOptions{Config: client})
	})
}

// pairH3 dials from a socket with an address: the one that h3wt.Dial makes has
// none, so that a client may move, and Info would show that.
func pairH3(t testing.TB, client, server *transport.Config) (c, s transport.Session, stop func()) {
	cert := testcert.New(t)
	a := newAcceptor(h3wt.Upgrade, server)
	hs := &h3wt.Server{Handler: a, TLSConfig: cert.ServerConfig(), Config: &h3wt.Config{Session: server}}
	pc, socket := listenUDP(t), listenUDP(t)
	tr := &quic.Transport{Conn: socket}
	wait := background(t, func() error { return hs.Serve(pc) }, func() { hs.Close() }, http.ErrServerClosed)
	stopAll := func() {
		wait()
		pc.Close()
		tr.Close()
		socket.Close()
	}
	return dialled(t, a, stopAll, func(ctx context.Context) (transport.Session, error) {
		cfg := &h3wt.Config{Session: client}
		qc, err := tr.Dial(ctx, pc.LocalAddr(), cert.ClientConfig("127.0.0.1", "h3"), cfg.QUIC(nil))
		if err != nil {
			return nil, err
		}
		cc, err := h3wt.NewClientConn(ctx, qc, cfg)
		if err != nil {
			return nil, err
		}
		return cc.Dial(ctx, "https://"+pc.LocalAddr().String()+"/", nil)
	})
}
