package h2wt

import (
	"bytes"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2test"
)

const switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\n\r\n"

// hijacked starts a server whose handler hijacks and accepts every WebSocket,
// and returns the connection of the first, accepted.
func hijacked(t *testing.T, cfg *Config) (*testServer, *h2test.Peer, net.Conn) {
	t.Helper()
	conns := make(chan net.Conn, 10)
	srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nc, brw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		brw.WriteString(switching)
		brw.Flush()
		conns <- nc
	}), cfg)
	p, _ := srv.peer()
	p.WriteHeaders(1, false, websocketFields...)
	wantStatus(t, p, 1, "200", false)
	return srv, p, <-conns
}

func TestBridge(t *testing.T) {
	bubble(t, "the request as a handler sees it", func(t *testing.T) {
		var got *http.Request
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got = r }), nil)
		defer srv.stop()
		p, _ := srv.peer()
		defer p.Close()
		p.WriteHeaders(1, false, append(websocketFields, "origin", "https://example.com", "sec-websocket-protocol", "chat", "content-length", "0")...)
		p.SkipUntil("answer", func(f h2test.Frame) bool { _, ok := f.(h2test.Headers); return ok })
		synctest.Wait()
		r := got
		if r.Method != "GET" || r.Proto != "HTTP/1.1" || r.ProtoMajor != 1 || r.ProtoMinor != 1 || r.Host != "example.com" ||
			r.URL.Path != "/ws" || r.RequestURI != "/ws" || r.ContentLength != 0 || r.Body != http.NoBody || r.TLS == nil {
			t.Errorf("request %+v", r)
		}
		for name, want := range map[string]string{"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
			"Sec-WebSocket-Protocol": "chat", "Origin": "https://example.com", "Content-Length": ""} {
			if g := r.Header.Get(name); g != want {
				t.Errorf("%s %q, want %q", name, g, want)
			}
		}
		if len(r.Header.Get("Sec-WebSocket-Key")) != 24 || len(r.Header[":protocol"]) != 0 {
			t.Errorf("header %v", r.Header)
		}
	})
	bubble(t, "101 on the hijacked connection becomes 200, and bytes go both ways", func(t *testing.T) {
		srv, p, nc := hijacked(t, nil)
		defer srv.stop()
		defer p.Close()
		if n, err := io.WriteString(nc, "hello"); n != 5 || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
		p.WantData("to the client", 1, false, "hello")
		p.WriteData(1, false, "world")
		b := make([]byte, 3)
		for _, want := range []string{"wor", "ld"} {
			if n, err := nc.Read(b); string(b[:n]) != want || err != nil {
				t.Errorf("Read = %q, %v", b[:n], err)
			}
		}
		p.WriteData(1, true, "!")
		if b, err := io.ReadAll(nc); string(b) != "!" || err != nil {
			t.Errorf("ReadAll = %q, %v", b, err)
		}
		if nc.LocalAddr() == nil || nc.RemoteAddr().String() != "192.0.2.1:50000" {
			t.Errorf("addresses %v, %v", nc.LocalAddr(), nc.RemoteAddr())
		}
		nc.Close()
		p.WantData("Close ends the stream", 1, true, "")
		p.WantIdle("it has ended both ways")
	})
	bubble(t, "the response's fields", func(t *testing.T) {
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			nc, _, _ := http.NewResponseController(w).Hijack()
			for _, c := range []byte(switching + "data") { // byte by byte
				nc.Write([]byte{c})
			}
		}), nil)
		defer srv.stop()
		p, _ := srv.peer()
		defer p.Close()
		p.WriteHeaders(1, false, websocketFields...)
		h := wantStatus(t, p, 1, "200", false)
		if h.Value("sec-websocket-protocol") != "chat" || h.Value("upgrade")+h.Value("connection")+h.Value("sec-websocket-accept") != "" {
			t.Errorf("fields %q", h.Fields)
		}
		data := ""
		for _, f := range p.Drain() {
			data += f.(h2test.Data).Data
		}
		if data != "data" {
			t.Errorf("data %q", data)
		}
	})
	for _, code := range []int{200, 403, 426} {
		bubble(t, "another status passes: "+http.StatusText(code), func(t *testing.T) {
			srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Error(w, "no", code)
				if _, _, err := http.NewResponseController(w).Hijack(); err == nil {
					t.Error("Hijack after the response succeeded")
				}
			}), nil)
			defer srv.stop()
			p, _ := srv.peer()
			defer p.Close()
			p.WriteHeaders(1, false, websocketFields...)
			h := p.WantHeaders("answer", 1)
			if h.Value(":status") != map[int]string{200: "200", 403: "403", 426: "426"}[code] || wantContent(t, p) != "no\n" {
				t.Errorf("answer %v", h)
			}
			p.WantRST("the client is to stop", 1, http2.ErrCodeNo)
		})
	}
	for _, tt := range []struct{ name, write string }{
		{"no HTTP", "hello\r\n\r\n"},
		{"too much", strings.Repeat("x", maxBridgeHead+1)},
		{"nothing", ""},
		{"a half", "HTTP/1.1 101 Switching"},
		{"less content than declared", "HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\nabc"},
	} {
		bubble(t, "a handler that does not answer: "+tt.name, func(t *testing.T) {
			var logged bytes.Buffer
			srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				nc, _, _ := http.NewResponseController(w).Hijack()
				io.WriteString(nc, tt.write)
				nc.Close()
			}), nil, func(hs *http.Server) { hs.ErrorLog = log.New(&logged, "", 0) })
			defer srv.stop()
			p, _ := srv.peer()
			defer p.Close()
			p.WriteHeaders(1, false, websocketFields...)
			p.WantRST("no answer", 1, http2.ErrCodeInternal)
			if !strings.Contains(logged.String(), "WebSocket handler") {
				t.Errorf("log %q", logged.String())
			}
		})
	}
	bubble(t, "a handler that hijacks and forgets the connection", func(t *testing.T) {
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).Hijack()
			if _, _, err := http.NewResponseController(w).Hijack(); !errors.Is(err, http.ErrHijacked) {
				t.Errorf("second Hijack: %v", err)
			}
			if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrHijacked) {
				t.Errorf("Write: %v", err)
			}
			panic("oh no")
		}), &Config{MaxConcurrentStreams: 1})
		defer srv.stop()
		p, _ := srv.peer()
		defer p.Close()
		for _, id := range []uint32{1, 3} {
			p.WriteHeaders(id, false, websocketFields...)
			p.WantRST("a panic closes it", id, http2.ErrCodeInternal)
		}
	})
	bubble(t, "WriteHeader(101) without Hijack ends with the handler", func(t *testing.T) {
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(101) }), nil)
		defer srv.stop()
		p, _ := srv.peer()
		defer p.Close()
		p.WriteHeaders(1, false, websocketFields...)
		wantStatus(t, p, 1, "200", false)
		p.WantData("end", 1, true, "")
	})
	bubble(t, "END_STREAM on the request gets 400", func(t *testing.T) {
		srv := newServer(t, http.NotFoundHandler(), nil)
		defer srv.stop()
		p, _ := srv.peer()
		defer p.Close()
		p.WriteHeaders(1, true, websocketFields...)
		wantStatus(t, p, 1, "400", true)
	})
	bubble(t, "DS-20 a handler that does not decide", func(t *testing.T) {
		var lines bytes.Buffer
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			if _, _, err := http.NewResponseController(w).Hijack(); err == nil {
				t.Error("Hijack after the answer succeeded")
			}
		}), &Config{UpgradeTimeout: time.Second, KeepAlive: -1,
			Logger: slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		defer srv.stop()
		p, _ := srv.peer()
		defer p.Close()
		p.WriteHeaders(1, false, websocketFields...)
		p.WantIdle("it has time")
		time.Sleep(time.Second)
		wantReject(t, p, 1, "503")
		synctest.Wait()
		if log := lines.String(); strings.Count(log, `"WebSocket refused"`) != 1 || !strings.Contains(log, "limit=upgrade-time") {
			t.Errorf("logged:\n%s", log)
		}
	})
	bubble(t, "trailers are malformed", func(t *testing.T) {
		srv, p, nc := hijacked(t, nil)
		defer srv.stop()
		defer p.Close()
		p.WriteHeaders(1, true, "x-a", "1")
		p.WantRST("malformed", 1, http2.ErrCodeProtocol)
		if _, err := nc.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("Read: %v", err)
		}
	})
	bubble(t, "a reset fails reads and writes", func(t *testing.T) {
		srv, p, nc := hijacked(t, nil)
		defer srv.stop()
		defer p.Close()
		p.WriteData(1, false, "unread")
		p.WriteRST(1, http2.ErrCodeCancel)
		synctest.Wait()
		if b, err := io.ReadAll(nc); err == nil {
			t.Errorf("ReadAll = %q, %v", b, err)
		}
		if _, err := nc.Write([]byte("x")); err == nil {
			t.Error("Write succeeded")
		}
		nc.Close()
	})
	bubble(t, "deadlines", func(t *testing.T) {
		srv, p, nc := hijacked(t, nil)
		defer srv.stop()
		defer p.Close()
		start := time.Now()
		nc.SetReadDeadline(start.Add(time.Second))
		if _, err := nc.Read(make([]byte, 1)); !isTimeout(err) || time.Since(start) != time.Second {
			t.Errorf("Read: %v after %v", err, time.Since(start))
		}
		nc.SetWriteDeadline(start.Add(2 * time.Second))
		n, err := nc.Write(make([]byte, 1<<20)) // more than the windows
		if !isTimeout(err) || time.Since(start) != 2*time.Second || n == 0 || n == 1<<20 {
			t.Errorf("Write = %d, %v after %v", n, err, time.Since(start))
		}
		nc.SetDeadline(time.Time{})
		p.WriteData(1, false, "x")
		if n, err := nc.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("Read after the deadline was renewed = %d, %v", n, err)
		}
		nc.SetDeadline(time.Now().Add(-1))
		p.WriteData(1, false, "x")
		if _, err := nc.Read(make([]byte, 1)); !isTimeout(err) {
			t.Errorf("Read behind the deadline: %v", err)
		}
	})
	bubble(t, "a closed WebSocket waits LingerTimeout for the client's end", func(t *testing.T) {
		srv, p, nc := hijacked(t, &Config{LingerTimeout: 5 * time.Second, KeepAlive: -1})
		defer srv.stop()
		defer p.Close()
		read := h2test.RunAsync(func() (int, error) { return nc.Read(make([]byte, 1)) })
		synctest.Wait()
		if err := nc.Close(); err != nil {
			t.Error(err)
		}
		if _, err := read.Result(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read: %v", err)
		}
		if _, err := nc.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write: %v", err)
		}
		if err := nc.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
		p.WantData("Close ends the stream", 1, true, "")
		p.WriteData(1, false, strings.Repeat("x", 16384))
		time.Sleep(5*time.Second - time.Nanosecond)
		p.WantIdle("what comes is dropped")
		time.Sleep(time.Nanosecond)
		p.WantRST("no longer", 1, http2.ErrCodeCancel)
	})
	bubble(t, "CloseWrite keeps reading", func(t *testing.T) {
		srv, p, nc := hijacked(t, nil)
		defer srv.stop()
		defer p.Close()
		nc.(interface{ CloseWrite() error }).CloseWrite()
		p.WantData("end", 1, true, "")
		p.WriteData(1, true, "late")
		if b, err := io.ReadAll(nc); string(b) != "late" || err != nil {
			t.Errorf("ReadAll = %q, %v", b, err)
		}
		nc.Close()
	})
	bubble(t, "DS-01 a WebSocket counts until its stream has ended", func(t *testing.T) {
		srv, p, nc := hijacked(t, &Config{MaxConcurrentStreams: 1})
		defer srv.stop()
		defer p.Close()
		p.WriteHeaders(3, false, websocketFields...)
		p.WantRST("one too many", 3, http2.ErrCodeRefusedStream)
		nc.Close()
		p.WantData("end", 1, true, "")
		p.WriteData(1, true, "")
		synctest.Wait()
		p.WriteHeaders(5, false, websocketFields...)
		wantStatus(t, p, 5, "200", false)
	})
}
