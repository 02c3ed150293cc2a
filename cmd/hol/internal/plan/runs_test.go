package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

func asked() Request {
	return Request{
		Transports: []adapter.Adapter{
			{Name: "a", Traits: adapter.Traits{Calls: true}}, {Name: "b"}, {Name: "c", Traits: adapter.Traits{Calls: true}},
		},
		Workloads:  []lab.Workload{{Kind: lab.Updates}},
		Directions: []lab.Direction{lab.Down},
		Link:       lab.Link{Delay: time.Millisecond},
		Losses:     []float64{0.01, 0.02},
		Seeds:      2, FirstSeed: 7, Controls: 1,
		Common: lab.Run{CC: "cubic", MaxAge: 3, Priorities: true, Realtime: true, MaxLateness: 4},
	}
}

// brief writes runs as one letter of the transport, loss in percent, seed, and
// what else differs.
func brief(runs []lab.Run) string {
	var words []string
	for _, r := range runs {
		w := fmt.Sprintf("%s%g/%d", r.Transport, r.Link.Loss*100, r.Seed)
		if r.Workload.Kind != lab.Updates {
			w = string(r.Workload.Kind) + ":" + w
		}
		if r.Direction != lab.Down {
			w += string(r.Direction)
		}
		if r.Link.Burst.Good != 0 {
			w += "burst"
		}
		words = append(words, w)
	}
	return strings.Join(words, " ")
}

func TestRuns(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Request)
		want   string
	}{
		{"controls, then seed by seed, the transports rotated", func(*Request) {},
			"a0/7 b0/7 c0/7  a1/7 b1/7 c1/7 a2/7 b2/7 c2/7  b1/8 c1/8 a1/8 b2/8 c2/8 a2/8"},
		{"a loss of 0 has all seeds", func(r *Request) { r.Losses = []float64{0, 0.01} },
			"a0/7 b0/7 c0/7 b0/8 c0/8 a0/8  a1/7 b1/7 c1/7  b1/8 c1/8 a1/8"},
		{"no loss at all", func(r *Request) { r.Losses = []float64{0}; r.Seeds = 1 },
			"a0/7 b0/7 c0/7"},
		{"no more controls than seeds", func(r *Request) { r.Seeds, r.Controls, r.Losses = 1, 5, []float64{0.01} },
			"a0/7 b0/7 c0/7 a1/7 b1/7 c1/7"},
		{"bursts have a control without", func(r *Request) {
			r.Seeds, r.Losses, r.Link.Burst = 1, []float64{0}, lab.Burst{Good: 5, Bad: 6, Loss: 1}
		}, "a0/7 b0/7 c0/7 a0/7burst b0/7burst c0/7burst"},
		{"workloads and directions; calls only where there are some", func(r *Request) {
			r.Seeds, r.Losses = 1, []float64{0.01}
			r.Workloads = []lab.Workload{{Kind: lab.Updates}, {Kind: lab.RPC}}
			r.Directions = []lab.Direction{lab.Down, lab.Up}
		}, "a0/7 b0/7 c0/7 a0/7up b0/7up c0/7up rpc:a0/7 rpc:c0/7 rpc:a0/7up rpc:c0/7up " +
			"a1/7 b1/7 c1/7 a1/7up b1/7up c1/7up rpc:a1/7 rpc:c1/7 rpc:a1/7up rpc:c1/7up"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := asked()
			c.change(&r)
			runs := r.Runs()
			if got, want := brief(runs), strings.Join(strings.Fields(c.want), " "); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			for _, run := range runs {
				if run.CC != "cubic" || run.MaxAge != 3 || !run.Priorities || !run.Realtime || run.MaxLateness != 4 || run.Link.Delay != time.Millisecond {
					t.Fatalf("%+v lacks what all runs share", run)
				}
			}
		})
	}
}

func TestLinkFor(t *testing.T) {
	r := asked()
	r.Bulk = lab.Link{Rate: 5, Queue: 6, MTU: 7}
	for _, rate := range []int64{0, 9} {
		r.Link.Rate = rate
		for _, k := range []lab.Kind{lab.Updates, lab.Mixed, lab.Page, lab.RPC} {
			want := r.Link
			if rate == 0 && (k == lab.Mixed || k == lab.Page) {
				want.Rate, want.Queue = 5, 6
			}
			if got := r.LinkFor(k); got != want {
				t.Errorf("%s: %+v, want %+v", k, got, want)
			}
		}
	}
	r.Link.Rate = 0
	r.Workloads = []lab.Workload{{Kind: lab.Mixed}}
	for _, run := range r.Runs() {
		if run.Link.Rate != 5 {
			t.Errorf("a run with %+v", run.Link)
		}
	}
}

func TestApplies(t *testing.T) {
	with, without := adapter.Adapter{Traits: adapter.Traits{Calls: true}}, adapter.Adapter{}
	for _, k := range []lab.Kind{lab.Updates, lab.Mixed, lab.Page, lab.RPC} {
		calls := slices.Contains([]lab.Kind{lab.Page, lab.RPC}, k)
		if !Applies(with, k) || Applies(without, k) == calls {
			t.Errorf("%s: with calls %v, without %v", k, Applies(with, k), Applies(without, k))
		}
	}
}

func TestTotal(t *testing.T) {
	w := lab.Workload{Warmup: time.Second, Duration: 7300 * time.Millisecond, Drain: time.Second}
	control := lab.Run{Workload: w}
	lossy := lab.Run{Workload: w, Link: lab.Link{Loss: 0.1}}
	if got := Expected(control); got != 10*time.Second {
		t.Fatalf("one run: %v", got)
	}
	for _, c := range []struct {
		runs []lab.Run
		jobs int
		want time.Duration
	}{
		{nil, 4, 0},
		{[]lab.Run{control, lossy}, 1, 20 * time.Second},
		{[]lab.Run{control, lossy}, 2, 20 * time.Second}, // the control first
		{[]lab.Run{lossy, lossy, lossy}, 2, 20 * time.Second},
		{[]lab.Run{lossy, lossy, lossy, lossy}, 2, 20 * time.Second},
		{slices.Repeat([]lab.Run{lossy}, 5), 2, 30 * time.Second},
		{[]lab.Run{lossy}, 0, 10 * time.Second},
	} {
		if got := Total(c.runs, c.jobs); got != c.want {
			t.Errorf("%d runs, %d jobs: %v, want %v", len(c.runs), c.jobs, got, c.want)
		}
	}
}

func TestForecast(t *testing.T) {
	w := lab.Workload{Duration: 10*time.Second - overhead}
	f := forecast{jobs: 2, open: 8 * 10 * time.Second}
	if got := f.left(); got != 40*time.Second {
		t.Errorf("before the first run: %v", got)
	}
	f.attempt(lab.Run{Workload: w}, 15*time.Second)
	if got := f.left(); got != 60*time.Second {
		t.Errorf("runs take half as long again: %v", got)
	}
}

func TestMemory(t *testing.T) {
	const sample = 8 + 32 // on systems of 32 bits; 8 more on those of 64
	timed := lab.Workload{Kind: lab.Updates, Channels: 8, Interval: 20 * time.Millisecond, Duration: 10 * time.Second}
	page := lab.Workload{Kind: lab.Page, Objects: []int{100_000, 150_000}, Duration: 10 * time.Second}
	round := lab.Link{Delay: 25 * time.Millisecond}
	limited := lab.Link{Delay: 25 * time.Millisecond, Rate: 20_000_000}
	for _, c := range []struct {
		name string
		run  lab.Run
		want int64 // samples
	}{
		{"timed", lab.Run{Workload: timed, Link: round}, 8 * 500},
		{"a page a round trip", lab.Run{Workload: page, Link: round}, 2 * 201},
		{"a page takes 100 ms", lab.Run{Workload: page, Link: limited}, 2 * 101},
		{"no bound but the workload's", lab.Run{Workload: page}, 1_000_000},
		{"nothing", lab.Run{}, 0},
	} {
		one, two := Memory([]lab.Run{c.run}), Memory([]lab.Run{c.run, c.run})
		if one < c.want*sample || one > c.want*(sample+8) || two != 2*one {
			t.Errorf("%s: %d bytes, and %d of two", c.name, one, two)
		}
	}
}
