package negotiate

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/netip"
	"slices"
)

// fingerprint names the network that a dial to addr leaves by: a hash of the
// prefixes of all interfaces that are up, and of the source address that the
// system would use. Reading it sends nothing. What cannot be read counts as
// absent, so the result is never an error; it says little then, but the same.
func fingerprint(addr netip.AddrPort) string {
	var facts []string
	for _, a := range interfaceAddrs() {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			facts = append(facts, p.Masked().String())
		}
	}
	// Connecting a UDP socket asks the routing table and sends no packet.
	if c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr)); err == nil {
		if a, ok := c.LocalAddr().(*net.UDPAddr); ok {
			facts = append(facts, "source "+a.AddrPort().Addr().Unmap().String())
		}
		_ = c.Close()
	}
	return hashFacts(facts)
}

// hashFacts is independent of order and repetition: interfaces come and go in
// any order, and a container's bridge repeats prefixes.
func hashFacts(facts []string) string {
	slices.Sort(facts)
	h := sha256.New()
	for _, f := range slices.Compact(facts) {
		h.Write([]byte(f))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// fewInterfaces is how many interfaces are asked one by one. Each question reads
// the whole table on Linux, so on a machine full of virtual interfaces one
// question is asked for all, those that are down included.
const fewInterfaces = 16

// interfaceAddrs returns the addresses of the interfaces that are up.
func interfaceAddrs() (out []net.Addr) {
	ifs, err := net.Interfaces()
	if err != nil || len(ifs) > fewInterfaces {
		out, _ = net.InterfaceAddrs()
		return out
	}
	for _, ifi := range ifs {
		if ifi.Flags&net.FlagUp == 0 {
			continue
		}
		if addrs, err := ifi.Addrs(); err == nil {
			out = append(out, addrs...)
		}
	}
	return out
}
