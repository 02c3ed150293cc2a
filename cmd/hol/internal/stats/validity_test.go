package stats

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// sound are a control and a run with loss, with nothing to say against them.
func sound() []lab.Result {
	return []lab.Result{
		result(ordinary("x", 0, 1), func(int, int) time.Duration { return 25500 * time.Microsecond }),
		result(ordinary("x", .01, 1), func(_, slot int) time.Duration {
			if slot == 4 {
				return 80 * ms
			}
			return 26 * ms
		}),
	}
}

func TestSoundStudy(t *testing.T) {
	study := Assemble(sound())
	if len(study.Problems) != 0 || len(study.Cells) != 2 || study.Cells[0].Problem != "" {
		t.Errorf("problems %q", study.Problems)
	}
	if study := Assemble(nil); len(study.Problems) != 0 || study.Cells == nil {
		t.Errorf("of nothing: %+v", study)
	}
}

// Each of these makes a sound study say exactly one thing, or nothing.
func TestProblems(t *testing.T) {
	latency := func(r *lab.Result, l time.Duration) {
		for i := range r.Samples {
			r.Samples[i].Latency = l
		}
	}
	work := func(rs []lab.Result, change func(*lab.Workload)) {
		for i := range rs {
			change(&rs[i].Run.Workload)
		}
	}
	link := func(rs []lab.Result, change func(*lab.Link)) {
		for i := range rs {
			change(&rs[i].Run.Link)
		}
	}
	for _, c := range []struct {
		name   string
		change func(rs []lab.Result) []lab.Result
		want   string // a part of the sentence, "" for none
	}{
		{"the median is 1 ms off", func(rs []lab.Result) []lab.Result { latency(&rs[0], 26*ms); return rs }, ""},
		{"the median is more off", func(rs []lab.Result) []lab.Result { latency(&rs[0], 26*ms+1); return rs },
			"The control of x (updates down) failed: without loss the median latency of a run was 26.0 ms instead of 25.0 ms ± 1 ms. Something"},
		{"one message is late", func(rs []lab.Result) []lab.Result { rs[0].Samples[3].Latency = 51 * ms; return rs },
			"failed: without loss 1 of 40 messages was late (2.5 %)."},
		{"one message was handed over late", func(rs []lab.Result) []lab.Result {
			rs[0].Samples[3].Latency, rs[0].Samples[3].Waited = 51*ms, 26*ms
			return rs
		}, "1 of 40 messages was handed to the transport more than 1 ms after the time."},
		{"BBR makes messages late", func(rs []lab.Result) []lab.Result {
			for i := range rs {
				rs[i].Run.Transport, rs[i].Run.CC, rs[i].CC = "ws-one", "bbr", "bbr"
			}
			rs[0].Samples[3].Latency = 51 * ms
			return rs
		}, ""},
		{"BBR is not used by QUIC", func(rs []lab.Result) []lab.Result {
			for i := range rs {
				rs[i].Run.Transport, rs[i].Run.CC, rs[i].CC = "wt-h3-streams", "bbr", ""
			}
			rs[0].Samples[3].Latency = 51 * ms
			return rs
		}, "1 of 40 messages was late"},
		{"one message did not arrive", func(rs []lab.Result) []lab.Result { rs[0].Samples[3].Latency = lab.Undelivered; return rs },
			"without loss 1 of 40 messages was not delivered (2.5 %)."},
		{"all is wrong", func(rs []lab.Result) []lab.Result {
			latency(&rs[0], 60*ms)
			rs[0].Samples[3].Latency = lab.Undelivered
			return rs
		},
			"60.0 ms instead of 25.0 ms ± 1 ms, 39 of 40 messages were late (98 %), 1 of 40 messages was not delivered (2.5 %)."},
		{"a limited rate makes late by right", func(rs []lab.Result) []lab.Result {
			link(rs, func(l *lab.Link) { l.Rate, l.Queue = 1e6, 30_000 })
			latency(&rs[0], 90*ms)
			return rs
		}, ""},
		{"jitter does", func(rs []lab.Result) []lab.Result {
			link(rs, func(l *lab.Link) { l.Jitter = 5 * ms })
			latency(&rs[0], 27*ms)
			return rs
		}, ""},
		{"large messages do", func(rs []lab.Result) []lab.Result {
			work(rs, func(w *lab.Workload) { w.MaxSize = 64 << 10 })
			latency(&rs[0], 90*ms)
			return rs
		}, ""},
		{"messages of ten packets do not", func(rs []lab.Result) []lab.Result {
			work(rs, func(w *lab.Workload) { w.MaxSize = 14_000 })
			latency(&rs[0], 90*ms)
			return rs
		}, "instead of 25.0 ms"},
		{"calls take a round trip", func(rs []lab.Result) []lab.Result {
			work(rs, func(w *lab.Workload) { w.Kind = lab.RPC })
			latency(&rs[0], 52*ms)
			latency(&rs[1], 52*ms)
			return rs
		}, ""},
		{"calls take longer", func(rs []lab.Result) []lab.Result {
			work(rs, func(w *lab.Workload) { w.Kind = lab.RPC })
			latency(&rs[0], 52*ms+1)
			latency(&rs[1], 52*ms)
			return rs
		}, "52.0 ms instead of 50.0 ms ± 2 ms"},
		{"beside a bulk transfer", func(rs []lab.Result) []lab.Result {
			work(rs, func(w *lab.Workload) { w.Kind = lab.Mixed })
			latency(&rs[0], 500*ms)
			rs[0].Bulk = lab.Bulk{Bytes: 1, Duration: time.Second}
			rs[1].Bulk = rs[0].Bulk
			return rs
		}, ""},
		{"without a bulk transfer", func(rs []lab.Result) []lab.Result {
			work(rs, func(w *lab.Workload) { w.Kind = lab.Mixed })
			return rs
		}, "the bulk transfer did not move"},
		{"no page", func(rs []lab.Result) []lab.Result {
			work(rs, func(w *lab.Workload) { w.Kind = lab.Page })
			rs[1].Pages = []lab.Sample{{Latency: 80 * ms}}
			return rs
		}, "no page was completed"},
		{"a page", func(rs []lab.Result) []lab.Result {
			work(rs, func(w *lab.Workload) { w.Kind = lab.Page })
			latency(&rs[0], 500*ms)
			rs[0].Pages = []lab.Sample{{Latency: 80 * ms}}
			return rs
		}, ""},
		{"faster than the link", func(rs []lab.Result) []lab.Result { rs[1].Samples[0].Latency = 24*ms - 1; return rs },
			"x (updates down, 1 % loss): messages arrived faster than the link is in 1 of 1 runs."},
		{"no control", func(rs []lab.Result) []lab.Result { return rs[1:] },
			"No run without loss counts for x (updates down): whether"},
		{"no control of two losses", func(rs []lab.Result) []lab.Result {
			return append(rs[1:], result(ordinary("x", .02, 1), onTime), result(ordinary("y", .02, 1), onTime))
		}, "No run without loss counts for x, y (updates down): whether"},
		{"the control is of another load", func(rs []lab.Result) []lab.Result { rs[0].Run.Workload.MinSize = 7; return rs },
			"No run without loss counts for x (updates down)"},
		{"no control where none can be checked", func(rs []lab.Result) []lab.Result {
			link(rs, func(l *lab.Link) { l.Rate, l.Queue = 1e6, 30_000 })
			return rs[1:]
		}, ""},
		{"a run was rejected and repeated", func(rs []lab.Result) []lab.Result {
			return append(rs, lab.Result{Run: rs[1].Run, Rejected: "the router was late"})
		}, ""},
		{"a run was rejected for good", func(rs []lab.Result) []lab.Result {
			return append(rs, lab.Result{Run: ordinary("x", .01, 2), Rejected: "the router was late"})
		}, "x (updates down, 1 % loss): 1 of 2 runs have no result: the router was late."},
		{"a run failed", func(rs []lab.Result) []lab.Result {
			return append(rs, lab.Result{Run: ordinary("x", .01, 2), Failed: "no answer"})
		}, "1 of 2 runs have no result: no answer."},
		{"all runs failed alike", func(rs []lab.Result) []lab.Result {
			return append(rs, lab.Result{Run: ordinary("y", .01, 1), Failed: "no answer"}, lab.Result{Run: ordinary("y", .02, 1), Failed: "no answer"})
		}, "y (updates down, 1 % loss; updates down, 2 % loss): no run counts: no answer."},
		{"messages are not accounted for", func(rs []lab.Result) []lab.Result { rs[1].Samples = rs[1].Samples[:30]; return rs },
			"of 36 messages that were to be sent 6 are not accounted for"},
		{"the stagger leaves one out", func(rs []lab.Result) []lab.Result { rs[1].Samples = rs[1].Samples[:36]; return rs }, ""},
		{"messages arrive twice where nobody promised otherwise", func(rs []lab.Result) []lab.Result { rs[1].Duplicates = 3; return rs }, ""},
		{"messages arrive twice", func(rs []lab.Result) []lab.Result {
			for i := range rs {
				rs[i].Run.Transport = "ws-one"
			}
			rs[1].Duplicates = 3
			return rs
		}, "one WebSocket (updates down, 1 % loss): 3 messages were delivered more than once."},
		{"the router was late", func(rs []lab.Result) []lab.Result {
			rs[1].Run.MaxLateness, rs[1].Lateness.Max = 10*ms, 11*ms
			return rs
		}, "the router was up to 11.0 ms late"},
		{"the router reordered", func(rs []lab.Result) []lab.Result { rs[1].Up.Reordered = 4; return rs }, "the router reordered 4 packets"},
		{"as it was asked to", func(rs []lab.Result) []lab.Result {
			link(rs, func(l *lab.Link) { l.Reorder, l.Jitter = true, ms })
			rs[1].Up.Reordered = 4
			return rs
		}, ""},
		{"another congestion control", func(rs []lab.Result) []lab.Result { rs[1].CC = "bbr"; return rs },
			"the kernel used the congestion control bbr instead of cubic"},
		{"no loss where there should be", func(rs []lab.Result) []lab.Result { rs[1].Down.Packets, rs[1].Down.Lost = 10_000, 0; return rs },
			"x (updates down, 1 % loss): the link lost 0.00 % of the packets down, which chance does not explain."},
		{"loss where there should be none", func(rs []lab.Result) []lab.Result { rs[0].Up.Lost = 1; return rs },
			"the link lost 0.20 % of the packets up"},
		// 10 of 1,000 were to be lost, with a deviation of 3.1.
		{"loss as chance has it", func(rs []lab.Result) []lab.Result { rs[1].Down.Lost = 35; return rs }, ""},
		{"loss as chance does not", func(rs []lab.Result) []lab.Result { rs[1].Down.Lost = 36; return rs }, "3.60 % of the packets down"},
	} {
		t.Run(c.name, func(t *testing.T) {
			study := Assemble(c.change(sound()))
			switch {
			case c.want == "" && len(study.Problems) != 0:
				t.Errorf("problems %q", study.Problems)
			case c.want != "" && (len(study.Problems) != 1 || !strings.Contains(study.Problems[0], c.want)):
				t.Errorf("problems %q, want %q", study.Problems, c.want)
			}
		})
	}
}

// The cell of a control that failed says so itself.
func TestCellOfAFailedControl(t *testing.T) {
	rs := sound()
	rs[0].Samples[0].Latency = 60 * ms
	study := Assemble(rs)
	if got, want := study.Cells[0].Problem, "without loss 1 of 40 messages was late (2.5 %)"; got != want {
		t.Errorf("problem %q, want %q", got, want)
	}
	if study.Cells[1].Problem != "" {
		t.Errorf("problem %q", study.Cells[1].Problem)
	}
}

func TestOrderOfCells(t *testing.T) {
	var rs []lab.Result
	add := func(transport string, change func(*lab.Run)) {
		run := ordinary(transport, .01, 1)
		change(&run)
		rs = append(rs, result(run, onTime))
	}
	add("z", func(r *lab.Run) { r.Workload.Kind = lab.RPC })
	add("z", func(r *lab.Run) { r.Link.Rate = 1e6 })
	add("z", func(r *lab.Run) { r.Link.Rate = 2e6 })
	add("z", func(r *lab.Run) { r.Link.Loss = .02 })
	add("z", func(*lab.Run) {})
	add("a", func(*lab.Run) {})
	add("z", func(r *lab.Run) { r.Link.Loss = 0 })
	add("z", func(r *lab.Run) { r.Direction = lab.Up })
	add("z", func(r *lab.Run) { r.Workload.MaxSize = 1200 })
	add("z", func(r *lab.Run) { r.Link.Burst = lab.Burst{Good: time.Second, Bad: ms, Loss: 1} })
	want := []string{
		"z updates down", "a updates down, 1 % loss", "z updates down, 1 % loss", "z updates down, 2 % loss",
		"z updates down, 1 % loss and bursts", "z updates down, 1 % loss, 2 Mbit/s", "z updates down, 1 % loss, 1 Mbit/s",
		"z updates up, 1 % loss", "z updates down, 1 % loss", "z rpc down, 1 % loss",
	}
	var got []string
	for _, cell := range Assemble(rs).Cells {
		got = append(got, cell.Transport+" "+situation(cell.Condition))
	}
	if !slices.Equal(got, want) {
		t.Errorf("cells are in the order\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Under one condition cells are in the adapters' order, and those that nobody
// knows come last.
func TestOrderOfTransports(t *testing.T) {
	want := []string{"wt-h3-streams", "wt-h2-streams", "ws-one", "a", "b"}
	var rs []lab.Result
	for _, i := range []int{3, 2, 0, 4, 1} {
		rs = append(rs, result(ordinary(want[i], .01, 1), onTime))
	}
	var got []string
	for _, cell := range Assemble(rs).Cells {
		got = append(got, cell.Transport)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestLatenessIsTheWorst(t *testing.T) {
	rs := sound()
	rs[0].Lateness = lab.Lateness{Mean: 1, P99: 5, Max: 9}
	rs[1].Lateness = lab.Lateness{Mean: 2, P99: 4, Max: 8}
	rs = append(rs, lab.Result{Run: rs[1].Run, Rejected: "late", Lateness: lab.Lateness{Mean: 100, P99: 100, Max: 100}})
	if got, want := Assemble(rs).Lateness, (lab.Lateness{Mean: 2, P99: 5, Max: 9}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
