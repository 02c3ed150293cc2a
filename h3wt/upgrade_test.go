package h3wt

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
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
