package negotiate

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/internal/delivery"
	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
)

// N10 to N14: proxies, and what else answers in the server's place.

// proxied leads the dialer's TCP through an HTTP proxy, oneWay from the client,
// which is the only way out.
func (n *network) proxied(t *testing.T, d *Dialer, user *url.Userinfo) {
	n.router.drop.Store(true)
	d.Proxy = func(*http.Request) (*url.URL, error) {
		return &url.URL{Scheme: "http", Host: "proxy.test:3128", User: user}, nil
	}
	d.hooks.dialTCP = func(_ context.Context, _, address string) (net.Conn, error) {
		if address != "proxy.test:3128" {
			t.Errorf("dialed %s past the proxy", address)
			return nil, errRefusedTCP
		}
		client, proxy := memconn.Pipe(&memconn.Options{Latency: oneWay})
		go func() { // ends with the connection
			defer proxy.Close()
			head := string(readHead(proxy))
			switch {
			case !strings.HasPrefix(head, "CONNECT example.com:443 HTTP/1.1\r\n"):
				io.WriteString(proxy, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
				return
			case !strings.Contains(head, "Proxy-Authorization: Basic b3R0ZXI6ZmlzaA==\r\n"): // otter:fish
				io.WriteString(proxy, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"lab\"\r\nContent-Length: 0\r\n\r\n")
				return
			}
			out, err := n.tcp.Dial(context.Background())
			if err != nil {
				return
			}
			defer out.Close()
			io.WriteString(proxy, "HTTP/1.1 200 OK\r\n\r\n")
			go func() { // ends with out
				io.Copy(proxy, out)
				proxy.Close()
			}()
			io.Copy(out, proxy)
		}()
		return client, nil
	}
}

func TestNetworkN10(t *testing.T) {
	t.Run("N10 CONNECT proxy with Basic authentication, TCP only", func(t *testing.T) {
		inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
			d := n.dialer()
			found := d.watchMarks()
			n.proxied(t, d, url.UserPassword("otter", "fish"))
			// The proxy's answer, its connection to the server, TLS, SETTINGS and
			// the request, the server being two ways off.
			c, s, r := n.dial(t, d, "through the proxy", transport.HTTP2, 16*oneWay)
			if len(r.Attempts) != 2 || r.Memory != MemoryUnused || r.Proxy != "http://otter:xxxxx@proxy.test:3128" {
				t.Errorf("%v", r)
			}
			use(t, "through the proxy", c, s)
			found.want(t, "no UDP")
		})
	})
	for name, user := range map[string]*url.Userinfo{"no": nil, "a wrong": url.UserPassword("otter", "crab")} {
		t.Run("N10 CONNECT proxy answers 407 to "+name+" password", func(t *testing.T) {
			inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
				d := n.dialer()
				n.proxied(t, d, user)
				r, err := wantFailure(t, d, n.url, "407", 2*oneWay)
				proxy, ok := errors.AsType[*ProxyError](err)
				if !ok || proxy.StatusCode != 407 || proxy.Header.Get("Proxy-Authenticate") == "" || strings.Contains(err.Error(), "crab") {
					t.Errorf("%v", err)
				}
				if h2, ws := attemptOf(r, "h2 http"), attemptOf(r, "ws http"); h2.Outcome != Failed || ws.Outcome != NotStarted {
					t.Errorf("%v", r)
				}
			})
		})
	}
}

func TestNetworkN11(t *testing.T) {
	http11 := []string{"http/1.1"}
	t.Run("N11 inspecting proxy, HTTP/1.1 only, its root trusted", func(t *testing.T) {
		inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
			n.router.drop.Store(true)
			n.stand(middlebox{alpn: http11})
			d := n.dialer()
			found := d.watchMarks()
			c, s, r := n.dial(t, d, "a WebSocket on the same connection", transport.WebSocket, 125*msec+wsThrough)
			if h2 := attemptOf(r, "h2 tcp"); !errors.Is(h2.Err, ErrNoHTTP2) || n.dialed.Load() != 1 {
				t.Errorf("%v", r)
			}
			use(t, "a WebSocket", c, s)
			time.Sleep(lingerTime)
			found.want(t, "TCP won", "marked")
		})
	})
	t.Run("N11 inspecting proxy, HTTP/1.1 only, its root foreign", func(t *testing.T) {
		inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
			n.router.drop.Store(true)
			n.stand(middlebox{alpn: http11, cert: testcert.New(t)})
			d := n.dialer()
			found := d.watchMarks()
			r, err := wantFailure(t, d, n.url, "a certificate nobody knows", 125*msec+tlsDial)
			wantForeign(t, r, err)
			found.want(t, "not a blocked network")
			n.router.drop.Store(false)
			c, s, r := n.dial(t, d, "where UDP is open", transport.HTTP3, 40*msec)
			if r.Memory != MemoryNone {
				t.Errorf("%v", r)
			}
			use(t, "HTTP/3", c, s)
		})
	})
}

// wantForeign checks the error about a certificate that the client does not trust.
func wantForeign(t *testing.T, r *Report, err error) {
	t.Helper()
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok {
		t.Errorf("%v, want a certificate error", err)
	}
	if ws := attemptOf(r, "ws tcp"); ws.Outcome != NotStarted || ws.Note != "not tried: h2 tcp has the answer" {
		t.Errorf("%v", r)
	}
}

func TestNetworkN12(t *testing.T) {
	both := []string{"h2", "http/1.1"}
	oldSettings := []uint16{1, 2, 3, 4, 5, 6}
	for _, c := range []struct {
		name string
		box  middlebox
		at   time.Duration // from TCP's start
	}{
		{"strips SETTINGS", middlebox{alpn: both, settings: oldSettings}, settingsThrough + wsThrough},
		{"refuses extended CONNECT", middlebox{alpn: both, onConnect: resetFrame(0x7)}, settingsThrough + 2*oneWay + wsThrough},
		{"ends the connection at extended CONNECT", middlebox{alpn: both, onConnect: []byte{}}, settingsThrough + 2*oneWay + wsThrough},
	} {
		t.Run("N12 HTTP/2 proxy "+c.name, func(t *testing.T) {
			inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
				n.router.drop.Store(true)
				n.stand(c.box)
				d := n.dialer()
				found := d.watchMarks()
				client, server, r := n.dial(t, d, "a WebSocket on another connection", transport.WebSocket, 125*msec+c.at)
				if n.dialed.Load() != 2 || attemptOf(r, "h2 tcp").Outcome != Failed {
					t.Errorf("%v", r)
				}
				use(t, "a WebSocket", client, server)
				time.Sleep(lingerTime)
				found.want(t, "TCP won", "marked")
			})
		})
	}
	t.Run("N12 HTTP/2 proxy strips SETTINGS and knows nothing else", func(t *testing.T) {
		inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
			n.refuse(false, true)
			n.stand(middlebox{alpn: both[:1], alert: true, settings: oldSettings})
			d := n.dialer()
			_, err := wantFailure(t, d, n.url, "no way", settingsThrough+tlsDial+settingsThrough)
			if dial, ok := err.(*DialError); !ok || len(dial.Errs) != 3 || !errors.Is(err, transport.ErrNotWebTransport) {
				t.Errorf("%v", err)
			}
		})
	})
}

func TestNetworkN13(t *testing.T) {
	both := []string{"h2", "http/1.1"}
	behind := func(t *testing.T, hold held, f func(t *testing.T, n *network, d *Dialer)) {
		inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
			n.router.drop.Store(true)
			n.stand(middlebox{alpn: both, hold: hold})
			f(t, n, n.dialer())
		})
	}
	// How long a connection through the middlebox takes to be ready and asked.
	const ready = 125*msec + settingsThrough
	t.Run("N13 HTTP/2 hop collects whole requests", func(t *testing.T) {
		behind(t, holdRequests, func(t *testing.T, n *network, d *Dialer) {
			c, s, r := n.dial(t, d, "3 s without an answer, then a WebSocket", transport.WebSocket, ready+3*time.Second+wsThrough)
			if h2 := attemptOf(r, "h2 tcp"); h2.Outcome != Lost || h2.Requested != ready || h2.Note != "ws tcp won" {
				t.Errorf("%v", r)
			}
			use(t, "a WebSocket", c, s)
		})
	})
	t.Run("N13 HTTP/2 hop collects the download", func(t *testing.T) {
		behind(t, holdDownload, func(t *testing.T, n *network, d *Dialer) {
			// The handshake passes, and the hop answers every PING itself: only who
			// waits for data can tell.
			c, s, _ := n.dial(t, d, "open", transport.HTTP2, ready+4*oneWay)
			pour(t, c, s, 3, 10_000)
			time.Sleep(10 * time.Minute)
			if err := context.Cause(c.Context()); err != nil {
				t.Errorf("ended by %v", err)
			}
			if up, down := s.got.Records(), c.got.Records(); len(up) != 3 || len(down) != 0 {
				t.Errorf("%d streams up and %d down, want 3 and 0", len(up), len(down))
			}
			if err := c.Close(); err != nil { // the server's answer ends the body, and frees it
				t.Errorf("CloseWithError: %v", err)
			}
			up, down := judge(t, "download held", c, s)
			if up.Count(delivery.Delivered) != 3 || down.Count(delivery.ReportedLost) != 3 {
				t.Errorf("up %v, down %v", up, down)
			}
		})
	})
	t.Run("N13 HTTP/2 hop collects the upload", func(t *testing.T) {
		behind(t, holdUpload, func(t *testing.T, n *network, d *Dialer) {
			c, s, _ := n.dial(t, d, "open", transport.HTTP2, ready+4*oneWay)
			pour(t, c, s, 3, 10_000)
			time.Sleep(10 * time.Minute)
			if err := context.Cause(c.Context()); err != nil {
				t.Errorf("ended by %v", err)
			}
			if up, down := s.got.Records(), c.got.Records(); len(up) != 0 || len(down) != 3 {
				t.Errorf("%d streams up and %d down, want 0 and 3", len(up), len(down))
			}
			// A write that waits for credit waits until its deadline.
			st, err := c.OpenUniStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			st.SetWriteDeadline(start.Add(time.Minute))
			if k, err := st.Write(make([]byte, 4<<20)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Minute {
				t.Errorf("a long write: %d bytes, %v after %v", k, err, time.Since(start))
			}
			c.Close() // what it says depends on how much the hop can bring at a time
			judge(t, "upload held", c, s)
		})
	})
	for name, hold := range map[string]held{"download": holdDownload, "upload": holdUpload} {
		t.Run("N13 hop collects a WebSocket's "+name, func(t *testing.T) {
			behind(t, hold, func(t *testing.T, n *network, d *Dialer) {
				d.Transports = []transport.Protocol{transport.WebSocket}
				c, s, _ := n.dial(t, d, "open", transport.WebSocket, -1)
				start := time.Now()
				pour(t, c, s, 3, 10_000)
				wantEndWithin(t, "a ping of its own passes no better", c, start, 15*time.Second, 31*time.Second, nil)
				judge(t, "WebSocket held", c, s)
			})
		})
	}
}

func TestNetworkN14(t *testing.T) {
	both, http11 := []string{"h2", "http/1.1"}, []string{"http/1.1"}
	redirect := "HTTP/1.1 302 Found\r\nLocation: http://portal.test/login\r\nContent-Length: 0\r\n\r\n"
	for _, c := range []struct {
		name string
		box  middlebox
		at   time.Duration
	}{
		{"over HTTP/1.1", middlebox{alpn: http11, answer: redirect}, tlsDial + 2*oneWay},
		{"over both", middlebox{alpn: both, answer: redirect, settings: []uint16{3}}, settingsThrough + tlsDial + 2*oneWay},
	} {
		t.Run("N14 captive portal answers 302 "+c.name, func(t *testing.T) {
			inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
				n.router.drop.Store(true)
				n.stand(c.box)
				d := n.dialer()
				found := d.watchMarks()
				// QUIC, which may not stand behind the portal, gets its last 500 ms.
				r, err := wantFailure(t, d, n.url, "302", 125*msec+c.at+lingerTime)
				rejected, ok := errors.AsType[*transport.RejectedError](err)
				if !ok || rejected.StatusCode != 302 || rejected.Header.Get("Location") != "http://portal.test/login" {
					t.Errorf("%v\n%v", err, r)
				}
				n.afterLogin(t, d, found)
			})
		})
	}
	t.Run("N14 captive portal with a foreign certificate", func(t *testing.T) {
		inNetwork(t, worldOptions{}, func(t *testing.T, n *network) {
			n.router.drop.Store(true)
			n.stand(middlebox{alpn: both, answer: redirect, cert: testcert.New(t)})
			d := n.dialer()
			found := d.watchMarks()
			r, err := wantFailure(t, d, n.url, "a certificate nobody knows", 125*msec+tlsDial)
			wantForeign(t, r, err)
			n.afterLogin(t, d, found)
		})
	})
}

// afterLogin opens the network: the next dial begins afresh.
func (n *network) afterLogin(t *testing.T, d *Dialer, found *marks) {
	t.Helper()
	found.want(t, "a portal is no reason for a mark")
	n.router.drop.Store(false)
	n.mu.Lock()
	n.between = nil
	n.mu.Unlock()
	c, s, r := n.dial(t, d, "after the login", transport.HTTP3, 40*msec)
	if r.Memory != MemoryNone || slices.ContainsFunc(r.Attempts, func(a Attempt) bool { return a.Err != nil }) {
		t.Errorf("%v", r)
	}
	use(t, "after the login", c, s)
}
