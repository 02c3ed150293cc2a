package negotiate

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

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
			winner: transport.HTTP2, at: settingsThrough + 4*oneWay, h2: "<nil>", ws: "not needed: h2 tcp won", tls: 1, asked: 1,
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
			winner: transport.WebSocket, at: settingsThrough + 2*oneWay + wsThrough, h2: "unexpected EOF", tls: 2, asked: 1,
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
				if text := fmt.Sprint(h2.Err); !strings.Contains(text, c.h2) || c.h2 == "" {
					t.Errorf("%s says %q, want %q", h2.Name(), text, c.h2)
				}
				if text := ws.Note; ws.Err == nil && text != c.ws {
					t.Errorf("%s says %q, want %q", ws.Name(), text, c.ws)
				}
				if text := fmt.Sprint(ws.Err); ws.Err != nil && (!strings.Contains(text, c.ws) || c.ws == "") {
					t.Errorf("%s says %q, want %q", ws.Name(), text, c.ws)
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
					if note := attemptOf(r, "ws tcp").Note; note != "not tried: h2 tcp has the answer" {
						t.Errorf("of the WebSocket the report says %q", note)
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

// A server that wants the client's certificate wants it by every way: nothing is
// tried after its refusal, which with TLS 1.3 comes behind the handshake.
func TestNoClientCertificate(t *testing.T) {
	for _, p := range []transport.Protocol{transport.HTTP2, transport.WebSocket} {
		for _, ts := range [][]transport.Protocol{nil, {p}} {
			t.Run(fmt.Sprint(p, ts), func(t *testing.T) {
				inWorld(t, worldOptions{setup: func(s *Server) {
					s.TLSConfig.ClientAuth = tls.RequireAnyClientCert
					if p == transport.WebSocket {
						s.Transports = []transport.Protocol{p}
					}
				}}, func(t *testing.T, w *world) {
					w.refuse(false, true)
					d := w.dialer()
					d.Transports = ts
					_, r, err := d.Dial(t.Context(), w.url, nil)
					if _, ok := err.(*DialError); err == nil || ok || !strings.Contains(err.Error(), "certificate required") {
						t.Errorf("got %v", err)
					}
					if n := w.dialed.Load(); n != 1 {
						t.Errorf("%d TLS dials, want 1\n%v", n, r)
					}
				})
			})
		}
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
		{"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", 407, "proxy answered 407"},
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
			for _, status := range []string{"404 Not Found", "407 Proxy Authentication Required"} {
				w.stand(middlebox{alpn: http11, answer: "HTTP/1.1 " + status + "\r\nContent-Length: 0\r\n\r\n"})
				s, r := wantDial(t, w.dialer(), w.url, "a website before a WebTransport server", transport.HTTP3, h3)
				if a := attemptOf(r, "ws tcp"); a.Outcome != Failed || a.Ended > h3 {
					t.Errorf("ws: %+v", a)
				}
				s.CloseWithError(0, "")
			}
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
