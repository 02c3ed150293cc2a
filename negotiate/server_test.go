package negotiate

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
)

// serve runs a server on loopback and returns its address.
func serve(t *testing.T, s *Server) string {
	t.Helper()
	ln, pc, err := Listen("127.0.0.1:0", s.Transports...)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(ln, pc) }() // ends with Close
	t.Cleanup(func() {
		s.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve returned %v", err)
		}
	})
	if ln != nil {
		return ln.Addr().String()
	}
	return pc.LocalAddr().String()
}

// loopbackDialer trusts cert and needs no proxy.
func loopbackDialer(t *testing.T, cert *testcert.Cert) *Dialer {
	t.Helper()
	d := &Dialer{TLSClientConfig: &tls.Config{RootCAs: cert.Pool}}
	t.Cleanup(func() { d.Close() })
	return d
}

func TestServerOnePortEverything(t *testing.T) {
	cert := testcert.New(t)
	var s *Server
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello over %d", r.ProtoMajor) })
	mux.HandleFunc("/session", func(w http.ResponseWriter, r *http.Request) {
		if session, err := Upgrade(w, r, nil); err == nil {
			go echoSession(session)
		}
	})
	s = &Server{TLSConfig: cert.ServerConfig(), Handler: mux}
	addr := serve(t, s)
	_, port, _ := net.SplitHostPort(addr)

	get := func(t *testing.T, rt http.RoundTripper) *http.Response {
		t.Helper()
		c := http.Client{Transport: rt, Timeout: 10 * time.Second}
		resp, err := c.Get("https://" + addr + "/hello")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if want := fmt.Sprintf("hello over %d", resp.ProtoMajor); err != nil || string(body) != want {
			t.Errorf("body %q, %v, want %q", body, err, want)
		}
		return resp
	}
	for _, c := range []struct {
		name  string
		major int
		rt    func() http.RoundTripper
	}{
		{"HTTP/1.1", 1, func() http.RoundTripper {
			return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: cert.Pool}, DisableKeepAlives: true}
		}},
		{"HTTP/2", 2, func() http.RoundTripper {
			tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: cert.Pool}, ForceAttemptHTTP2: true}
			t.Cleanup(tr.CloseIdleConnections)
			return tr
		}},
		{"HTTP/3", 3, func() http.RoundTripper {
			tr := &http3.Transport{TLSClientConfig: &tls.Config{RootCAs: cert.Pool}}
			t.Cleanup(func() { tr.Close() })
			return tr
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp := get(t, c.rt())
			if resp.ProtoMajor != c.major {
				t.Errorf("%s", resp.Proto)
			}
			want := fmt.Sprintf(`h3=":%s"; ma=86400`, port)
			if c.major == 3 {
				want = ""
			}
			if got := resp.Header.Get("Alt-Svc"); got != want {
				t.Errorf("Alt-Svc %q, want %q", got, want)
			}
		})
	}
	for _, p := range []transport.Protocol{transport.HTTP3, transport.HTTP2, transport.WebSocket} {
		t.Run("session over "+p.String(), func(t *testing.T) {
			d := loopbackDialer(t, cert)
			d.Transports = []transport.Protocol{p}
			session, r := wantDial(t, d, "https://"+addr+"/session", "loopback", p, -1)
			wantEchoOver(t, session)
			session.CloseWithError(0, "")
			if session.Info().RemoteAddr.String() != addr || r.Attempts[0].Address != addr {
				t.Errorf("remote %v, report %v, want %v", session.Info().RemoteAddr, r.Attempts[0].Address, addr)
			}
		})
	}
	t.Run("Upgrade of what is no session: 405", func(t *testing.T) {
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: cert.Pool}, DisableKeepAlives: true}
		resp, err := (&http.Client{Transport: tr}).Get("https://" + addr + "/session")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("status %d", resp.StatusCode)
		}
	})
}

func TestServerAltSvc(t *testing.T) {
	cert := testcert.New(t)
	for _, c := range []struct {
		name, value, want string
		transports        []transport.Protocol
	}{
		{"verbatim", `h3="edge.example:443"`, `h3="edge.example:443"`, nil},
		{"never", "-", "", nil},
		{"no UDP", "", "", []transport.Protocol{transport.HTTP2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr := serve(t, &Server{TLSConfig: cert.ServerConfig(), AltSvc: c.value, Transports: c.transports})
			tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: cert.Pool}, DisableKeepAlives: true}
			resp, err := (&http.Client{Transport: tr}).Get("https://" + addr + "/")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if got := resp.Header.Get("Alt-Svc"); got != c.want {
				t.Errorf("Alt-Svc %q, want %q", got, c.want)
			}
		})
	}
}

func TestServerThroughMiddleware(t *testing.T) {
	for name, wrap := range map[string]func(http.ResponseWriter) http.ResponseWriter{
		"a writer that unwraps": func(w http.ResponseWriter) http.ResponseWriter { return unwrapper{w} },
		"an opaque writer":      func(w http.ResponseWriter) http.ResponseWriter { return struct{ http.ResponseWriter }{w} },
	} {
		for _, p := range []transport.Protocol{transport.HTTP3, transport.HTTP2, transport.WebSocket} {
			t.Run(name+" over "+p.String(), func(t *testing.T) {
				var w *world
				wrapped := func(rw http.ResponseWriter, r *http.Request) { w.accept(wrap(rw), r) }
				inWorld(t, worldOptions{handler: wrapped}, func(t *testing.T, world *world) {
					w = world
					d := w.dialer()
					d.Transports = []transport.Protocol{p}
					s, _ := wantDial(t, d, w.url, "wrapped writer", p, -1)
					wantEchoOver(t, s)
					s.CloseWithError(0, "")
				})
			})
		}
	}
}

type unwrapper struct{ http.ResponseWriter }

func (u unwrapper) Unwrap() http.ResponseWriter { return u.ResponseWriter }

func TestServerShutdown(t *testing.T) {
	for _, p := range []transport.Protocol{transport.HTTP3, transport.HTTP2, transport.WebSocket} {
		t.Run("FW-13 drains, waits and ends over "+p.String(), func(t *testing.T) {
			inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
				d := w.dialer()
				d.Transports = []transport.Protocol{p}
				s, _ := wantDial(t, d, w.url, "before", p, -1)
				done := make(chan error, 1)
				go func() { done <- w.server.Shutdown(context.Background()) }()
				<-s.Draining()
				wantEchoOver(t, s) // winding down is not ending
				if _, _, err := d.Dial(t.Context(), w.url, nil); err == nil {
					t.Error("a new session although the server shuts down")
				}
				select {
				case err := <-done:
					t.Fatalf("Shutdown returned %v before the session ended", err)
				default:
				}
				s.CloseWithError(0, "")
				if err := <-done; err != nil {
					t.Errorf("Shutdown: %v", err)
				}
			})
		})
		t.Run("the deadline ends sessions over "+p.String(), func(t *testing.T) {
			inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
				d := w.dialer()
				d.Transports = []transport.Protocol{p}
				s, _ := wantDial(t, d, w.url, "before", p, -1)
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				start := time.Now()
				if err := w.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Shutdown: %v", err)
				}
				if took := time.Since(start); took < 2*time.Second || took > 3*time.Second {
					t.Errorf("took %v", took)
				}
				<-s.Context().Done()
			})
		})
	}
}

func TestServerErrors(t *testing.T) {
	cert := testcert.New(t)
	t.Run("no certificate", func(t *testing.T) {
		for _, conf := range []*tls.Config{nil, {}} {
			s := &Server{Addr: "127.0.0.1:0", TLSConfig: conf}
			if err := s.ListenAndServe(); err == nil || !strings.Contains(err.Error(), "certificate") {
				t.Errorf("got %v", err)
			}
			if err := errors.Join(s.Shutdown(t.Context()), s.Close()); err != nil {
				t.Error(err)
			}
		}
	})
	t.Run("unknown transport", func(t *testing.T) {
		s := &Server{TLSConfig: cert.ServerConfig(), Transports: []transport.Protocol{transport.Protocol(99)}}
		if err := s.ListenAndServe(); !errors.Is(err, transport.ErrUnsupported) {
			t.Errorf("got %v", err)
		}
		if _, _, err := Listen("127.0.0.1:0", transport.Protocol(99)); !errors.Is(err, transport.ErrUnsupported) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("port in use, by UDP only", func(t *testing.T) {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer pc.Close()
		ln, _, err := Listen(pc.LocalAddr().String())
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("got %v", err)
		}
		if ln != nil {
			t.Error("the TCP listener stayed open")
		}
		if again, err := net.Listen("tcp", pc.LocalAddr().String()); err != nil {
			t.Errorf("the TCP port was not given back: %v", err)
		} else {
			again.Close()
		}
	})
	t.Run("bad address", func(t *testing.T) {
		if _, _, err := Listen("127.0.0.1"); err == nil {
			t.Error("no error")
		}
	})
	t.Run("used once", func(t *testing.T) {
		s := &Server{TLSConfig: cert.ServerConfig()}
		s.Close()
		ln, pc, err := Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Serve(ln, pc); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("got %v", err)
		}
		if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the listener is open: %v", err)
		}
		if err := s.Serve(nil, nil); err == nil {
			t.Error("no socket, no error")
		}
	})
	t.Run("one failing transport ends the other", func(t *testing.T) {
		s := &Server{TLSConfig: cert.ServerConfig()}
		ln, pc, err := Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- s.Serve(ln, pc) }()
		ln.Close()
		if err := <-served; err == nil || errors.Is(err, http.ErrServerClosed) {
			t.Errorf("got %v, want the listener's error", err)
		}
		if _, err := pc.WriteTo([]byte("x"), pc.LocalAddr()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the UDP socket is open: %v", err)
		}
	})
}

func TestListenSamePort(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", ":0", "localhost:0"} {
		ln, pc, err := Listen(addr)
		if err != nil {
			t.Fatalf("%s: %v", addr, err)
		}
		if tcp, udp := ln.Addr().(*net.TCPAddr), pc.LocalAddr().(*net.UDPAddr); tcp.Port != udp.Port || tcp.Port == 0 || !tcp.IP.Equal(udp.IP) {
			t.Errorf("%s: TCP %v, UDP %v", addr, tcp, udp)
		}
		closeBoth(ln, pc)
	}
	ln, pc, err := Listen("127.0.0.1:0", transport.HTTP3)
	if err != nil || ln != nil {
		t.Fatalf("HTTP/3 alone: %v, %v", ln, err)
	}
	closeBoth(ln, pc)
	ln, pc, err = Listen("127.0.0.1:0", transport.HTTP2)
	if err != nil || pc != nil {
		t.Fatalf("HTTP/2 alone: %v, %v", pc, err)
	}
	closeBoth(ln, pc)
}

// What a list that comes with the caller's TLS configuration says of HTTP/2 and
// HTTP/1.1 does not count: the Dialer would be led to the WebSocket.
func TestServerSetsApplicationProtocols(t *testing.T) {
	for _, ts := range [][]transport.Protocol{nil, {transport.WebSocket}} {
		for _, given := range [][]string{nil, {"http/1.1"}, {"acme-tls/1", "http/1.1", "h2"}} {
			want, winner := []string{"h2", "http/1.1"}, transport.HTTP2
			if ts != nil {
				want, winner = []string{"http/1.1"}, transport.WebSocket
			}
			if len(given) == 3 {
				want = append(want, "acme-tls/1")
			}
			inWorld(t, worldOptions{noUDP: true, setup: func(s *Server) {
				s.Transports, s.TLSConfig.NextProtos = ts, given
			}}, func(t *testing.T, w *world) {
				s, _ := wantDial(t, w.dialer(), w.url, fmt.Sprint(ts, given), winner, -1)
				s.CloseWithError(0, "")
				if got := w.server.tcp.TLSConfig.NextProtos; !slices.Equal(got, want) {
					t.Errorf("%v, %v: the server offers %v, want %v", ts, given, got, want)
				}
				if got := w.server.TLSConfig.NextProtos; !slices.Equal(got, given) {
					t.Errorf("the caller's list became %v", got)
				}
			})
		}
	}
}

func TestServerMemoryIsShared(t *testing.T) {
	cert := testcert.New(t)
	for _, c := range []struct {
		max        int64
		transports []transport.Protocol
		want       int64
	}{
		{0, nil, 256 << 20},
		{1 << 20, nil, 1 << 19},
		{1, nil, 1},
		{-1, nil, -1},
		{1 << 20, []transport.Protocol{transport.HTTP3}, 1 << 20},
		{1 << 20, []transport.Protocol{transport.HTTP3, transport.WebSocket}, 1 << 19},
	} {
		s := &Server{TLSConfig: cert.ServerConfig(), MaxMemory: c.max, Transports: c.transports}
		if err := s.init(); err != nil {
			t.Fatal(err)
		}
		if got := s.udp.Config.MaxServerMemory; got != c.want {
			t.Errorf("MaxMemory %d over %v: %d for HTTP/3, want %d", c.max, c.transports, got, c.want)
		}
		if c.want < 0 != (s.memory == nil) || s.memory != nil && s.memory.Limit() != c.want {
			t.Errorf("MaxMemory %d over %v: %+v for TCP, want %d", c.max, c.transports, s.memory, c.want)
		}
	}
}
