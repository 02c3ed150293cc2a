// Package loopback has a host for tests without a link: both ends of a test share
// the machine.
package loopback

import (
	"context"
	"net"
	"net/netip"
)

// Host makes sockets on the loopback interface; it is an adapter.Host.
type Host struct{}

// Addr is 127.0.0.1.
func (Host) Addr() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }

// ListenTCP listens on the port, or on any free one if it is 0.
func (h Host) ListenTCP(port uint16) (net.Listener, error) {
	return net.Listen("tcp4", netip.AddrPortFrom(h.Addr(), port).String())
}

// DialTCP connects with the machine's own congestion control.
func (Host) DialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp4", to.String())
}

// ListenUDP binds the port, or any free one if it is 0.
func (h Host) ListenUDP(port uint16) (*net.UDPConn, error) {
	return net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.Addr(), port)))
}
