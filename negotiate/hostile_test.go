package negotiate

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
)

// A crowd is a server's TCP socket, to which clients come from any address, in a
// bubble.
type crowd struct {
	pending chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func (c *crowd) Accept() (net.Conn, error) {
	select {
	case nc := <-c.pending:
		return nc, nil
	case <-c.closed:
		return nil, net.ErrClosed
	}
}

func (c *crowd) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (c *crowd) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 2), Port: 443} }

// come connects from an address.
func (c *crowd) come(from netip.Addr) *memconn.Conn {
	client, server := memconn.Pipe(&memconn.Options{ClientAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 50000))})
	c.pending <- server
	return client
}

// A siege is a server and those who come to it.
type siege struct {
	*crowd
	cert   *testcert.Cert
	server *Server
	seen   *watcher
}

// A watcher is a Monitor that counts.
type watcher struct {
	mu          sync.Mutex // guards the following
	connections map[transport.Limit]int
	sessions    map[transport.Refusal]int
	opened      map[transport.Protocol]int
}

func (w *watcher) ConnectionOpened(transport.Protocol, transport.Side)       {}
func (w *watcher) ConnectionEnded(transport.Protocol, transport.Side, error) {}
func (w *watcher) Dialed(transport.Dialed)                                   {}
func (w *watcher) ConnectionRefused(_ transport.Protocol, l transport.Limit) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.connections[l]++
}
func (w *watcher) SessionOpened(s transport.Session, _ transport.Side) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.opened[s.Info().Protocol]++
}
func (w *watcher) SessionRefused(r transport.Refusal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sessions[r]++
}

func newWatcher() *watcher {
	return &watcher{connections: map[transport.Limit]int{}, sessions: map[transport.Refusal]int{}, opened: map[transport.Protocol]int{}}
}

// refused returns how many connections a limit refused.
func (w *watcher) refused(l transport.Limit) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.connections[l]
}

// besiege runs f in a bubble with a server on TCP.
func besiege(t *testing.T, server *Server, f func(t *testing.T, s *siege)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &siege{
			crowd:  &crowd{pending: make(chan net.Conn), closed: make(chan struct{})},
			cert:   testcert.New(t),
			server: server,
			seen:   newWatcher(),
		}
		server.TLSConfig, server.Monitor = s.cert.ServerConfig(), s.seen
		server.Transports = []transport.Protocol{transport.HTTP2, transport.WebSocket}
		if server.Handler == nil {
			server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if session, err := Upgrade(w, r, nil); err == nil {
					go echoSession(session)
				}
			})
		}
		served := make(chan error, 1)
		go func() { served <- server.Serve(s.crowd, nil) }() // ends with Close
		synctest.Wait()
		f(t, s)
		server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve returned %v", err)
		}
	})
}

// dialer returns a Dialer that comes from an address.
func (s *siege) dialer(t *testing.T, from string, p transport.Protocol) *Dialer {
	t.Helper()
	addr := netip.MustParseAddr(from)
	d := &Dialer{
		TLSClientConfig: s.cert.ClientConfig(""),
		Transports:      []transport.Protocol{p},
		Proxy:           func(*http.Request) (*url.URL, error) { return nil, nil },
		hooks: hooks{
			resolve: func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("192.0.2.2")}, nil
			},
			fingerprint: func(netip.AddrPort) string { return "home" },
			dialTCP: func(context.Context, string, string) (net.Conn, error) {
				return s.come(addr), nil
			},
		},
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// dial opens a session from an address.
func (s *siege) dial(t *testing.T, from string, p transport.Protocol) (transport.Session, error) {
	t.Helper()
	session, _, err := s.dialer(t, from, p).Dial(t.Context(), "https://example.com/", nil)
	return session, err
}

// wantServed checks that a client is served at once.
func (s *siege) wantServed(t *testing.T, from string) transport.Session {
	t.Helper()
	start := time.Now()
	session, err := s.dial(t, from, transport.HTTP2)
	if err != nil {
		t.Fatalf("a good client: %v", err)
	}
	wantEchoOver(t, session)
	if d := time.Since(start); d != 0 {
		t.Errorf("a good client was served after %v", d)
	}
	return session
}

// clientHello returns the first flight of a TLS client.
func clientHello(t *testing.T, c *tls.Config) []byte {
	t.Helper()
	a, b := memconn.Pipe(nil)
	go tls.Client(a, c).Handshake() // ends when b is closed
	defer b.Close()
	head := make([]byte, 5)
	if _, err := io.ReadFull(b, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(head[3])<<8|int(head[4]))
	if _, err := io.ReadFull(b, body); err != nil {
		t.Fatal(err)
	}
	return append(head, body...)
}

// unfinished bounds what a server holds for a connection whose TLS handshake is
// not done, as Server.MaxConnections documents it: the goroutine's stack, the
// state of TLS and of net/http, and a record of 16 KiB, for which package tls
// makes room at once. The attacker's own end, where the server's flight waits to
// be read, is measured with it.
const unfinished = 64 << 10

// attacker returns the i-th of many addresses.
func attacker(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

func TestHostileHandshakes(t *testing.T) {
	const byDefault = h2wt.DefaultMaxConnectionsPerAddress / crowdShare
	for _, c := range []struct {
		name string
		most int                             // MaxConnectionsPerAddress
		send func(nc net.Conn, hello []byte) // nil: nothing
	}{
		{"never send a byte", byDefault, nil},
		{"stop in the middle of the ClientHello", byDefault, func(nc net.Conn, hello []byte) { nc.Write(hello[:len(hello)/2]) }},
		// Each costs the server a signature and a key exchange.
		{"stop after the ClientHello", 200 / crowdShare, func(nc net.Conn, hello []byte) { nc.Write(hello) }},
		{"announce a record of 16 KiB", byDefault, func(nc net.Conn, _ []byte) { nc.Write([]byte{22, 3, 1, 0x40, 0}) }},
		{"dribble a byte a second", byDefault, func(nc net.Conn, hello []byte) {
			for i := range hello {
				if _, err := nc.Write(hello[i : i+1]); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}},
	} {
		t.Run("DS-14 10,000 clients of one address "+c.name, func(t *testing.T) {
			besiege(t, &Server{MaxConnectionsPerAddress: c.most, ConnectionRate: h2wt.DefaultConnectionRate / crowdShare}, func(t *testing.T, s *siege) {
				const clients = 10_000 / crowdShare
				most := c.most
				old := s.wantServed(t, "192.0.2.77")
				hello := clientHello(t, s.cert.ClientConfig("example.com", "h2"))
				var conns [clients]*memconn.Conn
				m := hostile.Start(t, hostile.Attack{
					Name: "TLS handshakes that " + c.name, Victim: "server",
					// MaxConnectionsPerAddress of them, each with a goroutine; one of the
					// attacker's for each that dribbles.
					Bytes: int64(most) * unfinished, Goroutines: 2*most + 10,
					Reaction: "connections closed at accept; the others after ReadHeaderTimeout",
					Limit:    transport.LimitHandshakeTime,
				})
				for i := range conns {
					conns[i] = s.come(attacker(0))
					if c.send != nil && i < most {
						go c.send(conns[i], hello) // ends when the connection does
					}
				}
				synctest.Wait()
				m.Sample()
				if n := s.server.connections.Open(); n != most+1 {
					t.Errorf("%d connections count, want %d and the good one", n, most)
				}
				// The burst of the default rate is as large as the default number.
				n := s.seen.refused(transport.LimitConnectionsPerAddress) + s.seen.refused(transport.LimitConnectionRate)
				if n != clients-most {
					t.Errorf("%d connections were refused, want %d", n, clients-most)
				}
				s.wantServed(t, "192.0.2.78").CloseWithError(0, "")
				time.Sleep(defaultHeaderTimeout)
				synctest.Wait()
				if n := s.seen.refused(transport.LimitHandshakeTime); n != most {
					t.Errorf("%d handshakes took too long, want %d", n, most)
				}
				for _, nc := range conns {
					nc.Close()
				}
				wantEchoOver(t, old)
				old.CloseWithError(0, "")
				time.Sleep(time.Minute)
				if n := s.server.connections.Open(); n > 2 {
					t.Errorf("%d connections count at the end", n)
				}
				m.End(nil)
			})
		})
	}
}

func TestHostileConnectionFlood(t *testing.T) {
	t.Run("DS-15 from 11,000 addresses", func(t *testing.T) {
		besiege(t, &Server{MaxConnections: h2wt.DefaultMaxConnections / crowdShare}, func(t *testing.T, s *siege) {
			const clients, most = 11_000 / crowdShare, h2wt.DefaultMaxConnections / crowdShare
			old := s.wantServed(t, "192.0.2.77")
			conns := make([]*memconn.Conn, clients)
			m := hostile.Start(t, hostile.Attack{
				Name: "connections from 11,000 addresses", Victim: "server",
				Bytes: most * unfinished, Goroutines: most + 10,
				Reaction: "connections closed at accept; old ones live",
				Limit:    transport.LimitConnections,
			})
			for i := range conns {
				conns[i] = s.come(attacker(i))
			}
			synctest.Wait()
			m.Sample()
			if n := s.seen.refused(transport.LimitConnections); n != clients-most+1 {
				t.Errorf("%d connections were refused, want %d", n, clients-most+1)
			}
			wantEchoOver(t, old)
			if session, err := s.dial(t, "192.0.2.78", transport.HTTP2); err == nil {
				t.Errorf("a session %v in a server that is full", session)
			}
			// Those who do not go on with TLS make room.
			time.Sleep(defaultHeaderTimeout)
			s.wantServed(t, "192.0.2.78")
			for _, nc := range conns {
				nc.Close()
			}
			m.End(nil)
		})
	})
	t.Run("DS-15 as fast as one address can", func(t *testing.T) {
		const clients, rate = 10_000, 100
		m := hostile.Start(t, hostile.Attack{
			Name: "connections opened and closed in a loop", Victim: "server",
			Bytes: 2 * rate * unfinished, Goroutines: 10, // the burst, all of which has ended
			Reaction: "connections closed at accept",
			Limit:    transport.LimitConnectionRate,
		})
		attack := func(s *siege, n int) {
			for range n {
				s.come(attacker(0)).Close()
			}
		}
		besiege(t, &Server{ConnectionRate: rate}, func(t *testing.T, s *siege) {
			attack(s, clients)
			synctest.Wait()
			m.Sample()
			if n := s.seen.refused(transport.LimitConnectionRate); n != clients-2*rate {
				t.Errorf("%d connections were refused, want all but a burst of %d", n, 2*rate)
			}
			s.wantServed(t, "192.0.2.78").CloseWithError(0, "")
			time.Sleep(time.Second)
			attack(s, clients)
			synctest.Wait()
			if n := s.seen.refused(transport.LimitConnectionRate); n != 2*clients-3*rate {
				t.Errorf("%d connections were refused, want all but %d a second later", n, 3*rate)
			}
		})
		m.Cost(clients/5, func(n int) {
			besiege(t, &Server{ConnectionRate: rate}, func(t *testing.T, s *siege) { attack(s, n) })
		})
		m.End(nil)
	})
}

// slow bounds what a server holds for a connection of HTTP/1.1 whose header does
// not end: what a handshake does, the header so far, and buffers of 8 KiB; the
// attacker's TLS is measured with it.
const slow = 96 << 10

func TestHostileSlowloris(t *testing.T) {
	t.Run("DS-14 headers over HTTP/1.1, a byte a second", func(t *testing.T) {
		besiege(t, &Server{}, func(t *testing.T, s *siege) {
			const clients = 200
			old := s.wantServed(t, "192.0.2.77")
			conns := make([]*tls.Conn, clients)
			m := hostile.Start(t, hostile.Attack{
				Name: "slowloris", Victim: "server",
				Bytes: clients * slow, Goroutines: 2*clients + 10, // one each of the server and the attacker
				Reaction: "connections closed after ReadHeaderTimeout",
				Limit:    transport.LimitHeaderTime,
			})
			ended := make(chan time.Duration, clients)
			for i := range conns {
				conns[i] = tls.Client(s.come(attacker(0)), s.cert.ClientConfig("example.com", "http/1.1"))
				if err := conns[i].Handshake(); err != nil {
					t.Fatal(err)
				}
			}
			start := time.Now()
			for _, nc := range conns {
				go func() { // ends with the connection
					text := fmt.Sprintf("GET / HTTP/1.1\r\nHost: example.com\r\nX: %s", bytes.Repeat([]byte("x"), 100))
					for i := range text {
						if _, err := nc.Write([]byte{text[i]}); err != nil {
							break
						}
						time.Sleep(time.Second)
					}
					ended <- time.Since(start)
				}()
			}
			time.Sleep(9 * time.Second)
			synctest.Wait()
			m.Sample()
			s.wantServed(t, "192.0.2.78").CloseWithError(0, "")
			for range clients {
				if d := <-ended; d < 10*time.Second || d > 12*time.Second {
					t.Fatalf("a connection ended after %v, want ReadHeaderTimeout, 10 s", d)
				}
			}
			for _, nc := range conns {
				nc.Close()
			}
			wantEchoOver(t, old)
			m.End(nil)
		})
	})
}
