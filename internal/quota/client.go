package quota

import (
	"net"
	"net/netip"
)

// What a client is known by: bits of its address. A host behind IPv4 has one
// address, often shared; one behind IPv6 has a /64 of its own and could take a new
// address from it for every connection.
const (
	IPv4Bits = 32
	IPv6Bits = 64
)

// Client returns what the client at an address of the form "host:port" is known
// by. All addresses that are none, such as those of Unix sockets, are one client.
func Client(remote string) netip.Prefix {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix(a)
}

// ClientAt is Client of a connection's address.
func ClientAt(remote net.Addr) netip.Prefix {
	switch a := remote.(type) {
	case *net.TCPAddr:
		return prefix(a.AddrPort().Addr())
	case *net.UDPAddr:
		return prefix(a.AddrPort().Addr())
	case nil:
		return netip.Prefix{}
	}
	return Client(remote.String())
}

func prefix(a netip.Addr) netip.Prefix {
	bits := IPv4Bits
	if a = a.Unmap().WithZone(""); a.Is6() {
		bits = IPv6Bits
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
