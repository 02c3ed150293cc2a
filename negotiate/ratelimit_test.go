package negotiate

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
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
