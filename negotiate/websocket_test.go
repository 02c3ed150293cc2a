package negotiate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
)

// Times of dials through a middlebox that is oneWay from the client and as far
// from the server. It opens its own connection to the server once the client's
// handshake is done.
const (
	tlsDial = 4 * oneWay
	// wsThrough is a TLS dial and a request: the middlebox has the client's end
	// of the handshake, and the request, after five ways, is connected to the
	// server after four more, and the request takes two to the server and back,
	// and one to the client.
	wsThrough = 12 * oneWay
	// settingsThrough is a TLS dial and the server's SETTINGS, which leave the
	// server when it has the end of the middlebox's handshake.
	settingsThrough = 12 * oneWay
)

// TestMiddleboxes is the table of what stands between a client and a server,
// with UDP dropped.
func TestMiddleboxes(t *testing.T) {
	http11, both, h2Only := []string{"http/1.1"}, []string{"h2", "http/1.1"}, []string{"h2"}
	// Those of RFC 9113 alone, as of an implementation that knows nothing else,
	// and those with extended CONNECT.
	oldSettings := []uint16{1, 2, 3, 4, 5, 6}
	connectSettings := append([]uint16{8}, oldSettings...)
	for _, c := range []struct {
		name   string
		box    middlebox
		winner transport.Protocol // ProtocolUnknown: none
		at     time.Duration      // from TCP's start
		h2, ws string             // in the errors or notes of the attempts
		tls    int32              // TLS dials
		asked  int32              // sessions asked for, as the handler saw them
	}{
		{
			name: "TLS interception, HTTP/1.1 only: on the same connection", box: middlebox{alpn: http11},
			winner: transport.WebSocket, at: wsThrough, h2: "chose HTTP/1.1", ws: "on the same connection", tls: 1, asked: 1,
		},
		{
			name: "TLS interception without ALPN: on the same connection", box: middlebox{},
			winner: transport.WebSocket, at: wsThrough, h2: "chose HTTP/1.1", ws: "on the same connection", tls: 1, asked: 1,
		},
		{
			name: "passes everything: HTTP/2", box: middlebox{alpn: both},
			winner: transport.HTTP2, at: settingsThrough + 4*oneWay, tls: 1, asked: 1,
		},
		{
			name: "HTTP/2 without settings it does not know: another connection", box: middlebox{alpn: both, settings: oldSettings},
			winner: transport.WebSocket, at: settingsThrough + wsThrough, h2: "does not offer WebTransport", tls: 2, asked: 1,
		},
		{
			name: "HTTP/2 with extended CONNECT, without WebTransport: another connection", box: middlebox{alpn: both, settings: connectSettings},
			winner: transport.WebSocket, at: settingsThrough + wsThrough, h2: "does not offer WebTransport", tls: 2, asked: 1,
		},
		{
			name: "HTTP/2 only, with extended CONNECT: a WebSocket over HTTP/2", box: middlebox{alpn: h2Only, alert: true, settings: connectSettings},
			winner: transport.WebSocket, at: settingsThrough + tlsDial + settingsThrough + 4*oneWay,
			h2: "does not offer WebTransport", ws: "over HTTP/2, because the server refuses HTTP/1.1", tls: 3, asked: 1,
		},
		{
			name: "the same, and no alert to tell it", box: middlebox{alpn: h2Only, settings: connectSettings},
			winner: transport.WebSocket, at: settingsThrough + tlsDial + settingsThrough + 4*oneWay,
			h2: "does not offer WebTransport", ws: "over HTTP/2, because the server refuses HTTP/1.1", tls: 3, asked: 1,
		},
		{
			name: "HTTP/2 only, without extended CONNECT: nothing", box: middlebox{alpn: h2Only, alert: true, settings: oldSettings},
			at: settingsThrough + tlsDial + settingsThrough, h2: "does not offer WebTransport", ws: "refused HTTP/1.1; over HTTP/2", tls: 3,
		},
		{
			name: "HTTP/2 chosen and not spoken: 3 s and the goodbye, then another connection", box: middlebox{alpn: both, silent: true},
			winner: transport.WebSocket, at: tlsDial + 3*time.Second + 2*oneWay + wsThrough, h2: "no preface", tls: 2, asked: 1,
		},
		{
			name: "CONNECT reset with REFUSED_STREAM", box: middlebox{alpn: both, onConnect: resetFrame(0x7)},
			winner: transport.WebSocket, at: settingsThrough + 2*oneWay + wsThrough, h2: "REFUSED_STREAM", tls: 2, asked: 1,
		},
		{
			name: "CONNECT reset with HTTP_1_1_REQUIRED", box: middlebox{alpn: both, onConnect: resetFrame(0xd)},
			winner: transport.WebSocket, at: settingsThrough + 2*oneWay + wsThrough, h2: "HTTP_1_1_REQUIRED", tls: 2, asked: 1,
		},
		{
			name: "CONNECT reset with PROTOCOL_ERROR", box: middlebox{alpn: both, onConnect: resetFrame(0x1)},
			winner: transport.WebSocket, at: settingsThrough + 2*oneWay + wsThrough, h2: "PROTOCOL_ERROR", tls: 2, asked: 1,
		},
		{
			name: "the connection ended at CONNECT", box: middlebox{alpn: both, onConnect: []byte{}},
			winner: transport.WebSocket, at: settingsThrough + 2*oneWay + wsThrough, h2: "", tls: 2, asked: 1,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
				w.router.drop.Store(true)
				w.stand(c.box)
				d := w.dialer()
				start := time.Now()
				s, r, err := d.Dial(t.Context(), w.url, nil)
				took := time.Since(start)
				if r.Winner != c.winner || (err == nil) != (c.winner != transport.ProtocolUnknown) {
					t.Fatalf("%v, %v; want %v", r.Winner, err, c.winner)
				}
				at := 125*msec + c.at
				if err != nil {
					at = 5 * time.Second // QUIC has all the time there is
				}
				if took != at {
					t.Errorf("took %v, want %v\n%v", took, at, r)
				}
				h2, ws := attemptOf(r, "h2 tcp"), attemptOf(r, "ws tcp")
				for say, a := range map[string]Attempt{c.h2: h2, c.ws: ws} {
					if text := fmt.Sprint(a.Err, a.Note); !strings.Contains(text, say) {
						t.Errorf("%s says %q, want %q", a.Name(), text, say)
					}
				}
				if c.winner == transport.WebSocket && (h2.Outcome != Failed || ws.Outcome != Won || ws.Started != h2.Ended) {
					t.Errorf("WebSocket does not follow HTTP/2:\n%v", r)
				}
				if n := w.dialed.Load(); n != c.tls {
					t.Errorf("%d TLS dials, want %d", n, c.tls)
				}
				if n := w.requests.Load(); n != c.asked {
					t.Errorf("%d sessions asked for, want %d", n, c.asked)
				}
				if s != nil {
					wantEchoOver(t, s)
					s.CloseWithError(0, "")
				}
			})
		})
	}
}

// A refusal of the CONNECT that is no answer leads to the next rung, an answer
// does not.
func TestWebSocketAfterStatus(t *testing.T) {
	for status, next := range map[int]bool{501: true, 421: true, 400: false, 403: false, 404: false, 405: false, 500: false, 503: false} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			var w *world
			inWorld(t, worldOptions{handler: func(rw http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodConnect {
					http.Error(rw, "because", status)
					return
				}
				w.accept(rw, r)
			}}, func(t *testing.T, world *world) {
				w = world
				w.refuse(false, true)
				d := w.dialer()
				s, r, err := d.Dial(t.Context(), w.url, nil)
				if !next {
					rejected, ok := err.(*transport.RejectedError)
					if !ok || rejected.StatusCode != status || w.dialed.Load() != 1 || attemptOf(r, "ws tcp").Started >= 0 {
						t.Errorf("got %v, %d TLS dials\n%v", err, w.dialed.Load(), r)
					}
					return
				}
				if err != nil || r.Winner != transport.WebSocket || w.dialed.Load() != 2 || w.requests.Load() != 2 {
					t.Fatalf("%v, %d TLS dials, %d requests\n%v", err, w.dialed.Load(), w.requests.Load(), r)
				}
				wantEchoOver(t, s)
				s.CloseWithError(0, "")
			})
		})
	}
}

// What a server answers to a WebSocket that it may not know.
func TestWebSocketRefused(t *testing.T) {
	http11 := []string{"http/1.1"}
	for _, c := range []struct {
		head   string
		status int // 0: not a RejectedError
		says   string
	}{
		{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "ws tcp: towpath: the server rejected the session with status 200"},
		{"HTTP/1.1 301 Moved Permanently\r\nLocation: https://elsewhere.example/\r\nContent-Length: 0\r\n\r\n", 301, "status 301"},
		{"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", 400, "status 400"},
		{"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 403, "status 403"},
		{"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404, "status 404"},
		{"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n", 426, "status 426"},
		{"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 0, "ws tcp: malformed message"},
	} {
		t.Run(c.head[9:12], func(t *testing.T) {
			inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
				w.stand(middlebox{alpn: http11, answer: c.head})
				wantRefusal := func(name string, took, want time.Duration, err error) {
					t.Helper()
					if took != want {
						t.Errorf("%s: took %v, want %v", name, took, want)
					}
					rejected, ok := errors.AsType[*transport.RejectedError](err)
					if ok != (c.status != 0) || ok && rejected.StatusCode != c.status {
						t.Errorf("%s: got %v", name, err)
					}
				}
				dial := func(d *Dialer) (*Report, time.Duration, error) {
					start := time.Now()
					_, r, err := d.Dial(t.Context(), w.url, nil)
					return r, time.Since(start), err
				}

				w.refuse(false, true)
				r, took, err := dial(w.dialer())
				wantRefusal("UDP refused", took, 6*oneWay, err)
				for _, says := range []string{"h3 udp4: ", "connection refused; h2 tcp: the server chose HTTP/1.1 (ALPN); ws tcp: ", c.says} {
					if !strings.Contains(err.Error(), says) {
						t.Errorf("%q is missing in %q", says, err)
					}
				}
				if a := attemptOf(r, "ws tcp"); a.Outcome != Failed || a.Requested != tlsDial || a.Ended != 6*oneWay {
					t.Errorf("ws: %+v", a)
				}

				w.refuse(false, false)
				w.router.drop.Store(true)
				r, took, err = dial(w.dialer())
				wantRefusal("UDP dropped: QUIC gets its last 500 ms", took, 125*msec+6*oneWay+500*msec, err)
				if a := attemptOf(r, "h3 udp4"); a.Outcome != Failed || a.Heard {
					t.Errorf("h3: %+v", a)
				}

				d := w.dialer()
				d.Transports = []transport.Protocol{transport.WebSocket}
				_, took, err = dial(d)
				wantRefusal("the only way", took, 6*oneWay, err)
				if _, ok := err.(*DialError); ok {
					t.Errorf("an answer alone became %v", err)
				}
			})
		})
	}
	t.Run("QUIC comes up later and wins", func(t *testing.T) {
		// 150 ms one way: TCP starts after 125 ms and has its answer long
		// before QUIC is ready.
		inWorld(t, worldOptions{udp: 150 * msec}, func(t *testing.T, w *world) {
			h3 := w.h3Dial(t)
			w.stand(middlebox{alpn: http11, answer: "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"})
			s, r := wantDial(t, w.dialer(), w.url, "a website before a WebTransport server", transport.HTTP3, h3)
			if a := attemptOf(r, "ws tcp"); a.Outcome != Failed || a.Ended > h3 {
				t.Errorf("ws: %+v", a)
			}
			s.CloseWithError(0, "")
		})
	})
}

func TestWebSocketAlone(t *testing.T) {
	only := []transport.Protocol{transport.WebSocket}
	t.Run("by itself", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			d := w.dialer()
			d.Transports = only
			s, r := wantDial(t, d, w.url, "one TLS dial and one request", transport.WebSocket, 6*oneWay)
			wantEchoOver(t, s)
			if i := s.Info(); i.Unreliable || i.TLS == nil || i.TLS.NegotiatedProtocol != "http/1.1" {
				t.Errorf("%+v", i)
			}
			if len(r.Attempts) != 1 || r.Memory != MemoryUnused {
				t.Errorf("%v", r)
			}
			s.CloseWithError(0, "")
		})
	})
	t.Run("with QUIC", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			d := w.dialer()
			d.Transports = []transport.Protocol{transport.WebSocket, transport.HTTP3}
			s, _ := wantDial(t, d, w.url, "UDP open", transport.HTTP3, -1)
			s.CloseWithError(0, "")
			w.router.drop.Store(true)
			if err := d.Forget(w.url); err != nil {
				t.Fatal(err)
			}
			s, _ = wantDial(t, d, w.url, "UDP dropped", transport.WebSocket, 125*msec+6*oneWay)
			s.CloseWithError(0, "")
		})
	})
	t.Run("a server of HTTP/1.1 alone", func(t *testing.T) {
		inWorld(t, worldOptions{noUDP: true, setup: func(s *Server) { s.Transports = only }}, func(t *testing.T, w *world) {
			s, r := wantDial(t, w.dialer(), w.url, "half the head start, a TLS dial, a request", transport.WebSocket, 125*msec+6*oneWay)
			wantEchoOver(t, s)
			if a := attemptOf(r, "ws tcp"); a.Note != "on the same connection" || w.dialed.Load() != 1 {
				t.Errorf("%+v, %d TLS dials", a, w.dialed.Load())
			}
			s.CloseWithError(0, "")
		})
	})
	t.Run("a server without", func(t *testing.T) {
		inWorld(t, worldOptions{setup: func(s *Server) { s.Transports = []transport.Protocol{transport.HTTP3, transport.HTTP2} }}, func(t *testing.T, w *world) {
			d := w.dialer()
			d.Transports = only
			_, _, err := d.Dial(t.Context(), w.url, nil)
			if rejected, ok := err.(*transport.RejectedError); !ok || rejected.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("never where unreliable delivery is required", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			w.stand(middlebox{alpn: []string{"http/1.1"}})
			w.refuse(false, true)
			for _, ts := range [][]transport.Protocol{nil, only} {
				d := w.dialer()
				d.Transports = ts
				_, _, err := d.Dial(t.Context(), w.url, &transport.DialOptions{RequireUnreliable: true})
				if err == nil || w.dialed.Load() != 0 || errors.Is(err, transport.ErrUnsupported) != (ts != nil) {
					t.Errorf("%v: %v, %d TLS dials", ts, err, w.dialed.Load())
				}
			}
		})
	})
	t.Run("pinned", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			w.stand(middlebox{alpn: []string{"http/1.1"}})
			w.refuse(false, true)
			d := w.dialer()
			d.TLSClientConfig = nil
			d.CertificateHashes = append(d.CertificateHashes, w.cert.Hash())
			s, _ := wantDial(t, d, w.url, "by its hash", transport.WebSocket, wsThrough)
			s.CloseWithError(0, "")
			d = w.dialer()
			d.Transports = only
			d.CertificateHashes = append(d.CertificateHashes, [32]byte{})
			if _, _, err := d.Dial(t.Context(), w.url, nil); !isCertificateError(err) {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("a pool does not keep it", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			d := w.dialer()
			d.Transports, d.Pool = only, true
			s1, _ := wantDial(t, d, w.url, "first", transport.WebSocket, 6*oneWay)
			s2, r := wantDial(t, d, w.url, "second", transport.WebSocket, 6*oneWay)
			if r.Reused || w.dialed.Load() != 2 {
				t.Errorf("reused %v, %d TLS dials", r.Reused, w.dialed.Load())
			}
			s1.CloseWithError(0, "")
			wantEchoOver(t, s2)
			s2.CloseWithError(0, "")
		})
	})
}

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
