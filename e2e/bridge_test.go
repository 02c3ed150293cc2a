package e2e_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/internal/testcert"
)

// wsKey is the key of RFC 6455 section 1.3, for the HTTP/1.1 handshakes.
const wsKey = "dGhlIHNhbXBsZSBub25jZQ=="

// A wsConn is a WebSocket's bytes, and the server's answer to its handshake.
type wsConn struct {
	io.ReadWriter
	status int
	header http.Header
	abort  func() // ends the connection as a client that dies
}

// A wsCarrier is a way a WebSocket comes to the server.
type wsCarrier struct {
	name string
	open func(t testing.TB, b *bridge, path string, header http.Header) *wsConn
}

var wsCarriers = []wsCarrier{{"HTTP2", openH2}, {"HTTP1", openH1}}

// A bridge is a server with a handler of each library, and what its handlers do.
type bridge struct {
	t       *testing.T
	addr    string
	conf    *tls.Config
	running sync.WaitGroup // handlers

	mu sync.Mutex
	h2 *h2Client // made when first used
}

// newBridge serves the libraries' handlers at /name, /logged/name and
// /unwrapped/name, and an ordinary page at /page.
func newBridge(t *testing.T) *bridge {
	b := &bridge{t: t}
	mux := http.NewServeMux()
	for _, lib := range wsLibraries {
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b.running.Add(1)
			defer b.running.Done()
			lib.handler(w, r)
		})
		mux.Handle("/"+lib.name, h)
		mux.Handle("/logged/"+lib.name, logged(h))
		mux.Handle("/unwrapped/"+lib.name, unwrapped(h))
	}
	mux.HandleFunc("/page", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s %s", r.Method, r.Proto) })
	cert := testcert.New(t)
	hs := &http.Server{
		Handler:   mux,
		TLSConfig: cert.ServerConfig(),
		ErrorLog:  log.New(t.Output(), "", 0),
	}
	if err := h2wt.ConfigureServer(hs, nil); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- hs.ServeTLS(ln, "", "") }() // ends with hs.Close
	t.Cleanup(func() {
		hs.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	b.addr = ln.Addr().String()
	b.conf = cert.ClientConfig("127.0.0.1")
	return b
}

// client is the one HTTP/2 connection that all tests of a bridge share.
func (b *bridge) client(t testing.TB) *h2Client {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.h2 == nil {
		c, err := dialH2(b.addr, b.conf)
		if err != nil {
			t.Fatal(err)
		}
		b.t.Cleanup(c.close)
		b.h2 = c
	}
	return b.h2
}

// openH2 asks for a WebSocket as RFC 8441 section 5 says.
func openH2(t testing.TB, b *bridge, path string, header http.Header) *wsConn {
	t.Helper()
	fields := []string{
		":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":path", path, ":authority", b.addr,
	}
	for name, values := range header {
		for _, v := range values {
			fields = append(fields, strings.ToLower(name), v)
		}
	}
	st, err := b.client(t).request(false, fields...)
	if err != nil {
		t.Fatalf("CONNECT %s: %v", path, err)
	}
	t.Cleanup(st.cancelOpen)
	c := &wsConn{ReadWriter: st, header: http.Header{}, abort: st.cancelOpen}
	fmt.Sscan(st.status, &c.status)
	for name, value := range st.header {
		c.header.Set(name, value)
	}
	return c
}

// openH1 asks for a WebSocket as RFC 6455 section 4 says.
func openH1(t testing.TB, b *bridge, path string, header http.Header) *wsConn {
	t.Helper()
	conf := b.conf.Clone()
	conf.NextProtos = []string{"http/1.1"}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", b.addr, conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	req := &http.Request{Method: "GET", Header: header.Clone(), Host: b.addr}
	req.URL, err = req.URL.Parse("https://" + b.addr + path)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Upgrade", "websocket")
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Sec-WebSocket-Key", wsKey)
	if err := req.Write(conn); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, req)
	if err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	c := &wsConn{status: resp.StatusCode, header: resp.Header, abort: func() {
		conn.NetConn().(*net.TCPConn).SetLinger(0)
		conn.NetConn().Close()
	}}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		if got := resp.Header.Get("Sec-WebSocket-Accept"); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			t.Errorf("Sec-WebSocket-Accept %q", got)
		}
		c.ReadWriter = struct {
			io.Reader
			io.Writer
		}{r, conn}
	} else {
		c.ReadWriter = struct {
			io.Reader
			io.Writer
		}{resp.Body, io.Discard}
	}
	return c
}

// wsHeader is a handshake's header with further fields, name and value in turn.
func wsHeader(more ...string) http.Header {
	h := http.Header{"Sec-Websocket-Version": {"13"}}
	for i := 0; i < len(more); i += 2 {
		h.Set(more[i], more[i+1])
	}
	return h
}

// wantOpen checks the answer of an accepted handshake.
func (c *wsConn) wantOpen(t testing.TB, carrier string) {
	t.Helper()
	want := http.StatusOK
	if carrier == "HTTP1" {
		want = http.StatusSwitchingProtocols
	}
	if c.status != want {
		body, _ := io.ReadAll(c)
		t.Fatalf("status %d, want %d; header %v, body %.80q", c.status, want, c.header, body)
	}
}

// TestWebSocketBridge runs the same WebSocket dialogue with unchanged handlers
// of four libraries, over HTTP/2 and over HTTP/1.1 on the same port.
func TestWebSocketBridge(t *testing.T) {
	for _, carrier := range wsCarriers {
		for _, lib := range wsLibraries {
			t.Run(carrier.name+"/"+lib.name, func(t *testing.T) { testLibrary(t, carrier, lib) })
		}
	}
}

func testLibrary(t *testing.T, carrier wsCarrier, lib wsLibrary) {
	b := newBridge(t)
	same := "https://" + b.addr
	open := func(t *testing.T, path string, header http.Header) *wsConn {
		t.Helper()
		c := carrier.open(t, b, path, header)
		c.wantOpen(t, carrier.name)
		return c
	}
	large := bytes.Repeat([]byte("towpath "), 1<<17) // 1 MiB, many windows
	t.Run("echo", func(t *testing.T) {
		c := open(t, "/"+lib.name, wsHeader("Origin", same))
		if got := c.header.Get("X-Library"); got != lib.name {
			t.Errorf("X-Library %q: the handler's header is missing", got)
		}
		if carrier.name == "HTTP2" {
			// RFC 8441 section 5: these belong to the HTTP/1.1 handshake.
			for _, name := range []string{"Upgrade", "Connection", "Sec-Websocket-Accept"} {
				if v := c.header.Get(name); v != "" {
					t.Errorf("%s: %s in an answer over HTTP/2", name, v)
				}
			}
		}
		writeWS(t, c, wsFrame{true, wsText, []byte("hällo")})
		wantWS(t, c, wsText, []byte("hällo"))
		writeWS(t, c, wsFrame{true, wsBinary, []byte{0, 1, 254, 255}})
		wantWS(t, c, wsBinary, []byte{0, 1, 254, 255})
		writeWS(t, c, wsFrame{true, wsText, nil})
		wantWS(t, c, wsText, nil)
	})
	t.Run("large", func(t *testing.T) {
		c := open(t, "/"+lib.name, wsHeader())
		// The echo comes while the message still goes, or the windows stop both.
		sent := make(chan error, 1)
		go func() { sent <- sendWS(c, wsFrame{true, wsBinary, large}) }() // ends when the windows or the connection do
		wantWS(t, c, wsBinary, large)
		if err := <-sent; err != nil {
			t.Error(err)
		}
	})
	t.Run("fragments", func(t *testing.T) {
		c := open(t, "/"+lib.name, wsHeader())
		writeWS(t, c, wsFrame{false, wsText, []byte("one ")})
		writeWS(t, c, wsFrame{false, wsContinuation, []byte("two ")})
		writeWS(t, c, wsFrame{true, wsContinuation, []byte("three")})
		if lib.eachFragment {
			wantWS(t, c, wsText, []byte("one "))
			wantWS(t, c, wsText, []byte("two "))
			wantWS(t, c, wsText, []byte("three"))
		} else {
			wantWS(t, c, wsText, []byte("one two three"))
		}
	})
	t.Run("ping", func(t *testing.T) {
		c := open(t, "/"+lib.name, wsHeader())
		writeWS(t, c, wsFrame{true, wsPing, []byte("are you there?")})
		wantWS(t, c, wsPong, []byte("are you there?"))
		writeWS(t, c, wsFrame{true, wsText, []byte("after")})
		wantWS(t, c, wsText, []byte("after"))
	})
	t.Run("close", func(t *testing.T) {
		c := open(t, "/"+lib.name, wsHeader())
		writeWS(t, c, wsFrame{true, wsClose, closePayload(4000, "enough")})
		f, err := readWS(c)
		if err != nil {
			t.Fatal(err)
		}
		if f.opcode != wsClose || len(f.payload) < 2 || !bytes.Equal(f.payload[:2], closePayload(lib.closeReply, "")) {
			t.Errorf("answer to Close: opcode %#x %q, want code %d", f.opcode, f.payload, lib.closeReply)
		}
		// The handler closes its connection: the stream ends, cleanly.
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("after the Close: %v, want EOF", err)
		}
		b.running.Wait()
	})
	t.Run("client dies", func(t *testing.T) {
		c := open(t, "/"+lib.name, wsHeader())
		writeWS(t, c, wsFrame{true, wsText, []byte("last words")})
		wantWS(t, c, wsText, []byte("last words"))
		c.abort()
		b.running.Wait() // the handler saw it
	})
	t.Run("subprotocol", func(t *testing.T) {
		c := open(t, "/"+lib.name, wsHeader("Sec-Websocket-Protocol", "superchat, chat"))
		if got := c.header.Get("Sec-WebSocket-Protocol"); got != "chat" {
			t.Errorf("subprotocol %q, want chat", got)
		}
	})
	t.Run("foreign origin", func(t *testing.T) {
		c := carrier.open(t, b, "/"+lib.name, wsHeader("Origin", "https://elsewhere.example"))
		if c.status != lib.wrongOrigin {
			t.Errorf("status %d, want %d", c.status, lib.wrongOrigin)
		}
		if _, err := io.ReadAll(c); err != nil {
			t.Errorf("the refusal's body: %v", err)
		}
	})
	t.Run("other version", func(t *testing.T) {
		h := wsHeader()
		h.Set("Sec-WebSocket-Version", "12")
		c := carrier.open(t, b, "/"+lib.name, h)
		if c.status != lib.noVersionAnswer {
			t.Errorf("status %d, want %d", c.status, lib.noVersionAnswer)
		}
	})
	t.Run("middleware", func(t *testing.T) {
		c := open(t, "/logged/"+lib.name, wsHeader("Origin", same))
		writeWS(t, c, wsFrame{true, wsText, []byte("wrapped")})
		wantWS(t, c, wsText, []byte("wrapped"))
		if !lib.findsUnwrap {
			return
		}
		c = open(t, "/unwrapped/"+lib.name, wsHeader("Origin", same))
		writeWS(t, c, wsFrame{true, wsText, []byte("unwrapped")})
		wantWS(t, c, wsText, []byte("unwrapped"))
	})
	if carrier.name == "HTTP2" {
		t.Run("side by side", func(t *testing.T) { testSideBySide(t, b, lib) })
	}
}

// testSideBySide talks with several WebSockets and asks for pages, all on one
// HTTP/2 connection at once.
func testSideBySide(t *testing.T, b *bridge, lib wsLibrary) {
	if v := b.client(t).setting(http2.SettingEnableConnectProtocol); v != 1 {
		t.Errorf("SETTINGS_ENABLE_CONNECT_PROTOCOL is %d", v)
	}
	var all sync.WaitGroup
	for i := range 4 {
		c := openH2(t, b, "/"+lib.name, wsHeader())
		c.wantOpen(t, "HTTP2")
		all.Go(func() {
			for round := range 50 {
				message := fmt.Appendf(nil, "socket %d round %d", i, round)
				if err := sendWS(c, wsFrame{true, wsText, message}); err != nil {
					t.Error(err)
					return
				}
				if err := expectWS(c, wsText, message); err != nil {
					t.Error(err)
					return
				}
			}
		})
		all.Go(func() {
			for range 20 {
				st, err := b.client(t).request(true, ":method", "GET", ":scheme", "https", ":path", "/page", ":authority", b.addr)
				if err != nil {
					t.Error(err)
					return
				}
				if body, err := io.ReadAll(st); err != nil || st.status != "200" || string(body) != "GET HTTP/2.0" {
					t.Errorf("page: status %s, %q, %v", st.status, body, err)
				}
			}
		})
	}
	all.Wait()
}
