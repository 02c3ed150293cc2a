package netns

import (
	"context"
	"net"
	"testing"

	"github.com/vishvananda/netlink"
)

// What changes on the way between client and server.

var (
	// limitRoute gives a route of this host an MTU: it answers larger packets
	// with ICMP, as a router before a narrow link does.
	limitRoute = Register("netns.mtu", func(_ context.Context, mtu int) (struct{}, error) {
		link, err := netlink.LinkByName("server")
		if err != nil {
			return struct{}{}, err
		}
		_, dst, err := net.ParseCIDR(ServerV4 + "/32")
		if err != nil {
			return struct{}{}, err
		}
		return struct{}{}, netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: dst, MTU: mtu, MTULock: true})
	})

	flushConntrack = Register("netns.conntrack", func(context.Context, struct{}) (struct{}, error) {
		return struct{}{}, netlink.ConntrackTableFlush(netlink.ConntrackTable)
	})

	// moveHost changes this host's IPv4 address, and with it its route.
	moveHost = Register("netns.move", func(_ context.Context, to string) (struct{}, error) {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return struct{}{}, err
		}
		old, err := netlink.ParseAddr(ClientV4 + "/24")
		if err != nil {
			return struct{}{}, err
		}
		if err := netlink.AddrDel(link, old); err != nil { // the routes go with it
			return struct{}{}, err
		}
		addr, err := netlink.ParseAddr(to + "/24")
		if err != nil {
			return struct{}{}, err
		}
		if err := netlink.AddrAdd(link, addr); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.ParseIP(RouterV4)})
	})
)

// MovedV4 is the client's address after [Lab.Move].
const MovedV4 = "10.77.1.99"

// PathMTU narrows the way to the server by IPv4: the router drops larger packets
// and says so by ICMP.
func (l *Lab) PathMTU(t testing.TB, mtu int) {
	t.Helper()
	limitRoute.Call(t, l.Router, mtu)
}

// NAT hides the client behind the router's IPv4 address, at a port of the
// router's choice.
func (l *Lab) NAT(t testing.TB) {
	t.Helper()
	if _, err := runNft.Try(l.Router, "table ip nat {\n"+
		"chain postrouting {\ntype nat hook postrouting priority srcnat; policy accept;\noifname \"server\" masquerade fully-random\n}\n}\n"); err != nil {
		unavailable(t, "addresses cannot be translated: "+err.Error())
	}
}

// Rebind has the NAT forget every binding. What the client sends next gets a new
// one.
func (l *Lab) Rebind(t testing.TB) {
	t.Helper()
	flushConntrack.Call(t, l.Router, struct{}{})
}

// Move gives the client [MovedV4] instead of its IPv4 address.
func (l *Lab) Move(t testing.TB) {
	t.Helper()
	moveHost.Call(t, l.Client, MovedV4)
}
