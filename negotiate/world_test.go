package negotiate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"

	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
)

// A world is a server and the network before it, inside a bubble: UDP through
// simnet, TCP through memconn. Its clock is exact.
type world struct {
	t      *testing.T
	cert   *testcert.Cert
	server *Server
	router *dropRouter
	tcp    *memconn.Listener
	addrs  []netip.Addr // of example.com
	url    string

	mu sync.Mutex // guards the following
	// deadTCP makes TCP connections fail at once with its error.
	deadTCP error
	// between stands between the client and the server's TCP, if it is set.
	between *middlebox
	// refused makes UDP sockets of that family report a closed port.
	refused map[bool]bool // by v6

	clients map[bool][]*simnet.SimConn // unused sockets, by v6
	tcpEnds []*memconn.Conn            // both ends of the TCP connections without a middlebox

	requests atomic.Int32 // requests for sessions that reached the handler
	dialed   atomic.Int32 // TCP connections
}

// worldOptions shape a world; the zero value is a server on IPv4 that accepts
// sessions, 20 ms away on UDP and on TCP (one way 10 ms).
type worldOptions struct {
	handler http.HandlerFunc
	v6      bool          // has an IPv6 address besides
	udp     time.Duration // one way; 0 means 10 ms
	noUDP   bool          // nothing listens on UDP, and nothing says so
	setup   func(*Server)
}

const oneWay = 10 * time.Millisecond

// inWorld runs f in a bubble with a world.
func inWorld(t *testing.T, o worldOptions, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if o.udp == 0 {
			o.udp = oneWay
		}
		w := &world{
			t: t, cert: testcert.New(t), url: "https://example.com/chat",
			router: &dropRouter{}, refused: make(map[bool]bool), clients: make(map[bool][]*simnet.SimConn),
		}
		handler := o.handler
		if handler == nil {
			handler = w.accept
		}
		w.server = &Server{TLSConfig: w.cert.ServerConfig(), Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if IsUpgrade(r) {
				w.requests.Add(1)
			}
			handler(rw, r)
		})}
		if o.setup != nil {
			o.setup(w.server)
		}
		network := &simnet.Simnet{Router: w.router}
		link := simnet.NodeBiDiLinkSettings{Latency: o.udp}
		families := []bool{false}
		if o.v6 {
			families = []bool{true, false}
		}
		var servers []*simnet.SimConn
		for _, v6 := range families {
			server, client := "192.0.2.2", "192.0.2.1"
			if v6 {
				server, client = "2001:db8::2", "2001:db8::1"
			}
			addr := netip.MustParseAddr(server)
			w.addrs = append(w.addrs, addr)
			servers = append(servers, network.NewEndpoint(udpAddr(addr, 443), link))
			for i := range 12 {
				c := network.NewEndpoint(udpAddr(netip.MustParseAddr(client), uint16(50000+i)), link)
				w.clients[v6] = append(w.clients[v6], c)
			}
		}
		if err := network.Start(); err != nil {
			t.Fatal(err)
		}
		w.tcp = memconn.Listen(&memconn.Options{Latency: oneWay})
		var pc net.PacketConn
		if !o.noUDP {
			pc = mergeConns(servers)
		}
		served := make(chan error, 1)
		go func() { served <- w.server.Serve(noting{w.tcp, w}, pc) }()
		synctest.Wait()

		f(t, w)

		if err := w.server.Close(); err != nil {
			t.Errorf("closing the server: %v", err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve returned %v", err)
		}
		w.mu.Lock()
		for _, cs := range w.clients {
			for _, c := range cs {
				c.Close()
			}
		}
		w.mu.Unlock()
		for _, c := range servers {
			c.Close()
		}
		// What a closed connection repeats on request ends by itself.
		time.Sleep(time.Minute)
		network.Close()
	})
}

func udpAddr(a netip.Addr, port uint16) *net.UDPAddr {
	return net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, port))
}

// accept is the default handler: it takes the session, and echoes streams.
func (w *world) accept(rw http.ResponseWriter, r *http.Request) {
	s, err := Upgrade(rw, r, nil)
	if err != nil {
		return
	}
	go echoSession(s)
}

// echoSession echoes bidirectional streams until the session ends.
func echoSession(s transport.Session) {
	for {
		st, err := s.AcceptStream(context.Background())
		if err != nil {
			return
		}
		go func() {
			if _, err := io.Copy(st, st); err == nil {
				st.Close()
			}
		}()
	}
}

// dialer returns a dialer into the world.
func (w *world) dialer() *Dialer {
	d := &Dialer{
		TLSClientConfig: w.cert.ClientConfig(""),
		Proxy:           func(*http.Request) (*url.URL, error) { return nil, nil },
		hooks: hooks{
			resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
				if host != "example.com" {
					return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
				}
				return slices.Clone(w.addrs), nil
			},
			fingerprint: func(netip.AddrPort) string { return "home" },
			dialTCP: func(ctx context.Context, network, address string) (net.Conn, error) {
				w.mu.Lock()
				dead, between := w.deadTCP, w.between
				w.mu.Unlock()
				if dead != nil {
					return nil, dead
				}
				w.dialed.Add(1)
				if between != nil {
					return between.front.DialContext(ctx, network, address)
				}
				c, err := w.tcp.Dial(ctx)
				if err != nil {
					return nil, err
				}
				w.noteTCP(c)
				return c, nil
			},
			dialUDP: w.dialUDP,
		},
	}
	w.t.Cleanup(func() { d.Close() })
	return d
}

func (w *world) dialUDP(_ context.Context, addr netip.AddrPort) (net.PacketConn, error) {
	v6 := addr.Addr().Is6()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refused[v6] {
		return &refusedConn{wrote: make(chan struct{}), closed: make(chan struct{}), addr: udpAddr(addr.Addr(), 1)}, nil
	}
	cs := w.clients[v6]
	if len(cs) == 0 {
		return nil, errors.New("the test needs more sockets")
	}
	w.clients[v6] = cs[1:]
	return cs[0], nil
}

// refuse makes UDP ports of a family closed, or open again.
func (w *world) refuse(v6, yes bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refused[v6] = yes
}

func (w *world) noteTCP(c *memconn.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tcpEnds = append(w.tcpEnds, c)
}

// noting notes the server's ends.
type noting struct {
	*memconn.Listener
	w *world
}

func (l noting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.w.noteTCP(c.(*memconn.Conn))
	}
	return c, err
}

// freezeTCP makes every TCP connection there is silent, as a network that drops
// its packets does: what is written stays in a buffer, nothing arrives.
func (w *world) freezeTCP() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.tcpEnds {
		c.StallReads(true)
	}
}

// resetTCP breaks every TCP connection there is.
func (w *world) resetTCP() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.tcpEnds {
		c.Cut(nil)
	}
}

// killTCP makes every TCP dial fail.
func (w *world) killTCP(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadTCP = err
}

// wantDial dials and checks what won and how long it took; at < 0: any time.
func wantDial(t *testing.T, d *Dialer, url string, why string, proto transport.Protocol, at time.Duration) (transport.Session, *Report) {
	t.Helper()
	start := time.Now()
	s, r, err := d.Dial(t.Context(), url, nil)
	took := time.Since(start)
	if err != nil {
		t.Fatalf("%s: %v\n%v", why, err, r)
	}
	if r.Winner != proto || s.Info().Protocol != proto || at >= 0 && took != at {
		t.Errorf("%s: %v in %v, want %v in %v\n%v", why, r.Winner, took, proto, at, r)
	}
	if at >= 0 && r.Elapsed != took || r.Err != nil {
		t.Errorf("%s: the report says %v, %v", why, r.Elapsed, r.Err)
	}
	return s, r
}

// wantEchoOver checks that a session works.
func wantEchoOver(t *testing.T, s transport.Session) {
	t.Helper()
	st, err := s.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(st, "over"); err != nil {
		t.Fatal(err)
	}
	st.Close()
	if b, err := io.ReadAll(st); string(b) != "over" {
		t.Errorf("echo %q, %v", b, err)
	}
}

func attemptOf(r *Report, name string) Attempt {
	for _, a := range r.Attempts {
		if a.Name() == name {
			return a
		}
	}
	return Attempt{Note: fmt.Sprintf("no attempt %q in the report", name)}
}

// memListener is another TCP server's socket in the bubble.
func memListener(t *testing.T) *memconn.Listener {
	t.Helper()
	l := memconn.Listen(&memconn.Options{Latency: oneWay})
	t.Cleanup(func() { l.Close() })
	return l
}

func parseURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
