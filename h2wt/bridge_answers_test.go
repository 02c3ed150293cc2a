package h2wt

import (
	"io"
	"net/http"
	"testing"

	"github.com/towpath-go/towpath/internal/h2test"
)

// websocketFields are those of a WebSocket's CONNECT (RFC 8441 section 5.1).
var websocketFields = []string{
	":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "example.com", ":path", "/ws",
	"sec-websocket-version", "13",
}

// TestBridgeAnswers has handlers that answer the handshake in the ways that
// WebSocket libraries do.
func TestBridgeAnswers(t *testing.T) {
	hijack := func(t *testing.T, w http.ResponseWriter) io.WriteCloser {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
		}
		return c
	}
	bubble(t, "WriteHeader(101), then bytes on the hijacked connection", func(t *testing.T) {
		s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Upgrade", "websocket")
			w.Header().Set("Connection", "Upgrade")
			w.WriteHeader(http.StatusSwitchingProtocols)
			c := hijack(t, w)
			io.WriteString(c, "after")
			c.Close()
		}), nil)
		defer s.stop()
		p, _ := s.peer()
		defer p.Close()
		p.WriteHeaders(1, false, websocketFields...)
		if h := p.WantHeaders("101 becomes 200", 1); h.Value(":status") != "200" || h.EndStream {
			t.Errorf("answer %v", h)
		}
		// What the handler wrote is not HTTP/1.1 any more; Close ends the stream.
		if got := wantContent(t, p); got != "after" {
			t.Errorf("content %q", got)
		}
	})
	bubble(t, "a refusal with its length, never closed", func(t *testing.T) {
		s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c := hijack(t, w)
			io.WriteString(c, "HTTP/1.1 426 Upgrade Required\r\nContent-")
			io.WriteString(c, "Length: 4\r\n\r\nno")
			io.WriteString(c, "pe")
			if _, err := io.WriteString(c, "more"); err == nil {
				t.Error("a Write after the whole response succeeded")
			}
		}), nil)
		defer s.stop()
		p, _ := s.peer()
		defer p.Close()
		p.WriteHeaders(1, false, websocketFields...)
		wantRefusal(t, p, "nope")
	})
	bubble(t, "a refusal without a length, closed", func(t *testing.T) {
		s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c := hijack(t, w)
			io.WriteString(c, "HTTP/1.1 426 Upgrade Required\r\n\r\nnope")
			c.Close()
		}), nil)
		defer s.stop()
		p, _ := s.peer()
		defer p.Close()
		p.WriteHeaders(1, false, websocketFields...)
		wantRefusal(t, p, "nope")
	})
}

func wantRefusal(t *testing.T, p *h2test.Peer, body string) {
	t.Helper()
	if h := p.WantHeaders("the handler's answer", 1); h.Value(":status") != "426" || h.EndStream {
		t.Errorf("answer %v", h)
	}
	if got := wantContent(t, p); got != body {
		t.Errorf("content %q, want %q", got, body)
	}
}

// wantContent returns the content of stream 1 up to its end, which may come in a
// frame of its own: the writer runs beside the end of the handler.
func wantContent(t *testing.T, p *h2test.Peer) string {
	t.Helper()
	var got string
	for {
		d, ok := p.Next("the content").(h2test.Data)
		if !ok {
			t.Fatal("something else than DATA")
		}
		got += d.Data
		if d.EndStream {
			return got
		}
	}
}
