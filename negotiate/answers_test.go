package negotiate

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/towpath-go/towpath/transport"
)

func TestDialAnswers(t *testing.T) {
	for _, status := range []int{301, 302, 401, 403, 404, 405, 429, 400, 500, 502, 503} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			inWorld(t, worldOptions{handler: func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "https://elsewhere.example/")
				http.Error(w, "because", status)
			}}, func(t *testing.T, w *world) {
				_, r, err := w.dialer().Dial(t.Context(), w.url, nil)
				var rejected *transport.RejectedError
				if !errors.As(err, &rejected) || rejected.StatusCode != status {
					t.Fatalf("got %v, want status %d", err, status)
				}
				if n := w.requests.Load(); n != 1 || w.dialed.Load() != 0 {
					t.Errorf("%d requests, %d TCP connections; an answer is not asked for again", n, w.dialed.Load())
				}
				if r.Err != err || r.Winner != transport.ProtocolUnknown {
					t.Errorf("report: %v", r)
				}
			})
		})
	}
	t.Run("407 is a proxy error", func(t *testing.T) {
		inWorld(t, worldOptions{handler: func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusProxyAuthRequired)
		}}, func(t *testing.T, w *world) {
			_, _, err := w.dialer().Dial(t.Context(), w.url, nil)
			var pe *ProxyError
			if !errors.As(err, &pe) || pe.StatusCode != 407 {
				t.Errorf("got %v", err)
			}
		})
	})
	for _, status := range []int{501, 421} {
		t.Run("next rung on "+http.StatusText(status), func(t *testing.T) {
			var w *world
			inWorld(t, worldOptions{handler: func(rw http.ResponseWriter, r *http.Request) {
				if r.ProtoMajor == 3 {
					rw.WriteHeader(status)
					return
				}
				w.accept(rw, r)
			}}, func(t *testing.T, world *world) {
				w = world
				d := w.dialer()
				d.Trace = &Trace{Marked: func(string, time.Time) { t.Error("an answer marked UDP") }}
				s, r := wantDial(t, d, w.url, "refused on h3", transport.HTTP2, -1)
				if n := w.requests.Load(); n != 2 {
					t.Errorf("%d CONNECTs, want 2", n)
				}
				if a := attemptOf(r, "h3 udp4"); a.Outcome != Failed || a.Err == nil {
					t.Errorf("h3: %+v", a)
				}
				s.CloseWithError(0, "")
				time.Sleep(time.Second)
			})
		})
	}
	t.Run("certificate failures are answers", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			d := w.dialer()
			d.TLSClientConfig.RootCAs = nil
			d.TLSClientConfig.ServerName = "other.test"
			_, _, err := d.Dial(t.Context(), w.url, nil)
			if !isCertificateError(err) || w.dialed.Load() != 0 {
				t.Errorf("got %v, %d TCP connections", err, w.dialed.Load())
			}
		})
	})
	t.Run("FW-08 no application protocol in common is an answer", func(t *testing.T) {
		inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
			_, _, err := w.dialer().Dial(t.Context(), w.url, &transport.DialOptions{Protocols: []string{"chat"}, RequireProtocol: true})
			var pe *transport.ProtocolError
			if !errors.As(err, &pe) || pe.Violation != transport.ViolationALPN || w.dialed.Load() != 0 {
				t.Errorf("got %v, %d TCP connections", err, w.dialed.Load())
			}
		})
	})
}
