package negotiate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"

	"github.com/towpath-go/towpath/internal/delivery"
	"github.com/towpath-go/towpath/transport"
)

// N6 to N9: paths that are narrow, dead for one family, or not the same for long.

// Sizes of the headers that an MTU has room for besides a UDP payload.
const (
	headersV4 = 20 + 8
	headersV6 = 40 + 8
)

// A narrowConn is a socket whose first link has an MTU: what does not fit fails
// with EMSGSIZE, as it does when the system knows it, from the link or by ICMP.
type narrowConn struct {
	net.PacketConn
	payload *atomic.Int64
}

func (c *narrowConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	if len(p) > int(c.payload.Load()) {
		return 0, &net.OpError{Op: "write", Net: "udp", Err: errTooBig}
	}
	return c.PacketConn.WriteTo(p, addr)
}

// narrow gives the network an MTU, in both directions. With icmp the client's
// system knows it.
func (n *network) narrow(d *Dialer, mtu int, icmp bool) {
	var payload atomic.Int64
	headers := headersV4
	payload.Store(int64(mtu - headers))
	n.router.through(func(p simnet.Packet) (simnet.Packet, bool) { return p, len(p.Data) <= mtu-headers })
	if !icmp {
		return
	}
	d.hooks.dialUDP = func(ctx context.Context, addr netip.AddrPort) (net.PacketConn, error) {
		c, err := n.dialUDP(ctx, addr)
		return &narrowConn{c, &payload}, err
	}
}

func TestNetworkN6(t *testing.T) {
	for _, c := range []struct {
		mtu   int
		icmp  bool
		proto transport.Protocol
		at    time.Duration // without HTTP/2's own time
	}{
		{1280, true, transport.HTTP3, 40 * msec},
		{1280, false, transport.HTTP3, 40 * msec},
		{1228, false, transport.HTTP3, 40 * msec}, // the least for 1,200 bytes
		{1220, true, transport.HTTP2, 0},
		{1220, false, transport.HTTP2, 125 * msec},
		{1100, true, transport.HTTP2, 0},
		{1100, false, transport.HTTP2, 125 * msec},
	} {
		how := "and silence"
		if c.icmp {
			how = "and ICMP"
		}
		t.Run(fmt.Sprintf("N6 MTU %d %s", c.mtu, how), func(t *testing.T) {
			inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
				at := c.at
				if c.proto == transport.HTTP2 {
					at += n.h2Dial(t)
					<-n.accepted
				}
				d := n.dialer()
				found := d.watchMarks()
				n.narrow(d, c.mtu, c.icmp)
				client, server, r := n.dial(t, d, "narrow", c.proto, at)
				if h3 := attemptOf(r, "h3 udp4"); c.proto == transport.HTTP2 && isTooBig(h3.Err) != c.icmp {
					t.Errorf("h3: %+v", h3)
				}
				pour(t, client, server, 5, 100_000)
				wantAll(t, "narrow", client, server, 5)
				time.Sleep(6 * time.Second)
				if c.proto == transport.HTTP2 {
					found.want(t, "narrow", "marked")
				} else {
					found.want(t, "narrow", "works", "works")
				}
			})
		})
	}
}

func TestNetworkN7(t *testing.T) {
	for _, c := range []struct {
		name   string
		breaks func(n *network)
		at     time.Duration
	}{
		{"dropped", func(n *network) { n.router.dropV6.Store(true) }, 90 * msec},
		{"refused", func(n *network) { n.refuse(true, true) }, 40 * msec},
	} {
		t.Run("N7 IPv6 UDP "+c.name+", IPv4 fine", func(t *testing.T) {
			inNetwork(t, worldOptions{v6: true}, func(t *testing.T, n *network) {
				c.breaks(n)
				d := n.dialer()
				found := d.watchMarks()
				for range 2 {
					client, server, r := n.dial(t, d, "IPv4 wins", transport.HTTP3, c.at)
					if a := attemptOf(r, "h3 udp4"); a.Outcome != Won || n.dialed.Load() != 0 {
						t.Errorf("%v", r)
					}
					use(t, "over IPv4", client, server)
				}
				found.want(t, "one family is no reason for a mark", "works", "works", "works", "works")
			})
		})
	}
	t.Run("N7 IPv6 dead for UDP and TCP", func(t *testing.T) {
		inNetwork(t, worldOptions{v6: true, noUDP: true}, func(t *testing.T, n *network) {
			h2 := n.h2Dial(t)
			<-n.accepted
			d := n.dialer()
			direct := d.hooks.dialTCP
			d.hooks.dialTCP = func(ctx context.Context, network, address string) (net.Conn, error) {
				if address[0] == '[' {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return direct(ctx, network, address)
			}
			client, server, _ := n.dial(t, d, "silence, the stagger of TCP, HTTP/2", transport.HTTP2, 125*msec+tcpStagger+h2)
			use(t, "over IPv4", client, server)
		})
	})
}

// A nat gives the client's packets another address, and a new one when it is told to.
type nat struct {
	mu      sync.Mutex // guards the following
	inside  *net.UDPAddr
	outside *net.UDPAddr
}

func (m *nat) rebind(outside netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.outside = net.UDPAddrFromAddrPort(outside)
}

// forward lets packets pass as a NAT that keeps one binding: what comes to an
// address that it has no more is dropped.
func (m *nat) forward(p simnet.Packet) (simnet.Packet, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.To.(*net.UDPAddr).Port == 443 {
		m.inside = p.From.(*net.UDPAddr)
		p.From = m.outside
		return p, true
	}
	to := p.To.(*net.UDPAddr)
	if to.Port != m.outside.Port || !to.IP.Equal(m.outside.IP) {
		return p, false
	}
	p.To = m.inside
	return p, true
}

func TestNetworkN8(t *testing.T) {
	t.Run("N8 NAT rebinds UDP every 20 s: HTTP/3 goes on", func(t *testing.T) {
		inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
			d := n.dialer()
			found := d.watchMarks()
			m := &nat{}
			m.rebind(netip.MustParseAddrPort("203.0.113.1:1024"))
			n.router.through(m.forward)
			client, server, _ := n.dial(t, d, "through the NAT", transport.HTTP3, 40*msec)
			const rounds = 6
			for i := range rounds {
				pour(t, client, server, 1, 50_000)
				time.Sleep(20 * time.Second)
				m.rebind(netip.AddrPortFrom(netip.MustParseAddr("203.0.113.1"), uint16(1025+i)))
			}
			wantAll(t, "rebound", client, server, rounds)
			found.want(t, "rebound", "works", "works")
		})
	})
	t.Run("N8 NAT rebinds UDP every 20 s: the server speaks first", func(t *testing.T) {
		inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
			m := &nat{}
			m.rebind(netip.MustParseAddrPort("203.0.113.1:1024"))
			n.router.through(m.forward)
			client, server, _ := n.dial(t, n.dialer(), "through the NAT", transport.HTTP3, 40*msec)
			time.Sleep(20 * time.Second)
			m.rebind(netip.MustParseAddrPort("203.0.113.1:1025"))
			start := time.Now()
			if err := server.Stream(t.Context(), 50_000); err != nil {
				t.Error(err)
			}
			for len(client.got.Records()) == 0 {
				time.Sleep(time.Millisecond)
			}
			// Nothing arrives before the client has sent something: its keep-alive.
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("the client got it after %v", took)
			}
			if err := client.Stream(t.Context(), 10); err != nil {
				t.Error(err)
			}
			wantAll(t, "rebound", client, server, 1)
		})
	})
	for _, proto := range []transport.Protocol{transport.HTTP2, transport.WebSocket} {
		t.Run("N8 NAT forgets TCP and resets it, "+proto.String(), func(t *testing.T) {
			inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
				d := n.dialer()
				d.Transports = []transport.Protocol{proto}
				client, server, _ := n.dial(t, d, "open", proto, -1)
				pour(t, client, server, 2, 50_000)
				await(t, client, server, 2)
				time.Sleep(20 * time.Second)
				n.resetTCP()
				start := time.Now()
				pour(t, client, server, 2, 50_000)
				wantEnd(t, "client", client, start, 0, syscall.ECONNRESET)
				wantEnd(t, "server", server, start, 0, syscall.ECONNRESET)
				judge(t, "reset", client, server)
			})
		})
		t.Run("N8 NAT forgets TCP and drops it, "+proto.String(), func(t *testing.T) {
			inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
				d := n.dialer()
				d.Transports = []transport.Protocol{proto}
				client, server, _ := n.dial(t, d, "open", proto, -1)
				pour(t, client, server, 2, 50_000)
				await(t, client, server, 2)
				time.Sleep(20 * time.Second)
				n.freezeTCP()
				start := time.Now()
				pour(t, client, server, 2, 50_000)
				wantEndWithin(t, "client", client, start, 15*time.Second, 30*time.Second, nil)
				wantEndWithin(t, "server", server, start, 15*time.Second, 30*time.Second, nil)
				up, down := judge(t, "frozen", client, server)
				for _, j := range []delivery.Judgement{up, down} {
					if j.Count(delivery.Delivered) != 2 || j.Count(delivery.ReportedLost) != 2 {
						t.Errorf("%v", j)
					}
				}
			})
		})
		t.Run("N8 NAT forgets TCP and the session is closed, "+proto.String(), func(t *testing.T) {
			inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
				d := n.dialer()
				d.Transports = []transport.Protocol{proto}
				client, server, _ := n.dial(t, d, "open", proto, -1)
				n.freezeTCP()
				wantUnconfirmed(t, client, server)
			})
		})
	}
}

func TestNetworkN9(t *testing.T) {
	errUnreachable := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ENETUNREACH}
	t.Run("N9 network change before TCP starts", func(t *testing.T) {
		inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
			h2 := n.h2Dial(t)
			<-n.accepted
			d := n.dialer()
			found := d.watchMarks()
			var where atomic.Value
			where.Store("home")
			d.hooks.fingerprint = func(netip.AddrPort) string { return where.Load().(string) }
			n.router.drop.Store(true) // the old network's sockets are dead
			time.AfterFunc(50*msec, func() { where.Store("cafe") })
			client, server, r := n.dial(t, d, "HTTP/2 on the new network", transport.HTTP2, 125*msec+h2)
			if r.Network != "home" {
				t.Errorf("%v", r.Network)
			}
			time.Sleep(501 * msec)
			n.router.drop.Store(false)
			found.want(t, "the old network's mark", "marked")
			use(t, "over HTTP/2", client, server)
			// The mark is the old network's, and counts for nothing here.
			client, server, r = n.dial(t, d, "HTTP/3 on the new network", transport.HTTP3, 40*msec)
			if r.Memory != MemoryNone || r.Network != "cafe" {
				t.Errorf("%v", r)
			}
			use(t, "over HTTP/3", client, server)
		})
	})
	t.Run("N9 network gone while the dial runs: an error, and the next dial is free", func(t *testing.T) {
		inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
			d := n.dialer()
			found := d.watchMarks()
			n.router.drop.Store(true)
			n.killTCP(errUnreachable)
			_, err := wantFailure(t, d, n.url, "no network", 5*time.Second)
			if dial, ok := err.(*DialError); !ok || !errors.Is(dial, syscall.ENETUNREACH) {
				t.Errorf("%v", err)
			}
			found.want(t, "nothing was learnt")
			n.router.drop.Store(false)
			n.killTCP(nil)
			client, server, r := n.dial(t, d, "again", transport.HTTP3, 40*msec)
			if r.Memory != MemoryNone {
				t.Errorf("%v", r)
			}
			use(t, "again", client, server)
		})
	})
	t.Run("N9 network change in TCP's handshake: the dial's time, and the next dial is free", func(t *testing.T) {
		inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
			d := n.dialer()
			n.router.drop.Store(true)
			time.AfterFunc(150*msec, n.freezeTCP) // connected at 145 ms
			_, err := wantFailure(t, d, n.url, "dead in the middle", 10*time.Second)
			if dial, ok := err.(*DialError); !ok || !errors.Is(dial, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
			n.router.drop.Store(false)
			client, server, _ := n.dial(t, d, "again", transport.HTTP3, 40*msec)
			use(t, "again", client, server)
		})
	})
}
