package trial

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
	"github.com/towpath-go/towpath/cmd/hol/internal/link"
	"github.com/towpath-go/towpath/cmd/hol/internal/workload"
)

const ms = time.Millisecond

// short is a run over a clean link.
func short(a adapter.Adapter, kind lab.Kind, d lab.Direction) lab.Run {
	run := lab.Run{
		Transport: a.Name, Direction: d, Seed: 1,
		Link: lab.Link{Delay: 5 * ms, MTU: 1500},
		Workload: lab.Workload{
			Kind: kind, Channels: 4, Interval: 20 * ms, MinSize: 150, MaxSize: 250,
			Warmup: 100 * ms, Duration: 200 * ms, Drain: 10 * time.Second,
		},
		MaxAge:      10 * time.Second,
		MaxLateness: MaxLateness, // the machine may be busy
	}
	if kind == lab.Page {
		run.Workload.Objects = []int{100, 20_000, 100_000}
		run.Workload.Warmup = 0 // so that the first page is measured, however long it takes
	}
	if kind == lab.Mixed {
		run.Link.Rate, run.Link.Queue = 10_000_000, 100_000
		run.Workload.Duration = time.Second
	}
	return run
}

func TestDo(t *testing.T) {
	if err := link.Check(); err != nil {
		if os.Getenv("TOWPATH_E2E_REQUIRE") == "1" {
			t.Fatalf("TOWPATH_E2E_REQUIRE is set, and %v", err)
		}
		t.Skip(err)
	}
	for _, a := range adapter.All() {
		for _, kind := range []lab.Kind{lab.Updates, lab.Mixed, lab.Page, lab.RPC} {
			for _, d := range []lab.Direction{lab.Down, lab.Up} {
				run := short(a, kind, d)
				if workload.Fits(a, run.Workload) != nil {
					continue // TestCheck shows that this is refused
				}
				t.Run(strings.Join([]string{a.Name, string(kind), string(d)}, " "), func(t *testing.T) {
					t.Parallel()
					r, err := Do(t.Context(), run)
					if err != nil {
						t.Fatal(err)
					}
					verify(t, a, run, r)
				})
			}
		}
	}
}

// verify checks what must hold on a clean link however slow the machine is.
func verify(t *testing.T, a adapter.Adapter, run lab.Run, r lab.Result) {
	t.Helper()
	if !reflect.DeepEqual(r.Run, run) {
		t.Errorf("the result of %+v", r.Run)
	}
	// What is lost without the link's doing is counted, or else a bug.
	undelivered := 0
	for _, s := range r.Samples {
		trips := time.Duration(1)
		if run.Workload.Kind == lab.RPC || run.Workload.Kind == lab.Page && run.Direction == lab.Down {
			trips = 2
		}
		if s.Latency == lab.Undelivered {
			undelivered++
		} else if s.Latency < trips*run.Link.Delay {
			t.Errorf("%+v is faster than the link", s)
		}
	}
	if a.Reliable && undelivered > 0 || undelivered > int(r.Dropped.Full+r.Dropped.Expired) && run.Link.Rate == 0 {
		t.Errorf("%d of %d not delivered, dropped %+v", undelivered, len(r.Samples), r.Dropped)
	}
	// Channels times messages of each, or whatever pages there were.
	want := 4 * int(run.Workload.Duration/run.Workload.Interval)
	if run.Workload.Kind != lab.Page && len(r.Samples) != want || len(r.Samples) == 0 {
		t.Errorf("%d samples, not %d", len(r.Samples), want)
	}
	if run.Workload.Kind == lab.Page != (len(r.Pages) > 0) || len(r.Pages)*len(run.Workload.Objects) > len(r.Samples) {
		t.Errorf("%d pages, %d samples", len(r.Pages), len(r.Samples))
	}
	// How much arrives in the measured time is up to the machine, but it is whole
	// messages and no more than the link carries beside the queue's content.
	most := (run.Link.Rate/8)*int64(run.Workload.Duration/time.Second) + int64(run.Link.Queue)
	if run.Workload.Kind == lab.Mixed && (r.Bulk.Bytes%(16<<10) != 0 || r.Bulk.Bytes+r.Arrived > most || r.Bulk.Duration != run.Workload.Duration) {
		t.Errorf("bulk %+v, messages of %d bytes", r.Bulk, r.Arrived)
	}
	if r.Setup.FirstMessage < 3*run.Link.Delay || r.Setup.NextChannel < run.Link.Delay {
		t.Errorf("set-up %+v is faster than the link", r.Setup)
	}
	if opens := r.Setup.ServerChannelError == ""; opens != a.ServerOpens || opens != (r.Setup.ServerChannel >= run.Link.Delay) {
		t.Errorf("set-up %+v, the server opens channels: %t", r.Setup, a.ServerOpens)
	}
	tcp := !a.UDP || a.Signals
	for _, p := range []lab.Passage{r.Down, r.Up} {
		if p.Packets == 0 || p.Realised() != 0 || tcp != (p.TCP > 0) || a.UDP != (p.UDP > 0) {
			t.Errorf("packets %+v", p)
		}
	}
	if tcp != (r.CC != "") || tcp && r.CC != link.DefaultCC {
		t.Errorf("congestion control %q", r.CC)
	}
	if r.CPU.Ends <= 0 || r.CPU.Router < 0 || r.CPU.Wall <= 0 {
		t.Errorf("processor time %+v", r.CPU)
	}
}

func TestCheck(t *testing.T) {
	good := lab.Run{
		Transport: "wt-h3-streams", Direction: lab.Down, Link: lab.Link{MTU: 1500},
		Workload: lab.Workload{
			Kind: lab.Updates, Channels: 1, Interval: ms, MinSize: workload.HeaderSize, MaxSize: adapter.MaxDatagram,
			Duration: time.Second,
		},
		MaxLateness: 10 * ms,
	}
	if err := Check(good); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change func(run *lab.Run)
		want   string
	}{
		{func(run *lab.Run) { run.Transport = "pigeon" }, `transport: there is no "pigeon"`},
		{func(run *lab.Run) { run.Direction = "sideways" }, `direction: "sideways" is neither down nor up`},
		{func(run *lab.Run) { run.Link.MTU = 500 }, "1280"},
		{func(run *lab.Run) { run.Workload.Channels = 257 }, "channels: 257 is not within 1 to 256"},
		{func(run *lab.Run) { run.Transport, run.Workload.MaxSize = "wt-h3-datagrams", 1101 }, "wt-h3-datagrams: largest size: 1101"},
		{func(run *lab.Run) { run.Transport, run.Workload.Kind = "wt-h2-datagrams", lab.RPC }, "wt-h2-datagrams: rpc needs"},
		{func(run *lab.Run) { run.MaxAge = -1 }, "maximum age: -1ns is not within 0s to 1m0s"},
		{func(run *lab.Run) { run.MaxAge = MaxMaxAge + 1 }, "maximum age: 1m0.000000001s is not within 0s to 1m0s"},
		{func(run *lab.Run) { run.MaxLateness = MinLateness - 1 }, "maximum lateness: 99.999µs is not within 100µs to 10s"},
		{func(run *lab.Run) { run.MaxLateness = MaxLateness + 1 }, "maximum lateness: 10.000000001s is not within 100µs to 10s"},
	} {
		run := good
		c.change(&run)
		if err := Check(run); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, not %s", err, c.want)
		}
		if _, err := Do(t.Context(), run); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Do: %v, not %s", err, c.want)
		}
	}
}

func TestAssemble(t *testing.T) {
	run := lab.Run{CC: "reno", MaxLateness: 10 * ms}
	start := time.Now()
	outcome := workload.Outcome{
		Start:   start,
		Setup:   lab.Setup{FirstMessage: 1},
		Samples: []lab.Sample{{Size: 2}}, Pages: []lab.Sample{{Size: 3}},
		Bulk:       lab.Bulk{Bytes: 4},
		Arrived:    13,
		Duplicates: 5, Dropped: lab.Dropped{Full: 6},
		Wakes: lab.Lateness{Mean: 1, P99: 2, Max: 10 * ms},
	}
	report := link.Report{
		Down: lab.Passage{Packets: 7}, Up: lab.Passage{Packets: 8},
		Lateness: lab.Lateness{Max: 10 * ms}, CC: "reno", Realtime: true,
	}
	t.Run("everything is in the result", func(t *testing.T) {
		r, err := assemble(run, outcome, lab.CPU{Ends: 9}, report, []link.Drop{
			{Direction: lab.Down, At: start.Add(-1), Bytes: 10},
			{Direction: lab.Up, At: start, Bytes: 11},
			{Direction: lab.Down, At: start.Add(ms), Bytes: 12},
		})
		want := lab.Result{
			Run: run, Setup: outcome.Setup, Samples: outcome.Samples, Pages: outcome.Pages, Arrived: 13, Bulk: outcome.Bulk,
			Down: report.Down, Up: report.Up, Lateness: report.Lateness, Wakes: outcome.Wakes, CPU: lab.CPU{Ends: 9},
			Duplicates: 5, Dropped: outcome.Dropped, CC: "reno", Realtime: true,
			Drops: []lab.Drop{{Direction: lab.Up, At: 0, Bytes: 11}, {Direction: lab.Down, At: ms, Bytes: 12}},
		}
		if err != nil || !reflect.DeepEqual(r, want) {
			t.Errorf("%+v, %v, not %+v", r, err, want)
		}
	})
	t.Run("drops are bounded", func(t *testing.T) {
		drops := make([]link.Drop, lab.MaxDrops+1)
		for i := range drops {
			drops[i].At = start.Add(time.Duration(i))
		}
		r, err := assemble(run, outcome, lab.CPU{}, report, drops)
		if err != nil || len(r.Drops) != lab.MaxDrops || r.Drops[lab.MaxDrops-1].At != lab.MaxDrops-1 {
			t.Errorf("%d drops, %v", len(r.Drops), err)
		}
	})
	t.Run("the congestion control that was asked for", func(t *testing.T) {
		for _, c := range []struct{ asked, has, want string }{
			{"reno", "reno", ""},
			{"", "cubic", ""},
			{"reno", "", ""}, // no TCP
			{"", "reno", "congestion control: asked for cubic, the kernel has reno"},
			{"cubic", "reno", "congestion control: asked for cubic, the kernel has reno"},
			{"cubic", "cubic,reno", "congestion control: asked for cubic, the kernel has cubic,reno"},
		} {
			report := report
			report.CC = c.has
			_, err := assemble(lab.Run{CC: c.asked}, outcome, lab.CPU{}, report, nil)
			if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
				t.Errorf("%q and %q: %v, not %q", c.asked, c.has, err, c.want)
			}
		}
	})
	t.Run("rejection", func(t *testing.T) {
		for _, c := range []struct {
			change func(r *link.Report)
			want   string
		}{
			{func(r *link.Report) {}, ""},
			{func(r *link.Report) { r.Lateness.Max = 10*ms + 1 }, "router up to 10.1ms late (limit 10ms)"},
			{func(r *link.Report) { r.Lateness.Max = 14 * ms }, "router up to 14ms late (limit 10ms)"},
			{func(r *link.Report) { r.Overflow = 2 }, "router dropped 2 packets for lack of time"},
			{func(r *link.Report) { r.Failed = 3 }, "the receiving host refused 3 packets"},
		} {
			report := report
			c.change(&report)
			r, err := assemble(run, outcome, lab.CPU{}, report, nil)
			if err != nil || r.Rejected != c.want {
				t.Errorf("%q, %v, not %q", r.Rejected, err, c.want)
			}
		}
		late := outcome
		late.Wakes.Max = 10*ms + 1
		r, err := assemble(run, late, lab.CPU{}, report, nil)
		if want := "sender up to 10.1ms late (limit 10ms)"; err != nil || r.Rejected != want {
			t.Errorf("%q, %v, not %q", r.Rejected, err, want)
		}
	})
}
