package negotiate

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/internal/delivery"
	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/wswt"
)

// N15 to N17: what shows later, or only the first time.

func TestNetworkN15(t *testing.T) {
	for _, c := range []struct {
		proto transport.Protocol
		alpn  []string
	}{{transport.HTTP2, []string{"h2"}}, {transport.WebSocket, []string{"http/1.1"}}} {
		hop := middlebox{alpn: c.alpn, idle: time.Minute}
		off := func(s *Server) {
			s.H2 = &h2wt.Config{KeepAlive: -1}
			s.WS = &wswt.Config{KeepAlive: -1}
		}
		t.Run("N15 hop with a 60 s idle limit, "+c.proto.String(), func(t *testing.T) {
			inNetwork(t, worldOptions{setup: off}, func(t *testing.T, n *network) {
				n.stand(hop)
				d := n.dialer()
				d.Transports = []transport.Protocol{c.proto}
				client, server, _ := n.dial(t, d, "open", c.proto, -1)
				time.Sleep(time.Hour)
				use(t, "after an hour of silence", client, server)
			})
		})
		t.Run("N15 hop with a 60 s idle limit and no keep-alive, "+c.proto.String(), func(t *testing.T) {
			inNetwork(t, worldOptions{setup: off}, func(t *testing.T, n *network) {
				n.stand(hop)
				d := n.dialer()
				d.Transports = []transport.Protocol{c.proto}
				d.H2 = &h2wt.Config{KeepAlive: -1}
				d.WS = &wswt.Config{KeepAlive: -1}
				client, server, _ := n.dial(t, d, "open", c.proto, -1)
				pour(t, client, server, 2, 10_000)
				await(t, client, server, 2)
				start := time.Now()
				wantEndWithin(t, "client", client, start, 59*time.Second, 61*time.Second, nil)
				wantEndWithin(t, "server", server, start, 59*time.Second, 61*time.Second, nil)
				if err := client.Stream(t.Context(), 10); err == nil {
					t.Error("a stream on a session that has ended")
				}
				up, down := judge(t, "cut by the hop", client, server)
				if up.Count(delivery.Delivered) != 2 || down.Count(delivery.Delivered) != 2 {
					t.Errorf("up %v, down %v", up, down)
				}
			})
		})
	}
}

func TestNetworkN16(t *testing.T) {
	t.Run("N16 HTTP/3 leads to another instance than HTTP/2", func(t *testing.T) {
		var n *network
		inNetwork(t, worldOptions{handler: func(w http.ResponseWriter, r *http.Request) {
			instance := "tcp-1"
			if r.ProtoMajor == 3 {
				instance = "udp-7"
			}
			w.Header().Set("Set-Cookie", "instance="+instance)
			w.Header().Set("Seen-Cookie", r.Header.Get("Cookie"))
			n.take(w, r)
		}}, func(t *testing.T, world *network) {
			n = world
			d := n.dialer()
			c, s, r := n.dial(t, d, "open", transport.HTTP3, 40*msec)
			// Where the session went is told by the winner and the server's own
			// header; nothing of it is kept for the next dial.
			if got := c.Info().Header.Get("Set-Cookie"); r.Winner != transport.HTTP3 || got != "instance=udp-7" {
				t.Errorf("%v, %q", r.Winner, got)
			}
			use(t, "HTTP/3", c, s)
			n.refuse(false, true)
			c, s, r = n.dial(t, d, "UDP refused", transport.HTTP2, -1)
			if got := c.Info().Header; r.Winner != transport.HTTP2 || got.Get("Set-Cookie") != "instance=tcp-1" || got.Get("Seen-Cookie") != "" {
				t.Errorf("%v, %q", r.Winner, got)
			}
			use(t, "HTTP/2", c, s)
		})
	})
}

func TestNetworkN17(t *testing.T) {
	// first makes the first TCP connection end in the TLS handshake.
	first := func(n *network, d *Dialer, times int32) {
		var count atomic.Int32
		direct := d.hooks.dialTCP
		d.hooks.dialTCP = func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := direct(ctx, network, address)
			if err == nil && count.Add(1) <= times {
				time.AfterFunc(2*oneWay, func() { c.(*memconn.Conn).Cut(nil) })
			}
			return c, err
		}
	}
	t.Run("N17 the first connection is cut, the next works", func(t *testing.T) {
		inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
			n.router.drop.Store(true)
			d := n.dialer()
			first(n, d, 1)
			found := d.watchMarks()
			// Half the head start; TCP; the cut; a dial by WebSocket.
			c, s, r := n.dial(t, d, "the same dial tries again, by WebSocket", transport.WebSocket, 125*msec+4*oneWay+6*oneWay)
			if h2 := attemptOf(r, "h2 tcp"); h2.Outcome != Failed || !errors.Is(h2.Err, syscall.ECONNRESET) {
				t.Errorf("%v", r)
			}
			use(t, "a WebSocket", c, s)
			time.Sleep(lingerTime)
			found.want(t, "UDP was silent", "marked")
			h2 := n.h2Dial(t)
			<-n.accepted
			c, s, _ = n.dial(t, d, "the next dial", transport.HTTP2, h2)
			use(t, "HTTP/2", c, s)
		})
	})
	t.Run("N17 both connections of the first dial are cut, the next dial works", func(t *testing.T) {
		inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
			h2 := n.h2Dial(t)
			<-n.accepted
			n.router.drop.Store(true)
			d := n.dialer()
			first(n, d, 2)
			found := d.watchMarks()
			_, err := wantFailure(t, d, n.url, "until QUIC gives up", 5*time.Second)
			if dial, ok := err.(*DialError); !ok || len(dial.Errs) != 3 || !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%v", err)
			}
			found.want(t, "nothing worked, so nothing was learnt")
			c, s, r := n.dial(t, d, "dialed again", transport.HTTP2, 125*msec+h2)
			if r.Memory != MemoryNone {
				t.Errorf("%v", r)
			}
			use(t, "dialed again", c, s)
		})
	})
	t.Run("N17 the first QUIC connection is swallowed, too", func(t *testing.T) {
		inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
			n.router.drop.Store(true)
			d := n.dialer()
			first(n, d, 2)
			found := d.watchMarks()
			wantFailure(t, d, n.url, "until QUIC gives up", 5*time.Second)
			found.want(t, "nothing worked, so nothing was learnt")
			n.router.drop.Store(false)
			c, s, _ := n.dial(t, d, "dialed again", transport.HTTP3, 40*msec)
			use(t, "dialed again", c, s)
		})
	})
}
