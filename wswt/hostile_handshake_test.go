package wswt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
)

// TestHostileRequests has opening handshakes with more in their fields than anyone
// needs. What is not accepted leaves nothing behind.
func TestHostileRequests(t *testing.T) {
	const n = 20_000
	protocol := strings.Repeat("A", 600)
	for _, tt := range []struct {
		name   string
		header func(n int) http.Header // with a size in n
		status int
		limit  transport.Limit
	}{
		{"20,000 subprotocols in a line", func(n int) http.Header {
			return http.Header{fieldProtocol: {strings.Repeat(Subprotocol+".YQ,", n) + Subprotocol}}
		}, 431, transport.LimitHeaderSize},
		{"20,000 lines of subprotocols", func(n int) http.Header {
			lines := make([]string, n)
			for i := range lines {
				lines[i] = "x"
			}
			return http.Header{fieldProtocol: append(lines, Subprotocol)}
		}, 431, transport.LimitHeaderSize},
		{"20,000 commas between subprotocols", func(n int) http.Header {
			return http.Header{fieldProtocol: {strings.Repeat(",", n) + Subprotocol + "x"}}
		}, 405, ""},
		{"an application protocol of 80 KB in base64", func(n int) http.Header {
			return http.Header{fieldProtocol: {Subprotocol + "." + strings.Repeat("YWFh", n)}}
		}, 405, ""},
		{"100 application protocols that are too long", func(n int) http.Header {
			return http.Header{fieldProtocol: {strings.Repeat(Subprotocol+"."+protocol+protocol+",", min(n/200, 100))}}
		}, 405, ""},
		{"20,000 tokens in Connection", func(n int) http.Header {
			return http.Header{"Connection": {strings.Repeat("x,", n)}, fieldProtocol: {Subprotocol}}
		}, 405, ""},
		{"20,000 extensions", func(n int) http.Header {
			return http.Header{"Sec-Websocket-Extensions": {strings.Repeat("x;y=z,", n)}, fieldVersion: {"12"}}
		}, 426, ""},
	} {
		t.Run("DS-22 "+tt.name, func(t *testing.T) {
			srv := NewServer(nil)
			defer srv.Close()
			attack := func(r *http.Request) error {
				w := httptest.NewRecorder()
				s, err := srv.Upgrade(hijacker{w, new(deadConn)}, r, nil)
				if err == nil {
					s.CloseWithError(0, "")
				}
				if IsUpgrade(r) && tt.status != 426 || w.Code != tt.status {
					t.Fatalf("status %d, %v", w.Code, err)
				}
				return err
			}
			request := func(n int) *http.Request {
				r := openingRequest()
				for name, values := range tt.header(n) {
					r.Header[name] = values
				}
				return r
			}
			r := request(n)
			err := attack(r)
			m := hostile.Start(t, hostile.Attack{
				Name: tt.name, Victim: "ws", Limit: tt.limit, Reaction: fmt.Sprint("status ", tt.status, ", and nothing is kept"), Bytes: 64 << 10,
			})
			for range 20 {
				err = attack(r)
			}
			m.Sample()
			if limit, _ := transport.ReachedLimit(err); limit != tt.limit {
				t.Errorf("limit %q of %v", limit, err)
			}
			m.Cost(n/4, func(n int) {
				r := request(n)
				w := httptest.NewRecorder()
				for range 20 {
					if _, err := srv.Upgrade(hijacker{w, new(deadConn)}, r, nil); err == nil {
						t.Fatal("accepted")
					}
				}
			})
			m.End(err)
		})
	}
}

// TestHostileOpening has clients take their time with all steps of the opening, on
// an http.Server with a ReadHeaderTimeout.
func TestHostileOpening(t *testing.T) {
	const conns, timeout = 50, 10 * time.Second
	for _, tt := range []struct {
		name  string
		bytes int64 // of each connection
		dial  func(t testing.TB, nc net.Conn, conf *tls.Config)
	}{
		{"connections that begin no TLS handshake", 16 << 10, func(testing.TB, net.Conn, *tls.Config) {}},
		{"a TLS handshake in single bytes", 48 << 10, func(t testing.TB, nc net.Conn, conf *tls.Config) {
			go func() { // ends with the connection
				for _, b := range []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a ClientHello that goes on and on") {
					if _, err := nc.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			}()
		}},
		{"an opening handshake in single bytes", 80 << 10, func(t testing.TB, nc net.Conn, conf *tls.Config) {
			go func() { // ends with the connection
				tc := tls.Client(nc, conf)
				for _, b := range []byte(opening()) {
					if _, err := tc.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			}()
		}},
	} {
		t.Run("DS-14 "+tt.name, func(t *testing.T) {
			var m *hostile.Meter
			synctest.Test(t, func(bubble *testing.T) {
				cert := testcert.New(bubble)
				ln := memconn.Listen(attackWire)
				srv := NewServer(nil)
				h, _ := upgradeHandler(srv, nil)
				hs := &http.Server{Handler: h, ReadHeaderTimeout: timeout, ErrorLog: log.New(io.Discard, "", 0)}
				served := make(chan error, 1)
				go func() { served <- hs.Serve(tls.NewListener(ln, cert.ServerConfig("http/1.1"))) }() // ends with hs
				synctest.Wait()
				m = hostile.Start(t, hostile.Attack{
					Name: tt.name, Victim: "ws", Reaction: "the connection ends after http.Server.ReadHeaderTimeout",
					// Both ends of TLS are in this process.
					Bytes: conns * tt.bytes, Goroutines: 3 * conns,
				})
				before := runtime.NumGoroutine()
				ends := make([]net.Conn, conns)
				for i := range ends {
					nc, err := ln.Dial(bubble.Context())
					if err != nil {
						t.Fatal(err)
					}
					ends[i] = nc
					tt.dial(t, nc, cert.ClientConfig("example.com", "http/1.1"))
				}
				time.Sleep(timeout - time.Second)
				synctest.Wait()
				m.Sample()
				if n := runtime.NumGoroutine() - before; n < conns {
					t.Errorf("%d goroutines more: connections have ended early", n)
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
				for _, nc := range ends {
					nc.SetReadDeadline(time.Now().Add(time.Millisecond))
					if _, err := io.Copy(io.Discard, nc); err != nil {
						t.Fatalf("the connection goes on: %v", err)
					}
					nc.Close()
				}
				hs.Close()
				<-served
				srv.Close()
				time.Sleep(2 * time.Second) // the scripts end at their next byte
			})
			m.End(nil)
		})
	}
	t.Run("DS-14 an acceptance that is not taken", func(t *testing.T) {
		var m *hostile.Meter
		var cause error
		synctest.Test(t, func(*testing.T) {
			srv := NewServer(nil)
			defer srv.Close()
			m = hostile.Start(t, hostile.Attack{
				Name: "an acceptance that is not taken", Victim: "ws", Limit: transport.LimitHandshakeTime,
				Reaction: "the connection ends after Config.HandshakeTimeout", Bytes: conns * idleBytes, Goroutines: conns, // the handlers'
			})
			result := make(chan error, conns)
			for range conns {
				peer, nc := memconn.Pipe(nil)
				defer peer.Close()
				nc.StallWrites(true)
				go func() { // ends with the handshake
					_, err := srv.Upgrade(hijacker{httptest.NewRecorder(), nc}, openingRequest(), nil)
					result <- err
				}()
			}
			synctest.Wait()
			m.Sample()
			start := time.Now()
			for range conns {
				cause = <-result
			}
			if d := time.Since(start); d != DefaultHandshakeTimeout || srv.quota.Open() != 0 {
				t.Errorf("%v after %v, and %d places are taken", cause, d, srv.quota.Open())
			}
		})
		if cause == nil {
			t.Error("accepted")
		}
		m.End(cause)
	})
}

// TestHostileServers has a client open a session at servers that do not want it to
// get one, or not soon.
func TestHostileServers(t *testing.T) {
	// forever writes a piece until the client is gone, and has what it holds
	// measured on the way.
	forever := func(w io.Writer, piece string, m *hostile.Meter) {
		for n := 0; ; n += len(piece) {
			if n >= 40_000 && n < 40_000+len(piece) {
				m.Sample()
			}
			if _, err := io.WriteString(w, piece); err != nil {
				return
			}
		}
	}
	slowly := func(w io.Writer, text string) {
		for _, b := range []byte(text) {
			if _, err := w.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(time.Second)
		}
	}
	var rejected *transport.RejectedError
	var broken *transport.ProtocolError
	for _, tt := range []struct {
		name   string
		answer func(w io.Writer, r *http.Request, m *hostile.Meter)
		limit  transport.Limit
		within time.Duration
		as     any
	}{
		{"a 101 whose header has no end", func(w io.Writer, r *http.Request, m *hostile.Meter) {
			io.WriteString(w, "HTTP/1.1 101 x\r\n")
			forever(w, "X-Field: "+strings.Repeat("x", 100)+"\r\n", m)
		}, transport.LimitHeaderSize, 0, &broken},
		{"a 101 with a line that has no end", func(w io.Writer, r *http.Request, m *hostile.Meter) {
			io.WriteString(w, "HTTP/1.1 101 x\r\nX: ")
			forever(w, strings.Repeat("x", 1000), m)
		}, transport.LimitHeaderSize, 0, &broken},
		{"interim responses without end", func(w io.Writer, r *http.Request, m *hostile.Meter) {
			forever(w, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", m)
		}, transport.LimitHeaderSize, 0, &broken},
		{"a 101 in single bytes", func(w io.Writer, r *http.Request, m *hostile.Meter) {
			slowly(w, acceptance(r))
		}, transport.LimitHandshakeTime, DefaultHandshakeTimeout, nil},
		{"no answer at all", func(w io.Writer, r *http.Request, m *hostile.Meter) {}, transport.LimitHandshakeTime, DefaultHandshakeTimeout, nil},
		{"a wrong Sec-WebSocket-Accept, and frames without end", func(w io.Writer, r *http.Request, m *hostile.Meter) {
			io.WriteString(w, acceptance(r, "Sec-WebSocket-Accept: "+testAccept))
			forever(w, string(ws.MustCompileFrame(ws.NewPingFrame(make([]byte, 125)))), m)
		}, "", 0, &broken},
		{"a refusal whose content has no end", func(w io.Writer, r *http.Request, m *hostile.Meter) {
			io.WriteString(w, "HTTP/1.1 403 Forbidden\r\nContent-Length: 1000000000000\r\n\r\n")
			forever(w, strings.Repeat("x", 1000), m)
		}, "", 0, &rejected},
		{"a refusal whose content comes in single bytes", func(w io.Writer, r *http.Request, m *hostile.Meter) {
			io.WriteString(w, "HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\n")
			slowly(w, strings.Repeat("x", 100))
		}, "", rejectBodyWait, &rejected},
	} {
		t.Run("DS-14 DS-22 "+tt.name, func(t *testing.T) {
			var m *hostile.Meter
			var err error
			synctest.Test(t, func(bubble *testing.T) {
				start := time.Now()
				server, r, result := script(t, bubble.Context(), nil, nil)
				m = hostile.Start(t, hostile.Attack{
					Name: tt.name + " to a client", Victim: "ws", Limit: tt.limit, Reaction: "Dial fails",
					// The head and what a map of its fields takes, a refusal's content,
					// and 64 KiB that memconn has each way.
					Bytes: 4*maxHead + maxRejectBody + 4*(64<<10), Goroutines: 2, // the script's
				})
				done := make(chan struct{})
				go func() { // ends with the connection
					defer close(done)
					tt.answer(server, r, m)
				}()
				if tt.within > 0 {
					time.Sleep(tt.within / 2)
					m.Sample()
				}
				d := <-result
				err = d.err
				if took := time.Since(start); err == nil || took != tt.within {
					t.Errorf("%v after %v, want %v", err, took, tt.within)
				}
				server.NetConn().Close()
				<-done
				m.Sample()
			})
			if tt.as != nil && !errors.As(err, tt.as) {
				t.Errorf("Dial: %v", err)
			}
			m.End(err)
		})
	}
	for _, slow := range []bool{false, true} {
		name := "a TLS handshake that is not answered"
		if slow {
			name = "a TLS handshake that is answered in single bytes"
		}
		t.Run("DS-14 "+name, func(t *testing.T) {
			var m *hostile.Meter
			var err error
			cert := testcert.New(t)
			synctest.Test(t, func(*testing.T) {
				client, server := memconn.Pipe(attackWire)
				m = hostile.Start(t, hostile.Attack{
					Name: name + " to a client", Victim: "ws", Limit: transport.LimitHandshakeTime, Reaction: "Dial fails",
					// What crypto/tls holds in a handshake, and memconn.
					Bytes: 64<<10 + 4*(16<<10), Goroutines: 3,
				})
				go func() { _, _ = io.Copy(io.Discard, server) }() // ends with the connection
				if slow {
					go slowly(server, "\x16\x03\x03\x40\x00"+strings.Repeat("\x02", 1000)) // ends with the connection
				}
				result := make(chan error, 1)
				start := time.Now()
				go func() { // ends with the handshake
					_, err := DialConn(context.Background(), tls.Client(client, cert.ClientConfig("example.com", "http/1.1")), "https://example.com/", nil, nil)
					result <- err
				}()
				time.Sleep(DefaultHandshakeTimeout / 2)
				m.Sample()
				err = <-result
				if d := time.Since(start); !slow && d != DefaultHandshakeTimeout || d > DefaultHandshakeTimeout {
					t.Errorf("%v after %v", err, d)
				}
				server.Close()
				time.Sleep(2 * time.Second) // the script ends at its next byte
			})
			if err == nil {
				t.Error("Dial succeeded")
			}
			m.End(err)
		})
	}
}
