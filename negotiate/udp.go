package negotiate

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/ipv4"
)

// Sockets for QUIC. quic-go's own socket is not connected, and the kernel tells
// an unconnected socket nothing of ICMP: a refused port looks like a silent
// one. So each attempt has a socket connected to its server, in a wrapper that
// drops the address from every write (a connected socket refuses one) and keeps
// the interface by which quic-go batches reads and writes.

// A pathWatch counts what comes by a socket and says what the network thinks of it.
type pathWatch struct {
	signs
	received atomic.Uint64
	// settled is set once the handshake is done: from then on ICMP is only a
	// hint that anybody who knows the addresses can forge (RFC 9000 section
	// 14.2.1, RFC 8085 section 5.2), and is ignored. What is dead shows as
	// missing acknowledgements.
	settled atomic.Bool
}

func (w *pathWatch) gotPackets(n int) {
	if w.received.Add(uint64(n)) == uint64(n) && w.heard != nil {
		w.heard()
	}
}

// readError returns what the reader is told of err, nil if nothing.
func (w *pathWatch) readError(err error) error {
	switch {
	case isTooBig(err):
		// The answer to a packet of ours, or to a path MTU probe.
		w.tooBig(err)
		return nil
	case w.settled.Load() && isRefusal(err):
		return nil
	}
	return err
}

// writeError returns what the writer is told of err, nil if nothing.
func (w *pathWatch) writeError(err error) error {
	switch {
	case isTooBig(err):
		w.tooBig(err) // and tell quic-go, whose path MTU discovery needs it
	case w.settled.Load() && isRefusal(err):
		return nil
	}
	return err
}

// tooBig passes on that not even the first packets fit.
func (w *pathWatch) tooBig(err error) {
	if !w.settled.Load() && w.received.Load() == 0 && w.blocked != nil {
		w.blocked(err)
	}
}

func isTooBig(err error) bool { return errors.Is(err, errTooBig) }

func isRefusal(err error) bool {
	return slices.ContainsFunc(refusals, func(e error) bool { return errors.Is(err, e) })
}

// A watchedConn is a socket with its watch.
type watchedConn interface {
	net.PacketConn
	watch() *pathWatch
}

// settle tells that the handshake is done.
func settle(c watchedConn) {
	c.watch().settled.Store(true)
	if u, ok := c.(*udpConn); ok {
		_ = reportICMP(u.UDPConn, false)
	}
}

// udpConn is a connected UDP socket that looks unconnected.
type udpConn struct {
	*net.UDPConn
	w      pathWatch
	remote *net.UDPAddr
	batch  *ipv4.PacketConn
}

var _ quic.OOBCapablePacketConn = (*udpConn)(nil)

// dialUDP connects a UDP socket. It sends nothing.
func dialUDP(ctx context.Context, addr netip.AddrPort) (net.PacketConn, error) {
	network := "udp6"
	if addr.Addr().Unmap().Is4() {
		network = "udp4"
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

// watchConn wraps a socket. One that is not a connected UDP socket of the
// system is used as it is.
func watchConn(pc net.PacketConn, s signs) watchedConn {
	u, ok := pc.(*net.UDPConn)
	if !ok || u.RemoteAddr() == nil {
		c := &plainConn{PacketConn: pc}
		c.w.signs = s
		return c
	}
	c := &udpConn{UDPConn: u, remote: u.RemoteAddr().(*net.UDPAddr), batch: ipv4.NewPacketConn(u)}
	c.w.signs = s
	// Where the system cannot report the softer ICMP errors, the harder ones
	// still come, and silence is noticed after half the head start.
	_ = reportICMP(u, true)
	return c
}

func (c *udpConn) watch() *pathWatch { return &c.w }

// ReadBatch reads packets as ipv4.PacketConn does, whatever the IP version.
func (c *udpConn) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	for {
		n, err := c.batch.ReadBatch(ms, flags)
		if err == nil {
			for i := range n {
				if ms[i].Addr == nil {
					ms[i].Addr = c.remote
				}
			}
			if n > 0 {
				c.w.gotPackets(n)
			}
			return n, nil
		}
		if err = c.w.readError(err); err != nil {
			return 0, err
		}
	}
}

func (c *udpConn) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, addr, err := c.UDPConn.ReadFrom(p)
		if err == nil {
			c.w.gotPackets(1)
			return n, addr, nil
		}
		if err = c.w.readError(err); err != nil {
			return 0, nil, err
		}
	}
}

func (c *udpConn) ReadMsgUDP(b, oob []byte) (n, oobn, flags int, addr *net.UDPAddr, err error) {
	for {
		n, oobn, flags, addr, err = c.UDPConn.ReadMsgUDP(b, oob)
		if err == nil {
			c.w.gotPackets(1)
			return
		}
		if err = c.w.readError(err); err != nil {
			return
		}
	}
}

// WriteTo writes to the connected address.
func (c *udpConn) WriteTo(p []byte, _ net.Addr) (int, error) {
	n, err := c.UDPConn.Write(p)
	if err != nil {
		if err = c.w.writeError(err); err != nil {
			return n, err
		}
	}
	return len(p), nil
}

// WriteMsgUDP writes to the connected address. The control messages (ECN,
// segment size) go through.
func (c *udpConn) WriteMsgUDP(b, oob []byte, _ *net.UDPAddr) (int, int, error) {
	n, oobn, err := c.UDPConn.WriteMsgUDP(b, oob, nil)
	if err != nil {
		if err = c.w.writeError(err); err != nil {
			return n, oobn, err
		}
	}
	return len(b), len(oob), nil
}

// SyscallConn is the socket's, for its options.
func (c *udpConn) SyscallConn() (syscall.RawConn, error) { return c.UDPConn.SyscallConn() }

// plainConn watches any other packet connection, a test's for example.
type plainConn struct {
	net.PacketConn
	w pathWatch
}

func (c *plainConn) watch() *pathWatch { return &c.w }

func (c *plainConn) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, addr, err := c.PacketConn.ReadFrom(p)
		if err == nil {
			c.w.gotPackets(1)
			return n, addr, nil
		}
		if err = c.w.readError(err); err != nil {
			return 0, nil, err
		}
	}
}

func (c *plainConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	n, err := c.PacketConn.WriteTo(p, addr)
	if err != nil {
		if err = c.w.writeError(err); err != nil {
			return n, err
		}
	}
	return len(p), nil
}

// SetReadBuffer and SetWriteBuffer size the socket's buffers if it has any.
func (c *plainConn) SetReadBuffer(n int) error {
	if b, ok := c.PacketConn.(interface{ SetReadBuffer(int) error }); ok {
		return b.SetReadBuffer(n)
	}
	return nil
}

func (c *plainConn) SetWriteBuffer(n int) error {
	if b, ok := c.PacketConn.(interface{ SetWriteBuffer(int) error }); ok {
		return b.SetWriteBuffer(n)
	}
	return nil
}
