package h3wt

import (
	"context"
	"errors"
	"fmt"
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
			AdditionalSettings: limits.settings(),
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

func TestDraining(t *testing.T) {
	for _, early := range []bool{true, false} {
		t.Run(fmt.Sprintf("asked before the peer drains: %v", early), func(t *testing.T) {
			s := &Session{cfg: new(transport.Config)}
			var asked <-chan struct{}
			if early {
				asked = s.Draining()
				select {
				case <-asked:
					t.Fatal("draining before the peer does")
				default:
				}
			}
			if !s.peerDrains() || s.peerDrains() {
				t.Error("the first time is not told from the second")
			}
			for _, draining := range []<-chan struct{}{asked, s.Draining(), s.Draining()} {
				select {
				case <-draining:
				default:
					if draining != nil {
						t.Error("not draining after the peer did")
					}
				}
			}
		})
	}
}
