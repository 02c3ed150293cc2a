package e2e_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/netns"
)

// rounds is how many dials a median is of.
const rounds = 20

// BenchmarkDial measures what finding the open way costs: whole dials, from the
// name to the session, each beside a dial by one transport over TCP alone through
// the same network, in turn. It fails where the median misses the goal: 1.2 times the
// median of the direct dials plus 20 ms, and in silence, before anything is
// known, half of QUIC's head start more.
//
// Run it once per sub-benchmark: go test -C e2e -run '^$' -bench Dial -benchtime 1x
func BenchmarkDial(b *testing.B) {
	for _, bm := range []struct {
		name   string
		filter string
		known  bool // dial with a dialer that has marked UDP broken
		wait   time.Duration
		winner string
		box    string // the middlebox that TCP leads to, if any
		direct string // what the dial is compared to; "" means h2
	}{
		{name: "UDP dropped, first dial", filter: dropUDP, wait: halfHeadStart, winner: "h2"},
		{name: "UDP dropped, second dial", filter: dropUDP, known: true, winner: "h2"},
		{name: "UDP refused", filter: "meta l4proto udp reject with icmpx type admin-prohibited", winner: "h2"},
		{name: "UDP open", winner: "h3"},
		{name: "only HTTP/1.1, first dial", filter: dropUDP, wait: halfHeadStart, winner: "ws", box: "http11", direct: "ws"},
		{name: "only HTTP/1.1, second dial", filter: dropUDP, known: true, winner: "ws", box: "http11", direct: "ws"},
	} {
		b.Run(bm.name, func(b *testing.B) {
			s := newSite(b, netns.Topology{}, bm.filter, false)
			if bm.box != "" {
				s.stand(bm.box)
			}
			if bm.direct == "" {
				bm.direct = "h2"
			}
			url := labURL(netns.ServerName4)
			fresh := 0
			measure := func(protocol string, a dialArgs) time.Duration {
				a.URL, a.Root, a.Discard = url, s.root, true
				r := dial.Call(b, s.Client, a)
				if r.Err != "" || r.Winner != protocol {
					b.Fatalf("winner %q, error %q; want %s\n%s", r.Winner, r.Err, protocol, r.Text)
				}
				return r.Took
			}
			negotiated := func() time.Duration {
				a := dialArgs{Dialer: "known"}
				if !bm.known {
					fresh++
					a.Dialer = fmt.Sprintf("fresh %d", fresh)
				}
				return measure(bm.winner, a)
			}
			if bm.known {
				measure(bm.winner, dialArgs{Dialer: "known"})
				awaitMark.Call(b, s.Client, "known")
			}
			measure(bm.direct, dialArgs{Dialer: bm.direct}) // the first of a process is slower
			for b.Loop() {
				var direct, way []time.Duration
				for range rounds {
					direct = append(direct, measure(bm.direct, dialArgs{Dialer: bm.direct}))
					way = append(way, negotiated())
				}
				goal := bm.wait + median(direct)*12/10 + 20*time.Millisecond
				b.Logf("%-24s median %s, of %d; direct %s %s; goal %.1f ms", bm.name, spread(way), rounds, bm.direct, spread(direct), ms(goal))
				b.ReportMetric(ms(median(way)), "ms/dial")
				b.ReportMetric(ms(median(direct)), "ms/direct-dial")
				if median(way) > goal {
					b.Errorf("median %.1f ms misses the goal of %.1f ms", ms(median(way)), ms(goal))
				}
			}
		})
	}
}

func median(d []time.Duration) time.Duration { return quantile(d, 0.5) }

// quantile returns the value below which the part p of d lies.
func quantile(d []time.Duration, p float64) time.Duration {
	d = slices.Sorted(slices.Values(d))
	at := p * float64(len(d)-1)
	i := int(at)
	if i+1 == len(d) {
		return d[i]
	}
	return d[i] + time.Duration((at-float64(i))*float64(d[i+1]-d[i]))
}

// spread prints median, middle half and range in milliseconds.
func spread(d []time.Duration) string {
	return fmt.Sprintf("%.1f ms (middle half %.1f to %.1f, all %.1f to %.1f)",
		ms(median(d)), ms(quantile(d, 0.25)), ms(quantile(d, 0.75)), ms(slices.Min(d)), ms(slices.Max(d)))
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
