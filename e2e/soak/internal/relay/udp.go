package relay

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
)

// What happens to UDP packets all the time, of a thousand each.
const (
	dropped   = 4
	doubled   = 4
	reordered = 8
)

// held is how long a packet that is to come late waits for another one.
const held = 10 * time.Millisecond

// gone is the time without packets after which a flow is forgotten.
const gone = 90 * time.Second

// A flow is what comes from one port of the client's.
type flow struct {
	relay  *Relay
	client netip.AddrPort

	mu     sync.Mutex // guards the following
	server *net.UDPConn
	rand   *rand.Rand
	last   time.Time // a packet from the client
	until  time.Time // all packets are lost until then
	silent bool
	closed bool
	late   [2][]byte // a packet held back, by direction
}

// receive takes the clients' packets.
func (r *Relay) receive() {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := r.udp.ReadFromUDPAddrPort(buf)
		if err != nil {
			if isClosed(err) {
				return
			}
			continue // an ICMP message about a client that has gone
		}
		if f := r.flow(from, initial(buf[:n])); f != nil {
			f.pass(toServer, buf[:n])
		}
	}
}

// initial tells whether a packet begins a QUIC connection: a long header of type
// Initial, in a datagram of at least 1,200 bytes (RFC 9000 section 14.1).
func initial(p []byte) bool { return len(p) >= 1200 && p[0]&0xf0 == 0xc0 }

// flow returns the flow of a client's address, a new one if need be: also where a
// connection begins on the port of one that was silenced, since ports come again.
func (r *Relay) flow(from netip.AddrPort, begins bool) *flow {
	port := int(from.Port())
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.flows[port]; r.closed || f != nil && !(begins && f.mute()) {
		return f
	} else if f != nil {
		f.close()
	}
	f := &flow{relay: r, client: from, last: time.Now(), rand: rand.New(rand.NewPCG(r.rand.Uint64(), 3))}
	s, err := net.DialUDP("udp", nil, r.dst)
	if err != nil {
		return nil
	}
	enlarge(s, 1<<20)
	f.server = s
	r.flows[port] = f
	// Ends with the socket; Close waits for it.
	r.wait.Go(func() { f.answer(s) })
	return f
}

// answer takes the server's packets from one socket.
func (f *flow) answer(s *net.UDPConn) {
	buf := make([]byte, 2<<10)
	for {
		n, err := s.Read(buf)
		if err != nil {
			if isClosed(err) {
				return
			}
			time.Sleep(time.Millisecond) // the server's port is closed
			continue
		}
		f.pass(toClient, buf[:n])
	}
}

// pass forwards a packet, or does what chance has for it.
func (f *flow) pass(way int, p []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if way == toServer {
		f.last = now
	}
	if f.closed || f.silent || now.Before(f.until) {
		return
	}
	switch chance := f.rand.IntN(1000); {
	case chance < dropped:
		return
	case chance < dropped+doubled:
		f.sendLocked(way, p)
	case chance < dropped+doubled+reordered && f.late[way] == nil:
		f.late[way] = append([]byte(nil), p...)
		time.AfterFunc(held, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.releaseLocked(way)
		})
		return
	}
	f.sendLocked(way, p)
	f.releaseLocked(way)
}

// releaseLocked sends the packet that was held back.
func (f *flow) releaseLocked(way int) {
	if p := f.late[way]; p != nil {
		f.late[way] = nil
		if !f.silent {
			f.sendLocked(way, p)
		}
	}
}

// sendLocked writes to a UDP socket, which does not wait for the other end.
func (f *flow) sendLocked(way int, p []byte) {
	if f.closed {
		return
	}
	if way == toServer {
		f.server.Write(p)
	} else {
		f.relay.udp.WriteToUDPAddrPort(p, f.client)
	}
}

func (f *flow) fault(o ledger.Fault) {
	switch o.Kind {
	case ledger.CutSilence:
		f.mu.Lock()
		f.silent = true
		f.mu.Unlock()
	case ledger.Stall, ledger.Outage:
		f.mu.Lock()
		f.until = time.Now().Add(o.For)
		f.mu.Unlock()
	case ledger.Rebind:
		s, err := net.DialUDP("udp", nil, f.relay.dst)
		if err != nil {
			return
		}
		enlarge(s, 1<<20)
		f.mu.Lock()
		if f.closed {
			f.mu.Unlock()
			s.Close()
			return
		}
		old := f.server
		f.server = s
		f.relay.wait.Go(func() { f.answer(s) }) // ends with the socket; Close waits for it
		f.mu.Unlock()
		old.Close()
	}
}

// mute tells whether nothing comes through any more.
func (f *flow) mute() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.silent
}

func (f *flow) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.server.Close()
}

// expire forgets flows of clients that have gone, until the relay is closed.
func (r *Relay) expire() {
	for {
		time.Sleep(100 * time.Millisecond)
		r.mu.Lock()
		if r.closed {
			r.mu.Unlock()
			return
		}
		var old []*flow
		for port, f := range r.flows {
			f.mu.Lock()
			idle := time.Since(f.last) > gone
			f.mu.Unlock()
			if idle {
				old = append(old, f)
				delete(r.flows, port)
			}
		}
		r.mu.Unlock()
		for _, f := range old {
			f.close()
		}
	}
}
