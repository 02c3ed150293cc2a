package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/netns"
)

const (
	dropUDP = "meta l4proto udp counter name dropped drop"
	// passFirst is a firewall that lets the first packet of a conversation
	// through while it thinks about it.
	passFirst = "udp dport " + labPort + " quota over 1300 bytes counter name dropped drop"
	// dropAll leaves only what the router's own proxies carry.
	dropAll = "counter name dropped drop"
)

// halfHeadStart is when TCP starts if no UDP packet came back, 250 ms being
// QUIC's head start to a server of which nothing is known.
const halfHeadStart = 125 * time.Millisecond

// probationFloor is the shortest probation of a new session.
const probationFloor = 3 * time.Second

func TestUDPOpen(t *testing.T) {
	for _, host := range []string{netns.ServerName, netns.ServerName4, netns.ServerName6} {
		t.Run(host, func(t *testing.T) {
			s := newSite(t, netns.Topology{}, "", false)
			r, known := s.wantH3(labURL(host))
			if r.Memory != "nothing known" || r.HeadStart != 2*halfHeadStart {
				t.Errorf("memory %q, head start %v; want nothing known and %v", r.Memory, r.HeadStart, 2*halfHeadStart)
			}
			use.Call(t, s.Client, struct{}{})
			s.wantRemembered(labURL(host), known)
		})
	}
}

// wantH3 dials with a dialer that knows nothing and expects HTTP/3. On a busy
// machine a handshake may take longer than QUIC's head start, and TCP wins
// rightly: another dialer gets another chance.
func (s *site) wantH3(url string) (r dialReport, dialer string) {
	s.t.Helper()
	for i := range 5 {
		dialer = fmt.Sprintf("h3 %d", i)
		if r = s.dial(dialArgs{URL: url, Dialer: dialer}); r.Winner == "h3" {
			return r, dialer
		}
		if r.Err != "" {
			break
		}
	}
	s.t.Fatalf("%s: winner %q, error %q; want a session by h3", url, r.Winner, r.Err)
	return r, dialer
}

// wantRemembered dials again with a dialer by which HTTP/3 worked.
func (s *site) wantRemembered(url, dialer string) {
	s.t.Helper()
	for range 5 {
		r := s.dial(dialArgs{URL: url, Dialer: dialer})
		if r.Memory != "HTTP/3 worked before" || r.HeadStart < 100*time.Millisecond || r.Err != "" {
			s.t.Fatalf("second dial: memory %q, head start %v, error %q; want what worked, at least 100 ms", r.Memory, r.HeadStart, r.Err)
		}
		if r.Winner == "h3" {
			use.Call(s.t, s.Client, struct{}{})
			return
		}
	}
	s.t.Error("HTTP/3 did not win again")
}

// TestUDPDropped is the network this library is for: UDP vanishes.
func TestUDPDropped(t *testing.T) {
	s := newSite(t, netns.Topology{}, dropUDP, false)
	r := s.want("h2", dialArgs{URL: labURL(netns.ServerName4)})
	tcp, quic := r.attempt(t, "h2 tcp"), r.attempt(t, "h3 udp4")
	if tcp.Started < halfHeadStart {
		t.Errorf("TCP started after %v, before half the head start (%v) had passed in silence", tcp.Started, halfHeadStart)
	}
	if quic.Heard || quic.Outcome == "won" || quic.Outcome == "failed" {
		t.Errorf("QUIC: heard %v, outcome %s; want an attempt that heard nothing and was given up", quic.Heard, quic.Outcome)
	}
	if s.Dropped(t) == 0 {
		t.Error("no UDP packet came to the filter")
	}
	// The mark stands once the QUIC attempt, which lingers, has been given up:
	// the next dials send no UDP packet at all.
	awaitMark.Call(t, s.Client, "")
	s.wantMarked("")
	s.fastest(func(dialer string) time.Duration {
		r := s.want("h2", dialArgs{URL: labURL(netns.ServerName4), Dialer: dialer})
		return r.attempt(s.t, "h2 tcp").Started
	}, 2*halfHeadStart, "TCP's start in silence")
}

// wantMarked dials some times with UDP marked broken, and dropped: there must be
// no QUIC attempt, and no UDP packet.
func (s *site) wantMarked(dialer string) {
	s.t.Helper()
	// Counts anew, and the client's only: the server may still repeat what it has
	// had no acknowledgement for.
	s.Filter(s.t, "udp dport "+labPort+" counter name dropped drop\nmeta l4proto udp drop")
	for range 3 {
		r := s.want("h2", dialArgs{URL: labURL(netns.ServerName4), Dialer: dialer})
		if quic := r.attempt(s.t, "h3 udp4"); r.Memory != "UDP marked broken" || quic.Started >= 0 {
			s.t.Errorf("memory %q, QUIC %s; want the mark and no attempt", r.Memory, quic.Outcome)
		}
	}
	if n := s.Dropped(s.t); n != 0 {
		s.t.Errorf("%d UDP packets sent while UDP is marked broken", n)
	}
}

// fastest checks an upper bound against the best of some dialers that know
// nothing: a busy machine delays one or the other, not all.
func (s *site) fastest(measure func(dialer string) time.Duration, bound time.Duration, what string) {
	s.t.Helper()
	var all []time.Duration
	for i := range 5 {
		d := measure(fmt.Sprintf("fresh %d", i))
		if all = append(all, d); d < bound {
			return
		}
	}
	s.t.Errorf("%s took %v, at best %v; want less than %v", what, all, slices.Min(all), bound)
}

// TestUDPRejected is a network that says so: TCP starts at once.
func TestUDPRejected(t *testing.T) {
	for _, icmp := range []string{"admin-prohibited", "port-unreachable", "host-unreachable", "no-route"} {
		for _, host := range []string{netns.ServerName4, netns.ServerName6} {
			t.Run(icmp+"/"+host, func(t *testing.T) {
				s := newSite(t, netns.Topology{}, "meta l4proto udp counter name dropped reject with icmpx type "+icmp, false)
				s.checkRefused(host)
				if s.Dropped(t) == 0 {
					t.Error("no UDP packet came to the filter")
				}
			})
		}
	}
	t.Run("nobody listens", func(t *testing.T) {
		s := newSite(t, netns.Topology{}, "", true)
		s.checkRefused(netns.ServerName)
	})
}

// checkRefused expects TCP to start before half the head start.
func (s *site) checkRefused(host string) {
	s.t.Helper()
	s.fastest(func(dialer string) time.Duration {
		r := s.want("h2", dialArgs{URL: labURL(host), Dialer: dialer})
		for _, a := range r.Attempts {
			if strings.HasPrefix(a.Name, "h3") && a.Outcome == "failed" && a.Err == "" {
				s.t.Errorf("%s failed without a reason", a.Name)
			}
		}
		return r.attempt(s.t, "h2 tcp").Started
	}, halfHeadStart, "TCP's start after UDP was refused")
}

// TestUDPDroppedAfterFirstPacket is a network that gives QUIC hope, and no more.
func TestUDPDroppedAfterFirstPacket(t *testing.T) {
	s := newSite(t, netns.Topology{}, passFirst, false)
	r := s.want("h2", dialArgs{URL: labURL(netns.ServerName4)})
	quic, tcp := r.attempt(t, "h3 udp4"), r.attempt(t, "h2 tcp")
	if quic.Ready >= 0 || quic.Outcome == "won" {
		t.Errorf("QUIC was ready after %v, %s", quic.Ready, quic.Outcome)
	}
	if tcp.Started < halfHeadStart {
		t.Errorf("TCP started after %v, nobody had refused UDP", tcp.Started)
	}
	if s.Dropped(t) == 0 {
		t.Error("no packet came to the filter")
	}
	awaitMark.Call(t, s.Client, "")
}

// TestUDPDroppedAfterHandshake is a network that lets a handshake pass.
func TestUDPDroppedAfterHandshake(t *testing.T) {
	t.Run("before the answer", func(t *testing.T) {
		s := newSite(t, netns.Topology{}, "", false)
		var r dialReport
		for i := range 5 {
			s.Filter(t, "")
			dialled := make(chan dialReport, 1)
			go func() { // ends with the dial's Timeout at the latest
				a := dialArgs{URL: labURL(netns.ServerName4) + "/held", Root: s.root, Dialer: fmt.Sprintf("fresh %d", i)}
				r, err := dial.Try(s.Client, a)
				if err != nil {
					r.Err = err.Error()
				}
				dialled <- r
			}()
			if awaitRequest.Call(t, s.Server, struct{}{}) != 3 {
				<-dialled // a busy machine lost QUIC the race before it could ask
				continue
			}
			s.Filter(t, dropUDP) // the server's answer is lost, and its repetitions
			release.Call(t, s.Server, struct{}{})
			r = <-dialled
			break
		}
		t.Logf("dial: %s %s", r.Text, r.Err)
		if r.Winner != "h2" {
			t.Fatalf("winner %s, error %q; want h2", r.Winner, r.Err)
		}
		use.Call(t, s.Client, struct{}{})
		quic, tcp := r.attempt(t, "h3 udp4"), r.attempt(t, "h2 tcp")
		if quic.Ready < 0 || quic.Requested < 0 || quic.Outcome == "won" {
			t.Fatalf("QUIC: %+v; want an attempt that was ready and asked in vain", quic)
		}
		// The other leg is asked after max(1 s, 4 RTT) without an answer.
		if tcp.Requested-quic.Requested < time.Second {
			t.Errorf("asked on h2 %v after h3, want at least 1 s", tcp.Requested-quic.Requested)
		}
		if s.Dropped(t) == 0 {
			t.Error("no packet came to the filter")
		}
	})
	t.Run("after the answer", func(t *testing.T) {
		s := newSite(t, netns.Topology{}, "", false)
		_, dialer := s.wantH3(labURL(netns.ServerName4))
		s.Filter(t, dropUDP)
		speak.Call(t, s.Client, struct{}{})
		end := awaitEnd.Call(t, s.Client, struct{}{})
		t.Logf("ended %v after the drop: %s", end.Waited, end.Cause)
		if !end.PathBroken {
			t.Errorf("the session ended with %q, want negotiate.ErrPathBroken", end.Cause)
		}
		if end.Waited < probationFloor/2 {
			t.Errorf("ended after %v, too early to tell a dead path from a slow one", end.Waited)
		}
		// Whoever dials again gets a session at once.
		s.wantMarked(dialer)
	})
}

// TestProxyOnly is a network that leads out through a proxy, by TCP.
func TestProxyOnly(t *testing.T) {
	target := netns.ServerName + ":" + labPort
	newProxied := func(t *testing.T, kind string) *site {
		s := newSite(t, netns.Topology{}, dropAll, false)
		startProxy.Call(t, s.Router, proxyArgs{Kind: kind, Addr: netns.RouterV4 + ":3128", User: "otter", Password: "fish:+/"})
		return s
	}
	wantLog := func(t *testing.T, s *site, want ...string) {
		t.Helper()
		if got := takeProxyLog.Call(t, s.Router, struct{}{}); !slices.Equal(got, want) {
			t.Errorf("the proxy saw %q, want %q", got, want)
		}
		if n := s.Dropped(t); n != 0 {
			t.Errorf("%d packets tried to pass by the proxy", n)
		}
	}
	t.Run("CONNECT", func(t *testing.T) {
		s := newProxied(t, "http")
		r := s.want("h2", dialArgs{URL: labURL(netns.ServerName), Proxy: "http://otter:fish%3A+%2F@" + netns.ProxyName + ":3128"})
		if !strings.Contains(r.Proxy, netns.ProxyName) || strings.Contains(r.Proxy, "fish") {
			t.Errorf("Report.Proxy is %q, want the proxy without its password", r.Proxy)
		}
		wantLog(t, s, "CONNECT "+target+" 200")
	})
	t.Run("CONNECT from the environment", func(t *testing.T) {
		s := newProxied(t, "http")
		setEnv.Call(t, s.Client, map[string]string{"HTTPS_PROXY": "http://otter:fish%3A+%2F@" + netns.ProxyName + ":3128"})
		s.want("h2", dialArgs{URL: labURL(netns.ServerName)})
		wantLog(t, s, "CONNECT "+target+" 200")
	})
	t.Run("CONNECT 407", func(t *testing.T) {
		s := newProxied(t, "http")
		for _, user := range []string{"", "otter:wrong@"} {
			r := s.dial(dialArgs{URL: labURL(netns.ServerName), Dialer: "with " + user, Proxy: "http://" + user + netns.ProxyName + ":3128"})
			if r.ProxyStatus != 407 || r.Winner != "unknown" {
				t.Errorf("status %d, winner %s, error %q; want a proxy error 407", r.ProxyStatus, r.Winner, r.Err)
			}
			wantLog(t, s, "CONNECT "+target+" 407")
		}
	})
	t.Run("SOCKS5", func(t *testing.T) {
		s := newProxied(t, "socks5")
		s.want("h2", dialArgs{URL: labURL(netns.ServerName), Proxy: "socks5://otter:fish%3A+%2F@" + netns.ProxyName + ":3128"})
		wantLog(t, s, "SOCKS "+target)
	})
	t.Run("SOCKS5 from the environment", func(t *testing.T) {
		s := newProxied(t, "socks5")
		setEnv.Call(t, s.Client, map[string]string{"ALL_PROXY": "socks5://otter:fish%3A+%2F@" + netns.ProxyName + ":3128"})
		s.want("h2", dialArgs{URL: labURL(netns.ServerName)})
		wantLog(t, s, "SOCKS "+target)
	})
	t.Run("SOCKS5 with a wrong password", func(t *testing.T) {
		s := newProxied(t, "socks5")
		r := s.dial(dialArgs{URL: labURL(netns.ServerName), Proxy: "socks5://otter:wrong@" + netns.ProxyName + ":3128"})
		if r.Err == "" || r.Winner != "unknown" {
			t.Errorf("winner %s, error %q; want a proxy error", r.Winner, r.Err)
		}
		if log := takeProxyLog.Call(t, s.Router, struct{}{}); len(log) == 0 || log[0] != "SOCKS wrong password" {
			t.Errorf("the proxy saw %q", log)
		}
	})
}

// TestIPv6UDPDead is a network where UDP works by IPv4 only: HTTP/3 must win,
// and must not be marked broken.
func TestIPv6UDPDead(t *testing.T) {
	for name, filter := range map[string]string{
		"dropped":  "meta nfproto ipv6 " + dropUDP,
		"rejected": "meta nfproto ipv6 meta l4proto udp counter name dropped reject with icmpv6 type admin-prohibited",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, netns.Topology{}, filter, false)
			r, known := s.wantH3(labURL(netns.ServerName))
			use.Call(t, s.Client, struct{}{})
			if a := r.attempt(t, "h3 udp4"); a.Outcome != "won" {
				t.Errorf("h3 udp4 %s", a.Outcome)
			}
			if a := r.attempt(t, "h3 udp6"); a.Heard {
				t.Error("h3 udp6 heard something")
			}
			if s.Dropped(t) == 0 {
				t.Error("no packet came to the filter")
			}
			s.wantRemembered(labURL(netns.ServerName), known)
		})
	}
}

// TestMTU1280 has links that carry no more than IPv6 asks of every link.
func TestMTU1280(t *testing.T) {
	for name, topology := range map[string]netns.Topology{
		"own link": {ClientMTU: 1280}, "link further on": {ServerMTU: 1280},
	} {
		for _, host := range []string{netns.ServerName4, netns.ServerName6} {
			t.Run(name+"/"+host, func(t *testing.T) {
				s := newSite(t, topology, "", false)
				s.wantH3(labURL(host))
				use.Call(t, s.Client, struct{}{})
			})
		}
	}
}
