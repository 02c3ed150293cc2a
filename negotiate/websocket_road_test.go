package negotiate

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
)

// TCP won is TCP won: the memory makes no difference between its two ways.
func TestWebSocketMemory(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		w.stand(middlebox{alpn: []string{"http/1.1"}})
		w.router.drop.Store(true)
		d := w.dialer()
		marked, probed := make(chan time.Time, 1), make(chan error, 1)
		d.Trace = &Trace{
			Marked: func(_ string, until time.Time) { marked <- until },
			Probed: func(_ string, err error) { probed <- err },
		}
		s, _ := wantDial(t, d, w.url, "first", transport.WebSocket, 125*msec+wsThrough)
		won := time.Now()
		s.CloseWithError(0, "")
		until := <-marked
		if at := time.Since(won); at > 500*msec {
			t.Errorf("marked %v after WebSocket won", at)
		}
		s, r := wantDial(t, d, w.url, "marked: TCP at once", transport.WebSocket, wsThrough)
		if a := attemptOf(r, "h3 udp4"); r.Memory != MemoryBroken || a.Started >= 0 {
			t.Errorf("memory %v, QUIC %+v", r.Memory, a)
		}
		s.CloseWithError(0, "")
		w.router.drop.Store(false)
		time.Sleep(time.Until(until))
		s, r = wantDial(t, d, w.url, "expired: TCP at once, QUIC probed", transport.WebSocket, wsThrough)
		if err := <-probed; err != nil || r.Memory != MemoryExpired {
			t.Errorf("memory %v, probe %v", r.Memory, err)
		}
		s.CloseWithError(0, "")
		s, _ = wantDial(t, d, w.url, "UDP is back", transport.HTTP3, -1)
		s.CloseWithError(0, "")
	})
}

func TestWebSocketThroughProxy(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		w.stand(middlebox{alpn: []string{"http/1.1"}})
		d := w.dialer()
		d.Proxy = func(*http.Request) (*url.URL, error) { return parseURL(t, "http://proxy.test:3128"), nil }
		direct := d.hooks.dialTCP
		d.hooks.dialTCP = func(ctx context.Context, network, address string) (net.Conn, error) {
			client, proxy := memconn.Pipe(&memconn.Options{Latency: oneWay})
			go tunnel(proxy, func() (net.Conn, error) { return direct(context.Background(), network, "x") })
			return client, nil
		}
		s, r := wantDial(t, d, w.url, "through the proxy", transport.WebSocket, -1)
		wantEchoOver(t, s)
		if a := attemptOf(r, "ws http"); a.Outcome != Won || w.dialed.Load() != 1 {
			t.Errorf("%d TLS dials\n%v", w.dialed.Load(), r)
		}
		s.CloseWithError(0, "")
	})
}

func TestWebSocketThroughSOCKS(t *testing.T) {
	cert := testcert.New(t)
	addr := serve(t, &Server{TLSConfig: cert.ServerConfig(), Transports: []transport.Protocol{transport.WebSocket}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, err := Upgrade(w, r, nil); err == nil {
			go echoSession(s)
		}
	})})
	proxy := socksServer(t, "", "")
	d := loopbackDialer(t, cert)
	d.Proxy = http.ProxyURL(proxy)
	s, r := wantDial(t, d, "https://"+addr+"/", "through the proxy", transport.WebSocket, -1)
	wantEchoOver(t, s)
	if a := attemptOf(r, "ws socks5"); a.Outcome != Won {
		t.Errorf("%v", r)
	}
	s.CloseWithError(0, "")
}

func TestProbeWebSocket(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		w.refuse(false, true)
		w.stand(middlebox{alpn: []string{"http/1.1"}})
		rs, err := w.dialer().Probe(t.Context(), w.url)
		if err != nil || len(rs) != 3 {
			t.Fatalf("%v, %v", rs, err)
		}
		if rs[1].Open() || !errors.Is(rs[1].Attempt.Err, ErrNoHTTP2) {
			t.Errorf("h2: %+v", rs[1])
		}
		if !rs[2].Open() || rs[2].Attempt.Ready != tlsDial || rs[2].Attempt.Ended != wsThrough || w.dialed.Load() != 2 {
			t.Errorf("ws: %+v, %d TLS dials", rs[2], w.dialed.Load())
		}
	})
}

// The report of a dial through a middlebox that speaks HTTP/1.1 alone.
func TestWebSocketReport(t *testing.T) {
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		w.stand(middlebox{alpn: []string{"http/1.1"}})
		w.router.drop.Store(true)
		s, r := wantDial(t, w.dialer(), w.url, "UDP dropped", transport.WebSocket, 125*msec+wsThrough)
		const text = `https://example.com/chat: ws in 245 ms
  memory      nothing known; head start 250 ms
  h3 udp4     opening     start 0.0 ms: no connection yet when ws tcp won; nothing came back
  h2 tcp      failed      start 125 ms end 165 ms: the server chose HTTP/1.1 (ALPN)
  ws tcp      won         start 165 ms ready 165 ms asked 165 ms end 245 ms: on the same connection`
		if got := r.String(); got != text {
			t.Errorf("got\n%s\nwant\n%s", got, text)
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		const object = `{"url":"https://example.com/chat","transport":"ws","ms":245,"resolve_ms":0,"memory":"nothing known","network":"home","head_start_ms":250,"attempts":[` +
			`{"transport":"h3","network":"udp4","address":"192.0.2.2:443","outcome":"opening","started_ms":0,"heard":false,"note":"no connection yet when ws tcp won; nothing came back"},` +
			`{"transport":"h2","network":"tcp","address":"example.com:443","outcome":"failed","started_ms":125,"ended_ms":165,"heard":true,"error":"the server chose HTTP/1.1 (ALPN)"},` +
			`{"transport":"ws","network":"tcp","address":"example.com:443","outcome":"won","started_ms":165,"ready_ms":165,"requested_ms":165,"ended_ms":245,"heard":true,"note":"on the same connection"}]}`
		if string(b) != object {
			t.Errorf("got  %s\nwant %s", b, object)
		}
		s.CloseWithError(0, "")
	})
}
