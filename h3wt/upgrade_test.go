package h3wt

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// handled serves a handler to our client, and dials.
func handled(t *testing.T, name string, handler http.HandlerFunc, opts *transport.DialOptions, check func(t *testing.T, s transport.Session, err error)) {
	t.Helper()
	bubble(t, name, func(t *testing.T) {
		h := serve(t, simulated(t), &Server{Handler: handler})
		defer h.stop()
		cc := h.client(nil)
		defer cc.Close()
		s, err := cc.Dial(context.Background(), testURL, opts)
		check(t, s, err)
		// Whatever the answer was, the connection goes on with a request.
		if rsp, err := cc.raw.RoundTrip(newGet(t)); err != nil {
			t.Errorf("GET: %v", err)
		} else {
			rsp.Body.Close()
		}
	})
}

func newGet(t testing.TB) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, "https://example.com/page", nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wantRejected expects a status.
func wantRejected(status int) func(*testing.T, transport.Session, error) {
	return func(t *testing.T, s transport.Session, err error) {
		t.Helper()
		e, ok := errors.AsType[*transport.RejectedError](err)
		if !ok || e.StatusCode != status || s != nil {
			t.Fatalf("Dial: %v, %v, want status %d", s, err, status)
		}
	}
}

func TestAnswers(t *testing.T) {
	get := func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet {
			return false
		}
		io.WriteString(w, "page")
		return true
	}
	plain := func(f func(w http.ResponseWriter, r *http.Request)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if !get(w, r) {
				f(w, r)
			}
		}
	}
	upgrade := func(opts *transport.UpgradeOptions) http.HandlerFunc {
		return plain(func(w http.ResponseWriter, r *http.Request) { Upgrade(w, r, opts) })
	}

	handled(t, "H3-011 a handler that does nothing", plain(func(http.ResponseWriter, *http.Request) {}), nil, wantRejected(405))
	handled(t, "H3-011 a handler that answers 200", plain(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "5")
		w.WriteHeader(200)
		io.WriteString(w, "hello")
	}), nil, wantRejected(405))
	handled(t, "H3-011 a handler that only writes and flushes", plain(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello")
		w.(http.Flusher).Flush()
		io.WriteString(w, "more")
	}), nil, wantRejected(405))
	handled(t, "a handler's own refusal goes through, with its body", plain(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Why", "because")
		http.Error(w, "not today", http.StatusForbidden)
	}), nil, func(t *testing.T, _ transport.Session, err error) {
		e, ok := errors.AsType[*transport.RejectedError](err)
		if !ok || e.StatusCode != 403 || e.Header.Get("X-Why") != "because" || string(e.Body) != "not today\n" {
			t.Fatalf("Dial: %+v", err)
		}
	})
	handled(t, "a refusal with a long body", plain(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, strings.Repeat("x", 100_000))
	}), nil, func(t *testing.T, _ transport.Session, err error) {
		e, ok := errors.AsType[*transport.RejectedError](err)
		if !ok || e.StatusCode != 418 || len(e.Body) != maxRejectedBody {
			t.Fatalf("Dial: %v", err)
		}
	})
	handled(t, "H3-014 a redirect is reported, not followed", plain(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://elsewhere.example/", http.StatusTemporaryRedirect)
	}), nil, func(t *testing.T, _ transport.Session, err error) {
		e, ok := errors.AsType[*transport.RejectedError](err)
		if !ok || e.StatusCode != 307 || e.Header.Get("Location") != "https://elsewhere.example/" {
			t.Fatalf("Dial: %v", err)
		}
	})
	handled(t, "interim responses are skipped", plain(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(103)
		w.WriteHeader(102)
		Upgrade(w, r, nil)
	}), nil, func(t *testing.T, _ transport.Session, err error) {
		if err != nil {
			t.Fatalf("Dial: %v", err)
		}
	})
	handled(t, "a handler that panics", plain(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), nil,
		func(t *testing.T, _ transport.Session, err error) {
			if err == nil {
				t.Fatal("Dial succeeded")
			}
		})

	handled(t, "H3-012 a foreign origin", upgrade(nil), &transport.DialOptions{Origin: "https://evil.example"}, wantRejected(403))
	handled(t, "H3-012 an http origin", upgrade(nil), &transport.DialOptions{Origin: "http://example.com"}, wantRejected(403))
	accepts := func(t *testing.T, s transport.Session, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("Dial: %v", err)
		}
	}
	handled(t, "H3-012 the own origin", upgrade(nil), &transport.DialOptions{Origin: "https://example.com"}, accepts)
	handled(t, "H3-012 a listed origin", upgrade(&transport.UpgradeOptions{Origins: []string{"*.example"}}), &transport.DialOptions{Origin: "https://good.example"}, accepts)
	handled(t, "H3-012 an origin without a scheme", upgrade(nil), &transport.DialOptions{Origin: "example.com"}, wantRejected(403))
	handled(t, "H3-012 an origin without a scheme where that is allowed", upgrade(&transport.UpgradeOptions{AllowOriginWithoutScheme: true}),
		&transport.DialOptions{Origin: "example.com"}, accepts)
	handled(t, "H3-012 CheckOrigin decides alone", upgrade(&transport.UpgradeOptions{
		Origins: []string{"*"}, CheckOrigin: func(*http.Request) bool { return false },
	}), nil, wantRejected(403))

	for _, status := range []int{201, 299} {
		handled(t, "H3-013 any other 2xx accepts", upgrade(&transport.UpgradeOptions{StatusCode: status}), nil, accepts)
	}
	for _, status := range []int{204, 205, 206, 404} {
		handled(t, "H3-013 a status that cannot accept is an error of the server", upgrade(&transport.UpgradeOptions{StatusCode: status}), nil, wantRejected(500))
	}

	protocols := func(name string, offered, spoken []string, want string) {
		handled(t, "H3-019 H3-020 FW-08 "+name, upgrade(&transport.UpgradeOptions{Protocols: spoken}), &transport.DialOptions{Protocols: offered},
			func(t *testing.T, s transport.Session, err error) {
				accepts(t, s, err)
				if got := s.Info().ApplicationProtocol; got != want {
					t.Errorf("application protocol %q, want %q", got, want)
				}
			})
	}
	protocols("the client's first choice that fits", []string{"c", "a", "b"}, []string{"b", "a"}, "a")
	protocols("none fits", []string{"c"}, []string{"a"}, "")
	protocols("none offered", nil, []string{"a"}, "")
	protocols("quotes and backslashes", []string{`a"\b`}, []string{`a"\b`}, `a"\b`)
	handled(t, "FW-08 a server that requires one", upgrade(&transport.UpgradeOptions{Protocols: []string{"a"}, RequireProtocol: true}), nil, wantRejected(400))
	handled(t, "H3-022 a client that requires one", upgrade(nil), &transport.DialOptions{Protocols: []string{"a"}, RequireProtocol: true},
		func(t *testing.T, s transport.Session, err error) {
			e, ok := errors.AsType[*transport.ProtocolError](err)
			if !ok || e.Violation != transport.ViolationALPN || s != nil {
				t.Fatalf("Dial: %v, %v", s, err)
			}
		})
	handled(t, "Upgrade twice", plain(func(w http.ResponseWriter, r *http.Request) {
		Upgrade(w, r, nil)
		if _, err := Upgrade(w, r, nil); err == nil {
			t.Error("the second Upgrade succeeded")
		}
		w.WriteHeader(500) // no effect
	}), nil, accepts)
	handled(t, "Upgrade through middleware", plain(func(w http.ResponseWriter, r *http.Request) {
		type wrapped struct{ http.ResponseWriter }
		type key struct{}
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("X-Middleware", "yes")
		Upgrade(wrapped{w}, r.WithContext(context.WithValue(r.Context(), key{}, 1)), &transport.UpgradeOptions{Header: http.Header{"x-own": {"1"}}})
	}), nil, func(t *testing.T, s transport.Session, err error) {
		accepts(t, s, err)
		if h := s.Info().Header; h.Get("X-Middleware") != "yes" || h.Get("X-Own") != "1" || h.Get("Content-Type") != "" {
			t.Errorf("response header %v", h)
		}
	})
	t.Run("Upgrade of another request", func(t *testing.T) {
		if _, err := Upgrade(nil, newGet(t), nil); err == nil {
			t.Error("Upgrade succeeded")
		}
	})
}

func TestUpgradeRules(t *testing.T) {
	bubble(t, "an unknown :protocol is answered 501", func(t *testing.T) {
		h, _ := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		for _, protocol := range []string{"websocket", "connect-udp"} {
			str := c.request(connectHeaders(protocol))
			c.wantStatus(str, 501)
		}
		c.accepted()
	})
	for _, field := range []string{"content-length", "content-type"} {
		bubble(t, "H3-065 a request that describes a body is malformed: "+field, func(t *testing.T) {
			h, _ := serveRaw(t, nil, nil)
			defer h.stop()
			c := h.rawDial(fullQUIC, modernSettings...)
			defer c.close()
			c.wantAborted(c.request(connectHeaders(protocolH3, field, "1")), 0x10e)
			c.accepted()
		})
	}
	for _, field := range []string{`a, "b"`, `("a")`, `1`, `"a`, strings.Repeat(`"a", `, 200) + `"a"`} {
		bubble(t, "H3-019 a list that is not all Strings counts as absent", func(t *testing.T) {
			h, accepted := serveRaw(t, nil, &transport.UpgradeOptions{Protocols: []string{"a", "b"}})
			defer h.stop()
			c := h.rawDial(fullQUIC, modernSettings...)
			defer c.close()
			c.wantStatus(c.request(connectHeaders(protocolH3, "wt-available-protocols", field)), 200)
			if got := (<-accepted).Info().ApplicationProtocol; got != "" {
				t.Errorf("application protocol %q", got)
			}
		})
	}
	bubble(t, "H3-019 parameters are ignored", func(t *testing.T) {
		h, accepted := serveRaw(t, nil, &transport.UpgradeOptions{Protocols: []string{"b"}})
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		c.request(connectHeaders(protocolH3, "wt-available-protocols", `"a";x=1, "b";y`))
		if got := (<-accepted).Info().ApplicationProtocol; got != "b" {
			t.Errorf("application protocol %q", got)
		}
	})
	bubble(t, "H3-018 capsules before the answer wait for it", func(t *testing.T) {
		decide := make(chan bool)
		accepted := make(chan transport.Session, 1)
		h := serve(t, simulated(t), &Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if <-decide {
				s, _ := Upgrade(w, r, nil)
				accepted <- s
				return
			}
			w.WriteHeader(403)
		})})
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		closing := dataFrame(capsule.CloseSession{ErrorCode: 9, Message: "early"}.Append(nil))
		str := c.request(connectHeaders(protocolH3), closing)
		time.Sleep(time.Second)
		decide <- false
		c.wantStatus(str, 403)
		str = c.request(connectHeaders(protocolH3), closing)
		time.Sleep(time.Second)
		decide <- true
		c.wantStatus(str, 200)
		wantSessionEnd(t, <-accepted, transport.SessionError{Code: 9, Reason: "early", Remote: true})
	})
	bubble(t, "a handler that does not decide in time", func(t *testing.T) {
		result := make(chan error, 1)
		h := serve(t, simulated(t), &Server{Config: &Config{UpgradeTimeout: 2 * time.Second}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			_, err := Upgrade(w, r, nil)
			result <- err
		})})
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		c.wantAborted(c.request(connectHeaders(protocolH3)), 0x107)
		if err := <-result; err == nil {
			t.Error("Upgrade succeeded")
		}
	})
	bubble(t, "a request that never ends its header", func(t *testing.T) {
		h, _ := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		start := time.Now()
		c.wantAborted(c.request(connectHeaders(protocolH3)[:20]), 0x10d)
		if d := time.Since(start); d > DefaultEarlyTimeout+time.Second {
			t.Errorf("given up after %v", d)
		}
	})
}

func TestLimits(t *testing.T) {
	bubble(t, "H3-044 H3-045 H3-048 without flow control a second session is refused before any answer", func(t *testing.T) {
		h, accepted := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		str := c.accepted()
		second := c.request(connectHeaders(protocolH3))
		if b, _ := io.ReadAll(second); len(b) > 0 {
			t.Errorf("an answer came before the refusal: %x", b)
		}
		c.wantAborted(second, 0x10b)
		// When the first has ended, the next may come.
		(<-accepted).CloseWithError(0, "")
		c.wantCapsule(str, capsule.CloseSession{})
		c.accepted()
	})
	bubble(t, "H3-042 H3-045 the limit on sessions with flow control", func(t *testing.T) {
		h, _ := serveRaw(t, &Config{MaxSessions: 3}, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, pooledSettings...)
		defer c.close()
		for range 3 {
			c.accepted()
		}
		c.wantAborted(c.request(connectHeaders(protocolH3)), 0x10b)
		c.wantOpen()
	})
	bubble(t, "H3-047 the rate of sessions", func(t *testing.T) {
		h, _ := serveRaw(t, &Config{SessionRate: 2}, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		for range 4 { // the burst
			str := c.accepted()
			c.capsules(str, capsule.CloseSession{})
			str.Close()
			time.Sleep(20 * time.Millisecond)
		}
		c.wantStatus(c.request(connectHeaders(protocolH3)), 429)
		time.Sleep(time.Second)
		c.accepted()
	})
	bubble(t, "H3-044 H3-067 a client keeps to the limits on sessions", func(t *testing.T) {
		srv := rawListen(t, fullQUIC)
		defer srv.stop()
		cc, c := srv.client(nil, serverSettings...)
		s, str := c.established(cc, nil)
		if cc.CanTakeNewSession() {
			t.Error("CanTakeNewSession without flow control beside a session")
		}
		_, err := cc.Dial(context.Background(), testURL, nil)
		if _, ok := errors.AsType[*transport.NotProcessedError](err); !ok {
			t.Errorf("Dial: %v", err)
		}
		go s.CloseWithError(0, "")
		c.wantCapsule(str, capsule.CloseSession{})
		c.established(cc, nil)
		cc.Close()
	})
	bubble(t, "H3-067 MaxSessions of a client", func(t *testing.T) {
		srv := rawListen(t, fullQUIC)
		defer srv.stop()
		cc, c := srv.client(&Config{MaxSessions: 2}, pooledServerSettings...)
		for range 2 {
			if !cc.CanTakeNewSession() {
				t.Error("no room below the limit")
			}
			c.established(cc, nil)
		}
		if _, err := cc.Dial(context.Background(), testURL, nil); cc.CanTakeNewSession() || err == nil {
			t.Errorf("Dial: %v", err)
		}
		cc.Close()
	})
	bubble(t, "H3_REQUEST_REJECTED says that nothing was processed", func(t *testing.T) {
		srv := rawListen(t, fullQUIC)
		defer srv.stop()
		cc, c := srv.client(nil, serverSettings...)
		done := dialing(cc, nil)
		str, _ := c.acceptRequest()
		str.CancelRead(0x10b)
		str.CancelWrite(0x10b)
		if _, ok := errors.AsType[*transport.NotProcessedError]((<-done).err); !ok {
			t.Error("Dial does not say so")
		}
		// Another code does not promise that.
		done = dialing(cc, nil)
		str, _ = c.acceptRequest()
		str.CancelWrite(0x102)
		if e, ok := errors.AsType[*transport.ResetError]((<-done).err); !ok || e.Name != "H3_INTERNAL_ERROR" || e.Connection {
			t.Errorf("Dial: %v", e)
		}
		// Dial ends with its context, and its request with it.
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := cc.Dial(ctx, testURL, nil)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial: %v", err)
		}
		str, err = c.AcceptStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		c.wantStopped(str, 0x10c)
		if !cc.CanTakeNewSession() {
			t.Error("a Dial that failed holds a place")
		}
		cc.Close()
	})
	for _, answer := range []struct {
		name   string
		fields []string
	}{
		{"H3-013 204", []string{":status", "204"}},
		{"H3-013 206", []string{":status", "206"}},
		{"H3-065 content-length", []string{":status", "200", "content-length", "3"}},
		{"H3-065 content-type", []string{":status", "200", "content-type", "text/plain"}},
	} {
		bubble(t, answer.name+" does not accept", func(t *testing.T) {
			srv := rawListen(t, fullQUIC)
			defer srv.stop()
			cc, c := srv.client(nil, serverSettings...)
			done := dialing(cc, nil)
			str, _ := c.acceptRequest()
			c.answer(str, answer.fields...)
			if e, ok := errors.AsType[*transport.ProtocolError]((<-done).err); !ok || e.Violation != transport.ViolationMalformed {
				t.Errorf("Dial: %v", e)
			}
			c.wantStopped(str, 0x10c)
			cc.Close()
		})
	}
	for _, answer := range []struct {
		name, field string
	}{
		{"H3-021 a protocol that was not offered", `"c"`},
		{"H3-022 no protocol where one is required", ""},
		{"H3-022 a malformed one where one is required", `c`},
	} {
		bubble(t, answer.name+" ends the session with WT_ALPN_ERROR", func(t *testing.T) {
			srv := rawListen(t, fullQUIC)
			defer srv.stop()
			cc, c := srv.client(nil, serverSettings...)
			done := dialing(cc, &transport.DialOptions{Protocols: []string{"a"}, RequireProtocol: true})
			str, _ := c.acceptRequest()
			fields := []string{":status", "200"}
			if answer.field != "" {
				fields = append(fields, "wt-protocol", answer.field)
			}
			c.answer(str, fields...)
			if e, ok := errors.AsType[*transport.ProtocolError]((<-done).err); !ok || e.Violation != transport.ViolationALPN {
				t.Errorf("Dial: %v", e)
			}
			c.wantCapsule(str, capsule.CloseSession{ErrorCode: codeALPN})
			c.wantEnd(str)
			str.Close()
			synctest.Wait()
			if !cc.CanTakeNewSession() {
				t.Error("the failed session holds a place")
			}
			cc.Close()
		})
	}
	bubble(t, "H3-019 a malformed WT-Protocol counts as absent", func(t *testing.T) {
		srv := rawListen(t, fullQUIC)
		defer srv.stop()
		cc, c := srv.client(nil, serverSettings...)
		done := dialing(cc, &transport.DialOptions{Protocols: []string{"a"}})
		str, _ := c.acceptRequest()
		c.answer(str, ":status", "200", "wt-protocol", "a")
		if d := <-done; d.err != nil || d.s.Info().ApplicationProtocol != "" {
			t.Errorf("Dial: %v", d.err)
		}
		cc.Close()
	})
}
