package h3wt

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/handshake"
	"github.com/towpath-go/towpath/transport"
)

// logged is a Logger that keeps its lines, without their times.
type logged struct {
	mu  sync.Mutex // guards the following
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "remote" || a.Key == "duration" {
			return slog.Attr{}
		}
		return a
	}}))
}

// want expects a line.
func (l *logged) want(t testing.TB, line string) {
	t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for got := range strings.Lines(l.buf.String()) {
		if strings.TrimSpace(got) == line {
			return
		}
	}
	t.Errorf("no line %q in\n%s", line, l.buf.String())
}

func TestMonitor(t *testing.T) {
	bubble(t, "connections and sessions are told of at both ends, in order", func(t *testing.T) {
		served, dialed, lines := &watched{}, &watched{}, &logged{}
		handler, accepted := sessions(t, nil)
		h := serve(t, simulated(t), &Server{Handler: handler, Config: &Config{
			Monitor: served, Logger: lines.logger(), Session: &transport.Config{Logger: lines.logger()},
		}})
		defer h.stop()
		cc := h.client(&Config{Monitor: dialed})
		dialed.want(t, "client h3 connection opened")
		s, err := cc.Dial(context.Background(), testURL, nil)
		if err != nil {
			t.Fatal(err)
		}
		<-accepted
		dialed.want(t, "client h3 session opened")
		s.CloseWithError(7, "bye\x1b")
		cc.Close()
		time.Sleep(time.Second)
		dialed.want(t, "client h3 connection ended well")
		served.want(t, "server h3 connection opened", "server h3 session opened", "server h3 connection ended well")
		lines.want(t, `level=DEBUG msg="connection opened" transport=h3 side=server`)
		lines.want(t, `level=INFO msg="session opened" session=0 transport=h3`)
		lines.want(t, `level=INFO msg="session ended" session=0 code=7 remote_close=true reason=bye\x1b bytes_sent=0 bytes_received=0 streams_opened=0 streams_accepted=0`)
		lines.want(t, `level=DEBUG msg="connection ended" transport=h3 side=server`)
	})
	bubble(t, "a rule that the peer broke is the end of connection and session", func(t *testing.T) {
		w, lines := &watched{}, &logged{}
		handler, accepted := sessions(t, nil)
		h := serve(t, simulated(t), &Server{Handler: handler, Config: &Config{Monitor: w, Logger: lines.logger()}})
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		c.accepted()
		s := <-accepted
		c.uniStream(varints(uniStreamType, 1)) // no session ID
		c.wantClosed(0x108)
		wantViolation(t, s, transport.ViolationGeneric)
		time.Sleep(time.Second)
		w.want(t, "server h3 connection opened", "server h3 session opened", "server h3 connection ended with an error")
		lines.want(t, `level=DEBUG msg="connection ended" transport=h3 side=server error="WT_ERROR: session ID is not a client-initiated bidirectional stream's"`)
	})
	bubble(t, "streams that end with the connection are not what ended it", func(t *testing.T) {
		w, router := &watched{}, &cutRouter{}
		handler, accepted := sessions(t, nil)
		h := serve(t, routed(t, router), &Server{Handler: handler, Config: &Config{
			Monitor: w, Session: &transport.Config{Floods: transport.Floods{Resets: transport.Rate{PerSecond: 1, Burst: 1}}},
		}})
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		c.accepted()
		s := <-accepted
		for range criticalStreams - 1 {
			if _, err := c.OpenUniStream(); err != nil {
				t.Fatal(err)
			}
		}
		c.uniStream(varints(uniStreamType, 0)) // shows the silent ones before it
		time.Sleep(time.Second)
		router.cut.Store(true)
		<-s.Context().Done()
		if _, ok := errors.AsType[*quic.IdleTimeoutError](context.Cause(s.Context())); !ok {
			t.Errorf("the session ended with %v", context.Cause(s.Context()))
		}
		time.Sleep(time.Second)
		w.want(t, "server h3 connection opened", "server h3 session opened", "server h3 connection ended with an error")
	})
	for _, c := range []struct {
		name    string
		handler http.HandlerFunc
		told    string
	}{
		{"a handler that answers", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, "h3 session refused 403"},
		{"a handler that does not know sessions", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("hello")) }, "h3 session refused 405"},
		{"a handler that does nothing", func(http.ResponseWriter, *http.Request) {}, "h3 session refused 405"},
		{"a quota outside", func(w http.ResponseWriter, _ *http.Request) {
			handshake.Refuse(w, 429, transport.LimitSessionsPerAddress)
		}, "h3 session refused 429 sessions-per-address"},
		{"Upgrade that refuses", func(w http.ResponseWriter, r *http.Request) {
			r.Header.Set("Origin", "https://evil.example")
			Upgrade(w, r, nil)
		}, "h3 session refused 403"},
	} {
		bubble(t, "a refusal is told of once: "+c.name, func(t *testing.T) {
			w := &watched{}
			h := serve(t, simulated(t), &Server{Handler: c.handler, Config: &Config{Monitor: w}})
			defer h.stop()
			cc := h.client(nil)
			if _, err := cc.Dial(context.Background(), testURL, nil); err == nil {
				t.Error("Dial succeeded")
			}
			cc.Close()
			time.Sleep(time.Second)
			w.want(t, "server h3 connection opened", c.told, "server h3 connection ended well")
		})
	}
	bubble(t, "a client that is no WebTransport client's server has no connection opened", func(t *testing.T) {
		srv := rawListen(t, fullQUIC)
		defer srv.stop()
		w := &watched{}
		client, server := srv.connect(nil)
		server.control(0x33, 1)
		if _, err := NewClientConn(context.Background(), client, &Config{Monitor: w}); !errors.Is(err, transport.ErrNotWebTransport) {
			t.Errorf("NewClientConn: %v", err)
		}
		w.want(t)
	})
}

func TestUnconfirmedClose(t *testing.T) {
	for _, finished := range []bool{true, false} {
		name := "a stream was finished"
		if !finished {
			name = "nothing was"
		}
		bubble(t, "a network that died takes the end with it, "+name, func(t *testing.T) {
			router := &cutRouter{}
			a, _, stop := makePair(t, routed(t, router), nil, nil)
			defer stop()
			u, err := a.OpenUniStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			router.cut.Store(true)
			u.Write([]byte("lost"))
			if finished {
				u.Close()
			}
			start := time.Now()
			err = a.CloseWithError(0, "")
			if errors.Is(err, transport.ErrUnconfirmed) != finished {
				t.Errorf("CloseWithError: %v", err)
			}
			if d := time.Since(start); d != transport.DefaultCloseTimeout {
				t.Errorf("it took %v", d)
			}
		})
	}
	bubble(t, "an answer confirms it", func(t *testing.T) {
		a, b, stop := makePair(t, simulated(t), nil, nil)
		defer stop()
		u, err := a.OpenUniStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		u.Write([]byte("here"))
		u.Close()
		if err := a.CloseWithError(0, ""); err != nil {
			t.Errorf("CloseWithError: %v", err)
		}
		<-b.Context().Done()
	})
	endConnection := func(code quic.ApplicationErrorCode) func(*rawConn, rawStream) {
		return func(conn *rawConn, _ rawStream) { conn.CloseWithError(code, "") }
	}
	reset := func(code quic.StreamErrorCode) func(*rawConn, rawStream) {
		return func(_ *rawConn, str rawStream) {
			str.str.(interface{ CancelWrite(quic.StreamErrorCode) }).CancelWrite(code)
		}
	}
	for _, c := range []struct {
		name   string
		answer func(*rawConn, rawStream)
		want   error
	}{
		{"a connection closed with H3_NO_ERROR is an answer", endConnection(0x100), nil},
		{"a connection closed for another reason confirms nothing", endConnection(0x102), transport.ErrUnconfirmed},
		{"the peer's own close is no answer", func(_ *rawConn, str rawStream) {
			str.send(capsule.CloseSession{ErrorCode: 8})
			str.str.Close()
		}, transport.ErrUnconfirmed},
		{"a reset with WT_SESSION_GONE is an answer", reset(codeSessionGone), nil},
		{"a reset with H3_NO_ERROR is an answer", reset(0x100), nil},
		{"a reset for another reason confirms nothing", reset(0x102), transport.ErrUnconfirmed},
	} {
		onSession(t, c.name, false, func(t *testing.T, conn *rawConn, str rawStream, s transport.Session) {
			u, err := s.OpenUniStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			u.Write([]byte("here"))
			u.Close()
			closed := make(chan error, 1)
			go func() { closed <- s.CloseWithError(7, "") }()
			synctest.Wait()
			time.Sleep(20 * time.Millisecond) // the close is out
			c.answer(conn, str)
			if err := <-closed; err != c.want {
				t.Errorf("CloseWithError: %v, want %v", err, c.want)
			}
		})
	}
	// Whoever writes the close is held up until the reset has been read.
	for _, c := range []struct {
		name string
		err  error // of the write
		want error
	}{
		{"an answer may come before the write has returned", nil, nil},
		{"a close that could not be written has no answer", errors.New("stopped"), transport.ErrUnconfirmed},
	} {
		onSession(t, c.name, false, func(t *testing.T, conn *rawConn, str rawStream, s transport.Session) {
			u, err := s.OpenUniStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			u.Write([]byte("here"))
			u.Close()
			session := s.(*Session)
			session.mu.Lock()
			session.control.writing = true
			session.mu.Unlock()
			closed := make(chan error, 1)
			go func() { closed <- s.CloseWithError(7, "") }()
			synctest.Wait()
			answer := func() {
				reset(codeSessionGone)(conn, str)
				<-session.done
			}
			session.writeControl(func(b []byte) error {
				if c.err == nil {
					err := session.str.TryWriteAll(b)
					answer()
					return err
				}
				return c.err
			}, false)
			if c.err != nil {
				answer()
			}
			if err := <-closed; err != c.want {
				t.Errorf("CloseWithError: %v, want %v", err, c.want)
			}
		})
	}
}
