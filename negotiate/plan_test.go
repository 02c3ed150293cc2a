package negotiate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/wswt"
)

func TestHeadStart(t *testing.T) {
	for _, c := range []struct {
		name           string
		set, rtt       time.Duration
		head, silentAt time.Duration
	}{
		{"nothing known", 0, 0, 250 * msec, 125 * msec},
		{"very near", 0, 2 * msec, 100 * msec, 50 * msec},
		{"1.5 round trips; silence means something after one and a quarter", 0, 200 * msec, 300 * msec, 250 * msec},
		{"very far", 0, 3 * time.Second, 2 * time.Second, 3750 * msec},
		{"set", 400 * msec, 20 * msec, 400 * msec, 200 * msec},
		{"none", -1, 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			head := headStart(c.set, c.rtt)
			if at := silence(head, c.rtt); head != c.head || at != c.silentAt {
				t.Errorf("head start %v, silence %v; want %v, %v", head, at, c.head, c.silentAt)
			}
		})
	}
}

func TestHeadStartOfDialer(t *testing.T) {
	t.Run("set by the caller", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			h2 := w.h2Dial(t)
			w.router.drop.Store(true)
			d := w.dialer()
			d.HeadStart = 80 * msec
			s, r := wantDial(t, d, w.url, "half of 80 ms", transport.HTTP2, 40*msec+h2)
			if r.HeadStart != 80*msec {
				t.Errorf("the report says %v", r.HeadStart)
			}
			s.CloseWithError(0, "")
		})
	})
	t.Run("none", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			h2 := w.h2Dial(t)
			w.router.drop.Store(true)
			d := w.dialer()
			d.HeadStart = -1
			s, _ := wantDial(t, d, w.url, "together", transport.HTTP2, h2)
			s.CloseWithError(0, "")
		})
	})
}

func TestJudge(t *testing.T) {
	crypto := func(alert uint64) error {
		return &quic.TransportError{ErrorCode: 0x100 + quic.TransportErrorCode(alert)}
	}
	for _, c := range []struct {
		err   error
		want  verdict
		marks bool // says that UDP does not work
	}{
		{&transport.RejectedError{StatusCode: 301}, answer, false},
		{&transport.RejectedError{StatusCode: 401}, answer, false},
		{&transport.RejectedError{StatusCode: 403}, answer, false},
		{&transport.RejectedError{StatusCode: 404}, answer, false},
		{&transport.RejectedError{StatusCode: 405}, answer, false},
		{&transport.RejectedError{StatusCode: 429}, answer, false},
		{&transport.RejectedError{StatusCode: 500}, answer, false},
		{&transport.RejectedError{StatusCode: 503}, answer, false},
		{&transport.RejectedError{StatusCode: 501}, tryNext, false},
		{&transport.RejectedError{StatusCode: 421}, tryNext, false},
		{&ProxyError{StatusCode: 407, Err: &transport.RejectedError{StatusCode: 407}}, answer, false},
		{&transport.NotProcessedError{Err: &transport.ResetError{Protocol: transport.HTTP2, Code: 7, Name: "REFUSED_STREAM"}}, tryNext, false},
		{&transport.ResetError{Protocol: transport.HTTP2, Code: 13, Name: "HTTP_1_1_REQUIRED"}, tryNext, true},
		{&transport.ResetError{Protocol: transport.HTTP3, Code: 0x10c, Name: "H3_REQUEST_CANCELLED"}, tryNext, true},
		{fmt.Errorf("wrapped: %w", transport.ErrNotWebTransport), tryNext, true},
		{&transport.ProtocolError{Violation: transport.ViolationALPN}, answer, false},
		{&transport.ProtocolError{Violation: transport.ViolationMalformed}, tryNext, true},
		{&PinError{}, answer, false},
		{&tls.CertificateVerificationError{Err: errors.New("x")}, answer, false},
		{x509.UnknownAuthorityError{}, answer, false},
		{x509.HostnameError{Certificate: &x509.Certificate{}}, answer, false},
		{x509.CertificateInvalidError{}, answer, false},
		{crypto(42), answer, false}, // bad_certificate
		{crypto(48), answer, false}, // unknown_ca
		{crypto(116), answer, false},
		{crypto(47), tryNext, true},  // illegal_parameter
		{crypto(40), tryNext, true},  // handshake_failure
		{crypto(120), tryNext, true}, // no_application_protocol
		{&quic.IdleTimeoutError{}, tryNext, true},
		{errNoProgress, tryNext, true},
		{context.Canceled, tryNext, false},
		{nil, tryNext, false},
	} {
		if got := judgeError(c.err); c.err != nil && got != c.want {
			t.Errorf("%v: verdict %v, want %v", c.err, got, c.want)
		}
		if got := marksUDP(c.err); got != c.marks {
			t.Errorf("%v: marks UDP %v, want %v", c.err, got, c.marks)
		}
	}
}

func TestFindings(t *testing.T) {
	quicWith := func(o Outcome, ready time.Duration, err error) Attempt {
		return Attempt{Protocol: transport.HTTP3, Outcome: o, Ready: ready, Err: err}
	}
	won, lost := Attempt{Protocol: transport.HTTP2, Outcome: Won}, Attempt{Protocol: transport.HTTP2, Outcome: Failed}
	for _, c := range []struct {
		name string
		as   []Attempt
		want finding
	}{
		{"both families failed, TCP won", []Attempt{quicWith(Failed, -1, errDead), quicWith(Failed, -1, errDead), won}, udpBroken},
		{"one family failed, the other was not tried", []Attempt{quicWith(Failed, -1, errDead), quicWith(NotStarted, -1, nil), won}, udpUnknown},
		{"TCP failed too", []Attempt{quicWith(Failed, -1, errDead), lost}, udpUnknown},
		{"QUIC completed late", []Attempt{quicWith(Failed, -1, errDead), quicWith(Lost, 600*msec, nil), won}, udpWorks},
		{"QUIC won", []Attempt{quicWith(Won, 20*msec, nil), lost}, udpWorks},
		{"dead after the handshake", []Attempt{quicWith(Failed, 20*msec, errNoProgress), won}, udpBroken},
		{"the server refused there", []Attempt{quicWith(Failed, 20*msec, &transport.NotProcessedError{Err: errDead}), won}, udpUnknown},
		{"only TCP", []Attempt{won}, udpUnknown},
		{"given up before it was known", []Attempt{quicWith(Lost, -1, nil), won}, udpUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := findings(c.as); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestInterleave(t *testing.T) {
	a := func(s ...string) (out []netip.Addr) {
		for _, x := range s {
			out = append(out, netip.MustParseAddr(x))
		}
		return out
	}
	for _, c := range []struct{ in, want []netip.Addr }{
		{nil, nil},
		{a("192.0.2.1"), a("192.0.2.1")},
		{a("2001:db8::1", "2001:db8::2", "192.0.2.1"), a("2001:db8::1", "192.0.2.1", "2001:db8::2")},
		{a("192.0.2.1", "192.0.2.2", "2001:db8::1"), a("192.0.2.1", "2001:db8::1", "192.0.2.2")},
	} {
		if got := interleave(c.in); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v, want %v", c.in, got, c.want)
		}
	}
	for _, n := range []int{maxTCPAddrs, maxTCPAddrs + 1} {
		var many []netip.Addr
		for i := range n {
			many = append(many, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
		}
		if got := len(interleave(many)); got != maxTCPAddrs {
			t.Errorf("of %d addresses %d are tried, want %d", n, got, maxTCPAddrs)
		}
	}
}

func TestDialAddrs(t *testing.T) {
	one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	type behaviour struct {
		after time.Duration // 0: never
		err   error
	}
	for _, c := range []struct {
		name string
		does map[string]behaviour
		want string
		at   time.Duration
		err  error
	}{
		{"the first answers", map[string]behaviour{"192.0.2.1:443": {after: 30 * msec}}, "192.0.2.1:443", 30 * msec, nil},
		{"the first is silent", map[string]behaviour{"192.0.2.1:443": {}, "[2001:db8::1]:443": {after: 30 * msec}}, "[2001:db8::1]:443", 280 * msec, nil},
		{"the first fails", map[string]behaviour{"192.0.2.1:443": {after: 10 * msec, err: errDead}, "[2001:db8::1]:443": {after: 30 * msec}}, "[2001:db8::1]:443", 40 * msec, nil},
		{"the first is slow but wins", map[string]behaviour{"192.0.2.1:443": {after: 270 * msec}, "[2001:db8::1]:443": {after: 30 * msec}}, "192.0.2.1:443", 270 * msec, nil},
		{"both fail", map[string]behaviour{"192.0.2.1:443": {after: 10 * msec, err: errDead}, "[2001:db8::1]:443": {after: 10 * msec, err: errRefusedTCP}}, "", 20 * msec, errRefusedTCP},
		{"both silent", map[string]behaviour{"192.0.2.1:443": {}, "[2001:db8::1]:443": {}}, "", 3 * time.Second, context.DeadlineExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				var late []*memconn.Conn
				names := make(map[net.Conn]string)
				dial := func(ctx context.Context, _, address string) (net.Conn, error) {
					b := c.does[address]
					if !sleep(ctx, b.after) {
						return nil, ctx.Err()
					}
					if b.err != nil {
						return nil, b.err
					}
					conn, peer := memconn.Pipe(nil)
					mu.Lock()
					defer mu.Unlock()
					names[conn] = address
					late = append(late, peer)
					return conn, nil
				}
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				start := time.Now()
				conn, err := dialAddrs(ctx, dial, []netip.Addr{one, two}, "443")
				if took := time.Since(start); took != c.at || !errors.Is(err, c.err) || conn != nil && names[conn] != c.want {
					t.Errorf("%v, %v after %v; want %q after %v", names[conn], err, took, c.want, c.at)
				}
				if conn != nil {
					conn.Close()
				}
				time.Sleep(time.Second)
				mu.Lock()
				defer mu.Unlock()
				for _, peer := range late {
					if _, err := peer.Read(make([]byte, 1)); err == nil {
						t.Error("a connection was left open")
					}
				}
			})
		})
	}
}

func TestDialThroughProxy(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		var asked []string
		d := w.dialer()
		d.Proxy = func(r *http.Request) (*url.URL, error) {
			asked = append(asked, r.URL.String())
			return parseURL(t, "http://user:secret@proxy.test:3128"), nil
		}
		direct := d.hooks.dialTCP
		var dialed []string
		d.hooks.dialTCP = func(ctx context.Context, network, address string) (net.Conn, error) {
			dialed = append(dialed, address)
			client, proxy := memconn.Pipe(&memconn.Options{Latency: oneWay})
			go tunnel(proxy, func() (net.Conn, error) { return direct(context.Background(), network, "x") })
			return client, nil
		}
		s, r := wantDial(t, d, w.url, "through the proxy", transport.HTTP2, -1)
		wantEchoOver(t, s)
		if len(asked) != 1 || asked[0] != "https://example.com/chat" || len(dialed) != 1 || dialed[0] != "proxy.test:3128" {
			t.Errorf("asked for %v, dialed %v", asked, dialed)
		}
		if r.Proxy != "http://user:xxxxx@proxy.test:3128" || r.Memory != MemoryUnused || len(r.Attempts) != 2 || r.Attempts[0].Network != "http" || r.Attempts[1].Outcome != NotStarted {
			t.Errorf("report: %v", r)
		}
		s.CloseWithError(0, "")
	})
}

// tunnel is a proxy's side of one connection.
func tunnel(c net.Conn, dial func() (net.Conn, error)) {
	defer c.Close()
	var head []byte
	for !strings.HasSuffix(string(head), "\r\n\r\n") {
		b := make([]byte, 1)
		if _, err := c.Read(b); err != nil {
			return
		}
		head = append(head, b...)
	}
	if !strings.HasPrefix(string(head), "CONNECT example.com:443 HTTP/1.1\r\n") {
		c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		return
	}
	out, err := dial()
	if err != nil {
		return
	}
	defer out.Close()
	c.Write([]byte("HTTP/1.1 200 OK\r\n\r\n"))
	go func() { // ends with out
		copyConn(c, out)
		c.Close()
	}()
	copyConn(out, c)
}

func copyConn(dst, src net.Conn) {
	b := make([]byte, 32<<10)
	for {
		n, err := src.Read(b)
		if _, werr := dst.Write(b[:n]); err != nil || werr != nil {
			return
		}
	}
}

func TestProbe(t *testing.T) {
	inWorld(t, worldOptions{v6: true}, func(t *testing.T, w *world) {
		w.refuse(true, true)
		d := w.dialer()
		rs, err := d.Probe(t.Context(), w.url)
		if err != nil || len(rs) != 4 {
			t.Fatalf("%d results, %v", len(rs), err)
		}
		if r := rs[0]; r.Open() || r.Attempt.Name() != "h3 udp6" || !isRefusal(r.Attempt.Err) || r.RTT >= 0 || r.Attempt.Heard {
			t.Errorf("udp6: %+v", r)
		}
		for i, draft := range map[int]string{1: "draft-ietf-webtrans-http3, drafts 15 to 16", 2: "draft-ietf-webtrans-http2-14 and later"} {
			r := rs[i]
			if !r.Open() || r.Draft != draft || !r.Attempt.Heard {
				t.Errorf("%s: %+v", r.Attempt.Name(), r)
			}
			if !slices.Contains(r.Settings, Setting{"WT_ENABLED", 1}) {
				t.Errorf("%s: settings %v", r.Attempt.Name(), r.Settings)
			}
		}
		if r := rs[3]; !r.Open() || r.Draft != wswt.Subprotocol || r.Attempt.Name() != "ws tcp" || r.RTT != 2*oneWay || r.Attempt.Ready != 4*oneWay {
			t.Errorf("ws: %+v", r)
		}
		if rs[1].RTT != 2*oneWay || rs[1].Attempt.Ready != 2*oneWay {
			t.Errorf("h3: RTT %v, ready after %v", rs[1].RTT, rs[1].Attempt.Ready)
		}
		if n := w.requests.Load(); n != 1 {
			t.Errorf("%d sessions asked for, want the WebSocket's", n)
		}
		if _, ok := d.memory.store.Load("example.com:443"); ok {
			t.Error("a probe left something in the memory")
		}
	})
	t.Run("silent", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			w.router.drop.Store(true)
			w.killTCP(errRefusedTCP)
			d := w.dialer()
			d.Timeout = 2 * time.Second
			start := time.Now()
			rs, err := d.Probe(t.Context(), w.url)
			if err != nil || len(rs) != 3 || time.Since(start) != 2*time.Second {
				t.Fatalf("%v, %v after %v", rs, err, time.Since(start))
			}
			if rs[0].Open() || rs[0].Attempt.Heard || rs[1].Open() || !errors.Is(rs[1].Attempt.Err, errRefusedTCP) {
				t.Errorf("%+v", rs)
			}
		})
	})
}
