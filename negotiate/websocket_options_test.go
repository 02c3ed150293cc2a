package negotiate

import (
	"errors"
	"net/http"
	"testing"

	"github.com/towpath-go/towpath/transport"
)

// What a caller asks for arrives by whichever road the WebSocket takes.
func TestWebSocketOptions(t *testing.T) {
	for road, box := range map[string]*middlebox{
		"on the connection of HTTP/2": {alpn: []string{"http/1.1"}},
		"on a connection of its own":  {alpn: []string{"h2", "http/1.1"}, onConnect: resetFrame(0x7)},
		"over HTTP/2":                 {alpn: []string{"h2"}, alert: true, settings: []uint16{1, 2, 3, 4, 5, 6, 8}},
	} {
		t.Run(road, func(t *testing.T) {
			var w *world
			seen := make(chan http.Header, 2)
			inWorld(t, worldOptions{handler: func(rw http.ResponseWriter, r *http.Request) {
				seen <- r.Header.Clone()
				s, err := Upgrade(rw, r, &transport.UpgradeOptions{
					Protocols: []string{"two"}, Origins: []string{"page.example"}, Header: http.Header{"X-Answer": {"yes"}},
				})
				if err == nil {
					go echoSession(s)
				}
			}}, func(t *testing.T, world *world) {
				w = world
				w.refuse(false, true)
				w.stand(*box)
				d := w.dialer()
				opts := &transport.DialOptions{
					Protocols: []string{"one", "two"}, RequireProtocol: true, Origin: "https://page.example",
					Header: http.Header{"Authorization": {"Bearer secret"}, "x-list": {"1", "2"}},
				}
				s, r, err := d.Dial(t.Context(), w.url, opts)
				if err != nil || r.Winner != transport.WebSocket {
					t.Fatalf("%v\n%v", err, r)
				}
				h := <-seen
				if h.Get("Authorization") != "Bearer secret" || h.Get("Origin") != "https://page.example" || len(h["X-List"]) != 2 {
					t.Errorf("the server saw %v", h)
				}
				if i := s.Info(); i.ApplicationProtocol != "two" || i.Header.Get("X-Answer") != "yes" || i.TLS == nil || (i.ID != 0) != (road == "over HTTP/2") {
					t.Errorf("the client's session says %+v", i)
				}
				wantEchoOver(t, s)
				s.CloseWithError(0, "")

				opts.Protocols = []string{"three"}
				_, r, err = d.Dial(t.Context(), w.url, opts)
				if p, ok := errors.AsType[*transport.ProtocolError](err); !ok || p.Violation != transport.ViolationALPN {
					t.Errorf("no protocol in common: %v\n%v", err, r)
				}
				if len(seen) != 1 {
					t.Errorf("asked %d times for a protocol that is not there", len(seen))
				}
			})
		})
	}
}
