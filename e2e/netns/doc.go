// Package netns gives a test networks of its own: a client, a router and a
// server, each a process in a Linux network namespace, joined by veth pairs.
//
//	            10.77.1.0/24               10.77.2.0/24
//	+--------+  fd77:1::/64  +--------+   fd77:2::/64  +--------+
//	| client |---------------| router |----------------| server |
//	+--------+ .2         .1 +--------+ .1          .2 +--------+
//	                      nftables: forward hook
//
// What travels between client and server passes the router's forward hook,
// where [Lab.Filter] drops or rejects it, as a middlebox does. (A rule on the
// client's output hook would show itself as EPERM.)
//
// A host is the test binary, started again in namespaces of its own, because a
// Go program cannot keep its goroutines on one thread: sockets would appear in
// either namespace. A test runs code there with [Func.Call]; the functions are
// registered as package variables, arguments and results travel as JSON.
//
//	var probe = netns.Register("probe", func(ctx context.Context, addr string) (string, error) { ... })
//
//	func TestMain(m *testing.M) { os.Exit(netns.Main(m)) }
//
//	func TestProbe(t *testing.T) {
//		lab := netns.New(t, netns.Topology{})
//		answer := probe.Call(t, lab.Client, "server.test:443")
//	}
//
// A server whose handler is to stay in the test listens in [Host.Inside], and a
// program that is not the test binary, such as a browser, starts there.
//
// # Nothing stays behind
//
// The namespaces have no names and no mounts: the kernel removes each with its
// last process, and the interfaces, addresses and rules with it. A host ends
// when its test does, and by itself as soon as the pipe from the test breaks,
// so a test that panics, times out or is killed leaves nothing either. The
// machine's own namespace never sees an interface, an address or a rule.
//
// # What it needs
//
// Linux, the nft command, and either root or a kernel that lets a user make a
// user namespace. Where something is missing [New] skips the test and says
// what; with TOWPATH_E2E_REQUIRE=1 in the environment it fails instead.
package netns
