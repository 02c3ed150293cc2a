//lint:file-ignore SA1019 deprecated or not, x/net/http2 is the client that can ask for a WebSocket

package adapter

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/cmd/hol/internal/loopback"
)

// gateAcceptor lets requests wait until the test lets them go. It keeps channels
// and refuses bulk.
type gateAcceptor struct {
	gate    chan struct{}
	arrived chan string
	sockets sockets
}

func (a *gateAcceptor) room(path string) int {
	a.arrived <- path
	<-a.gate
	if path == pathBulk {
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}

func (a *gateAcceptor) accepted(_ string, s socket) { _, _ = a.sockets.add(s) }

func testEnv(t *testing.T) Env {
	t.Helper()
	certificate, err := NewCertificate(loopback.Host{}.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return Env{Client: loopback.Host{}, Server: loopback.Host{}, Certificate: certificate, Channels: 2, Handle: reversed}
}

// TestWebSocketRequests shows what servers answer to requests that are not, or
// not well, for a WebSocket.
func TestWebSocketRequests(t *testing.T) {
	for _, a := range websockets {
		t.Run(a.Name, func(t *testing.T) {
			env := testEnv(t)
			s, err := a.Listen(t.Context(), env)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			to := listening(t, s)
			var client http.RoundTripper
			switch a.Name {
			case "ws-over-h3":
				transport := &http3.Transport{TLSClientConfig: env.ClientTLS(), QUICConfig: &quic.Config{}}
				defer transport.Close()
				client = transport
			case "ws-over-h2":
				transport := &http2.Transport{TLSClientConfig: env.ClientTLS("h2")}
				defer transport.CloseIdleConnections()
				client = transport
			default:
				transport := &http.Transport{TLSClientConfig: env.ClientTLS()}
				defer transport.CloseIdleConnections()
				client = transport
			}
			path := pathChannel
			if a.Name == "ws-one" {
				path = pathAll
			}
			connect := func(version string) *http.Request {
				r, err := http.NewRequest(http.MethodConnect, to+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Sec-WebSocket-Version", version)
				if a.Name == "ws-over-h3" {
					r.Proto = "websocket"
				} else {
					r.Header[":protocol"] = []string{"websocket"}
				}
				return r
			}
			get := func(path string) *http.Request {
				r, err := http.NewRequest(http.MethodGet, to+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			requests := []struct {
				name    string
				request *http.Request
				status  int
			}{
				{"no WebSocket", get(path), http.StatusBadRequest},
			}
			if strings.HasPrefix(a.Name, "ws-over-") {
				unknown := connect("13")
				unknown.URL.Path = "/unknown"
				requests = append(requests, []struct {
					name    string
					request *http.Request
					status  int
				}{
					{"another version", connect("12"), http.StatusBadRequest},
					{"an unknown path", unknown, http.StatusNotFound},
				}...)
			} else {
				requests[0].status = http.StatusUpgradeRequired
				requests = append(requests, struct {
					name    string
					request *http.Request
					status  int
				}{"an unknown path", get("/unknown"), http.StatusNotFound})
			}
			for _, r := range requests {
				response, err := client.RoundTrip(r.request)
				if err != nil {
					t.Errorf("%s: %v", r.name, err)
					continue
				}
				_ = response.Body.Close()
				if response.StatusCode != r.status {
					t.Errorf("%s: %s, want %d", r.name, response.Status, r.status)
				}
			}
		})
	}
}

// listening is the URL of a server.
func listening(t *testing.T, s Server) string {
	t.Helper()
	l := s.(*webSocketListener)
	return "https://" + l.addr.String()
}

// TestWebSocketOneAlone shows that a second client is turned away.
func TestWebSocketOneAlone(t *testing.T) {
	s, err := webSocketOne.Listen(t.Context(), testEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	first, err := s.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := s.Accept(t.Context()); err != nil {
		t.Fatal(err)
	}
	if second, err := s.Dial(t.Context()); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("the second: %v, %v", second, err)
	}
	if response, err := first.Call(t.Context(), 0, []byte("abc")); err != nil || string(response) != "cba" {
		t.Errorf("the first: %q, %v", response, err)
	}
}

// TestWebSocketOpeningEnds has contexts end while the server thinks about a
// request, and refuses one; the connection goes on.
func TestWebSocketOpeningEnds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		listen func(env Env, to acceptor) (*webSocketListener, error)
	}{
		{"h1", func(env Env, to acceptor) (*webSocketListener, error) {
			s, err := listenHTTP1(env, to, MaxMessage)
			if err != nil {
				return nil, err
			}
			c := newHTTP1Client(env, s.addr, MaxMessage)
			return &webSocketListener{addr: s.addr, close: s.Close, dial: func(context.Context) (Conn, error) {
				return newWebSocketClient(1, c.dial, c.hangUp), nil
			}}, nil
		}},
		{"h2", listenH2},
		{"h3", listenH3},
	} {
		t.Run(tt.name, func(t *testing.T) {
			to := &gateAcceptor{gate: make(chan struct{}), arrived: make(chan string, 10)}
			l, err := tt.listen(testEnv(t), to)
			if err != nil {
				t.Fatal(err)
			}
			client, err := l.Dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				// The client's end waits for the server's, which nobody else ends.
				done := make(chan struct{})
				go func() {
					defer close(done)
					if err := client.Close(); err != nil {
						t.Error("Close:", err)
					}
				}()
				to.sockets.close()
				<-done
				if err := l.close(); err != nil {
					t.Error("Close of the server:", err)
				}
			}()
			ctx, cancel := context.WithCancel(t.Context())
			opened := make(chan error)
			go func() {
				_, err := client.OpenChannel(ctx)
				opened <- err
			}()
			if path := <-to.arrived; path != pathChannel {
				t.Error("the path is", path)
			}
			cancel()
			if err := <-opened; !errors.Is(err, context.Canceled) {
				t.Error("OpenChannel with a context that ended:", err)
			}
			close(to.gate)
			if _, err := client.OpenChannel(t.Context()); err != nil {
				t.Error("the next:", err)
			}
			if _, err := client.OpenBulk(t.Context()); err == nil || !strings.Contains(err.Error(), "503") {
				t.Error("refused:", err)
			}
		})
	}
}

// TestWebSocketResets sends an unmasked frame over a real stream: the server says
// why it ends the WebSocket, and what comes after that is no orderly end.
func TestWebSocketResets(t *testing.T) {
	for _, tt := range []struct {
		name string
		open func(t *testing.T, env Env, l *webSocketListener) (frameStream, func())
	}{
		{"h2", func(t *testing.T, env Env, l *webSocketListener) (frameStream, func()) {
			conn, err := tls.Dial("tcp", l.addr.String(), env.ClientTLS("h2"))
			if err != nil {
				t.Fatal(err)
			}
			cc, err := (&http2.Transport{}).NewClientConn(conn)
			if err != nil {
				t.Fatal(err)
			}
			s, err := openH2Stream(t.Context(), cc, "https://"+l.addr.String()+pathChannel)
			if err != nil {
				t.Fatal(err)
			}
			return s, func() { _ = cc.Close() }
		}},
		{"h3", func(t *testing.T, env Env, l *webSocketListener) (frameStream, func()) {
			conn, err := quic.DialAddr(t.Context(), l.addr.String(), env.ClientTLS(http3.NextProtoH3), nil)
			if err != nil {
				t.Fatal(err)
			}
			s, err := openH3Stream(t.Context(), (&http3.Transport{}).NewClientConn(conn), "https://"+l.addr.String()+pathChannel)
			if err != nil {
				t.Fatal(err)
			}
			return &h3Stream{s}, func() { _ = conn.CloseWithError(0, "") }
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := testEnv(t)
			end := newWebSocketServer(env)
			listen := map[string]func(Env, acceptor) (*webSocketListener, error){"h2": listenH2, "h3": listenH3}[tt.name]
			l, err := listen(env, end)
			if err != nil {
				t.Fatal(err)
			}
			defer l.close()
			defer end.Close()
			s, hangUp := tt.open(t, env, l)
			defer hangUp()
			if _, err := s.Write(frame(fin|binaryData, false, "unmasked")); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(s)
			// The reset of a QUIC stream takes back what has not arrived.
			takenBack := tt.name == "h3" && len(got) == 0
			if want := frame(fin|closeFrame, false, closeBody(1002, "")); !bytes.Equal(got, want) && !takenBack {
				t.Errorf("the server sent %x, want %x", got, want)
			}
			if err == nil {
				t.Error("the stream ended in order")
			}
			channel, err := end.AcceptChannel(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := channel.Receive(t.Context()); err == nil || err == io.EOF {
				t.Errorf("the server's Receive: %v", err)
			}
		})
	}
}

// TestCoderEnds tells the ends of coder/websocket apart as framed does.
func TestCoderEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(c *coderSocket)
		eof  bool
	}{
		{"normal", func(c *coderSocket) { _ = c.conn.Close(websocket.StatusNormalClosure, "") }, true},
		{"going away", func(c *coderSocket) { _ = c.conn.Close(websocket.StatusGoingAway, "") }, true},
		{"of the application", func(c *coderSocket) { _ = c.conn.Close(3000, "") }, false},
		{"without a Close", func(c *coderSocket) { c.abort() }, false},
		{"text", func(c *coderSocket) { _ = c.conn.Write(context.Background(), websocket.MessageText, []byte("x")) }, false},
		{"beyond the limit", func(c *coderSocket) { _ = c.write(make([]byte, MaxMessage+1)) }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := testEnv(t)
			end := newWebSocketServer(env)
			defer end.Close()
			s, err := listenHTTP1(env, end, MaxMessage)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			c := newHTTP1Client(env, s.addr, MaxMessage)
			defer c.hangUp()
			client, err := c.dial(t.Context(), pathChannel)
			if err != nil {
				t.Fatal(err)
			}
			defer client.finish(true)
			channel, err := end.AcceptChannel(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				tt.end(client.(*coderSocket))
			}()
			if _, err := channel.Receive(t.Context()); err == nil || tt.eof != (err == io.EOF) || errors.Is(err, io.EOF) != tt.eof {
				t.Errorf("Receive: %v", err)
			}
			<-ended
		})
	}
}
