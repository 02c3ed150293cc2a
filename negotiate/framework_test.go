package negotiate

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/wswt"
)

// Requirements of the framework (draft-ietf-webtrans-overview) that a dialer meets.

var allWays = []transport.Protocol{transport.HTTP3, transport.HTTP2, transport.WebSocket}

func TestFrameworkTLS(t *testing.T) {
	t.Run("FW-01 FW-07 only https URLs name a server", func(t *testing.T) {
		d := &Dialer{}
		defer d.Close()
		for _, u := range []string{"http://example.com/", "ws://example.com/", "wss://example.com/", "example.com", "https:///x", "https://user@example.com/", "https://example.com/#f"} {
			if s, r, err := d.Dial(t.Context(), u, nil); err == nil || s != nil || r == nil || len(r.Attempts) != 0 {
				t.Errorf("%s: %v", u, err)
			}
			if _, err := d.Probe(t.Context(), u); err == nil {
				t.Errorf("probe %s: no error", u)
			}
			if err := d.Forget(u); err == nil {
				t.Errorf("forget %s: no error", u)
			}
		}
	})
	t.Run("FW-01 TLS 1.3 unless the caller says otherwise", func(t *testing.T) {
		old := func(s *Server) { s.TLSConfig.MinVersion, s.TLSConfig.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }
		inWorld(t, worldOptions{setup: old}, func(t *testing.T, w *world) {
			d := w.dialer()
			d.TLSClientConfig.MinVersion = 0
			d.Transports = []transport.Protocol{transport.HTTP2}
			if _, _, err := d.Dial(t.Context(), w.url, nil); err == nil {
				t.Error("TLS 1.2 by default")
			}
			d = w.dialer()
			d.TLSClientConfig.MinVersion = tls.VersionTLS12
			d.Transports = []transport.Protocol{transport.HTTP2}
			s, _ := wantDial(t, d, w.url, "TLS 1.2 with the extended master secret, asked for", transport.HTTP2, -1)
			if v := s.Info().TLS.Version; v != tls.VersionTLS12 {
				t.Errorf("TLS version %x", v)
			}
			s.CloseWithError(0, "")
		})
	})
	t.Run("FW-09 no early data, even if the caller's configuration has it", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			d := w.dialer()
			d.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(8)
			d.QUICConfig = &quic.Config{Allow0RTT: true}
			d.Transports = []transport.Protocol{transport.HTTP3}
			for i := range 2 {
				s, r := wantDial(t, d, w.url, "resumed", transport.HTTP3, -1)
				if resumed := s.Info().TLS.DidResume; resumed != (i > 0) {
					t.Errorf("dial %d: resumed %v", i, resumed)
				}
				if a := r.Attempts[0]; a.Requested < 2*oneWay {
					t.Errorf("CONNECT left after %v, before the handshake's round trip", a.Requested)
				}
				time.Sleep(time.Second) // the ticket arrives
				s.CloseWithError(0, "")
			}
		})
	})
}

func TestFrameworkConsent(t *testing.T) {
	t.Run("FW-02 FW-05 no WebTransport request to a server without WebTransport", func(t *testing.T) {
		inWorld(t, worldOptions{noUDP: true}, func(t *testing.T, w *world) {
			// A plain HTTP server in the place of ours.
			var asked atomic.Int32
			plain := &http.Server{TLSConfig: w.cert.ServerConfig("h2", "http/1.1"), Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if asked.Add(1); r.Method != http.MethodGet || r.ProtoMajor != 1 || !wswt.IsUpgrade(r) {
					t.Errorf("a request with method %s arrived by %s", r.Method, r.Proto)
				}
				http.NotFound(rw, r)
			})}
			d := w.dialer()
			w.server.Close()
			other := memListener(t)
			d.hooks.dialTCP = other.DialContext
			served := make(chan error, 1)
			go func() { served <- plain.ServeTLS(other, "", "") }()
			_, r, err := d.Dial(t.Context(), w.url, nil)
			if !errors.Is(err, transport.ErrNotWebTransport) {
				t.Errorf("got %v", err)
			}
			if a := attemptOf(r, "h2 tcp"); a.Requested >= 0 || a.Ready >= 0 {
				t.Errorf("h2: %+v", a)
			}
			if n := asked.Load(); n != 1 {
				t.Errorf("%d requests arrived, want the WebSocket's", n)
			}
			d.Transports = []transport.Protocol{transport.HTTP3, transport.HTTP2}
			d.Forget(w.url)
			if _, _, err := d.Dial(t.Context(), w.url, nil); !errors.Is(err, transport.ErrNotWebTransport) || asked.Load() != 1 {
				t.Errorf("without WebSocket: %v, %d requests", err, asked.Load())
			}
			plain.Close()
			<-served
		})
	})
	t.Run("FW-02 the server's silence ends a session", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			s, _ := wantDial(t, w.dialer(), w.url, "open", transport.HTTP3, -1)
			time.Sleep(10 * time.Second)
			w.router.drop.Store(true)
			select {
			case <-s.Context().Done():
			case <-time.After(2 * time.Minute):
				t.Error("the session outlived its server by two minutes")
			}
		})
	})
	t.Run("FW-06 the caller's Origin arrives", func(t *testing.T) {
		for _, p := range allWays {
			inWorld(t, worldOptions{handler: func(rw http.ResponseWriter, r *http.Request) {
				s, err := Upgrade(rw, r, &transport.UpgradeOptions{CheckOrigin: func(r *http.Request) bool { return r.Header.Get("Origin") == "https://page.example" }})
				if err == nil {
					go echoSession(s)
				}
			}}, func(t *testing.T, w *world) {
				d := w.dialer()
				d.Transports = []transport.Protocol{p}
				s, _, err := d.Dial(t.Context(), w.url, &transport.DialOptions{Origin: "https://page.example"})
				if err != nil {
					t.Fatalf("%v: %v", p, err)
				}
				s.CloseWithError(0, "")
				_, _, err = d.Dial(t.Context(), w.url, nil)
				if r, ok := errors.AsType[*transport.RejectedError](err); !ok || r.StatusCode != http.StatusForbidden {
					t.Errorf("%v without Origin: %v", p, err)
				}
			})
		}
	})
	t.Run("FW-08 the server's choice of the offered protocols is known", func(t *testing.T) {
		for _, p := range allWays {
			inWorld(t, worldOptions{handler: func(rw http.ResponseWriter, r *http.Request) {
				if s, err := Upgrade(rw, r, &transport.UpgradeOptions{Protocols: []string{"b", "c"}, RequireProtocol: true}); err == nil {
					go echoSession(s)
				}
			}}, func(t *testing.T, w *world) {
				d := w.dialer()
				d.Transports = []transport.Protocol{p}
				s, _, err := d.Dial(t.Context(), w.url, &transport.DialOptions{Protocols: []string{"a", "b", "c"}, RequireProtocol: true})
				if err != nil || s.Info().ApplicationProtocol != "b" {
					t.Fatalf("%v: %v", p, err)
				}
				s.CloseWithError(0, "")
				_, _, err = d.Dial(t.Context(), w.url, &transport.DialOptions{Protocols: []string{"a"}})
				if r, ok := errors.AsType[*transport.RejectedError](err); !ok || r.StatusCode != http.StatusBadRequest {
					t.Errorf("%v, none fits: %v", p, err)
				}
			})
		}
	})
}

func TestFrameworkUnreliable(t *testing.T) {
	t.Run("FW-23 unreliable delivery required: HTTP/3 or nothing", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			opts := &transport.DialOptions{RequireUnreliable: true}
			s, _, err := w.dialer().Dial(t.Context(), w.url, opts)
			if err != nil || !s.Info().Unreliable {
				t.Fatalf("UDP open: %v", err)
			}
			s.CloseWithError(0, "")

			d := w.dialer()
			d.Transports = []transport.Protocol{transport.HTTP2}
			if _, _, err := d.Dial(t.Context(), w.url, opts); !errors.Is(err, transport.ErrUnsupported) {
				t.Errorf("HTTP/2 only: %v", err)
			}
			d = w.dialer()
			d.Proxy = func(*http.Request) (*url.URL, error) { return parseURL(t, "http://proxy.test:3128"), nil }
			_, _, err = d.Dial(t.Context(), w.url, opts)
			if !errors.Is(err, transport.ErrUnsupported) || !strings.Contains(err.Error(), "proxy") {
				t.Errorf("proxy: %v", err)
			}

			w.refuse(false, true)
			_, r, err := w.dialer().Dial(t.Context(), w.url, opts)
			if !isRefusal(err) || w.dialed.Load() != 0 {
				t.Errorf("UDP refused: %v, %d TCP connections", err, w.dialed.Load())
			}
			if len(r.Attempts) != 1 || r.Memory != MemoryUnused {
				t.Errorf("report: %v", r)
			}
		})
	})
	t.Run("FW-23 over TCP the session says so", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			w.refuse(false, true)
			s, _ := wantDial(t, w.dialer(), w.url, "UDP refused", transport.HTTP2, -1)
			if s.Info().Unreliable {
				t.Error("TCP claims to be unreliable")
			}
			s.CloseWithError(0, "")
		})
	})
}

func TestFrameworkOpaqueErrors(t *testing.T) {
	t.Run("FW-25 every failure is the same, the report has the detail", func(t *testing.T) {
		inWorld(t, worldOptions{handler: func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) }}, func(t *testing.T, w *world) {
			for _, c := range []struct {
				name  string
				url   string
				setup func(*Dialer)
			}{
				{"rejected", w.url, func(*Dialer) {}},
				{"unknown host", "https://example.net/", func(*Dialer) {}},
				{"bad certificate", w.url, func(d *Dialer) { d.TLSClientConfig.RootCAs = x509.NewCertPool() }},
				{"bad URL", "http://example.com/", func(*Dialer) {}},
			} {
				d := w.dialer()
				d.OpaqueErrors = true
				c.setup(d)
				_, r, err := d.Dial(t.Context(), c.url, nil)
				if err != ErrConnectFailed || errors.Unwrap(err) != nil {
					t.Errorf("%s: %v", c.name, err)
				}
				if r.Err == nil || r.Err == err || r.Err.Error() == "" {
					t.Errorf("%s: the report has %v", c.name, r.Err)
				}
			}
		})
	})
}

func TestFrameworkCredentials(t *testing.T) {
	t.Run("FW-26 client certificates over both transports", func(t *testing.T) {
		for _, p := range allWays {
			inWorld(t, worldOptions{setup: func(s *Server) { s.TLSConfig.ClientAuth = tls.RequireAnyClientCert }}, func(t *testing.T, w *world) {
				d := w.dialer()
				d.Transports = []transport.Protocol{p}
				if _, _, err := d.Dial(t.Context(), w.url, nil); err == nil {
					t.Errorf("%v: no certificate, no error", p)
				}
				d = w.dialer()
				d.Transports = []transport.Protocol{p}
				d.TLSClientConfig.Certificates = []tls.Certificate{w.cert.TLS}
				s, _ := wantDial(t, d, w.url, "with a certificate", p, -1)
				s.CloseWithError(0, "")
			})
		}
	})
	t.Run("FW-26 hashes over both transports, any host name", func(t *testing.T) {
		for _, p := range allWays {
			inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
				for _, right := range []bool{true, false} {
					d := w.dialer()
					d.Transports = []transport.Protocol{p}
					d.TLSClientConfig = &tls.Config{ServerName: "whatever.test"}
					hash := w.cert.Hash()
					if !right {
						hash[7]++
					}
					d.CertificateHashes = [][sha256.Size]byte{hash}
					s, _, err := d.Dial(t.Context(), w.url, nil)
					if !right {
						if _, ok := errors.AsType[*PinError](err); !ok {
							t.Errorf("%v, wrong hash: %v", p, err)
						}
						continue
					}
					if err != nil {
						t.Fatalf("%v: %v", p, err)
					}
					s.CloseWithError(0, "")
				}
			})
		}
	})
	t.Run("FW-26 hashes and pooling exclude each other", func(t *testing.T) {
		d := &Dialer{Pool: true, CertificateHashes: make([][sha256.Size]byte, 1)}
		defer d.Close()
		if _, _, err := d.Dial(t.Context(), "https://127.0.0.1:1/", nil); !errors.Is(err, errPinPool) {
			t.Errorf("got %v", err)
		}
	})
}

// What both transports must give alike, through the dialer.
func TestFrameworkParity(t *testing.T) {
	for _, p := range allWays {
		t.Run("FW-11 FW-12 FW-15 close code and reason arrive over "+p.String(), func(t *testing.T) {
			ended := make(chan error, 1)
			inWorld(t, worldOptions{handler: func(rw http.ResponseWriter, r *http.Request) {
				s, err := Upgrade(rw, r, nil)
				if err != nil {
					return
				}
				go func() {
					<-s.Context().Done()
					ended <- context.Cause(s.Context())
				}()
			}}, func(t *testing.T, w *world) {
				d := w.dialer()
				d.Transports = []transport.Protocol{p}
				s, _ := wantDial(t, d, w.url, "open", p, -1)
				st, err := s.OpenUniStream(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if err := s.CloseWithError(4294967295, strings.Repeat("é", 600)); err != nil {
					t.Errorf("close: %v", err)
				}
				se, ok := errors.AsType[*transport.SessionError](<-ended)
				if !ok || se.Code != 4294967295 || se.Reason != strings.Repeat("é", 512) || !se.Remote || se.Err != nil {
					t.Errorf("the server saw %v", se)
				}
				if _, err := io.WriteString(st, "late"); !errors.As(err, &se) {
					t.Errorf("write after the end: %v", err)
				}
				if err := s.SendDatagram([]byte("late")); !errors.As(err, &se) {
					t.Errorf("datagram after the end: %v", err)
				}
			})
		})
	}
}
