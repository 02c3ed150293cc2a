package adapter

import (
	"context"
	"net"
	"net/netip"
)

// loopback is a host without a link: both ends of a test share the machine.
type loopback struct{}

func (loopback) Addr() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }

func (l loopback) ListenTCP(port uint16) (net.Listener, error) {
	return net.Listen("tcp4", netip.AddrPortFrom(l.Addr(), port).String())
}

func (loopback) DialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp4", to.String())
}

func (l loopback) ListenUDP(port uint16) (*net.UDPConn, error) {
	return net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(l.Addr(), port)))
}
