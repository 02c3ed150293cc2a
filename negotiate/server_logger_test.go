package negotiate

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
)

// An openings is a slog.Handler that passes on the transport of each line about a
// session that opened.
type openings chan string

func (openings) Enabled(context.Context, slog.Level) bool { return true }
func (o openings) WithAttrs([]slog.Attr) slog.Handler     { return o }
func (o openings) WithGroup(string) slog.Handler          { return o }

func (o openings) Handle(_ context.Context, r slog.Record) error {
	if r.Message != "session opened" {
		return nil
	}
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "transport" {
			o <- a.Value.String()
		}
		return true
	})
	return nil
}

// A Server's Logger has the events of sessions unless their Config names another.
func TestServerLoggerHasSessions(t *testing.T) {
	other := slog.New(slog.NewTextHandler(io.Discard, nil))
	for _, c := range []struct {
		name   string
		config *transport.Config
		logged bool
	}{
		{"no Config", nil, true},
		{"a Config without Logger", &transport.Config{MaxIncomingStreams: 7}, true},
		{"a Config with another Logger", &transport.Config{Logger: other}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cert := testcert.New(t)
			lines := make(openings, 10)
			answered := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if s, err := Upgrade(w, r, nil); err == nil {
					<-s.Context().Done()
				}
			})
			addr := serve(t, &Server{TLSConfig: cert.ServerConfig(), Handler: answered, Config: c.config, Logger: slog.New(lines)})
			for _, p := range []transport.Protocol{transport.HTTP3, transport.HTTP2, transport.WebSocket} {
				d := loopbackDialer(t, cert)
				d.Transports = []transport.Protocol{p}
				s, _, err := d.Dial(t.Context(), "https://"+addr+"/", nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := s.CloseWithError(0, ""); err != nil {
					t.Error(err)
				}
				if !c.logged {
					continue
				}
				select {
				case got := <-lines:
					if got != p.String() {
						t.Errorf("%s was logged, want %v", got, p)
					}
				case <-time.After(10 * time.Second):
					t.Fatalf("%v: no line", p)
				}
			}
			if len(lines) > 0 {
				t.Errorf("%d lines more", len(lines))
			}
			if c.config != nil && c.logged && c.config.Logger != nil {
				t.Error("the caller's Config was changed")
			}
		})
	}
}
