package wswt

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/internal/h2test"
	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
)

var _ HTTP2Conn = (*h2wt.ClientConn)(nil)

// http2Server is an http.Server in memory that speaks HTTP/2 and accepts sessions.
type http2Server struct {
	t        testing.TB
	hs       *http.Server
	srv      *Server
	upgraded <-chan accepted
	ln       *memconn.Listener
	cert     *testcert.Cert
	served   chan error
}

func newHTTP2Server(t testing.TB) *http2Server {
	t.Helper()
	s := &http2Server{t: t, srv: NewServer(nil), ln: memconn.Listen(nil), cert: testcert.New(t), served: make(chan error, 1)}
	var h http.Handler
	h, s.upgraded = upgradeHandler(s.srv, nil)
	s.hs = &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: s.cert.ServerConfig()}
	if err := h2wt.ConfigureServer(s.hs, nil); err != nil {
		t.Fatal(err)
	}
	go func() { s.served <- s.hs.Serve(tls.NewListener(s.ln, s.hs.TLSConfig)) }()
	return s
}

func (s *http2Server) dial() *tls.Conn {
	s.t.Helper()
	nc, err := s.ln.Dial(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return tls.Client(nc, s.cert.ClientConfig("example.com", "h2"))
}

func (s *http2Server) stop() {
	s.srv.Close()
	s.hs.Close()
	<-s.served
}

// raw opens a session from a scripted HTTP/2 client, on stream 1.
func (s *http2Server) raw() (*h2test.Peer, transport.Session) {
	p := h2test.NewClient(s.t, s.dial())
	p.Greet()
	p.WriteHeaders(1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "example.com", ":path", "/",
		"sec-websocket-version", "13", "sec-websocket-protocol", Subprotocol)
	p.WantHeaders("the acceptance", 1)
	return p, (<-s.upgraded).s
}

// wantNone wants that no session is counted.
func (s *http2Server) wantNone() {
	s.t.Helper()
	s.srv.mu.Lock()
	defer s.srv.mu.Unlock()
	if n := s.srv.budget.Held(); s.srv.count != 0 || len(s.srv.conns) != 0 || n != 0 {
		s.t.Errorf("%d connections are counted, %d kept, and %d bytes", s.srv.count, len(s.srv.conns), n)
	}
}

func TestHTTP2(t *testing.T) {
	t.Run("several sessions on a connection, and Shutdown", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newHTTP2Server(t)
			cc, err := h2wt.NewClientConn(t.Context(), s.dial(), nil)
			if err != nil {
				t.Fatal(err)
			}
			var clients, servers []transport.Session
			for range 3 {
				c, err := DialHTTP2(t.Context(), cc, "wss://example.com/x", nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				a := <-s.upgraded
				clients, servers = append(clients, c), append(servers, a.s)
			}
			for i := range clients {
				if err := transport.SendMessage(t.Context(), clients[i], []byte{byte(i)}); err != nil {
					t.Fatal(err)
				}
				if b, err := transport.ReceiveMessage(t.Context(), servers[i], 1); err != nil || b[0] != byte(i) {
					t.Fatalf("%v, %v", b, err)
				}
			}
			info := servers[0].Info()
			if info.Protocol != transport.WebSocket || info.TLS == nil || clients[0].Info().TLS == nil {
				t.Errorf("Info %+v", info)
			}
			keys := map[string]bool{}
			for i := range clients {
				if c, s := clients[i].Info().ID, servers[i].Info().ID; c != uint64(1+2*i) || s != c {
					t.Errorf("session IDs %d and %d, want that of stream %d", c, s, 1+2*i)
				}
				a, err1 := clients[i].ExportKeyingMaterial("label", nil, 32)
				b, err2 := servers[i].ExportKeyingMaterial("label", nil, 32)
				if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
					t.Errorf("both ends of session %d export %x (%v) and %x (%v)", i, a, err1, b, err2)
				}
				keys[string(a)] = true
			}
			if len(keys) != len(clients) {
				t.Error("sessions that share a connection export the same")
			}
			start := time.Now()
			if err := clients[0].CloseWithError(1, "a"); err != nil {
				t.Error(err)
			}
			if err := servers[1].CloseWithError(2, "b"); err != nil {
				t.Error(err)
			}
			for i, want := range []transport.SessionError{{Code: 1, Reason: "a"}, {Code: 2, Reason: "b"}} {
				other := []transport.Session{servers[0], clients[1]}[i]
				<-other.Context().Done()
				if se, ok := errors.AsType[*transport.SessionError](context.Cause(other.Context())); !ok || se.Code != want.Code || se.Reason != want.Reason || se.Err != nil {
					t.Errorf("the other side ended with %+v", se)
				}
			}
			clients[2].CloseWithError(0, "")
			cc.Close()
			if err := s.hs.Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			if d := time.Since(start); d > time.Second {
				t.Errorf("all had ended after %v", d) // no stream waited for a timeout
			}
			<-s.served
			s.srv.Close()
		})
	})
	t.Run("the stream ends in order", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newHTTP2Server(t)
			defer s.stop()
			p := h2test.NewClient(t, s.dial())
			defer p.Close()
			p.Greet()
			p.WriteHeaders(1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "example.com", ":path", "/",
				"sec-websocket-version", "13", "sec-websocket-extensions", "permessage-deflate", "sec-websocket-protocol", Subprotocol)
			answer := p.WantHeaders("the acceptance", 1)
			if fields := strings.Join(answer.Fields, " "); !strings.Contains(fields, ":status 200") || !strings.Contains(fields, "sec-websocket-protocol "+Subprotocol) ||
				strings.Contains(fields, "extensions") || strings.Contains(fields, "sec-websocket-accept") {
				t.Errorf("response %q", answer.Fields)
			}
			a := <-s.upgraded
			raw := &rawPeer{t: t, client: true}
			p.WriteData(1, false, string(raw.encode(ws.OpBinary, true, closeCapsule(3, "")))+string(raw.encode(ws.OpClose, true, closePayload(1000, ""))))
			<-a.s.Context().Done()
			var got string
			end := false
			for !end {
				switch f := p.Next("the answer").(type) {
				case h2test.Data:
					got += f.Data
					end = f.EndStream
				case h2test.RSTStream:
					t.Fatalf("%+v", f)
				}
			}
			if !strings.HasSuffix(got, string(new(frameWriter).appendFrame(nil, ws.OpClose, closePayload(1000, "")))) {
				t.Errorf("the server sent %x", got)
			}
			p.WriteData(1, true, "")
			synctest.Wait()
			for _, f := range p.Drain() {
				if rst, ok := f.(h2test.RSTStream); ok {
					t.Errorf("%+v", rst)
				}
			}
		})
	})
	t.Run("the connection is lost", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newHTTP2Server(t)
			defer s.stop()
			cc, err := h2wt.NewClientConn(t.Context(), s.dial(), nil)
			if err != nil {
				t.Fatal(err)
			}
			c, err := DialHTTP2(t.Context(), cc, "https://example.com/", nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			a := <-s.upgraded
			cc.Close()
			for _, session := range []transport.Session{c, a.s} {
				<-session.Context().Done()
				if se, ok := errors.AsType[*transport.SessionError](context.Cause(session.Context())); !ok || se.Err == nil || !se.Remote {
					t.Errorf("ended with %+v", se)
				}
			}
		})
	})
	t.Run("the stream is reset, and GOAWAY", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newHTTP2Server(t)
			defer s.stop()
			p, session := s.raw()
			defer p.Close()
			p.WriteGoAway(0, 0)
			time.Sleep(time.Second)
			if err := context.Cause(session.Context()); err != nil {
				t.Fatalf("GOAWAY ended the session with %v", err)
			}
			const internal = 2 // INTERNAL_ERROR
			p.WriteRST(1, internal)
			synctest.Wait()
			if re, ok := errors.AsType[*transport.ResetError](context.Cause(session.Context())); !ok || re.Code != internal || re.Protocol != transport.HTTP2 {
				t.Errorf("ended with %v", context.Cause(session.Context()))
			}
			s.wantNone()
		})
	})
	t.Run("a peer that gives no window", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newHTTP2Server(t)
			defer s.stop()
			p, session := s.raw()
			defer p.Close()
			start := time.Now()
			for range 5 { // more than window and buffer take
				x, err := session.OpenUniStream(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := x.Write(make([]byte, 60_000)); err != nil {
					t.Fatal(err)
				}
			}
			closed := make(chan struct{})
			go func() {
				defer close(closed)
				s.srv.Close()
			}()
			<-closed
			if d := time.Since(start); d > 2*transport.DefaultCloseTimeout {
				t.Errorf("Close took %v", d)
			}
			s.wantNone()
		})
	})
	t.Run("a silent peer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newHTTP2Server(t)
			defer s.stop()
			p := h2test.NewClient(t, s.dial())
			defer p.Close()
			p.Greet()
			start := time.Now()
			p.WriteHeaders(1, false, ":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", "example.com", ":path", "/",
				"sec-websocket-version", "13", "sec-websocket-protocol", Subprotocol)
			a := <-s.upgraded
			stop, stopped := make(chan struct{}), make(chan struct{})
			defer func() {
				close(stop)
				<-stopped
			}()
			go func() { // the HTTP/2 connection is alive, the WebSocket is not
				defer close(stopped)
				for i := byte(0); ; i++ {
					select {
					case <-stop:
						return
					case <-time.After(time.Second):
						p.WritePing(false, [8]byte{i})
					}
				}
			}()
			<-a.s.Context().Done()
			if d, err := time.Since(start), context.Cause(a.s.Context()); d != DefaultKeepAlive+DefaultPingTimeout || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("ended after %v with %v", d, err)
			}
		})
	})
}

// fakeHTTP2 answers OpenWebSocket.
type fakeHTTP2 struct {
	url    string
	header http.Header
	nc     net.Conn
	answer http.Header
	err    error
	wait   bool // for the context
}

func (f *fakeHTTP2) OpenWebSocket(ctx context.Context, rawURL string, header http.Header) (net.Conn, http.Header, error) {
	f.url, f.header = rawURL, header
	if f.wait {
		<-ctx.Done()
		return nil, nil, context.Cause(ctx)
	}
	return f.nc, f.answer, f.err
}

func TestDialHTTP2(t *testing.T) {
	opts := &transport.DialOptions{Protocols: []string{"a"}, Origin: "https://o.example", Header: http.Header{"x-y": {"z"}}}
	t.Run("the request, and a connection without TLS state", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			a, b := memconn.Pipe(nil)
			f := &fakeHTTP2{nc: a, answer: http.Header{fieldProtocol: {"towpath.capsule.v1.YQ"}}}
			s, err := DialHTTP2(t.Context(), f, "wss://example.com/p", opts, nil)
			if err != nil {
				t.Fatal(err)
			}
			want := http.Header{"Origin": {"https://o.example"}, "X-Y": {"z"}, fieldProtocol: {"towpath.capsule.v1.YQ, towpath.capsule.v1"}}
			if f.url != "https://example.com/p" || len(f.header) != len(want) {
				t.Errorf("OpenWebSocket(%q, %v)", f.url, f.header)
			}
			for name, values := range want {
				if f.header.Get(name) != values[0] {
					t.Errorf("%s: %q, want %q", name, f.header.Get(name), values)
				}
			}
			if s.Info().TLS != nil || s.Info().ApplicationProtocol != "a" {
				t.Errorf("Info %+v", s.Info())
			}
			if _, err := s.ExportKeyingMaterial("x", nil, 1); !errors.Is(err, transport.ErrUnsupported) {
				t.Errorf("ExportKeyingMaterial: %v", err)
			}
			b.Close()
			<-s.Context().Done()
		})
	})
	for name, tt := range map[string]struct {
		answer http.Header
		what   transport.Violation
	}{
		"no subprotocol":      {http.Header{}, transport.ViolationALPN},
		"another subprotocol": {http.Header{fieldProtocol: {"chat"}}, transport.ViolationALPN},
		"an extension":        {http.Header{fieldProtocol: {Subprotocol}, fieldExtensions: {"permessage-deflate"}}, transport.ViolationMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := memconn.Pipe(nil)
			_, err := DialHTTP2(t.Context(), &fakeHTTP2{nc: a, answer: tt.answer}, "https://example.com/", opts, nil)
			if pe, ok := errors.AsType[*transport.ProtocolError](err); !ok || pe.Violation != tt.what {
				t.Errorf("DialHTTP2: %v", err)
			}
			if _, err := b.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("the stream is still there: %v", err)
			}
		})
	}
	t.Run("an error", func(t *testing.T) {
		why := &transport.RejectedError{StatusCode: 403}
		if _, err := DialHTTP2(t.Context(), &fakeHTTP2{err: why}, "https://example.com/", opts, nil); err != error(why) {
			t.Errorf("DialHTTP2: %v", err)
		}
	})
	t.Run("no answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			if _, err := DialHTTP2(t.Context(), &fakeHTTP2{wait: true}, "https://example.com/", opts, nil); err != errHandshakeTimeout || time.Since(start) != DefaultHandshakeTimeout {
				t.Errorf("DialHTTP2: %v after %v", err, time.Since(start))
			}
		})
	})
}
