package h3wt

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// wantBare expects a refusal by the status alone.
func wantBare(status int) func(*testing.T, transport.Session, error) {
	return func(t *testing.T, s transport.Session, err error) {
		t.Helper()
		wantRejected(status)(t, s, err)
		e, _ := errors.AsType[*transport.RejectedError](err)
		length := e.Header.Get("Content-Length") // http3's, of the whole answer
		if len(e.Body) > 0 || e.Header.Get("Content-Type") != "" || length != "" && length != "0" {
			t.Errorf("the refusal has a body: %q, %v", e.Body, e.Header)
		}
		if e.Header.Get("X-From") != "middleware" {
			t.Errorf("the handler's fields are missing: %v", e.Header)
		}
	}
}

// What this library refuses by itself it refuses alike over HTTP/2 and HTTP/3.
func TestRefusals(t *testing.T) {
	upgrade := func(opts *transport.UpgradeOptions) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodConnect {
				return
			}
			// As middleware leaves them that expects a page.
			w.Header().Set("X-From", "middleware")
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Content-Length", "1000")
			if opts != nil {
				Upgrade(w, r, opts)
			}
		}
	}
	handled(t, "a handler that does nothing is a bare 405", upgrade(nil), nil, wantBare(405))
	handled(t, "a foreign origin is a bare 403", upgrade(&transport.UpgradeOptions{}),
		&transport.DialOptions{Origin: "https://evil.example"}, wantBare(403))
	handled(t, "a protocol that is required is a bare 400", upgrade(&transport.UpgradeOptions{RequireProtocol: true, Protocols: []string{"a"}}), nil, wantBare(400))
	handled(t, "options that are not possible are a bare 500", upgrade(&transport.UpgradeOptions{StatusCode: 204}), nil, wantBare(500))

	bubble(t, "a refusal stays one when the context ends before its body", func(t *testing.T) {
		srv := rawListen(t, fullQUIC)
		defer srv.stop()
		cc, c := srv.client(nil, serverSettings...)
		defer cc.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		done := make(chan error, 1)
		go func() {
			_, err := cc.Dial(ctx, testURL, nil)
			done <- err
		}()
		str, _ := c.acceptRequest()
		c.answer(str, ":status", "403", "x-why", "because")
		str.Write(dataFrame([]byte("not")))
		e, ok := errors.AsType[*transport.RejectedError](<-done)
		if !ok || e.StatusCode != 403 || e.Header.Get("X-Why") != "because" || string(e.Body) != "not" {
			t.Fatalf("Dial: %+v", e)
		}
	})
}
