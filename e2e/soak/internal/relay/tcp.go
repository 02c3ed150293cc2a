package relay

import (
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
)

// A link is one TCP connection through the relay.
type link struct {
	relay  *Relay
	port   int
	client *net.TCPConn
	server *net.TCPConn
	to     [2]direction // indexed by toClient, toServer
}

const (
	toClient = iota
	toServer
)

// A direction is what becomes of the bytes of one direction.
type direction struct {
	mu      sync.Mutex // guards the following
	until   time.Time  // stands still until then
	dribble time.Time  // a few bytes at a time until then
	silent  bool       // bytes are taken and go nowhere
	ended   bool       // by a FIN in the middle
}

func (r *Relay) accept() {
	for {
		c, err := r.tcp.Accept()
		if err != nil {
			return
		}
		client := c.(*net.TCPConn)
		// Ends with the connection; Close waits for it.
		r.wait.Go(func() { r.forward(client) })
	}
}

func (r *Relay) forward(client *net.TCPConn) {
	s, err := net.Dial("tcp", r.server)
	if err != nil {
		client.SetLinger(0)
		client.Close()
		return
	}
	l := &link{relay: r, port: client.RemoteAddr().(*net.TCPAddr).Port, client: client, server: s.(*net.TCPConn)}
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		l.close()
		return
	}
	r.links[l.port] = l
	seed := r.rand.Uint64()
	r.mu.Unlock()

	var pumps sync.WaitGroup
	pumps.Go(func() { l.pump(toServer, client, l.server, rand.New(rand.NewPCG(seed, 1))) })
	pumps.Go(func() { l.pump(toClient, l.server, client, rand.New(rand.NewPCG(seed, 2))) })
	pumps.Wait()
	l.close()
	r.mu.Lock()
	if r.links[l.port] == l {
		delete(r.links, l.port)
	}
	r.mu.Unlock()
}

// pump carries one direction.
func (l *link) pump(way int, src, dst *net.TCPConn, random *rand.Rand) {
	d := &l.to[way]
	buf := make([]byte, 16<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 && !l.pass(d, dst, buf[:n], random) || err != nil {
			break
		}
	}
	// The end goes on after what came before it, as it came: RST is told as such
	// by neither of the two, and both ends see one direction end. After a
	// silence nothing goes on.
	d.mu.Lock()
	silent := d.silent
	d.mu.Unlock()
	if !silent {
		dst.CloseWrite()
	}
}

// pass writes p as the direction's state says, and tells whether to go on.
func (l *link) pass(d *direction, dst *net.TCPConn, p []byte, random *rand.Rand) bool {
	for len(p) > 0 {
		d.mu.Lock()
		silent, ended, dribble := d.silent, d.ended, time.Now().Before(d.dribble)
		pause := time.Until(d.until)
		d.mu.Unlock()
		switch {
		case silent:
			return true
		case ended:
			return false
		case pause > 0:
			time.Sleep(min(pause, 50*time.Millisecond)) // a cut may come meanwhile
			continue
		}
		n := len(p)
		if dribble {
			n = min(n, 1+random.IntN(40))
		}
		if _, err := dst.Write(p[:n]); err != nil {
			return false
		}
		p = p[n:]
		if dribble && n > 30 {
			time.Sleep(time.Millisecond)
		}
	}
	return true
}

func (l *link) fault(f ledger.Fault) {
	way := toClient
	if f.ToServer {
		way = toServer
	}
	switch f.Kind {
	case ledger.CutRST:
		l.client.SetLinger(0)
		l.server.SetLinger(0)
		l.close()
	case ledger.CutFIN:
		d := &l.to[way]
		d.mu.Lock()
		d.ended = true
		d.mu.Unlock()
		dst := l.client
		if f.ToServer {
			dst = l.server
		}
		dst.CloseWrite()
	case ledger.CutSilence:
		for i := range l.to {
			d := &l.to[i]
			d.mu.Lock()
			d.silent = true
			d.mu.Unlock()
		}
	case ledger.Stall:
		d := &l.to[way]
		d.mu.Lock()
		d.until = time.Now().Add(f.For)
		d.mu.Unlock()
	case ledger.Dribble:
		for i := range l.to {
			d := &l.to[i]
			d.mu.Lock()
			d.dribble = time.Now().Add(f.For)
			d.mu.Unlock()
		}
	}
}

func (l *link) close() {
	l.client.Close()
	l.server.Close()
}
