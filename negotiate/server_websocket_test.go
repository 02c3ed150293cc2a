package negotiate

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/wswt"
)

// dialHTTP2WebSocket opens a session on a WebSocket over HTTP/2 (RFC 8441).
func (w *world) dialHTTP2WebSocket(t *testing.T) transport.Session {
	t.Helper()
	raw, err := w.tcp.DialContext(t.Context(), "tcp", "")
	if err != nil {
		t.Fatal(err)
	}
	cc, err := h2wt.NewClientConn(t.Context(), tls.Client(raw, w.cert.ClientConfig("example.com", "h2")), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := wswt.DialHTTP2(t.Context(), cc, w.url, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p := s.Info().Protocol; p != transport.WebSocket {
		t.Errorf("protocol %v", p)
	}
	cc.CloseAfter(s)
	return s
}

// dialWebSocket opens one over HTTP/1.1.
func (w *world) dialWebSocket(t *testing.T) transport.Session {
	t.Helper()
	d := w.dialer()
	d.Transports = []transport.Protocol{transport.WebSocket}
	s, _ := wantDial(t, d, w.url, "WebSocket", transport.WebSocket, -1)
	return s
}

// webSocketRoads are the two by which a WebSocket reaches a server.
var webSocketRoads = map[string]func(*world, *testing.T) transport.Session{
	"HTTP/1.1": (*world).dialWebSocket, "HTTP/2": (*world).dialHTTP2WebSocket,
}

// A session is not a request: the time limits of those do not hold for it.
func TestServerWebSocketOutlivesTimeouts(t *testing.T) {
	for name, dial := range webSocketRoads {
		t.Run(name, func(t *testing.T) {
			inWorld(t, worldOptions{setup: func(s *Server) {
				s.ReadHeaderTimeout, s.IdleTimeout = time.Second, 2*time.Second
				if err := s.init(); err != nil {
					t.Fatal(err)
				}
				s.tcp.ReadTimeout, s.tcp.WriteTimeout = time.Second, time.Second
			}}, func(t *testing.T, w *world) {
				s := dial(w, t)
				time.Sleep(10 * time.Minute)
				wantEchoOver(t, s)
				time.Sleep(10 * time.Minute)
				wantEchoOver(t, s)
				s.CloseWithError(0, "")
			})
		})
	}
}

func TestServerWebSocketShutdown(t *testing.T) {
	for name, dial := range webSocketRoads {
		t.Run(name, func(t *testing.T) {
			inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
				s := dial(w, t)
				done := make(chan error, 1)
				go func() { done <- w.server.Shutdown(context.Background()) }()
				<-s.Draining()
				wantEchoOver(t, s)
				time.Sleep(time.Minute)
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
	}
}

func TestServerWebSocketClose(t *testing.T) {
	for name, dial := range webSocketRoads {
		t.Run(name, func(t *testing.T) {
			inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
				s := dial(w, t)
				if err := w.server.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
				<-s.Context().Done()
			})
		})
	}
}

// A server answers what it likes, also to a request for a session.
func TestServerAnswersWithoutUpgrade(t *testing.T) {
	inWorld(t, worldOptions{handler: func(w http.ResponseWriter, r *http.Request) {
		if !IsUpgrade(r) {
			t.Error("IsUpgrade is false")
		}
		fmt.Fprint(w, "come back tomorrow")
	}}, func(t *testing.T, w *world) {
		d := w.dialer()
		d.Transports = []transport.Protocol{transport.WebSocket}
		_, _, err := d.Dial(t.Context(), w.url, nil)
		if r, ok := err.(*transport.RejectedError); !ok || r.StatusCode != 200 || string(r.Body) != "come back tomorrow" {
			t.Errorf("got %v", err)
		}
	})
}

// WebSockets of other packages pass beside the sessions, whatever is served.
func TestServerOtherWebSockets(t *testing.T) {
	for _, ts := range [][]transport.Protocol{nil, {transport.HTTP3, transport.HTTP2}, {transport.WebSocket}} {
		t.Run(fmt.Sprint(ts), func(t *testing.T) {
			inWorld(t, worldOptions{
				setup: func(s *Server) { s.Transports, s.SessionRate = ts, 1 },
				handler: func(w http.ResponseWriter, r *http.Request) {
					if IsUpgrade(r) {
						t.Error("taken for a request for a session")
					}
					c, rw, err := http.NewResponseController(w).Hijack()
					if err != nil {
						t.Error(err)
						return
					}
					defer c.Close()
					io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
					io.Copy(c, rw) // echoes whatever comes
				},
			}, func(t *testing.T, w *world) {
				for range 4 { // more than the sessions' burst
					raw, err := w.tcp.DialContext(t.Context(), "tcp", "")
					if err != nil {
						t.Fatal(err)
					}
					c := tls.Client(raw, w.cert.ClientConfig("example.com", "http/1.1"))
					io.WriteString(c, "GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
						"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: chat\r\n\r\n")
					br := bufio.NewReader(c)
					resp, err := http.ReadResponse(br, nil)
					if err != nil || resp.StatusCode != 101 {
						t.Fatalf("%v, %v", resp, err)
					}
					io.WriteString(c, "hello")
					b := make([]byte, 5)
					if _, err := io.ReadFull(br, b); err != nil || string(b) != "hello" {
						t.Errorf("%q, %v", b, err)
					}
					c.Close()
				}
			})
		})
	}
}

func TestServerCountsWebSocketSessions(t *testing.T) {
	inWorld(t, worldOptions{setup: func(s *Server) { s.SessionRate = 1 }}, func(t *testing.T, w *world) {
		for range 2 { // the burst
			w.dialWebSocket(t).CloseWithError(0, "")
		}
		d := w.dialer()
		d.Transports = []transport.Protocol{transport.WebSocket}
		_, _, err := d.Dial(t.Context(), w.url, nil)
		if r, ok := err.(*transport.RejectedError); !ok || r.StatusCode != 429 || r.Header.Get("Retry-After") != "1" {
			t.Errorf("one more than the burst: %v", err)
		}
	})
}

// HTTP/2 and WebSocket have one account.
func TestServerMemoryOverTCP(t *testing.T) {
	const size = 32 << 10
	inWorld(t, worldOptions{handler: func(rw http.ResponseWriter, r *http.Request) {
		Upgrade(rw, r, nil) // and reads nothing
	}}, func(t *testing.T, w *world) {
		var all []transport.Session
		for i, dial := range []func(*world, *testing.T) transport.Session{
			(*world).dialWebSocket, (*world).dialHTTP2WebSocket,
			func(w *world, t *testing.T) transport.Session {
				d := w.dialer()
				d.Transports = []transport.Protocol{transport.HTTP2}
				s, _ := wantDial(t, d, w.url, "HTTP/2", transport.HTTP2, -1)
				return s
			},
		} {
			s := dial(w, t)
			all = append(all, s)
			st, err := s.OpenStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := st.Write(make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if got := w.server.memory.Held(); got < int64(i+1)*size {
				t.Errorf("after session %d %d bytes are held, want at least %d", i, got, (i+1)*size)
			}
		}
		for _, s := range all {
			s.CloseWithError(0, "")
		}
		time.Sleep(time.Minute)
		if got := w.server.memory.Held(); got != 0 {
			t.Errorf("%d bytes are held after the sessions", got)
		}
	})
}

// A writer that hides the connection is seen through on the Server's own
// requests only.
func TestUpgradeWithoutHijack(t *testing.T) {
	r := httptest.NewRequest(http.MethodGet, "https://example.com/", nil)
	for k, v := range map[string]string{
		"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol": wswt.Subprotocol,
	} {
		r.Header.Set(k, v)
	}
	rec := httptest.NewRecorder()
	if s, err := Upgrade(rec, r, nil); err == nil || s != nil || rec.Code != http.StatusInternalServerError {
		t.Errorf("%v, %v, status %d", s, err, rec.Code)
	}
	if !IsUpgrade(r) {
		t.Error("not taken for a request for a session")
	}
}
