package workload

import (
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
	"github.com/towpath-go/towpath/cmd/hol/internal/loopback"
)

// Every workload over every transport, in both directions.
func TestTransports(t *testing.T) {
	certificate, err := adapter.NewCertificate(loopback.Host{}.Addr())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range adapter.All() {
		for _, kind := range []lab.Kind{lab.Updates, lab.Mixed, lab.Page, lab.RPC} {
			for _, d := range []lab.Direction{lab.Down, lab.Up} {
				w := lab.Workload{
					Kind: kind, Channels: 3, Interval: 10 * ms, MinSize: HeaderSize, MaxSize: adapter.MaxDatagram,
					Objects: []int{HeaderSize, 100_000}, Duration: 50 * ms, Drain: 20 * time.Second,
				}
				if Fits(a, w) != nil {
					continue // TestFits shows that this is refused
				}
				if !a.Reliable {
					w.Drain = 500 * ms // what is not there then need not come
				}
				t.Run(strings.Join([]string{a.Name, string(kind), string(d)}, " "), func(t *testing.T) {
					t.Parallel()
					env := adapter.Env{
						Client: loopback.Host{}, Server: loopback.Host{}, Certificate: certificate,
						MaxAge: time.Minute, Priorities: true,
					}
					o, err := Run(t.Context(), a, env, lab.Run{Workload: w, Direction: d}, Marks{})
					if err != nil {
						t.Fatal(err)
					}
					if want := 3 * 5; kind != lab.Page && len(o.Samples) != want {
						t.Errorf("%d samples, not %d", len(o.Samples), want)
					}
					if kind == lab.Page && (len(o.Pages) == 0 || len(o.Samples) != 2*len(o.Pages)) {
						t.Errorf("%d objects of %d pages", len(o.Samples), len(o.Pages))
					}
					for _, s := range o.Samples {
						if a.Reliable && s.Latency == lab.Undelivered {
							t.Errorf("%+v did not arrive", s)
						}
					}
				})
			}
		}
	}
}
