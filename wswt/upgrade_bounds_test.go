package wswt

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
)

func TestUpgradeBounds(t *testing.T) {
	t.Run("MaxSessions", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newTestServer(t, &Config{MaxSessions: 2}, nil, nil)
			defer s.stop()
			var open []*tls.Conn
			for range 2 {
				resp, _, tc := s.ask(opening())
				open = append(open, tc)
				if resp.StatusCode != 101 {
					t.Fatalf("status %d", resp.StatusCode)
				}
				<-s.upgraded
			}
			resp, _, tc := s.ask(opening())
			if a := <-s.upgraded; resp.StatusCode != 429 || a.err != errMaxSessions {
				t.Errorf("status %d, %v", resp.StatusCode, a.err)
			}
			tc.Close()
			open[0].Close()
			synctest.Wait()
			resp, _, tc = s.ask(opening())
			if a := <-s.upgraded; resp.StatusCode != 101 || a.err != nil {
				t.Errorf("after one has ended: status %d, %v", resp.StatusCode, a.err)
			}
			tc.Close()
			open[1].Close()
			s.srv.Close()
		})
	})
	t.Run("a server that is shutting down", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newTestServer(t, nil, nil, nil)
			defer s.stop()
			if err := s.srv.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			resp, _, tc := s.ask(opening())
			defer tc.Close()
			if a := <-s.upgraded; resp.StatusCode != 503 || a.err != errShuttingDown {
				t.Errorf("status %d, %v", resp.StatusCode, a.err)
			}
		})
	})
	t.Run("plain HTTP", func(t *testing.T) {
		for _, terminated := range []bool{false, true} {
			srv := NewServer(&Config{TLSTerminated: terminated})
			h, upgraded := upgradeHandler(srv, nil)
			ts := httptest.NewServer(h)
			nc, err := net.Dial("tcp", ts.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(nc, opening())
			resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
			if err != nil {
				t.Fatal(err)
			}
			a := <-upgraded
			if !terminated {
				if resp.StatusCode != 403 || a.err != errPlain {
					t.Errorf("status %d, %v", resp.StatusCode, a.err)
				}
			} else {
				if resp.StatusCode != 101 || a.err != nil {
					t.Fatalf("status %d, %v", resp.StatusCode, a.err)
				}
				if _, err := a.s.ExportKeyingMaterial("x", nil, 1); !errors.Is(err, transport.ErrUnsupported) {
					t.Errorf("ExportKeyingMaterial: %v", err)
				}
				if a.s.Info().TLS != nil {
					t.Error("Info.TLS is set")
				}
			}
			nc.Close()
			srv.Close()
			ts.Close()
		}
	})
	t.Run("a ResponseWriter that cannot be hijacked", func(t *testing.T) {
		srv := NewServer(nil)
		r := httptest.NewRequest("GET", "https://example.com/", nil)
		for _, l := range strings.Split(strings.TrimSpace(opening()), "\r\n")[2:] {
			name, value, _ := strings.Cut(l, ": ")
			r.Header.Set(name, value)
		}
		if !IsUpgrade(r) {
			t.Error("IsUpgrade is false")
		}
		w := httptest.NewRecorder()
		if _, err := srv.Upgrade(w, r, nil); !errors.Is(err, http.ErrNotSupported) || w.Code != 500 {
			t.Errorf("Upgrade: %v, status %d", err, w.Code)
		}
		if srv.count != 0 {
			t.Errorf("%d sessions are counted", srv.count)
		}
	})
	t.Run("bytes behind the request", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newTestServer(t, nil, nil, nil)
			defer s.stop()
			p := &rawPeer{t: t, client: true}
			message := p.encode(ws.OpBinary, true, append(padding(3000), streamCapsule(0, true, "early")...))
			_, br, tc := s.ask(opening() + string(message))
			defer tc.Close()
			a := <-s.upgraded
			if a.err != nil {
				t.Fatal(a.err)
			}
			x, err := a.s.AcceptStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 6)
			if n, _ := x.Read(b); string(b[:n]) != "early" {
				t.Errorf("read %q", b[:n])
			}
			if f, err := readFrame(br); err != nil || f.OpCode != ws.OpPing {
				t.Errorf("frame %+v, %v", f.Header, err)
			}
			tc.Close()
			s.srv.Close()
		})
	})
	t.Run("the deadlines of the http.Server do not hold for sessions", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			cert := testcert.New(t)
			ln := memconn.Listen(nil)
			srv := NewServer(nil)
			h, upgraded := upgradeHandler(srv, nil)
			hs := &http.Server{Handler: h, ReadTimeout: time.Second, WriteTimeout: time.Second}
			served := make(chan error, 1)
			go func() { served <- hs.Serve(tls.NewListener(ln, cert.ServerConfig("http/1.1"))) }()
			nc, err := ln.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c, err := DialConn(t.Context(), tls.Client(nc, cert.ClientConfig("example.com")), "wss://example.com/", nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			a := <-upgraded
			time.Sleep(time.Hour)
			x, err := c.OpenStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := x.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := a.s.AcceptStream(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.CloseWithError(0, "")
			srv.Close()
			hs.Close()
			<-served
		})
	})
	t.Run("the Server of a request's context", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			cert := testcert.New(t)
			ln := memconn.Listen(nil)
			srv := NewServer(&Config{MaxSessions: 1})
			got := make(chan error, 1)
			hs := &http.Server{
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, err := Upgrade(w, r, nil)
					got <- err
				}),
				BaseContext: func(net.Listener) context.Context { return srv.Context(context.Background()) },
			}
			served := make(chan error, 1)
			go func() { served <- hs.Serve(tls.NewListener(ln, cert.ServerConfig("http/1.1"))) }()
			for _, want := range []error{nil, errMaxSessions} {
				nc, err := ln.Dial(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				c, err := DialConn(t.Context(), tls.Client(nc, cert.ClientConfig("example.com")), "https://example.com/", nil, nil)
				if gotErr := <-got; gotErr != want || (err == nil) != (want == nil) {
					t.Errorf("Upgrade: %v, Dial: %v; want %v", gotErr, err, want)
				}
				if err == nil {
					defer c.CloseWithError(0, "")
				}
			}
			srv.Close()
			hs.Close()
			<-served
		})
	})
}
