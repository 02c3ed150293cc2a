package h3wt

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/testutils/simnet"

	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
)

// network is where a test's packets go: the loopback interface, or a simulated
// network for synctest bubbles.
type network struct {
	listen func(t testing.TB) net.PacketConn
	stop   func()
}

func loopback() *network {
	return &network{
		listen: func(t testing.TB) net.PacketConn {
			pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			return pc
		},
		stop: func() {},
	}
}

// linkLatency is the one-way delay of the simulated network in a bubble. Where
// it would take real time there is none.
const linkLatency = 5 * time.Millisecond

// simulated makes a network of two endpoints. It belongs to one bubble.
func simulated(t testing.TB) *network { return routed(t, &simnet.PerfectRouter{}) }

func routed(t testing.TB, router simnet.Router) *network {
	n := &simnet.Simnet{Router: router}
	link := simnet.NodeBiDiLinkSettings{Latency: linkLatency}
	if time.Now().Year() > 2000 { // when all bubbles begin
		link.Latency = 0
	}
	ends := []net.PacketConn{
		n.NewEndpoint(&net.UDPAddr{IP: net.IPv4(1, 0, 0, 1), Port: 443}, link),
		n.NewEndpoint(&net.UDPAddr{IP: net.IPv4(1, 0, 0, 2), Port: 5000}, link),
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	return &network{
		listen: func(t testing.TB) net.PacketConn {
			if len(ends) == 0 {
				t.Fatal("the simulated network has two endpoints")
			}
			pc := ends[0]
			ends = ends[1:]
			return pc
		},
		stop: func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		},
	}
}

// harness is a Server on a network.
type harness struct {
	testing.TB
	net    *network
	cert   *testcert.Cert
	server *Server
	addr   net.Addr
	pc     net.PacketConn
	served chan error
	socket net.PacketConn // the clients'
	tr     *quic.Transport
}

// serve starts a server.
func serve(t testing.TB, n *network, srv *Server) *harness {
	t.Helper()
	h := &harness{TB: t, net: n, cert: testcert.New(t), server: srv, served: make(chan error, 1)}
	h.pc = n.listen(t)
	h.addr = h.pc.LocalAddr()
	srv.TLSConfig = h.cert.ServerConfig()
	go func() { h.served <- srv.Serve(h.pc) }()
	h.socket = n.listen(t)
	h.tr = &quic.Transport{Conn: h.socket}
	return h
}

// stop ends everything and waits for its goroutines.
func (h *harness) stop() {
	h.Helper()
	h.server.Close()
	if err := <-h.served; err != http.ErrServerClosed {
		h.Errorf("Serve: %v, want http.ErrServerClosed", err)
	}
	h.tr.Close()
	h.socket.Close()
	h.pc.Close()
	h.net.stop()
}

// dialQUIC makes a QUIC connection to the server.
func (h *harness) dialQUIC(conf *quic.Config) *quic.Conn {
	h.Helper()
	qc, err := h.tr.Dial(context.Background(), h.addr, h.cert.ClientConfig("example.com", "h3"), conf)
	if err != nil {
		h.Fatalf("dialing QUIC: %v", err)
	}
	return qc
}

// client makes a ClientConn to the server.
func (h *harness) client(cfg *Config) *ClientConn {
	h.Helper()
	c, err := NewClientConn(context.Background(), h.dialQUIC(cfg.QUIC(nil)), cfg)
	if err != nil {
		h.Fatalf("NewClientConn: %v", err)
	}
	return c
}

// testURL is a session's URL.
const testURL = "https://example.com/session"

// sessions returns a handler that accepts all sessions, and where they go.
func sessions(t testing.TB, opts *transport.UpgradeOptions) (http.Handler, chan transport.Session) {
	accepted := make(chan transport.Session, 100)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := Upgrade(w, r, opts)
		if err != nil {
			t.Logf("Upgrade: %v", err)
			return
		}
		accepted <- s
	}), accepted
}

// makePair makes a pair of sessions on a network.
func makePair(t testing.TB, n *network, client, server *transport.Config) (c, s transport.Session, stop func()) {
	t.Helper()
	return connectPair(t, n, &Config{Session: client}, &Config{Session: server})
}

func connectPair(t testing.TB, n *network, client, server *Config) (c, s transport.Session, stop func()) {
	t.Helper()
	handler, accepted := sessions(t, nil)
	h := serve(t, n, &Server{Handler: handler, Config: server})
	cc := h.client(client)
	c, err := cc.Dial(context.Background(), testURL, nil)
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	s = <-accepted
	return c, s, func() {
		c.CloseWithError(0, "")
		s.CloseWithError(0, "")
		cc.Close()
		h.stop()
	}
}
