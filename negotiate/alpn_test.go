package negotiate

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/towpath-go/towpath/internal/handshake"
	"github.com/towpath-go/towpath/transport"
)

// The server learns why a session ended that it had accepted, although the
// connection was for that session only.
func TestDialTellsALPNError(t *testing.T) {
	for _, proto := range []transport.Protocol{transport.HTTP3, transport.HTTP2, transport.WebSocket} {
		t.Run(proto.String(), func(t *testing.T) {
			var ended chan error // of the bubble
			inWorld(t, worldOptions{handler: func(rw http.ResponseWriter, r *http.Request) {
				s, err := Upgrade(rw, r, nil)
				if err != nil {
					return
				}
				<-s.Context().Done()
				ended <- context.Cause(s.Context())
			}}, func(t *testing.T, w *world) {
				ended = make(chan error, 1)
				d := w.dialer()
				d.Transports = []transport.Protocol{proto}
				_, _, err := d.Dial(t.Context(), w.url, &transport.DialOptions{Protocols: []string{"a"}, RequireProtocol: true})
				if pe, ok := errors.AsType[*transport.ProtocolError](err); !ok || pe.Violation != transport.ViolationALPN {
					t.Errorf("Dial: %v", err)
				}
				err = <-ended
				if se, ok := errors.AsType[*transport.SessionError](err); !ok || se.Code != handshake.AlpnError {
					t.Errorf("the server's session ended with %v", err)
				}
			})
		})
	}
}
