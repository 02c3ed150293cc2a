package negotiate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/testutils/simnet"

	"github.com/towpath-go/towpath/internal/delivery"
	"github.com/towpath-go/towpath/transport"
)

// N1 to N5: what happens to UDP.

func TestNetworkN1(t *testing.T) {
	t.Run("N1 UDP dropped silently, from the start", func(t *testing.T) {
		inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
			h2 := n.h2Dial(t)
			<-n.accepted
			n.router.drop.Store(true)
			d := n.dialer()
			found := d.watchMarks()
			c, s, r := n.dial(t, d, "half the head start and a dial by HTTP/2", transport.HTTP2, 125*msec+h2)
			if a := attemptOf(r, "h3 udp4"); a.Heard || a.Note != "no connection yet when h2 tcp won; nothing came back" {
				t.Errorf("h3: %+v", a)
			}
			time.Sleep(501 * msec)
			found.want(t, "500 ms later", "marked")
			use(t, "over HTTP/2", c, s)
			c, s, r = n.dial(t, d, "by memory", transport.HTTP2, h2)
			if r.Memory != MemoryBroken || attemptOf(r, "h3 udp4").Started >= 0 {
				t.Errorf("%v", r)
			}
			use(t, "by memory", c, s)
		})
	})
	t.Run("N1 UDP dropped silently, from the tenth second", func(t *testing.T) {
		inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
			h2 := n.h2Dial(t)
			<-n.accepted
			d := n.dialer()
			found := d.watchMarks()
			c, s, _ := n.dial(t, d, "open", transport.HTTP3, 40*msec)
			pour(t, c, s, 3, 10_000)
			await(t, c, s, 3)
			time.Sleep(10 * time.Second)
			n.router.drop.Store(true)
			wantIdleEnd(t, n, c, s, 3)
			// One that was open for ten seconds is no reason for a mark, and the
			// next dial finds out in half of a head start of 100 ms.
			found.want(t, "the path had been good", "works", "works")
			c, s, r := n.dial(t, d, "dialed again", transport.HTTP2, 50*msec+h2)
			if r.Memory != MemoryWorks {
				t.Errorf("%v", r)
			}
			use(t, "dialed again", c, s)
		})
	})
	t.Run("N1 UDP dropped silently, and the session is closed", func(t *testing.T) {
		inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
			c, s, _ := n.dial(t, n.dialer(), "open", transport.HTTP3, 40*msec)
			n.router.drop.Store(true)
			wantUnconfirmed(t, c, s)
		})
	})
}

// wantIdleEnd sends on a session whose UDP has just begun to vanish: it ends for
// both after QUIC's idle timeout, and all of that data is reported lost, while
// what came before, so many streams each way, was delivered.
func wantIdleEnd(t *testing.T, n *network, c, s *party, before int) {
	t.Helper()
	start := time.Now()
	pour(t, c, s, 3, 1<<20) // more than the buffers take: waits for the end
	for _, p := range []*party{c, s} {
		wantEnd(t, "UDP vanished", p, start, 30*time.Second, nil)
		cause := p.Await(t.Context())
		if _, ok := errors.AsType[*quic.IdleTimeoutError](cause); !ok {
			t.Errorf("ended by %v, want the idle timeout", cause)
		}
	}
	up, down := judge(t, "UDP vanished", c, s)
	for _, j := range []delivery.Judgement{up, down} {
		if j.Count(delivery.Delivered) != before || j.Count(delivery.ReportedLost) != 3 {
			t.Errorf("%v", j)
		}
	}
}

// wantUnconfirmed finishes a stream that the dead network below swallows, and
// closes the session at once.
func wantUnconfirmed(t *testing.T, c, s *party) {
	t.Helper()
	if err := c.Stream(t.Context(), 5000); err != nil {
		t.Errorf("a write that the buffer takes: %v", err)
	}
	start := time.Now()
	err := c.Close()
	if took := time.Since(start); !errors.Is(err, transport.ErrUnconfirmed) || took != time.Second {
		t.Errorf("CloseWithError: %v after %v, want ErrUnconfirmed after 1s", err, took)
	}
	up, _ := judge(t, "closed on a dead network", c, s)
	if up.Count(delivery.ReportedLost) != 1 {
		t.Errorf("%v", up)
	}
}

func TestNetworkN2(t *testing.T) {
	t.Run("N2 UDP rejected by ICMP, from the start", func(t *testing.T) {
		inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
			h2 := n.h2Dial(t)
			<-n.accepted
			n.refuse(false, true)
			d := n.dialer()
			found := d.watchMarks()
			c, s, r := n.dial(t, d, "TCP at once", transport.HTTP2, h2)
			if a := attemptOf(r, "h3 udp4"); a.Outcome != Failed || !isRefusal(a.Err) || a.Ended != 0 {
				t.Errorf("h3: %+v", a)
			}
			use(t, "over HTTP/2", c, s)
			found.want(t, "refused", "marked")
		})
	})
	t.Run("N2 UDP rejected by ICMP, later: anybody can forge that, so only silence counts", func(t *testing.T) {
		inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
			d := n.dialer()
			var sock *forgedConn
			d.hooks.dialUDP = func(ctx context.Context, addr netip.AddrPort) (net.PacketConn, error) {
				c, err := n.dialUDP(ctx, addr)
				sock = &forgedConn{PacketConn: c}
				return sock, err
			}
			c, s, _ := n.dial(t, d, "open", transport.HTTP3, 40*msec)
			sock.refuse.Store(true)
			use(t, "with forged ICMP", c, s)
		})
	})
}

// A forgedConn reports a refusal with every packet, and delivers them all.
type forgedConn struct {
	net.PacketConn
	refuse atomic.Bool
	told   atomic.Uint32
}

func (c *forgedConn) lie() bool { return c.refuse.Load() && c.told.Add(1)%2 == 0 }

func (c *forgedConn) ReadFrom(p []byte) (int, net.Addr, error) {
	if c.lie() {
		return 0, nil, &net.OpError{Op: "read", Net: "udp", Err: refusals[0]}
	}
	return c.PacketConn.ReadFrom(p)
}

func (c *forgedConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	n, err := c.PacketConn.WriteTo(p, addr)
	if c.lie() {
		return 0, &net.OpError{Op: "write", Net: "udp", Err: refusals[0]}
	}
	return n, err
}

func TestNetworkN3(t *testing.T) {
	t.Run("N3 Initials pass, later packets are dropped", func(t *testing.T) {
		inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
			h2 := n.h2Dial(t)
			<-n.accepted
			d := n.dialer()
			found := d.watchMarks()
			var up, down atomic.Int32
			n.router.through(func(p simnet.Packet) (simnet.Packet, bool) {
				if p.To.(*net.UDPAddr).Port == 443 {
					return p, up.Add(1) <= 2 // a ClientHello takes two
				}
				return p, down.Add(1) <= 1
			})
			c, s, r := n.dial(t, d, "the head start and a dial by HTTP/2", transport.HTTP2, 250*msec+h2)
			if a := attemptOf(r, "h3 udp4"); !a.Heard || a.Ready >= 0 {
				t.Errorf("h3: %+v", a)
			}
			time.Sleep(501 * msec)
			found.want(t, "500 ms later", "marked")
			use(t, "over HTTP/2", c, s)
		})
	})
	t.Run("N3 the handshake passes, later packets are dropped", func(t *testing.T) {
		inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
			h2 := n.h2Dial(t)
			<-n.accepted
			d := n.dialer()
			found := d.watchMarks()
			trace := d.Trace
			trace.Attempt = func(a Attempt) {
				if a.Protocol == transport.HTTP3 && a.Outcome == Ready {
					n.router.drop.Store(true)
				}
			}
			c, s, r := n.dial(t, d, "a second without an answer, then HTTP/2", transport.HTTP2, 20*msec+time.Second+h2)
			if a := attemptOf(r, "h3 udp4"); a.Outcome != Lost || a.Note != "h2 tcp won; the request was not even acknowledged" {
				t.Errorf("h3: %+v", a)
			}
			time.Sleep(2 * time.Second)
			found.want(t, "3 s after the request", "marked")
			use(t, "over HTTP/2", c, s)
		})
	})
	t.Run("N3 the session passes, later packets are dropped", func(t *testing.T) {
		inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
			h2 := n.h2Dial(t)
			<-n.accepted
			d := n.dialer()
			found := d.watchMarks()
			c, s, _ := n.dial(t, d, "open", transport.HTTP3, 40*msec)
			n.router.drop.Store(true)
			start := time.Now()
			pour(t, c, s, 2, 1<<20)
			wantEnd(t, "client", c, start, 3*time.Second, ErrPathBroken)
			wantEnd(t, "server", s, start, 30*time.Second, nil)
			up, down := judge(t, "broken after the answer", c, s)
			for _, j := range []delivery.Judgement{up, down} {
				if j.Count(delivery.ReportedLost) != 2 {
					t.Errorf("%v", j)
				}
			}
			found.want(t, "after probation", "works", "works", "marked")
			c, s, _ = n.dial(t, d, "dialed again", transport.HTTP2, h2)
			use(t, "dialed again", c, s)
		})
	})
}

func TestNetworkN4(t *testing.T) {
	for _, nth := range []int32{10, 4} {
		t.Run(fmt.Sprintf("N4 every %dth UDP packet dropped from the second second", nth), func(t *testing.T) {
			inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
				d := n.dialer()
				found := d.watchMarks()
				c, s, _ := n.dial(t, d, "open", transport.HTTP3, 40*msec)
				time.Sleep(2 * time.Second)
				var count atomic.Int32
				n.router.through(func(p simnet.Packet) (simnet.Packet, bool) { return p, count.Add(1)%nth != 0 })
				start := time.Now()
				pour(t, c, s, 10, 100_000)
				wantAll(t, "with losses", c, s, 10)
				if took := time.Since(start); took > 30*time.Second {
					t.Errorf("2 MB took %v", took)
				}
				found.want(t, "with losses", "works", "works")
			})
		})
	}
	t.Run("N4 every 4th UDP packet dropped from the start", func(t *testing.T) {
		for first := range int32(4) {
			inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
				d := n.dialer()
				count := new(atomic.Int32)
				count.Store(first)
				n.router.through(func(p simnet.Packet) (simnet.Packet, bool) { return p, count.Add(1)%4 != 0 })
				start := time.Now()
				s, r, err := d.Dial(t.Context(), n.url, nil)
				if err != nil {
					t.Fatal(err)
				}
				// What was lost is repeated, or HTTP/2 is there.
				if took := time.Since(start); took > time.Second {
					t.Errorf("%v after %v", r.Winner, took)
				}
				use(t, "with losses", newParty(s), <-n.accepted)
			})
		}
	})
}

func TestNetworkN5(t *testing.T) {
	for _, rate := range []int{20_000, 200_000} {
		t.Run(fmt.Sprintf("N5 UDP policed to %d bytes a second", rate), func(t *testing.T) {
			inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
				d := n.dialer()
				found := d.watchMarks()
				n.router.through(police(rate))
				c, s, _ := n.dial(t, d, "open", transport.HTTP3, 40*msec)
				start := time.Now()
				pour(t, c, s, 2, int64(rate)*10)
				wantAll(t, "policed", c, s, 2)
				took := time.Since(start)
				goodput := float64(20*rate) / took.Seconds() / float64(rate)
				if goodput > 1.05 || goodput < 0.8 {
					t.Errorf("%.0f %% of the rate in %v", goodput*100, took)
				}
				found.want(t, "policed", "works", "works")
			})
		})
	}
}

// police drops what exceeds a rate, in bytes a second each way, beyond a burst of
// a fifth of a second and one packet.
func police(rate int) mangler {
	var mu sync.Mutex
	tokens, last := map[bool]float64{}, time.Now()
	burst := float64(rate)/5 + 1500
	tokens[true], tokens[false] = burst, burst
	return func(p simnet.Packet) (simnet.Packet, bool) {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		more := now.Sub(last).Seconds() * float64(rate)
		last = now
		for way := range tokens {
			tokens[way] = min(tokens[way]+more, burst)
		}
		way := p.To.(*net.UDPAddr).Port == 443
		if tokens[way] < float64(len(p.Data)) {
			return p, false
		}
		tokens[way] -= float64(len(p.Data))
		return p, true
	}
}
