package h2wt

import (
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/transport"
)

func TestOpenWebSocketConn(t *testing.T) {
	bubble(t, "bytes go both ways, and each side ends on its own", func(t *testing.T) {
		p, c, nc := openedWebSocket(t, Config{KeepAlive: -1})
		defer p.Close()
		defer c.Close()
		if n, err := io.WriteString(nc, "hello"); n != 5 || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
		p.WantData("to the server", 1, false, "hello")
		p.WriteData(1, false, "world")
		b := make([]byte, 3)
		for _, want := range []string{"wor", "ld"} {
			if n, err := nc.Read(b); string(b[:n]) != want || err != nil {
				t.Errorf("Read = %q, %v", b[:n], err)
			}
		}
		ws := nc.(websocketConnection)
		if ws.LocalAddr() == nil || ws.RemoteAddr() == nil || ws.ConnectionState().NegotiatedProtocol != "h2" {
			t.Errorf("%v, %v, %v", ws.LocalAddr(), ws.RemoteAddr(), ws.ConnectionState().NegotiatedProtocol)
		}
		if rtt, ok := ws.RTT(); ok != (rtt != 0) {
			t.Errorf("RTT %v, %v", rtt, ok)
		}
		if err := ws.CloseWrite(); err != nil {
			t.Error(err)
		}
		p.WantData("CloseWrite", 1, true, "")
		if _, err := nc.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write after CloseWrite: %v", err)
		}
		p.WriteData(1, true, "late")
		if b, err := io.ReadAll(nc); string(b) != "late" || err != nil {
			t.Errorf("ReadAll = %q, %v", b, err)
		}
		if err := nc.Close(); err != nil {
			t.Error(err)
		}
		if err := nc.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
		p.WantIdle("it has ended both ways")
	})
	bubble(t, "writes are bounded by the server's credit and 64 KiB", func(t *testing.T) {
		p, c, nc := openedWebSocket(t, Config{KeepAlive: -1})
		defer p.Close()
		defer c.Close()
		nc.SetWriteDeadline(time.Now().Add(time.Second))
		const window = 65535 // of the stream, and of the connection
		n, err := nc.Write(make([]byte, 1<<20))
		if !isTimeout(err) || n != window+sendBufferSize {
			t.Errorf("Write = %d, %v, want %d", n, err, window+sendBufferSize)
		}
		nc.SetWriteDeadline(time.Time{})
		write := h2test.RunAsync(func() (int, error) { return nc.Write(make([]byte, 100)) })
		if write.Done() {
			t.Fatal("Write did not wait")
		}
		p.WriteWindowUpdate(0, 1<<20)
		p.WriteWindowUpdate(1, 1<<20)
		if n, err := write.Result(); n != 100 || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
		sum := 0
		for _, f := range p.Drain() {
			sum += len(f.(h2test.Data).Data)
		}
		if sum != window+sendBufferSize+100 {
			t.Errorf("%d bytes came", sum)
		}
	})
	bubble(t, "what is not read holds the server up", func(t *testing.T) {
		p, c, nc := openedWebSocket(t, Config{KeepAlive: -1})
		defer p.Close()
		defer c.Close()
		p.Ignore = func(f h2test.Frame) bool { u, ok := f.(h2test.WindowUpdate); return ok && u.StreamID == 0 }
		const window = 256 << 10
		for range window / 16384 {
			p.WriteData(1, false, strings.Repeat("x", 16384))
			synctest.Wait()
		}
		p.WantIdle("no credit for bytes that nobody has read")
		if _, err := io.ReadFull(nc, make([]byte, window)); err != nil {
			t.Fatal(err)
		}
		credit := uint32(0)
		for _, f := range p.Drain() {
			credit += f.(h2test.WindowUpdate).Increment
		}
		if credit < window/2 {
			t.Errorf("%d bytes of credit came back", credit)
		}
	})
	bubble(t, "one byte more than the window ends the stream", func(t *testing.T) {
		p, c, nc := openedWebSocket(t, Config{KeepAlive: -1})
		defer p.Close()
		defer c.Close()
		p.Ignore = func(f h2test.Frame) bool { _, ok := f.(h2test.WindowUpdate); return ok }
		for range 256 << 10 / 16384 {
			p.WriteData(1, false, strings.Repeat("x", 16384))
			synctest.Wait()
		}
		p.WriteData(1, false, "x")
		p.WantRST("over the window", 1, http2.ErrCodeFlowControl)
		if n, err := io.Copy(io.Discard, nc); err == nil || n != 256<<10 {
			t.Errorf("%d bytes were read, then %v", n, err)
		}
	})
	for _, tt := range []struct {
		name string
		end  func(p *h2test.Peer)
		code uint64
	}{
		{"a reset fails reads and writes", func(p *h2test.Peer) { p.WriteRST(1, http2.ErrCodeCancel) }, 8},
		{"GOAWAY and the end of the connection", func(p *h2test.Peer) { p.WriteGoAway(0, http2.ErrCodeInternal) }, 7},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			p, c, nc := openedWebSocket(t, Config{KeepAlive: -1})
			defer p.Close()
			defer c.Close()
			read := h2test.RunAsync(func() (int, error) { return nc.Read(make([]byte, 1)) })
			write := h2test.RunAsync(func() (int, error) { return nc.Write(make([]byte, 1<<20)) })
			if read.Done() || write.Done() {
				t.Fatal("they did not wait")
			}
			tt.end(p)
			for _, r := range []*h2test.Result[int]{read, write} {
				_, err := r.Result()
				if re, ok := errors.AsType[*transport.ResetError](err); !ok || re.Code != tt.code {
					t.Errorf("%v, want code %d", err, tt.code)
				}
			}
			if err := nc.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
	bubble(t, "trailers are malformed", func(t *testing.T) {
		p, c, nc := openedWebSocket(t, Config{KeepAlive: -1})
		defer p.Close()
		defer c.Close()
		p.WriteHeaders(1, true, "x-a", "1")
		p.WantRST("malformed", 1, http2.ErrCodeProtocol)
		if _, err := nc.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("Read: %v", err)
		}
	})
	bubble(t, "Close sends what was written, and waits LingerTimeout for the server's end", func(t *testing.T) {
		p, c, nc := openedWebSocket(t, Config{LingerTimeout: 5 * time.Second, KeepAlive: -1})
		defer p.Close()
		defer c.Close()
		read := h2test.RunAsync(func() (int, error) { return nc.Read(make([]byte, 1)) })
		if read.Done() {
			t.Fatal("Read returned")
		}
		io.WriteString(nc, "bye")
		if err := nc.Close(); err != nil {
			t.Error(err)
		}
		if _, err := read.Result(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read: %v", err)
		}
		if _, err := nc.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write: %v", err)
		}
		data := ""
		for _, f := range p.Drain() {
			data += f.(h2test.Data).Data
			if f.(h2test.Data).EndStream {
				data += "|"
			}
		}
		if data != "bye|" {
			t.Errorf("sent %q", data)
		}
		time.Sleep(5*time.Second - time.Nanosecond)
		p.WantIdle("it may still end")
		time.Sleep(time.Nanosecond)
		p.WantRST("no longer", 1, http2.ErrCodeCancel)
		p.WantIdle("once")
	})
	bubble(t, "read deadline", func(t *testing.T) {
		p, c, nc := openedWebSocket(t, Config{KeepAlive: -1})
		defer p.Close()
		defer c.Close()
		start := time.Now()
		nc.SetDeadline(start.Add(time.Second))
		if _, err := nc.Read(make([]byte, 1)); !isTimeout(err) || time.Since(start) != time.Second {
			t.Errorf("Read: %v after %v", err, time.Since(start))
		}
		synctest.Wait()
		if _, err := nc.Write([]byte("x")); !isTimeout(err) {
			t.Errorf("Write: %v", err)
		}
		nc.SetDeadline(time.Time{})
		p.WriteData(1, false, "x")
		if n, err := nc.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("Read after the deadline was renewed = %d, %v", n, err)
		}
	})
	bubble(t, "no goroutine of its own", func(t *testing.T) {
		p, c, _ := openedWebSocket(t, Config{KeepAlive: -1})
		defer p.Close()
		defer c.Close()
		synctest.Wait()
		before := runtime.NumGoroutine()
		for id := uint32(3); id < 103; id += 2 {
			result := openAsync(t.Context(), c, nil)
			p.WantHeaders("CONNECT", id)
			p.WriteHeaders(id, false, ":status", "200")
			if _, err := result.Result(); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := h2test.Goroutines(before); n > before {
			t.Errorf("%d goroutines more", n-before)
		}
	})
}

// A WebSocket of this package's client through the bridge of its server.
func TestOpenWebSocketBridge(t *testing.T) {
	bubble(t, "a handler that echoes", func(t *testing.T) {
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Sec-WebSocket-Protocol") != "chat" {
				http.Error(w, "no such protocol", http.StatusBadRequest)
				return
			}
			nc, brw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			brw.WriteString(switching)
			brw.Flush()
			io.Copy(nc, nc)
			nc.Close()
		}), nil)
		defer srv.stop()
		c := srv.conn(&Config{AcceptWebSocketOnly: true})
		defer c.Close()
		nc, h, err := c.OpenWebSocket(t.Context(), "wss://example.com/ws", http.Header{"Sec-WebSocket-Protocol": {"chat"}})
		if err != nil || h.Get("Sec-WebSocket-Protocol") != "chat" {
			t.Fatalf("OpenWebSocket: %v, %v", h, err)
		}
		const size = 3 << 20 // more than any window at the start
		sent := h2test.RunAsync(func() (int, error) {
			n, err := nc.Write(make([]byte, size))
			nc.(websocketConnection).CloseWrite()
			return n, err
		})
		if n, err := io.Copy(io.Discard, nc); n != size || err != nil {
			t.Errorf("%d bytes came back, %v", n, err)
		}
		if n, err := sent.Result(); n != size || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
		nc.Close()
		_, _, err = c.OpenWebSocket(t.Context(), "wss://example.com/ws", nil)
		if re, ok := errors.AsType[*transport.RejectedError](err); !ok || re.StatusCode != 400 || string(re.Body) != "no such protocol\n" {
			t.Errorf("OpenWebSocket: %v", err)
		}
	})
}
