package negotiate

import (
	"bytes"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// maxRateClients bounds the clients whose rate is known. When it is reached the
// buckets that are full again are forgotten; if none is, new clients share one.
const maxRateClients = 4096

// A rateLimiter answers 429 to requests for sessions above a rate per client
// address. Ordinary requests pass, and WebSockets that are none of ours: a session
// lives on and holds memory, a request does not.
type rateLimiter struct {
	next http.Handler
	rate float64 // per second; the burst is twice as much

	mu      sync.Mutex // guards the following
	clients map[netip.Prefix]*bucket
	rest    bucket // of those for whom there was no room
	scanned time.Time
}

// A bucket holds the requests that may still come.
type bucket struct {
	used float64 // of the burst
	at   time.Time
}

func (l *rateLimiter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if IsUpgrade(r) && !l.allow(clientPrefix(r.RemoteAddr), time.Now()) {
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	l.next.ServeHTTP(w, r)
}

// clientPrefix is what a client is known by: its IPv4 address, or the /64 that
// a site gives to one host. Addresses that are none are one client.
func clientPrefix(remote string) netip.Prefix {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}
	}
	bits := 32
	if a = a.Unmap().WithZone(""); a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

func (l *rateLimiter) allow(client netip.Prefix, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.clients[client]
	if b == nil {
		if len(l.clients) >= maxRateClients && now.Sub(l.scanned) >= time.Second {
			l.forgetLocked(now)
		}
		if len(l.clients) >= maxRateClients {
			b = &l.rest
		} else {
			if l.clients == nil {
				l.clients = make(map[netip.Prefix]*bucket)
			}
			b = &bucket{at: now}
			l.clients[client] = b
		}
	}
	b.refill(now, l.rate)
	if b.used+1 > 2*l.rate {
		return false
	}
	b.used++
	return true
}

func (b *bucket) refill(now time.Time, rate float64) {
	b.used = max(0, b.used-now.Sub(b.at).Seconds()*rate)
	b.at = now
}

// forgetLocked drops the clients that are as good as new.
func (l *rateLimiter) forgetLocked(now time.Time) {
	l.scanned = now
	for c, b := range l.clients {
		if b.refill(now, l.rate); b.used == 0 {
			delete(l.clients, c)
		}
	}
}

// quietHandshakes drops net/http's lines about TLS handshakes that failed: every
// port scanner causes them.
type quietHandshakes struct{ *log.Logger }

func (q quietHandshakes) Write(p []byte) (int, error) {
	if !bytes.Contains(p, []byte("TLS handshake error")) {
		q.Print(string(p))
	}
	return len(p), nil
}
