package netns

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
)

// joinArgs ask the router for a veth pair to another host.
type joinArgs struct {
	Name    string // the router's end
	PeerPID int    // the host that gets the other end, as eth0
	MTU     int    // of both ends
}

// configArgs describe one end of a veth pair.
type configArgs struct {
	Link  string
	Addrs []string // CIDR
	Gates []string // addresses of default routers
}

var (
	joinHost = Register("netns.join", func(_ context.Context, a joinArgs) (struct{}, error) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = a.Name, a.MTU
		// Both ends are made where they belong: neither passes through
		// another namespace.
		return struct{}{}, netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: attrs, PeerName: "eth0", PeerMTU: uint32(a.MTU), PeerNamespace: netlink.NsPid(a.PeerPID),
		})
	})

	configure = Register("netns.configure", func(_ context.Context, a configArgs) (struct{}, error) {
		return struct{}{}, configureLink(a)
	})

	// awaitPath waits until a packet to addr is answered: by a refusal, since
	// nobody listens there yet.
	awaitPath = Register("netns.path", func(ctx context.Context, addr string) (struct{}, error) {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		try := net.Dialer{Timeout: 200 * time.Millisecond}
		for {
			c, err := try.DialContext(ctx, "tcp", net.JoinHostPort(addr, "9"))
			if err == nil {
				c.Close()
				return struct{}{}, errors.New("somebody listens at the discard port")
			}
			if errors.Is(err, syscall.ECONNREFUSED) {
				return struct{}{}, nil
			}
			select {
			case <-ctx.Done():
				return struct{}{}, fmt.Errorf("no path to %s: %w", addr, err)
			case <-time.After(5 * time.Millisecond):
			}
		}
	})

	// setSysctl writes files under /proc/sys/net, which show the namespace of
	// the process that opens them.
	setSysctl = Register("netns.sysctl", func(_ context.Context, values map[string]string) (struct{}, error) {
		for name, value := range values {
			if err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})

	runNft = Register("netns.nft", func(ctx context.Context, script string) (struct{}, error) {
		cmd := exec.CommandContext(ctx, "nft", "-f", "-")
		cmd.Stdin = bytes.NewReader([]byte(script))
		if out, err := cmd.CombinedOutput(); err != nil {
			return struct{}{}, fmt.Errorf("nft: %w: %s", err, out)
		}
		return struct{}{}, nil
	})

	readCounter = Register("netns.counter", func(ctx context.Context, name string) (uint64, error) {
		out, err := exec.CommandContext(ctx, "nft", "-j", "list", "counter", "inet", "lab", name).Output()
		if err != nil {
			return 0, fmt.Errorf("nft: counter %s: %w", name, err)
		}
		var list struct {
			Nftables []struct{ Counter *struct{ Packets uint64 } }
		}
		if err := json.Unmarshal(out, &list); err != nil {
			return 0, err
		}
		for _, entry := range list.Nftables {
			if entry.Counter != nil {
				return entry.Counter.Packets, nil
			}
		}
		return 0, fmt.Errorf("nft: no counter %s", name)
	})
)

func setUpLoopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

func configureLink(a configArgs) error {
	link, err := netlink.LinkByName(a.Link)
	if err != nil {
		return err
	}
	for _, cidr := range a.Addrs {
		addr, err := netlink.ParseAddr(cidr)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("address %s: %w", cidr, err)
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	for _, gate := range a.Gates {
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.ParseIP(gate)}); err != nil {
			return fmt.Errorf("route by %s: %w", gate, err)
		}
	}
	return nil
}
