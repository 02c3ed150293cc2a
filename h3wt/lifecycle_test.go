package h3wt

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
)

func TestGoAway(t *testing.T) {
	// http3's own server, which sends GOAWAY.
	bubble(t, "H3-038 H3-039 a server that goes away", func(t *testing.T) {
		n := simulated(t)
		cert := testcert.New(t)
		streams := make(chan *http3.Stream, 1)
		limits := (&Config{MinDraft: Draft15}).settle()
		srv := &http3.Server{
			TLSConfig:          cert.ServerConfig("h3"),
			EnableDatagrams:    true,
			QUICConfig:         fullQUIC,
			AdditionalSettings: limits.settings(true),
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				str := w.(http3.HTTPStreamer).HTTPStream()
				streams <- str
				io.Copy(io.Discard, str)
				str.Close()
			}),
		}
		pc := n.listen(t)
		go srv.Serve(pc)
		socket := n.listen(t)
		tr := &quic.Transport{Conn: socket}
		var cfg *Config
		qc, err := tr.Dial(context.Background(), pc.LocalAddr(), cert.ClientConfig("example.com", "h3"), cfg.QUIC(nil))
		if err != nil {
			t.Fatal(err)
		}
		cc, err := NewClientConn(context.Background(), qc, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := cc.Dial(context.Background(), testURL, nil)
		if err != nil {
			t.Fatal(err)
		}
		<-streams
		time.Sleep(10 * time.Second)
		select {
		case <-s.Draining():
			t.Fatal("draining before GOAWAY")
		default:
		}
		if !cc.CanTakeNewSession() {
			t.Error("no new session before GOAWAY")
		}
		start := time.Now()
		shut := make(chan error, 1)
		go func() { shut <- srv.Shutdown(context.Background()) }()
		<-s.Draining()
		if d := time.Since(start); d > pollGoAway+100*time.Millisecond {
			t.Errorf("the session was told after %v", d)
		}
		if s.Context().Err() != nil || cc.CanTakeNewSession() {
			t.Error("the session ended, or a new one is allowed")
		}
		_, err = cc.Dial(context.Background(), testURL, nil)
		if _, ok := errors.AsType[*transport.NotProcessedError](err); !ok {
			t.Errorf("Dial: %v", err)
		}
		if err := s.SendDatagram([]byte("goes on")); err != nil {
			t.Error(err)
		}
		s.CloseWithError(0, "")
		<-cc.Done()
		if err := <-shut; err != nil {
			t.Error(err)
		}
		tr.Close()
		socket.Close()
		pc.Close()
		n.stop()
	})
}

func TestShutdown(t *testing.T) {
	bubble(t, "FW-13 Shutdown drains sessions, refuses new ones, and ends with the last", func(t *testing.T) {
		handler, accepted := sessions(t, nil)
		release := make(chan struct{})
		mux := http.NewServeMux()
		mux.Handle("/session", handler)
		mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) { <-release; io.WriteString(w, "done") })
		h := serve(t, simulated(t), &Server{Handler: mux})
		defer h.stop()
		cc, idle := h.client(nil), h.client(nil)
		s, err := cc.Dial(context.Background(), testURL, nil)
		if err != nil {
			t.Fatal(err)
		}
		served := <-accepted
		body := make(chan string, 1)
		go func() {
			r, _ := http.NewRequest(http.MethodGet, "https://example.com/slow", nil)
			rsp, err := cc.raw.RoundTrip(r)
			if err != nil {
				t.Error(err)
				body <- ""
				return
			}
			b, _ := io.ReadAll(rsp.Body)
			body <- string(b)
		}()
		time.Sleep(time.Second)
		shut := make(chan error, 1)
		go func() { shut <- h.server.Shutdown(context.Background()) }()
		<-s.Draining()
		<-idle.Done() // had nothing on it
		_, err = cc.Dial(context.Background(), testURL, nil)
		if _, ok := errors.AsType[*transport.NotProcessedError](err); !ok {
			t.Errorf("Dial: %v", err)
		}
		if _, err := cc.raw.RoundTrip(newGet(t)); err == nil {
			t.Error("a request was served")
		}
		s.SendDatagram([]byte("still"))
		if _, err := served.ReceiveDatagram(context.Background()); err != nil {
			t.Error(err)
		}
		s.CloseWithError(1, "as asked")
		wantSessionEnd(t, served, transport.SessionError{Code: 1, Reason: "as asked", Remote: true})
		time.Sleep(10 * time.Second)
		select {
		case <-shut:
			t.Error("Shutdown did not wait for the request")
		default:
		}
		close(release)
		if got := <-body; got != "done" {
			t.Errorf("the request got %q", got)
		}
		if err := <-shut; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		<-cc.Done()
	})
	bubble(t, "Shutdown ends with its context", func(t *testing.T) {
		handler, accepted := sessions(t, nil)
		h := serve(t, simulated(t), &Server{Handler: handler})
		defer h.stop()
		cc := h.client(nil)
		s, err := cc.Dial(context.Background(), testURL, nil)
		if err != nil {
			t.Fatal(err)
		}
		served := <-accepted
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		start := time.Now()
		if err := h.server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
		if d := time.Since(start); d > 3*time.Second+100*time.Millisecond {
			t.Errorf("Shutdown took %v", d)
		}
		wantSessionEnd(t, served, transport.SessionError{Err: net.ErrClosed})
		<-s.Context().Done()
		if e, ok := errors.AsType[*transport.ResetError](context.Cause(s.Context())); !ok || !e.Connection || e.Name != "H3_NO_ERROR" {
			t.Errorf("the client's session ended with %v", context.Cause(s.Context()))
		}
		<-cc.Done()
		if err := h.server.Shutdown(context.Background()); err != nil {
			t.Errorf("a second Shutdown: %v", err)
		}
	})
	bubble(t, "a session accepted during Shutdown is asked to drain", func(t *testing.T) {
		enter, leave := make(chan struct{}), make(chan struct{})
		accepted := make(chan transport.Session, 1)
		h := serve(t, simulated(t), &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(enter)
			<-leave
			s, _ := Upgrade(w, r, nil)
			accepted <- s
		})})
		defer h.stop()
		cc := h.client(nil)
		done := dialing(cc, nil)
		<-enter
		go h.server.Shutdown(context.Background())
		synctest.Wait()
		close(leave)
		d := <-done
		if d.err != nil {
			t.Fatal(d.err)
		}
		<-d.s.Draining()
		d.s.CloseWithError(0, "")
		<-cc.Done()
	})
	bubble(t, "a server that was closed does not serve", func(t *testing.T) {
		n := simulated(t)
		srv := &Server{TLSConfig: testcert.New(t).ServerConfig()}
		srv.Close()
		pc := n.listen(t)
		if err := srv.Serve(pc); err != http.ErrServerClosed {
			t.Errorf("Serve: %v", err)
		}
		n.listen(t).Close()
		pc.Close()
		n.stop()
	})
	t.Run("a server without certificates", func(t *testing.T) {
		if err := new(Server).Serve(nil); err == nil {
			t.Error("Serve succeeded")
		}
	})
	bubble(t, "a connection that the caller accepted", func(t *testing.T) {
		handler, accepted := sessions(t, nil)
		srv := &Server{Handler: handler}
		raw := rawListen(t, srv.ConfigureQUIC(nil))
		defer raw.stop()
		var cfg *Config
		client, server := raw.connect(cfg)
		served := make(chan error, 1)
		go func() { served <- srv.ServeQUICConn(server.Conn) }()
		cc, err := NewClientConn(context.Background(), client, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cc.Dial(context.Background(), testURL, nil); err != nil {
			t.Fatal(err)
		}
		<-accepted
		cc.Close()
		<-served
		srv.Close()
	})
}

func TestIdleTimeout(t *testing.T) {
	bubble(t, "FW-02 a connection without sessions ends, one with a session does not", func(t *testing.T) {
		handler, accepted := sessions(t, nil)
		h := serve(t, simulated(t), &Server{Handler: handler})
		defer h.stop()
		idle, used := h.client(nil), h.client(nil)
		s, err := used.Dial(context.Background(), testURL, nil)
		if err != nil {
			t.Fatal(err)
		}
		<-accepted
		start := time.Now()
		<-idle.Done()
		if d := time.Since(start); d < DefaultIdleTimeout-time.Second || d > DefaultIdleTimeout+time.Second {
			t.Errorf("ended after %v", d)
		}
		time.Sleep(time.Hour)
		if s.Context().Err() != nil {
			t.Fatal("the session ended")
		}
		s.CloseWithError(0, "")
		<-used.Done()
	})
}

func TestCloseWithCause(t *testing.T) {
	bubble(t, "the sessions end with the cause", func(t *testing.T) {
		handler, accepted := sessions(t, nil)
		h := serve(t, simulated(t), &Server{Handler: handler})
		defer h.stop()
		cc := h.client(nil)
		s, err := cc.Dial(context.Background(), testURL, nil)
		if err != nil {
			t.Fatal(err)
		}
		<-accepted
		if rtt, ok := cc.RTT(); !ok || rtt < 2*linkLatency || rtt > 4*linkLatency {
			t.Errorf("RTT %v, %v", rtt, ok)
		}
		if st := cc.ConnectionStats(); st.PacketsReceived == 0 {
			t.Error("no packets are counted")
		}
		if p := cc.PeerSettings(); p.Enabled != 1 || p.InitialMaxData != pooledWindow {
			t.Errorf("%+v", p)
		}
		cause := errors.New("the path is broken")
		cc.CloseWithCause(cause)
		<-s.Context().Done()
		e, ok := errors.AsType[*transport.SessionError](context.Cause(s.Context()))
		if !ok || !errors.Is(e, cause) || !e.Remote {
			t.Errorf("the session ended with %+v", e)
		}
		if _, err := cc.Dial(context.Background(), testURL, nil); !errors.Is(err, cause) || cc.CanTakeNewSession() {
			t.Errorf("Dial: %v", err)
		}
		cc.Close()
	})
	bubble(t, "a network that goes silent", func(t *testing.T) {
		handler, accepted := sessions(t, nil)
		router := &cutRouter{}
		h := serve(t, routed(t, router), &Server{Handler: handler})
		defer h.stop()
		cc := h.client(nil)
		s, err := cc.Dial(context.Background(), testURL, nil)
		if err != nil {
			t.Fatal(err)
		}
		served := <-accepted
		time.Sleep(2 * time.Minute) // the client's keep-alive outlives idle timeouts
		if s.Context().Err() != nil || served.Context().Err() != nil {
			t.Fatal("the session ended by itself")
		}
		router.cut.Store(true)
		for _, s := range []transport.Session{s, served} {
			<-s.Context().Done()
			e, ok := errors.AsType[*transport.SessionError](context.Cause(s.Context()))
			if _, idle := errors.AsType[*quic.IdleTimeoutError](context.Cause(s.Context())); !ok || !e.Remote || !idle {
				t.Errorf("the session ended with %+v", e)
			}
		}
		<-cc.Done()
	})
}

func TestDialOwnConnection(t *testing.T) {
	setUp := func(t *testing.T, handler http.Handler) (string, *tls.Config, func()) {
		h := serve(t, loopback(), &Server{Handler: handler})
		_, port, _ := net.SplitHostPort(h.addr.String())
		return "https://127.0.0.1:" + port + "/session", h.cert.ClientConfig(""), h.stop
	}
	t.Run("H3-064 the close reaches the server before the connection ends", func(t *testing.T) {
		handler, accepted := sessions(t, nil)
		url, conf, stop := setUp(t, handler)
		defer stop()
		for i := range 30 {
			s, err := Dial(context.Background(), url, conf, nil)
			if err != nil {
				t.Fatal(err)
			}
			served := <-accepted
			u, err := s.OpenUniStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			u.Write([]byte("last words"))
			u.Close()
			s.CloseWithError(transport.SessionErrorCode(i), "bye")
			v, err := served.AcceptUniStream(context.Background())
			if err == nil {
				if b, err := io.ReadAll(v); err != nil || string(b) != "last words" {
					t.Fatalf("read %q, %v", b, err)
				}
			}
			wantSessionEnd(t, served, transport.SessionError{Code: transport.SessionErrorCode(i), Reason: "bye", Remote: true})
		}
	})
	t.Run("H3-064 the connection ends after the peer's close", func(t *testing.T) {
		handler, accepted := sessions(t, nil)
		url, conf, stop := setUp(t, handler)
		defer stop()
		for i := range 30 {
			s, err := Dial(context.Background(), url, conf, nil)
			if err != nil {
				t.Fatal(err)
			}
			served := <-accepted
			served.CloseWithError(transport.SessionErrorCode(i), "bye")
			wantSessionEnd(t, s, transport.SessionError{Code: transport.SessionErrorCode(i), Reason: "bye", Remote: true})
			<-served.(*Session).c.qc.Context().Done()
		}
	})
	t.Run("FW-25 a failure leaves nothing behind", func(t *testing.T) {
		url, conf, stop := setUp(t, http.NotFoundHandler())
		defer stop()
		_, err := Dial(context.Background(), url, conf, nil)
		if e, ok := errors.AsType[*transport.RejectedError](err); !ok || e.StatusCode != 404 {
			t.Errorf("Dial: %v", err)
		}
		if _, err := Dial(context.Background(), "http://127.0.0.1/", conf, nil); err == nil {
			t.Error("Dial of an http URL succeeded")
		}
		if _, err := Dial(context.Background(), url, &tls.Config{}, nil); err == nil {
			t.Error("Dial succeeded with a certificate that nobody knows")
		}
	})
}

func TestOrdinaryRequests(t *testing.T) {
	bubble(t, "H3-070 requests and sessions share a connection and a handler", func(t *testing.T) {
		handler, accepted := sessions(t, nil)
		mux := http.NewServeMux()
		mux.Handle("/session", handler)
		mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
		h := serve(t, simulated(t), &Server{Handler: mux})
		defer h.stop()
		cc := h.client(nil)
		defer cc.Close()
		if _, err := cc.Dial(context.Background(), testURL, nil); err != nil {
			t.Fatal(err)
		}
		<-accepted
		payload := bytes.Repeat([]byte("x"), 1<<20)
		for range 3 {
			r, _ := http.NewRequest(http.MethodPost, "https://example.com/echo", bytes.NewReader(payload))
			rsp, err := cc.raw.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(rsp.Body); err != nil || !bytes.Equal(b, payload) {
				t.Fatalf("%d bytes, %v", len(b), err)
			}
		}
	})
}

func TestPooling(t *testing.T) {
	bubble(t, "FW-04 FW-24 H3-042 H3-066 sessions on one connection do not disturb each other", func(t *testing.T) {
		handler, accepted := sessions(t, nil)
		h := serve(t, simulated(t), &Server{Handler: handler})
		defer h.stop()
		cc := h.client(nil)
		defer cc.Close()
		type pair struct{ c, s transport.Session }
		var pairs []pair
		for range 8 {
			s, err := cc.Dial(context.Background(), testURL, nil)
			if err != nil {
				t.Fatal(err)
			}
			pairs = append(pairs, pair{s, <-accepted})
		}
		// All but the last fill their windows, which nobody reads.
		for _, p := range pairs[:7] {
			for _, s := range []transport.Session{p.c, p.s} {
				for range 8 {
					u, err := s.OpenUniStream(context.Background())
					if err != nil {
						t.Fatal(err)
					}
					go u.Write(make([]byte, 4<<20))
				}
			}
		}
		time.Sleep(5 * time.Second)
		// Yet the last one moves more than a window, both ways.
		last := pairs[7]
		payload := bytes.Repeat([]byte("y"), 3<<20)
		for _, p := range []pair{last, {last.s, last.c}} {
			u, err := p.c.OpenUniStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			go func() { u.Write(payload); u.Close() }()
			v, err := p.s.AcceptUniStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(v); err != nil || !bytes.Equal(b, payload) {
				t.Fatalf("%d bytes, %v", len(b), err)
			}
		}
		// And every close arrives past all that.
		for i, p := range pairs {
			p.c.CloseWithError(transport.SessionErrorCode(i), "")
			wantSessionEnd(t, p.s, transport.SessionError{Code: transport.SessionErrorCode(i), Remote: true})
		}
		if a, b := pairs[0].c.Info().ID, pairs[1].c.Info().ID; a == b {
			t.Error("two sessions have one ID")
		}
	})
	bubble(t, "H3-041 sessions of one connection export different material", func(t *testing.T) {
		handler, accepted := sessions(t, nil)
		h := serve(t, simulated(t), &Server{Handler: handler})
		defer h.stop()
		cc := h.client(nil)
		defer cc.Close()
		seen := map[string]bool{}
		for range 2 {
			s, err := cc.Dial(context.Background(), testURL, nil)
			if err != nil {
				t.Fatal(err)
			}
			served := <-accepted
			a, err := s.ExportKeyingMaterial("label", []byte("context"), 32)
			if err != nil {
				t.Fatal(err)
			}
			b, err := served.ExportKeyingMaterial("label", []byte("context"), 32)
			if err != nil || !bytes.Equal(a, b) {
				t.Errorf("%x and %x, %v", a, b, err)
			}
			seen[string(a)] = true
		}
		if len(seen) != 2 {
			t.Error("two sessions export the same material")
		}
	})
	bubble(t, "H3-049 QUIC's limit on streams holds besides the session's", func(t *testing.T) {
		srv := rawListen(t, &quic.Config{EnableDatagrams: true, EnableStreamResetPartialDelivery: true, MaxIncomingStreams: 5, MaxIncomingUniStreams: 6})
		defer srv.stop()
		cc, c := srv.client(nil, pooledServerSettings...) // 10 of each kind
		s, _ := c.established(cc, nil)
		var first []transport.Stream
		for range 4 { // the CONNECT stream is the client's as well, and there are 5
			x, err := s.OpenStream(canceled)
			if err != nil {
				t.Fatal(err)
			}
			first = append(first, x)
		}
		if _, err := s.OpenStream(canceled); !errors.Is(err, transport.ErrStreamLimit) {
			t.Errorf("OpenStream: %v", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := s.OpenStream(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("OpenStream: %v", err)
		}
		// The places in the session came back: once QUIC allows streams again,
		// all six that are left can be opened, and no more.
		go func() {
			for {
				str, err := c.AcceptStream(context.Background())
				if err != nil {
					return
				}
				str.CancelWrite(0)
				str.CancelRead(0)
			}
		}()
		for _, x := range first {
			x.CancelWrite(0)
			x.CancelRead(0)
		}
		for range 6 {
			x, err := s.OpenStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			x.CancelWrite(0)
			x.CancelRead(0)
		}
		time.Sleep(time.Second)
		if _, err := s.OpenStream(canceled); !errors.Is(err, transport.ErrStreamLimit) {
			t.Errorf("OpenStream beyond the session's limit: %v", err)
		}
		cc.Close()
	})
}

func TestInfo(t *testing.T) {
	// quic-go looks for the path's MTU on real sockets only.
	t.Run("FW-16 FW-23 MaxDatagramSize follows the path", func(t *testing.T) {
		c, s, stop := makePair(t, loopback(), nil, nil)
		defer stop()
		first := c.Info().MaxDatagramSize
		if first < 1100 || !c.Info().Unreliable {
			t.Errorf("%+v", c.Info())
		}
		for c.Info().MaxDatagramSize <= first { // at 1452 bytes at last
			u, err := c.OpenUniStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			go func() { u.Write(make([]byte, 1<<20)); u.Close() }()
			v, err := s.AcceptUniStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, v)
		}
		var tooLarge *transport.DatagramTooLargeError
		if err := c.SendDatagram(make([]byte, 2000)); !errors.As(err, &tooLarge) || tooLarge.Max <= first {
			t.Errorf("SendDatagram: %v", err)
		}
	})
	bubble(t, "H3-032 a datagram begins with the quarter of the session ID", func(t *testing.T) {
		srv := rawListen(t, fullQUIC)
		defer srv.stop()
		cc, c := srv.client(nil, pooledServerSettings...)
		c.established(cc, nil)
		s, _ := c.established(cc, nil)
		if err := s.SendDatagram([]byte("hi")); err != nil {
			t.Error(err)
		}
		if p, err := c.ReceiveDatagram(context.Background()); err != nil || string(p) != "\x01hi" {
			t.Errorf("datagram %q, %v", p, err)
		}
		cc.Close()
	})
}
