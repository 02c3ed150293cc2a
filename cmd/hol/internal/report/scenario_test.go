package report

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

func TestLooksAreThoseOfTheAdapters(t *testing.T) {
	last := -1
	for _, a := range slices.Concat(adapter.All(), adapter.Extra()) {
		l := lookOf(a.Name)
		if l.Title != a.Title || l.Family == unknownFamily {
			t.Errorf("%s (%s) is shown as %s of %s", a.Name, a.Title, l.Title, l.Family)
		}
	}
	for _, a := range adapter.All() {
		if r := rank(a.Name); r <= last {
			t.Errorf("%s is in another place than in the list of adapters", a.Name)
		} else {
			last = r
		}
	}
	type sign struct {
		family  family
		variant int
	}
	seen := map[sign]string{}
	for _, l := range looks {
		s := sign{l.Family, l.Variant}
		if other := seen[s]; other != "" {
			t.Errorf("%s and %s look the same", l.Name, other)
		}
		seen[s] = l.Name
	}
}

func TestScenarios(t *testing.T) {
	down := []lab.Direction{lab.Down}
	updates := conditions([]lab.Kind{lab.Updates}, down, .02, 0, .005)
	full := conditions([]lab.Kind{lab.Updates}, down, .02)
	full[0].Workload.MaxSize = 1100
	slow := conditions([]lab.Kind{lab.Mixed}, down, 0, .01)
	slow[1].Link.Delay = 100 * time.Millisecond
	bursts := conditions([]lab.Kind{lab.RPC}, down, 0, 0, .01)
	bursts[1].Link.Burst = lab.Burst{Good: time.Second, Bad: 20 * time.Millisecond, Loss: 1}
	bursts[2].Link.Burst = bursts[1].Link.Burst
	s := synthetic([]string{"ws-one", "wt-h3-streams"}, slices.Concat(updates, full, slow, bursts)...)

	var got []string
	for _, sc := range scenarios(s) {
		line := sc.ID + " (" + sc.Title + "):"
		for _, l := range sc.Levels {
			line += fmt.Sprintf(" %s=%s", l.ID, l.Loss())
			if len(l.Cells) != 2 || l.Cells[0].Transport != "wt-h3-streams" {
				t.Errorf("%s has %d cells, or not in order", l.ID, len(l.Cells))
			}
		}
		got = append(got, line)
	}
	want := []string{
		"updates-down (Updates, server to client; 8 channels, 150 to 250 B every 20 ms): updates-down-0=0 % updates-down-0_5=0.5 % updates-down-2=2 %",
		"updates2-down (Updates, server to client; 8 channels, 150 to 1100 B every 20 ms): updates2-down-2=2 %",
		"mixed-down (Mixed, server to client; 25 ms one way): mixed-down-0=0 %",
		"mixed2-down (Mixed, server to client; 100 ms one way): mixed2-down-1=1 %",
		"rpc-down (RPC, server to client): rpc-down-0=0 % rpc-down-0-bursts=bursts rpc-down-1-bursts=1 % and bursts",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", fmt.Sprint(got))
		for i := range got {
			t.Log(got[i])
		}
	}
}

func TestLateness(t *testing.T) {
	for kind, want := range map[lab.Kind][2]float64{lab.Updates: {50, 100}, lab.Mixed: {50, 100}, lab.RPC: {75, 125}} {
		c := lab.Condition{Link: syntheticLink(.01), Workload: syntheticWorkload(kind)}
		if got := [2]float64{lateAfter(c), veryLateAfter(c)}; got != want {
			t.Errorf("%s: late after %v", kind, got)
		}
		for ms, level := range map[float64]int{want[0]: 0, want[0] + .01: 1, want[1]: 1, want[1] + .01: 2} {
			s := lab.Sample{Latency: time.Duration(ms * 1e6)}
			if _, got := lateness(s, c); got != level {
				t.Errorf("%s: %v ms are of level %d", kind, ms, got)
			}
		}
	}
}

func TestNumbers(t *testing.T) {
	pm := func(mean, low, high float64, n int) lab.Estimate {
		return lab.Estimate{Mean: mean, Low: low, High: high, N: n}
	}
	for _, c := range []struct {
		unit unit
		of   lab.Estimate
		want string
	}{
		{inMilliseconds, lab.Estimate{}, absent},
		{inMilliseconds, pm(25.64, 25.6, 25.7, 5), "25.6±0.1"},
		{inMilliseconds, pm(99.96, 98, 101, 5), "100±2"},
		{inMilliseconds, pm(519, 500, 540, 5), "519±21"},
		{inMilliseconds, pm(519, 519, 519, 1), "519"},
		{inPercent, pm(0, 0, 0, 5), "0"},
		{inPercent, pm(.222, .19, .24, 5), "22.2±3.2"},
		{inPercent, pm(.0086, .008, .009, 5), "0.86±0.06"},
		{inPercent, pm(.00001, .00001, .00001, 1), "<.01"},
		{inPercent, pm(.99999, .99999, .99999, 1), "99.99"},
		{inPercent, pm(1, 1, 1, 5), "100"},
		{inPercent, pm(.9996, .9996, .9996, 1), "99.96"},
		{inPercent, pm(.984, .98, .99, 5), "98.4±0.6"},
		{inShare, pm(.714, .7, .72, 3), "0.71±0.01"},
	} {
		if got := c.unit.interval(c.of); got != c.want {
			t.Errorf("%+v is %q, not %q", c.of, got, c.want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0 ms", 41 * time.Microsecond: "41 µs", 2500 * time.Microsecond: "2.5 ms", 20 * time.Second: "20 s", 3 * time.Minute: "3 min 0 s",
	} {
		if got := duration(d); got != want {
			t.Errorf("%v is %q", int64(d), got)
		}
	}
	if got := tight("25 ms, 2 % of HTTP/3 streams, 8 channels, 20 s"); got != "25\u00a0ms, 2\u00a0% of HTTP/3 streams, 8 channels, 20\u00a0s" {
		t.Errorf("%q", got)
	}
}

func TestAxis(t *testing.T) {
	x := axis{0, 1, 200, 20, root}
	for v, want := range map[float64]float64{0: 200, .25: 110, 1: 20, -3: 200, 7: 20} {
		if got := x.at(v); got != want {
			t.Errorf("%v is at %v", v, got)
		}
	}
	if got := nice(20, 130); !slices.Equal(got, []float64{20, 50, 100}) {
		t.Error(got)
	}
	for high, want := range map[float64][]float64{0: {0, 1}, 400: {0, 100, 200, 300, 400}, .07: {0, .02, .04, .06}} {
		got := even(high, 5)
		if len(got) != len(want) || abs(got[len(got)-1]-want[len(want)-1]) > 1e-9 {
			t.Errorf("%v: %v", high, got)
		}
	}
	if got := spread([]float64{10, 11, 12, 90}, 14, 0, 100); !slices.Equal(got, []float64{10, 24, 38, 86}) && !slices.Equal(got, []float64{10, 24, 38, 90}) {
		t.Error(got)
	}
	if got := spread([]float64{95, 96}, 14, 0, 100); !slices.Equal(got, []float64{86, 100}) {
		t.Error(got)
	}
}
