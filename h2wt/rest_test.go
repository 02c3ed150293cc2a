package h2wt

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"testing/synctest"
	"weak"

	"github.com/towpath-go/towpath/transport"
)

// TestAcceptedRequest: a session outlives its request by far, and keeps nothing of it
// but the header.
func TestAcceptedRequest(t *testing.T) {
	bubble(t, "is forgotten when its handler has returned", func(t *testing.T) {
		var request weak.Pointer[http.Request]
		var answer weak.Pointer[response]
		ch := make(chan accepted, 1)
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			request, answer = weak.Make(r), weak.Make(w.(sessionWriter).response)
			s, err := Upgrade(w, r, nil)
			ch <- accepted{s, err}
		}), nil)
		defer srv.stop()
		c := srv.conn(nil)
		defer c.Close()
		client, err := c.Dial(t.Context(), "https://example.com/wt", &transport.DialOptions{Header: http.Header{"X-Kept": {"yes"}}})
		if err != nil {
			t.Fatal(err)
		}
		a := <-ch
		synctest.Wait()
		for range 3 {
			runtime.GC()
		}
		if request.Value() != nil || answer.Value() != nil {
			t.Errorf("the request is kept: %v, its writer: %v", request.Value() != nil, answer.Value() != nil)
		}
		if got := a.s.Info().Header.Get("X-Kept"); got != "yes" {
			t.Errorf("X-Kept: %q", got)
		}
		if err := client.SendDatagram([]byte("x")); err != nil {
			t.Error(err)
		}
		if p, err := a.s.ReceiveDatagram(t.Context()); string(p) != "x" || err != nil {
			t.Errorf("%q, %v", p, err)
		}
		if err := client.CloseWithError(0, ""); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if n := srv.srv.budget.Held(); n != 0 {
			t.Errorf("%d bytes are charged after the end", n)
		}
	})
	bubble(t, "is not accepted again afterwards", func(t *testing.T) {
		ch := make(chan *http.Request, 1)
		srv := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := Upgrade(w, r, nil); err != nil {
				t.Error(err)
			}
			ch <- r
		}), nil)
		defer srv.stop()
		c := srv.conn(nil)
		defer c.Close()
		if _, err := c.Dial(t.Context(), "https://example.com/wt", nil); err != nil {
			t.Fatal(err)
		}
		r := <-ch
		synctest.Wait()
		if _, err := Upgrade(httptest.NewRecorder(), r, nil); err != errAnswered {
			t.Errorf("Upgrade after the handler: %v", err)
		}
		if r.Context().Err() == nil {
			t.Error("the request's context has not ended")
		}
	})
}
