package negotiate

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRateLimit(t *testing.T) {
	ok := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {})
	ask := func(l *rateLimiter, method, from string) int {
		rec := httptest.NewRecorder()
		l.ServeHTTP(rec, &http.Request{Method: method, RemoteAddr: from})
		return rec.Code
	}
	t.Run("H2-042 H3-047 sessions above the burst are answered 429", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := &rateLimiter{next: ok, rate: 5}
			for i := range 10 {
				if code := ask(l, http.MethodConnect, "192.0.2.1:1000"); code != 200 {
					t.Fatalf("request %d of the burst: %d", i, code)
				}
			}
			if code := ask(l, http.MethodConnect, "192.0.2.1:2000"); code != 429 {
				t.Errorf("one more than the burst: %d", code)
			}
			if code := ask(l, http.MethodGet, "192.0.2.1:2000"); code != 200 {
				t.Errorf("an ordinary request: %d", code)
			}
			if code := ask(l, http.MethodConnect, "192.0.2.2:1000"); code != 200 {
				t.Errorf("another client: %d", code)
			}
			time.Sleep(200 * time.Millisecond)
			if code := ask(l, http.MethodConnect, "192.0.2.1:1000"); code != 200 {
				t.Errorf("after a fifth of a second: %d", code)
			}
			if code := ask(l, http.MethodConnect, "192.0.2.1:1000"); code != 429 {
				t.Errorf("again at once: %d", code)
			}
		})
	})
	t.Run("clients", func(t *testing.T) {
		for _, c := range []struct{ addr, want string }{
			{"192.0.2.1:5", "192.0.2.1/32"},
			{"[::ffff:192.0.2.1]:5", "192.0.2.1/32"},
			{"[2001:db8:1:2:3:4:5:6]:5", "2001:db8:1:2::/64"},
			{"[fe80::1%eth0]:5", "fe80::/64"},
			{"@", "invalid Prefix"},
			{"name:5", "invalid Prefix"},
		} {
			if got := clientPrefix(c.addr).String(); got != c.want {
				t.Errorf("%s: %s, want %s", c.addr, got, c.want)
			}
		}
	})
	t.Run("the table is bounded", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			l := &rateLimiter{next: ok, rate: 1}
			client := func(i int) netip.Prefix {
				return netip.MustParsePrefix(fmt.Sprintf("10.%d.%d.%d/32", i>>16, i>>8&255, i&255))
			}
			for i := range maxRateClients {
				l.allow(client(i), time.Now())
			}
			// No room: the newcomers share one bucket, whoever they are.
			got := 0
			for i := range 10 {
				if l.allow(client(maxRateClients+i), time.Now()) {
					got++
				}
			}
			if len(l.clients) != maxRateClients || got != 2 {
				t.Errorf("%d clients, %d of the newcomers' requests passed; want %d and 2", len(l.clients), got, maxRateClients)
			}
			time.Sleep(2 * time.Second) // all are as good as new
			if !l.allow(client(maxRateClients+1), time.Now()) || len(l.clients) != 1 {
				t.Errorf("%d clients after a rest", len(l.clients))
			}
		})
	})
}

// However a client writes the handshake that Upgrade accepts, it is counted.
func TestRateLimitWebSocketForms(t *testing.T) {
	const head = "GET /chat HTTP/1.1\r\nHost: a.test\r\n"
	for name, c := range map[string]struct {
		fields  string
		counted bool
	}{
		"as usual":              {"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: towpath.capsule.v1\r\n", true},
		"other cases":           {"UPGRADE: WebSocket\r\nconnection: uPGRADE\r\nsec-websocket-protocol: towpath.capsule.v1\r\n", true},
		"lists":                 {"Upgrade: h2c, websocket\r\nConnection: keep-alive , Upgrade\r\nSec-WebSocket-Protocol: chat,\ttowpath.capsule.v1\r\n", true},
		"lines":                 {"Upgrade: h2c\r\nUpgrade: websocket\r\nConnection: keep-alive\r\nConnection: upgrade\r\nSec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: towpath.capsule.v1.YQ\r\nSec-WebSocket-Protocol: towpath.capsule.v1\r\n", true},
		"fails-components":      {"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: webtransport_kDraft1\r\n", true},
		"another subprotocol":   {"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: chat\r\n", false},
		"no subprotocol":        {"Upgrade: websocket\r\nConnection: Upgrade\r\n", false},
		"no Connection":         {"Upgrade: websocket\r\nSec-WebSocket-Protocol: towpath.capsule.v1\r\n", false},
		"another thing upgrade": {"Upgrade: websocket2\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: towpath.capsule.v1\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &rateLimiter{rate: 1, next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = Upgrade(w, r, nil) })}
				var codes []int
				for range 3 {
					r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(head + c.fields + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")))
					if err != nil {
						t.Fatal(err)
					}
					r.RemoteAddr, r.TLS = "192.0.2.1:1000", new(tls.ConnectionState)
					rec := httptest.NewRecorder()
					l.ServeHTTP(rec, r)
					codes = append(codes, rec.Code)
				}
				// Accepted as far as that goes without a connection to take over.
				want := []int{500, 500, 429}
				if !c.counted {
					want = []int{405, 405, 405}
				}
				if !slices.Equal(codes, want) {
					t.Errorf("statuses %v, want %v", codes, want)
				}
			})
		})
	}
}
