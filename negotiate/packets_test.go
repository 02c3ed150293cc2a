package negotiate

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"
)

// dropRouter delivers packets, unless it is told to swallow them.
type dropRouter struct {
	simnet.PerfectRouter
	drop   atomic.Bool
	dropV6 atomic.Bool
	// toServer drops only what goes to the server.
	toServer atomic.Bool
	// mangle, if set, sees every packet that is not dropped: it returns what
	// becomes of it, and false if it is dropped after all. It is called by
	// several goroutines.
	mangle atomic.Pointer[mangler]
}

type mangler func(p simnet.Packet) (simnet.Packet, bool)

// through makes every packet pass f; nil takes f away.
func (r *dropRouter) through(f mangler) {
	if f == nil {
		r.mangle.Store(nil)
		return
	}
	r.mangle.Store(&f)
}

func (r *dropRouter) SendPacket(p simnet.Packet) error {
	to := p.To.(*net.UDPAddr)
	if r.drop.Load() || r.dropV6.Load() && to.IP.To4() == nil || r.toServer.Load() && to.Port == 443 {
		return nil
	}
	if f := r.mangle.Load(); f != nil {
		var pass bool
		if p, pass = (*f)(p); !pass {
			return nil
		}
	}
	return r.PerfectRouter.SendPacket(p)
}

// A refusedConn is a connected socket to a closed port: whatever is written,
// the next read says ECONNREFUSED.
type refusedConn struct {
	addr   *net.UDPAddr
	once   sync.Once
	wrote  chan struct{}
	end    sync.Once
	closed chan struct{}
}

func (c *refusedConn) ReadFrom([]byte) (int, net.Addr, error) {
	select {
	case <-c.wrote:
		return 0, nil, &net.OpError{Op: "read", Net: "udp", Err: os.NewSyscallError("recvmsg", refusals[0])}
	case <-c.closed:
		return 0, nil, net.ErrClosed
	}
}

func (c *refusedConn) WriteTo(p []byte, _ net.Addr) (int, error) {
	c.once.Do(func() { close(c.wrote) })
	return len(p), nil
}

func (c *refusedConn) Close() error {
	c.end.Do(func() { close(c.closed) })
	return nil
}

func (c *refusedConn) LocalAddr() net.Addr              { return c.addr }
func (c *refusedConn) SetDeadline(time.Time) error      { return nil }
func (c *refusedConn) SetReadDeadline(time.Time) error  { return c.Close() }
func (c *refusedConn) SetWriteDeadline(time.Time) error { return nil }

var errOwn = errors.New("own")

var errRefusedTCP = &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}

// mergeConns makes one packet connection of a server's sockets.
func mergeConns(cs []*simnet.SimConn) net.PacketConn {
	if len(cs) == 1 {
		return cs[0]
	}
	m := &mergedConn{SimConn: cs[0], all: cs, in: make(chan packet), closed: make(chan struct{})}
	for _, c := range cs {
		go m.read(c) // ends when c is closed
	}
	return m
}

type packet struct {
	data []byte
	from net.Addr
	err  error
}

type mergedConn struct {
	*simnet.SimConn
	all    []*simnet.SimConn
	in     chan packet
	once   sync.Once
	closed chan struct{}

	mu       sync.Mutex
	deadline chan struct{} // closed once SetReadDeadline was called with a time that passed
}

func (m *mergedConn) read(c *simnet.SimConn) {
	for {
		b := make([]byte, 2048)
		n, from, err := c.ReadFrom(b)
		select {
		case m.in <- packet{b[:n], from, err}:
		case <-m.closed:
			return
		}
		if err != nil {
			return
		}
	}
}

func (m *mergedConn) ReadFrom(p []byte) (int, net.Addr, error) {
	m.mu.Lock()
	if m.deadline == nil {
		m.deadline = make(chan struct{})
	}
	deadline := m.deadline
	m.mu.Unlock()
	select {
	case k := <-m.in:
		return copy(p, k.data), k.from, k.err
	case <-m.closed:
		return 0, nil, net.ErrClosed
	case <-deadline:
		return 0, nil, os.ErrDeadlineExceeded
	}
}

// SetReadDeadline is only used by quic-go to end a read.
func (m *mergedConn) SetReadDeadline(t time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t.IsZero() {
		m.deadline = nil
		return nil
	}
	if m.deadline == nil {
		m.deadline = make(chan struct{})
	}
	select {
	case <-m.deadline:
	default:
		close(m.deadline)
	}
	return nil
}

func (m *mergedConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	v6 := addr.(*net.UDPAddr).IP.To4() == nil
	for _, c := range m.all {
		if (c.LocalAddr().(*net.UDPAddr).IP.To4() == nil) == v6 {
			return c.WriteTo(p, addr)
		}
	}
	return 0, errors.New("no socket of that family")
}

func (m *mergedConn) Close() error {
	m.once.Do(func() { close(m.closed) })
	return nil
}
