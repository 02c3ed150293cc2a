package netns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Addresses of the lab, and the names that its hosts resolve to them.
const (
	ClientV4 = "10.77.1.2"
	ClientV6 = "fd77:1::2"
	RouterV4 = "10.77.1.1" // its end towards the client
	RouterV6 = "fd77:1::1"
	ServerV4 = "10.77.2.2"
	ServerV6 = "fd77:2::2"

	// ServerName has an IPv6 and an IPv4 address, ServerName4 and ServerName6
	// one of them.
	ServerName  = "server.test"
	ServerName4 = "v4.server.test"
	ServerName6 = "v6.server.test"
	// ProxyName is the router, by IPv4.
	ProxyName = "proxy.test"
)

const hostsFile = "127.0.0.1 localhost\n::1 localhost\n" +
	ServerV6 + " " + ServerName + "\n" + ServerV4 + " " + ServerName + "\n" +
	ServerV4 + " " + ServerName4 + "\n" + ServerV6 + " " + ServerName6 + "\n" +
	RouterV4 + " " + ProxyName + "\n"

// Topology describes a lab.
type Topology struct {
	// ClientMTU and ServerMTU are the MTU of the client's and of the server's
	// link, in bytes, at least 1280. 0 means 1500.
	ClientMTU, ServerMTU int
}

// A Lab is three hosts in a row.
type Lab struct {
	Client, Router, Server *Host
}

// New makes a lab that ends with the test. It skips the test, or fails it if
// TOWPATH_E2E_REQUIRE is 1, where namespaces cannot be made.
func New(t testing.TB, topology Topology) *Lab {
	t.Helper()
	if what := missing(); what != "" {
		unavailable(t, what)
	}
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, []byte(hostsFile), 0o644); err != nil {
		t.Fatal(err)
	}
	l := new(Lab)
	for name, h := range map[string]**Host{"client": &l.Client, "router": &l.Router, "server": &l.Server} {
		var err error
		if *h, err = startHost(t, name, hosts); errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSYS) {
			unavailable(t, "the kernel refuses namespaces: "+err.Error())
		} else if err != nil {
			t.Fatalf("starting host %s: %v", name, err)
		}
	}
	for _, h := range []*Host{l.Client, l.Router, l.Server} {
		// Addresses are usable at once, without asking for seconds whether
		// somebody has them already, and none comes by itself later: to a
		// program that would be a change of the network.
		if _, err := setSysctl.Try(h, map[string]string{
			"ipv6/conf/default/accept_dad": "0",
			"ipv6/conf/all/accept_dad":     "0",
			// Links have the link-local addresses that configure gives them.
			"ipv6/conf/default/addr_gen_mode": "1",
		}); err != nil {
			unavailable(t, "the namespaces cannot be configured: "+err.Error())
		}
	}
	setSysctl.Call(t, l.Router, map[string]string{
		"ipv4/ip_forward":          "1",
		"ipv6/conf/all/forwarding": "1",
		// Every rejected packet is answered, as by a router without a limit:
		// tests reject more than six a second.
		"ipv4/icmp_ratelimit": "0",
		"ipv6/icmp/ratelimit": "0",
	})
	l.join(t, l.Client, topology.ClientMTU, []string{RouterV4, RouterV6}, []string{ClientV4, ClientV6})
	l.join(t, l.Server, topology.ServerMTU, []string{"10.77.2.1", "fd77:2::1"}, []string{ServerV4, ServerV6})
	if _, err := runNft.Try(l.Router, ruleset("")); err != nil {
		unavailable(t, "packets cannot be filtered: "+err.Error())
	}
	// The kernel brings links up in its own time; until then packets vanish and
	// routes come and go.
	for _, addr := range []string{ServerV4, ServerV6} {
		awaitPath.Call(t, l.Client, addr)
	}
	return l
}

// join connects h to the router.
func (l *Lab) join(t testing.TB, h *Host, mtu int, router, host []string) {
	t.Helper()
	if mtu == 0 {
		mtu = 1500
	}
	joinHost.Call(t, l.Router, joinArgs{Name: h.Name, PeerPID: h.PID, MTU: mtu})
	configure.Call(t, l.Router, configArgs{Link: h.Name, Addrs: []string{router[0] + "/24", router[1] + "/64", "fe80::1/64"}})
	configure.Call(t, h, configArgs{Link: "eth0", Addrs: []string{host[0] + "/24", host[1] + "/64", "fe80::2/64"}, Gates: router})
}

// Filter replaces the rules that packets between client and server pass, at
// once for all of them: nftables rules, one a line, in the router's forward
// hook; what no rule decides is forwarded. A rule may count with
// "counter name dropped" (see [Lab.Dropped]). Counters begin again at 0.
func (l *Lab) Filter(t testing.TB, rules string) {
	t.Helper()
	runNft.Call(t, l.Router, ruleset(rules))
}

// Intercept leads the client's TCP connections to that port, whatever their
// address, to the router itself, as a transparent proxy does. The rules of
// [Lab.Filter] do not see them any more.
func (l *Lab) Intercept(t testing.TB, port string) {
	t.Helper()
	if _, err := runNft.Try(l.Router, "table inet intercept {\n"+
		"chain prerouting {\ntype nat hook prerouting priority dstnat; policy accept;\niifname \"client\" tcp dport "+port+" redirect\n}\n}\n"); err != nil {
		unavailable(t, "connections cannot be redirected: "+err.Error())
	}
}

// Ports leads what comes to the server at the ports from first to last, by TCP
// and UDP, to port. To a client that remembers connections, tickets or failures
// each of them is a server that it does not know.
func (l *Lab) Ports(t testing.TB, first, last, port int) {
	t.Helper()
	rule := fmt.Sprintf("dport %d-%d redirect to :%d\n", first, last, port)
	if _, err := runNft.Try(l.Server, "table inet ports {\n"+
		"chain prerouting {\ntype nat hook prerouting priority dstnat; policy accept;\ntcp "+rule+"udp "+rule+"}\n}\n"); err != nil {
		unavailable(t, "ports cannot be redirected: "+err.Error())
	}
}

func ruleset(rules string) string {
	return "table inet lab\ndelete table inet lab\ntable inet lab {\n" +
		"counter dropped { }\n" +
		"chain forward {\ntype filter hook forward priority 0; policy accept;\n" + rules + "\n}\n}\n"
}

// Dropped returns how many packets the rules with "counter name dropped" met
// since [Lab.Filter].
func (l *Lab) Dropped(t testing.TB) uint64 {
	t.Helper()
	return readCounter.Call(t, l.Router, "dropped")
}

func unavailable(t testing.TB, what string) {
	t.Helper()
	if os.Getenv(RequireEnv) == "1" {
		t.Fatalf("%s is set, and %s", RequireEnv, what)
	}
	t.Skip(what)
}
