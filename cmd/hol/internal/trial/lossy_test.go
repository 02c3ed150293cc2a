package trial

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
	"github.com/towpath-go/towpath/cmd/hol/internal/link"
)

// TestLossyLink shows that over a link that loses packets the reliable transports
// of UDP deliver every message, and that the others send none again, whichever
// end opened the channel.
func TestLossyLink(t *testing.T) {
	if err := link.Check(); err != nil {
		if os.Getenv("TOWPATH_E2E_REQUIRE") == "1" {
			t.Fatalf("TOWPATH_E2E_REQUIRE is set, and %v", err)
		}
		t.Skip(err)
	}
	for _, a := range adapter.All() {
		for _, d := range []lab.Direction{lab.Down, lab.Up} {
			if !a.UDP {
				continue
			}
			run := short(a, lab.Updates, d)
			run.Link.Loss = 0.05
			run.Workload.Interval, run.Workload.Duration = 5*ms, time.Second
			run.Workload.Drain = time.Minute
			if !a.Reliable {
				run.Workload.Drain = time.Second // for nothing
			}
			t.Run(strings.Join([]string{a.Name, string(d)}, " "), func(t *testing.T) {
				t.Parallel()
				r, err := Do(t.Context(), run)
				if err != nil {
					t.Fatal(err)
				}
				undelivered := 0
				for _, s := range r.Samples {
					if s.Latency == lab.Undelivered {
						undelivered++
					}
				}
				// Of 800 messages 40 are lost, with a standard deviation of 6.
				if a.Reliable && undelivered > 0 || !a.Reliable && undelivered < 10 {
					t.Errorf("%d of %d not delivered, dropped %+v", undelivered, len(r.Samples), r.Dropped)
				}
				if r.Duplicates > 0 {
					t.Errorf("%d messages came twice", r.Duplicates)
				}
				if r.Down.Lost == 0 || r.Up.Lost == 0 {
					t.Errorf("packets %+v and %+v", r.Down, r.Up)
				}
			})
		}
	}
}
