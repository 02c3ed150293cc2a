package metrics_test

import (
	"fmt"
	"os"
	"time"

	"github.com/towpath-go/towpath/metrics"
	"github.com/towpath-go/towpath/transport"
)

func ExampleWriteText() {
	r := metrics.NewRecorder()
	r.Dialed(transport.Dialed{
		Protocol: transport.HTTP2, Elapsed: 180 * time.Millisecond, Outcome: transport.DialConnected,
		Fallbacks: []transport.Fallback{{Protocol: transport.HTTP3, Reason: transport.FallbackUDPSilent}},
	})
	for _, f := range r.Metrics() {
		if len(f.Points) == 1 && f.Kind == metrics.KindCounter {
			fmt.Println(f.SampleName(), f.Points[0].Labels, f.Points[0].Value)
		}
	}
	// A program serves all of it: metrics.WriteText(w, r), or metrics.Handler(r).
	if err := metrics.WriteText(os.Stdout); err != nil {
		fmt.Println(err)
	}
	// Output:
	// towpath_dials_total [h2 connected] 1
	// towpath_dial_fallbacks_total [h3 udp_silent] 1
	// # EOF
}

// refusals prints requests for sessions that a server refused, and does nothing
// else: the embedded Recorder has the other methods.
type refusals struct{ *metrics.Recorder }

func (r refusals) SessionRefused(f transport.Refusal) {
	fmt.Printf("%v: status %d, limit %q\n", f.Protocol, f.Status, f.Limit)
	r.Recorder.SessionRefused(f) // counted as well
}

// A Monitor of one's own.
func Example_monitor() {
	var m transport.Monitor = refusals{metrics.NewRecorder()}
	// server := &negotiate.Server{Monitor: m, ...}
	m.SessionRefused(transport.Refusal{Protocol: transport.HTTP3, Status: 429, Limit: transport.LimitSessionRate})
	// Output: h3: status 429, limit "session-rate"
}
