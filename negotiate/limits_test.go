package negotiate

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/h3wt"
	"github.com/towpath-go/towpath/transport"
)

// TestSessionLimitsAreAnnounced has a server open streams towards clients that
// were given their limits in the different places.
func TestSessionLimitsAreAnnounced(t *testing.T) {
	one, none := &transport.Config{MaxIncomingStreams: 1}, &transport.Config{MaxIncomingStreams: -1}
	for _, tt := range []struct {
		name    string
		setup   func(*Dialer)
		opts    *transport.DialOptions
		streams int
	}{
		{"by default", func(d *Dialer) {}, nil, transport.DefaultMaxIncomingStreams},
		{"Dialer.Config", func(d *Dialer) { d.Config = one }, nil, 1},
		{"DialOptions.Config wins over it", func(d *Dialer) { d.Config = one }, &transport.DialOptions{Config: none}, 0},
		{"H2 and H3 win over both", func(d *Dialer) {
			d.H2, d.H3 = &h2wt.Config{Session: one}, &h3wt.Config{Session: one}
		}, &transport.DialOptions{Config: none}, 1},
		{"a pool has the Dialer's", func(d *Dialer) { d.Pool, d.Config = true, one }, &transport.DialOptions{Config: none}, 1},
	} {
		for _, p := range []transport.Protocol{transport.HTTP3, transport.HTTP2} {
			t.Run(tt.name+", "+p.String(), func(t *testing.T) {
				var opened chan int // made inside the bubble
				inWorld(t, worldOptions{handler: func(w http.ResponseWriter, r *http.Request) {
					s, err := Upgrade(w, r, nil)
					if err != nil {
						t.Error(err)
						return
					}
					time.Sleep(time.Second) // for what the client announces later, if it does
					ctx, cancel := context.WithCancel(context.Background())
					cancel()
					n := 0
					for ; ; n++ {
						if _, err = s.OpenStream(ctx); err != nil {
							break
						}
					}
					if !errors.Is(err, transport.ErrStreamLimit) {
						t.Errorf("OpenStream: %v", err)
					}
					opened <- n
				}}, func(t *testing.T, w *world) {
					opened = make(chan int, 1)
					d := w.dialer()
					d.Transports = []transport.Protocol{p}
					tt.setup(d)
					s, _, err := d.Dial(t.Context(), w.url, tt.opts)
					if err != nil {
						t.Fatal(err)
					}
					if n := <-opened; n != tt.streams {
						t.Errorf("the server may open %d streams, want %d", n, tt.streams)
					}
					s.CloseWithError(0, "")
				})
			})
		}
	}
}
