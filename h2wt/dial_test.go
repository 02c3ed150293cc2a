package h2wt

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/towpath-go/towpath/internal/handshake"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
)

// realServer serves on loopback. Closed gets a value for each connection that
// has ended.
func realServer(t *testing.T, h http.Handler) (url string, conf *tls.Config, closed chan struct{}, stop func()) {
	t.Helper()
	cert := testcert.New(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed = make(chan struct{}, 100)
	hs := &http.Server{
		Handler:   h,
		TLSConfig: cert.ServerConfig(),
		ErrorLog:  log.New(io.Discard, "", 0),
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateClosed {
				closed <- struct{}{}
			}
		},
	}
	if err := ConfigureServer(hs, nil); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- hs.ServeTLS(NewListener(ln), "", "") }()
	return "https://" + ln.Addr().String(), cert.ClientConfig("127.0.0.1"), closed, func() {
		hs.Close()
		<-done
	}
}

// settle waits until there are at most n goroutines.
func settle(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); runtime.NumGoroutine() > n; runtime.Gosched() {
		if time.Now().After(deadline) {
			stack := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, want %d\n%s", runtime.NumGoroutine(), n, stack[:runtime.Stack(stack, true)])
		}
	}
}

func TestDial(t *testing.T) {
	t.Run("H2-056 the server is told, although the connection was for that session", func(t *testing.T) {
		h, up := upgradeHandler(nil)
		url, conf, closed, stop := realServer(t, h)
		defer stop()
		_, err := Dial(t.Context(), url, conf, &transport.DialOptions{Protocols: []string{"a"}, RequireProtocol: true})
		if pe, ok := errors.AsType[*transport.ProtocolError](err); !ok || pe.Violation != transport.ViolationALPN {
			t.Errorf("Dial: %v", err)
		}
		s := (<-up).s
		<-s.Context().Done()
		if se, ok := errors.AsType[*transport.SessionError](context.Cause(s.Context())); !ok || se.Code != handshake.AlpnError {
			t.Errorf("the server's session ended with %v", context.Cause(s.Context()))
		}
		<-closed
	})
	t.Run("FW-10 H2-021 the connection ends with the session, on either side's close", func(t *testing.T) {
		before := runtime.NumGoroutine()
		h, up := upgradeHandler(&transport.UpgradeOptions{Protocols: []string{"chat"}})
		url, conf, closed, stop := realServer(t, h)
		for _, byServer := range []bool{false, true} {
			conf := conf.Clone()
			conf.ServerName, conf.MinVersion = "", 0
			s, err := Dial(t.Context(), url+"/x", conf, &transport.DialOptions{Protocols: []string{"chat"}})
			if err != nil {
				t.Fatal(err)
			}
			a := <-up
			if a.err != nil || a.s.Info().ApplicationProtocol != "chat" || s.Info().TLS.Version != tls.VersionTLS13 {
				t.Errorf("%v, %+v", a.err, s.Info())
			}
			first, second := s, a.s
			if byServer {
				first, second = a.s, s
			}
			if err := first.CloseWithError(3, "bye"); err != nil {
				t.Error(err)
			}
			<-second.Context().Done()
			var se *transport.SessionError
			if _, err := second.AcceptStream(t.Context()); !errors.As(err, &se) || se.Code != 3 || se.Reason != "bye" || !se.Remote {
				t.Errorf("ended with %v", err)
			}
			<-closed
		}
		stop()
		settle(t, before)
	})
	t.Run("a rejected Dial leaves no connection", func(t *testing.T) {
		before := runtime.NumGoroutine()
		url, conf, closed, stop := realServer(t, http.NotFoundHandler())
		_, err := Dial(t.Context(), url, conf, nil)
		var re *transport.RejectedError
		if !errors.As(err, &re) || re.StatusCode != 404 || string(re.Body) != "404 page not found\n" {
			t.Errorf("Dial: %v", err)
		}
		<-closed
		stop()
		settle(t, before)
	})
	t.Run("FW-05 a server without WebTransport", func(t *testing.T) {
		cert := testcert.New(t)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		hs := &http.Server{TLSConfig: cert.ServerConfig(), ErrorLog: log.New(io.Discard, "", 0)}
		done := make(chan error)
		go func() { done <- hs.ServeTLS(ln, "", "") }()
		if _, err := Dial(t.Context(), "https://"+ln.Addr().String(), cert.ClientConfig(""), nil); !errors.Is(err, transport.ErrNotWebTransport) {
			t.Errorf("Dial: %v", err)
		}
		hs.Close()
		<-done
	})
	t.Run("errors of the network and of TLS", func(t *testing.T) {
		url, conf, _, stop := realServer(t, http.NotFoundHandler())
		if _, err := Dial(t.Context(), url, nil, nil); err == nil {
			t.Error("an unknown certificate: no error")
		}
		var ve *tls.CertificateVerificationError
		if _, err := Dial(t.Context(), url, nil, nil); !errors.As(err, &ve) {
			t.Errorf("Dial: %v", err)
		}
		stop()
		if _, err := Dial(t.Context(), url, conf, nil); err == nil {
			t.Error("nobody listens: no error")
		}
	})
	t.Run("no goroutine for sessions and streams", func(t *testing.T) {
		h, up := upgradeHandler(nil)
		url, conf, _, stop := realServer(t, h)
		defer stop()
		s, err := Dial(t.Context(), url, conf, nil)
		if err != nil {
			t.Fatal(err)
		}
		a := <-up
		before := runtime.NumGoroutine()
		for range 50 {
			st, err := s.OpenStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := st.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := a.s.AcceptStream(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		settle(t, before)
		s.CloseWithError(0, "")
	})
}

// With many sessions on one connection there are two goroutines a side.
func TestGoroutines(t *testing.T) {
	h, up := upgradeHandler(nil)
	url, conf, _, stop := realServer(t, h)
	defer stop()
	nc, err := net.Dial("tcp", url[len("https://"):])
	if err != nil {
		t.Fatal(err)
	}
	conf.NextProtos = []string{"h2"}
	c, err := NewClientConn(t.Context(), tls.Client(Cork(nc), conf), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	before := runtime.NumGoroutine()
	for range DefaultMaxSessions {
		if _, err := c.Dial(t.Context(), url, nil); err != nil {
			t.Fatal(err)
		}
		if a := <-up; a.err != nil {
			t.Fatal(a.err)
		}
	}
	settle(t, before)
	_, err = c.Dial(t.Context(), url, nil)
	var np *transport.NotProcessedError
	if !errors.As(err, &np) {
		t.Errorf("one session more: %v", err)
	}
}
