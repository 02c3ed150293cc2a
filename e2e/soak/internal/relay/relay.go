package relay

import (
	"errors"
	"math/rand/v2"
	"net"
	"sync"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
)

// A Relay forwards one address of loopback, TCP and UDP on the same port, to the
// server's.
type Relay struct {
	server string
	tcp    net.Listener
	udp    *net.UDPConn
	dst    *net.UDPAddr
	wait   sync.WaitGroup // every goroutine of the Relay

	mu     sync.Mutex // guards the following
	closed bool
	rand   *rand.Rand
	links  map[int]*link // by the client's port
	flows  map[int]*flow
	done   map[string]int // faults carried out, by kind
	missed int            // faults for connections that are gone
}

// New listens on a port of loopback and forwards to the server's address.
func New(server string, seed uint64) (*Relay, error) {
	dst, err := net.ResolveUDPAddr("udp", server)
	if err != nil {
		return nil, err
	}
	r := &Relay{server: server, dst: dst, rand: rand.New(rand.NewPCG(seed, 0x72656c6179)),
		links: make(map[int]*link), flows: make(map[int]*flow), done: make(map[string]int)}
	for range 20 { // until a port is free for both
		if r.tcp, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, err
		}
		port := r.tcp.Addr().(*net.TCPAddr).Port
		if r.udp, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}); err == nil {
			break
		}
		r.tcp.Close()
	}
	if err != nil {
		return nil, err
	}
	enlarge(r.udp, 16<<20) // all clients' packets
	r.wait.Go(r.accept)
	r.wait.Go(r.receive)
	r.wait.Go(r.expire)
	return r, nil
}

// Address is what clients dial.
func (r *Relay) Address() string { return r.tcp.Addr().String() }

// Do does a fault to a connection, if it is still there.
func (r *Relay) Do(f ledger.Fault) {
	r.mu.Lock()
	l, fl := r.links[f.Port], r.flows[f.Port]
	if f.UDP && fl == nil || !f.UDP && l == nil {
		r.missed++
		r.mu.Unlock()
		return
	}
	r.done[f.Kind]++
	r.mu.Unlock()
	if f.UDP {
		fl.fault(f)
	} else {
		l.fault(f)
	}
}

// Done returns how many faults of each kind were carried out.
func (r *Relay) Done() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	done := make(map[string]int, len(r.done))
	for kind, n := range r.done {
		done[kind] = n
	}
	return done
}

// Close ends all connections and waits for the Relay's goroutines.
func (r *Relay) Close() {
	r.mu.Lock()
	r.closed = true
	links, flows := r.links, r.flows
	r.links, r.flows = nil, nil
	r.mu.Unlock()
	r.tcp.Close()
	r.udp.Close()
	for _, l := range links {
		l.close()
	}
	for _, f := range flows {
		f.close()
	}
	r.wait.Wait()
}

func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }
