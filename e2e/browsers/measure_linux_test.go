package browsers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/clients"
	"github.com/towpath-go/towpath/e2e/netns"
)

// rounds is how many sessions a median is of.
const rounds = 20

// The ports that lead to the site "all".
const firstPort, lastPort = 20000, 29999

// headStart is what native WebTransport gets before the WebSocket is started, if
// nothing is known.
const headStart = 250.0 // ms

// BenchmarkSession measures how long a page takes to have a session: with UDP
// dropped beside bare WebSockets to the same server, with UDP open beside the
// browser's own WebTransport, in turn. It fails where the median misses the
// goal: with UDP dropped the head start and 1.5 times what a bare WebSocket
// takes, without the head start once that is known; with UDP open 5 ms more
// than the browser's own.
//
// Run it with go test -C e2e -run '^$' -bench Session -benchtime 1x ./browsers
func BenchmarkSession(b *testing.B) {
	for _, k := range kinds {
		b.Run(string(k), func(b *testing.B) {
			s := trusting[k]
			if k == firefox {
				// Its clock shows whole milliseconds otherwise.
				s.prefs = map[string]any{noHTTP3ForRoots: false, "privacy.reduceTimerPrecision": false}
			}
			n := newNetwork(b, k, s)
			n.Ports(b, firstPort, lastPort, 4433)
			port := firstPort
			measured := func(b *testing.B, which, filter string) map[string][]float64 {
				n.Filter(b, filter)
				p := n.browser.open(b, n.sites["all"].origin()+"/")
				ctx, cancel := context.WithTimeout(b.Context(), 4*time.Minute)
				b.Cleanup(cancel)
				clients.Must(b, p.load(ctx, "measure", n.sites["all"].origin()+"/measure.js"))
				var times map[string][]float64
				clients.Must(b, p.run(ctx, `({ which, host, port, rounds }) => towpath.modules.measure[which](host, port, rounds)`,
					map[string]any{"which": which, "host": netns.ServerName4, "port": port, "rounds": rounds}, &times))
				port += 3 * rounds
				return times
			}
			b.Run("UDP dropped", func(b *testing.B) {
				for range b.N {
					times := measured(b, "dropped", dropUDP)
					show(b, times)
					within(b, "first session", median(times["first"]), headStart+1.5*median(times["bare"]))
					within(b, "next session", median(times["again"]), 1.5*median(times["bare"]))
				}
			})
			b.Run("UDP open", func(b *testing.B) {
				for range b.N {
					times := measured(b, "open", openUDP)
					show(b, times)
					within(b, "more than the browser's own", median(times["difference"]), 5)
				}
			})
		})
	}
}

// show reports medians, and logs them with the half of the values in the middle.
func show(b *testing.B, times map[string][]float64) {
	b.ReportMetric(0, "ns/op") // is of no interest
	for _, name := range slices.Sorted(maps.Keys(times)) {
		b.ReportMetric(median(times[name]), name+"-ms")
		b.Logf("%s: %s", name, summary(times[name]))
	}
}

func summary(values []float64) string {
	v := slices.Sorted(slices.Values(values))
	return fmt.Sprintf("median %.1f ms, middle half %.1f to %.1f ms, of %d", median(v), v[len(v)/4], v[len(v)-1-len(v)/4], len(v))
}

func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func within(b *testing.B, what string, got, most float64) {
	if got > most {
		b.Errorf("%s: median %.1f ms, goal at most %.1f ms", what, got, most)
	}
}
