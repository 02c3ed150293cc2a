package h3wt

import (
	"context"
	"errors"
	"net"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/towpath-go/towpath/transport"
)

// What is over must not hold up, nor weigh on, what comes after it.
func TestLeftovers(t *testing.T) {
	bubble(t, "H3-066 unread streams of ended sessions leave room for the next session", func(t *testing.T) {
		handler, accepted := sessions(t, nil)
		h := serve(t, simulated(t), &Server{Handler: handler})
		defer h.stop()
		cc := h.client(nil)
		defer cc.Close()
		var first transport.ReceiveStream
		var last *Session
		for range 100 {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			s, err := cc.Dial(ctx, testURL, nil)
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			served := <-accepted
			last = served.(*Session)
			for range 4 {
				u, err := s.OpenUniStream(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				u.SetWriteDeadline(time.Now().Add(10 * time.Second))
				if _, err := u.Write(make([]byte, 15_000)); err != nil {
					t.Fatal(err)
				}
				u.Close()
				v, err := served.AcceptUniStream(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				if first == nil {
					first = v
				}
			}
			time.Sleep(time.Second) // all of it has arrived
			s.CloseWithError(0, "")
			<-last.done
			time.Sleep(10 * time.Millisecond)
		}
		// Little that is left takes nothing from the connection's window.
		cfg := (&Config{}).settle()
		c := last.c
		if free, want := c.pool.Load(), cfg.connectionWindow()-windowReserve-DefaultMaxSessions*pooledWindow; free != want {
			t.Errorf("%d bytes of the connection's window are free, want %d", free, want)
		}
		c.mu.Lock()
		if n := len(c.ended); n != transport.DefaultMaxIncomingStreams/4 { // four streams each
			t.Errorf("the streams of %d sessions are kept, want %d", n, transport.DefaultMaxIncomingStreams/4)
		}
		c.mu.Unlock()
		// Given up, and said so.
		if n, err := first.Read(make([]byte, 1)); n != 0 || !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read of the first session's stream: %d, %v", n, err)
		}
	})
	bubble(t, "a connection that has ended leaves nothing behind", func(t *testing.T) {
		upgrade, accepted := sessions(t, nil)
		slow := make(chan struct{})
		handler := http.NewServeMux()
		handler.Handle("/session", upgrade)
		handler.HandleFunc("/slow", func(http.ResponseWriter, *http.Request) {
			slow <- struct{}{}
			<-slow
		})
		h := serve(t, simulated(t), &Server{Handler: handler})
		defer h.stop()
		connect := func() weak.Pointer[quic.Conn] {
			cc := h.client(nil)
			if _, err := cc.Dial(context.Background(), testURL, nil); err != nil {
				t.Fatal(err)
			}
			served := (<-accepted).(*Session)
			go func() {
				r, _ := http.NewRequest(http.MethodGet, "https://example.com/slow", nil)
				cc.raw.RoundTrip(r)
			}()
			<-slow
			cc.Close()
			<-served.done
			slow <- struct{}{} // the handler returns after the connection's end
			return weak.Make(served.c.qc)
		}
		left := connect()
		// QUIC's own closing period is over, and so is the time of every timer that
		// was stopped: until then the runtime may still hold some of them.
		time.Sleep(time.Hour)
		synctest.Wait()
		for range 3 {
			runtime.GC()
		}
		if left.Value() != nil {
			t.Error("the connection is still referred to")
		}
	})
	bubble(t, "DS-01 DS-20 handlers of one connection are bounded", func(t *testing.T) {
		running, release := make(chan struct{}, 10), make(chan struct{})
		handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			running <- struct{}{}
			<-release
		})
		h := serve(t, simulated(t), &Server{Handler: handler, Config: &Config{MaxRequests: 2}})
		defer h.stop()
		cc := h.client(nil)
		defer cc.Close()
		answers := make(chan error, 5)
		for range 5 {
			go func() {
				r, _ := http.NewRequest(http.MethodGet, "https://example.com/", nil)
				rsp, err := cc.raw.RoundTrip(r)
				if err == nil {
					rsp.Body.Close()
				}
				answers <- err
			}()
		}
		time.Sleep(time.Second)
		if len(running) != 2 {
			t.Errorf("%d handlers ran, want 2", len(running))
			close(release)
			return
		}
		for range 3 {
			err := <-answers
			if e, ok := errors.AsType[*quic.StreamError](err); !ok || e.ErrorCode != quic.StreamErrorCode(http3.ErrCodeRequestRejected) {
				t.Errorf("a request too many: %v", err)
			}
		}
		close(release)
		for range 2 {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
	})
}
