package stats

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

const ms = time.Millisecond

// ordinary is a run of four channels with ten messages each, one every 20 ms, on
// a link of 25 ms: what arrives after 50 ms is late, after 100 ms very late.
func ordinary(transport string, loss float64, seed uint64) lab.Run {
	return lab.Run{
		Transport: transport,
		Workload: lab.Workload{
			Kind: lab.Updates, Channels: 4, Interval: 20 * ms, MinSize: 100, MaxSize: 100,
			Duration: 200 * ms, Warmup: 800 * ms,
		},
		Direction: lab.Down,
		Link:      lab.Link{Delay: 25 * ms, MTU: 1500, Loss: loss},
		Seed:      seed,
		CC:        "cubic",
	}
}

// result has all messages of a run, each of the latency.
func result(run lab.Run, latency func(channel, slot int) time.Duration) lab.Result {
	r := lab.Result{Run: run, Setup: lab.Setup{FirstMessage: 175 * ms, NextChannel: 25 * ms}, CC: run.CC}
	work := run.Workload
	for slot := range int(work.Duration / work.Interval) {
		for channel := range work.Channels {
			r.Samples = append(r.Samples, lab.Sample{
				Channel:   channel,
				Scheduled: time.Duration(slot)*work.Interval + time.Duration(channel)*work.Interval/time.Duration(work.Channels),
				Latency:   latency(channel, slot),
				Size:      100,
			})
			if latency(channel, slot) >= 0 {
				r.Arrived += 100
			}
		}
	}
	r.Down = lab.Passage{Packets: 1000, Lost: int64(math.Round(run.Link.Loss * 1000))}
	r.Up = lab.Passage{Packets: 500, Lost: int64(math.Round(run.Link.Loss * 500))}
	r.CPU = lab.CPU{Ends: 50 * ms, Wall: time.Second}
	return r
}

func onTime(int, int) time.Duration { return 25 * ms }

// about compares estimates but for the last digits.
func about(e lab.Estimate, mean, low, high float64, n int) bool {
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-6*max(1, math.Abs(b)) }
	return near(e.Mean, mean) && near(e.Low, low) && near(e.High, high) && e.N == n
}

func TestPercentileIsTheNearestRank(t *testing.T) {
	ten := []time.Duration{10, 20, 30, 40, 50, 60, 70, 80, 90, 100}
	for _, c := range []struct {
		sorted []time.Duration
		q      float64
		want   time.Duration
	}{
		{ten, 0, 10}, {ten, .05, 10}, {ten, .1, 10}, {ten, .11, 20}, {ten, .5, 50}, {ten, .51, 60},
		{ten, .95, 100}, {ten, .9, 90}, {ten, .99, 100}, {ten, 1, 100},
		{ten[:1], .5, 10}, {ten[:2], .5, 10}, {ten[:3], .5, 20},
	} {
		if got := percentile(c.sorted, c.q); got != c.want {
			t.Errorf("percentile %v of %v is %v, want %v", c.q, c.sorted, got, c.want)
		}
	}
	// A share that is a whole rank stays one, whatever its binary fraction.
	for n := 1; n <= 3000; n++ {
		for _, percent := range []int{50, 95, 99} {
			want := max((n*percent+99)/100, 1)
			if got := rank(n, float64(percent)/100); got != want {
				t.Fatalf("rank of %d %% of %d is %d, want %d", percent, n, got, want)
			}
		}
	}
}

func TestEstimate(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		name            string
		values          []float64
		most            float64
		mean, low, high float64
		n               int
	}{
		{"nothing", nil, inf, 0, 0, 0, 0},
		{"one", []float64{7}, inf, 7, 7, 7, 1},
		{"equal ones", []float64{7, 7, 7}, inf, 7, 7, 7, 3},
		// The deviation is sqrt(2.5), its mean's sqrt(.5), t(4) 2.7764451052.
		{"five", []float64{1, 2, 3, 4, 5}, inf, 3, 3 - 1.963243161, 3 + 1.963243161, 5},
		// t(1) is 12.7062047362: the interval is cut at 0.
		{"two", []float64{1, 3}, inf, 2, 0, 14.7062047362, 2},
		{"shares", []float64{.8, 1}, 1, .9, 0, 1, 2},
		{"what is not there", []float64{math.NaN(), 4, inf, -inf}, inf, 4, 4, 4, 1},
		{"below zero", []float64{-3}, inf, -3, -3, -3, 1},
	} {
		if got := estimate(c.values, c.most); !about(got, c.mean, c.low, c.high, c.n) {
			t.Errorf("%s: %+v, want %v (%v to %v) of %d", c.name, got, c.mean, c.low, c.high, c.n)
		}
	}
	values := []float64{.1, .2, .3, 1e9, 1e-9, 7}
	want := estimate(values, inf)
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		random.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
		if got := estimate(values, inf); got != want {
			t.Fatalf("the order of runs matters: %+v, %+v", got, want)
		}
	}
}

func TestCDF(t *testing.T) {
	points := cdf([]time.Duration{10 * ms, 20 * ms, 30 * ms, 40 * ms}, 4)
	if len(points) != lab.CDFSteps+1 {
		t.Fatalf("%d points", len(points))
	}
	for i, want := range map[int]float64{0: 10, 1: 10, 250: 10, 251: 20, 500: 20, 501: 30, 750: 30, 751: 40, 1000: 40} {
		if points[i] != want {
			t.Errorf("at %d: %v, want %v", i, points[i], want)
		}
	}
	// Of four messages one did not arrive: the last quarter has no latency.
	if points := cdf([]time.Duration{10 * ms, 20 * ms, 30 * ms}, 4); len(points) != 751 || points[750] != 30 {
		t.Errorf("%d points", len(points))
	}
	if points := cdf([]time.Duration{25*ms + 123456}, 1); points[0] != 25.12 {
		t.Errorf("a latency of %v", points[0])
	}
	if points := cdf(nil, 4); len(points) != 0 {
		t.Errorf("%d points of nothing that arrived", len(points))
	}
	if points := cdf(nil, 0); len(points) != 0 {
		t.Errorf("%d points of nothing", len(points))
	}
}

// Two runs whose every number was worked out by hand.
func TestCell(t *testing.T) {
	first := result(ordinary("x", .01, 1), func(channel, slot int) time.Duration {
		switch {
		case slot == 3 && channel < 2: // two of four channels: together
			return 51 * ms
		case slot == 5 && channel == 0: // one of four: not
			return 101 * ms
		case slot == 7 && channel == 3:
			return lab.Undelivered
		case slot == 8: // not yet late
			return 50 * ms
		}
		return 26 * ms
	})
	second := result(ordinary("x", .01, 2), func(int, int) time.Duration { return 26 * ms })
	second.Down.Lost = 20
	second.Setup = lab.Setup{FirstMessage: 75 * ms, ServerChannelError: "not offered"}
	cell := NewCell([]lab.Result{second, first}, 3)

	if cell.Transport != "x" || cell.Rejected != 3 || cell.Problem != "" || !slices.Equal(cell.Seeds, []uint64{1, 2}) ||
		cell.ServerChannelError != "not offered" || cell.Condition.Link.Loss != .01 {
		t.Errorf("cell %+v", cell)
	}
	// The interval of two values is their mean and t(1) times half their
	// difference.
	two := func(e lab.Estimate, a, b, most float64) bool {
		mean, half := (a+b)/2, 12.7062047362*math.Abs(a-b)/2
		return about(e, mean, max(mean-half, 0), min(mean+half, most), 2)
	}
	inf := math.Inf(1)
	for _, c := range []struct {
		name string
		got  lab.Estimate
		a, b float64
		most float64
	}{
		{"p50", cell.P50, 26, 26, inf},
		// Of 39 the 38th: 51 51 101 are the last three.
		{"p95", cell.P95, 51, 26, inf},
		{"p99", cell.P99, 101, 26, inf},
		{"max", cell.Max, 101, 26, inf},
		{"late", cell.Late, 3. / 40, 0, 1},
		{"very late", cell.VeryLate, 1. / 40, 0, 1},
		{"delivered", cell.Delivered, 39. / 40, 1, 1},
		{"goodput", cell.Goodput, 39 * 800 / .2, 40 * 800 / .2, inf},
		{"first message", cell.FirstMessage, 175, 75, inf},
		{"round trips", cell.RoundTrips, 3, 1, inf},
		{"CPU", cell.CPU, 50, 50, inf},
		{"realised", cell.Realised, .01, .02, 1},
		{"packets", cell.Packets, 1000, 1000, inf},
	} {
		if !two(c.got, c.a, c.b, c.most) {
			t.Errorf("%s is %+v, want %v and %v", c.name, c.got, c.a, c.b)
		}
	}
	for _, c := range []struct {
		name string
		got  lab.Estimate
		want float64
		n    int
	}{
		{"together", cell.Together, .5, 1}, // nothing was late in the other run
		{"next channel", cell.NextChannel, 25, 1},
		{"server channel", cell.ServerChannel, 0, 0},
		{"bulk", cell.Bulk, 0, 0},
		{"page", cell.Page, 0, 0},
		{"theory of a transport nobody knows", cell.Theory, 0, 0},
	} {
		if !about(c.got, c.want, c.want, c.want, c.n) {
			t.Errorf("%s is %+v, want %v of %d", c.name, c.got, c.want, c.n)
		}
	}
	// 79 of 80 arrived: shares up to .9875.
	if n := len(cell.CDF); n != 988 || cell.CDF[0] != 26 || cell.CDF[987] != 101 {
		t.Errorf("%d points of the CDF", n)
	}
}

func TestTogether(t *testing.T) {
	for _, c := range []struct {
		name     string
		channels int
		late     [][2]int // channel, slot
		want     float64
	}{
		{"all", 4, [][2]int{{0, 1}, {1, 1}, {2, 1}, {3, 1}}, 1},
		{"half", 4, [][2]int{{0, 1}, {1, 1}}, 1},
		{"less than half", 5, [][2]int{{0, 1}, {1, 1}}, 0},
		{"half of two is one, which is alone", 2, [][2]int{{0, 1}}, 0},
		{"both of two", 2, [][2]int{{0, 1}, {1, 1}}, 1},
		{"half of three is two", 3, [][2]int{{0, 1}, {2, 1}}, 1},
		{"in different intervals", 4, [][2]int{{0, 1}, {1, 2}, {2, 3}}, 0},
		{"some", 4, [][2]int{{0, 1}, {1, 1}, {0, 2}, {3, 4}, {1, 7}, {2, 7}, {3, 7}}, .5},
		{"none", 4, nil, math.NaN()},
		{"one channel", 1, [][2]int{{0, 1}}, math.NaN()},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := ordinary("x", .01, 1)
			run.Workload.Channels = c.channels
			r := result(run, func(channel, slot int) time.Duration {
				if slices.Contains(c.late, [2]int{channel, slot}) {
					return 60 * ms
				}
				return 25 * ms
			})
			got := together(run, r.Samples)
			if got != c.want && !(math.IsNaN(got) && math.IsNaN(c.want)) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

func TestCallsHaveTheWholeRoundTrip(t *testing.T) {
	run := ordinary("x", .01, 1)
	run.Workload.Kind = lab.RPC
	r := result(run, func(channel, slot int) time.Duration {
		switch {
		case slot == 0:
			return 75 * ms // a round trip and a half: in time
		case slot == 1:
			return 75*ms + 1
		case slot == 2:
			return 125 * ms
		case slot == 3:
			return 125*ms + 1
		}
		return 50 * ms
	})
	cell := NewCell([]lab.Result{r}, 0)
	if !about(cell.Late, .3, .3, .3, 1) || !about(cell.VeryLate, .1, .1, .1, 1) || cell.P50.Mean != 50 {
		t.Errorf("late %+v, very late %+v, p50 %+v", cell.Late, cell.VeryLate, cell.P50)
	}
}

func TestMixed(t *testing.T) {
	run := ordinary("x", .01, 1)
	run.Workload.Kind = lab.Mixed
	r := result(run, onTime)
	// What arrived after the measured time, of which most messages were here, does
	// not count.
	r.Arrived, r.Bulk = 500, lab.Bulk{Bytes: 1000, Duration: 200 * ms}
	cell := NewCell([]lab.Result{r}, 0)
	if cell.Bulk.Mean != 40_000 || cell.Goodput.Mean != 20_000+40_000 || cell.Late.N != 1 {
		t.Errorf("bulk %+v, goodput %+v, late %+v", cell.Bulk, cell.Goodput, cell.Late)
	}
}

func TestPage(t *testing.T) {
	run := ordinary("x", .01, 1)
	run.Workload = lab.Workload{Kind: lab.Page, Channels: 1, Objects: []int{1000, 1000, 5000}, Duration: 200 * ms}
	r := lab.Result{Run: run, Samples: []lab.Sample{
		{Channel: 0, Scheduled: 0, Latency: 60 * ms, Size: 1000},
		{Channel: 1, Scheduled: 0, Latency: 60 * ms, Size: 1000},
		{Channel: 2, Scheduled: 0, Latency: 100 * ms, Size: 5000},
		{Channel: 0, Scheduled: 100 * ms, Latency: 80 * ms, Size: 1000},
		{Channel: 1, Scheduled: 100 * ms, Latency: 300 * ms, Size: 1000},
		{Channel: 2, Scheduled: 100 * ms, Latency: lab.Undelivered, Size: 5000},
	}, Arrived: 8000, Pages: []lab.Sample{{Latency: 100 * ms}, {Latency: 300 * ms}, {Latency: lab.Undelivered}}}
	cell := NewCell([]lab.Result{r}, 0)
	if cell.Late.N != 0 || cell.VeryLate.N != 0 || cell.Together.N != 0 || cell.Theory.N != 0 {
		t.Errorf("objects are late: %+v %+v %+v %+v", cell.Late, cell.VeryLate, cell.Together, cell.Theory)
	}
	if cell.P50.Mean != 80 || cell.Max.Mean != 300 || cell.Page.Mean != 200 || cell.Delivered.Mean != 5./6 {
		t.Errorf("p50 %+v, max %+v, page %+v, delivered %+v", cell.P50, cell.Max, cell.Page, cell.Delivered)
	}
	// The last object came at 400 ms, after the 200 ms that are measured.
	if cell.Goodput.Mean != 8000*8/.2 {
		t.Errorf("goodput %+v", cell.Goodput)
	}
	if cell.Problem != "" {
		t.Error(cell.Problem)
	}
}

// Whatever a run found, a cell is made of it that has JSON.
func TestHostileResults(t *testing.T) {
	run := ordinary("x", .01, 1)
	with := func(samples ...lab.Sample) []lab.Result { return []lab.Result{{Run: run, Samples: samples}} }
	alone := run
	alone.Workload.Channels = 1
	nothing := lab.Run{Transport: "x"}
	for _, c := range []struct {
		name    string
		results []lab.Result
		problem string
		check   func(lab.Cell) bool
	}{
		{"no result", nil, "there was no run", func(c lab.Cell) bool { return c.P50.N == 0 && len(c.CDF) == 0 }},
		{"no sample", with(), "nothing was sent", func(c lab.Cell) bool { return c.Late.N == 0 && c.Delivered.N == 0 && len(c.CDF) == 0 }},
		{"an empty run", []lab.Result{{Run: nothing}}, "nothing was sent", func(c lab.Cell) bool { return c.RoundTrips.N == 0 }},
		{"samples of an empty run", []lab.Result{{Run: nothing, Samples: []lab.Sample{{Latency: 5}}, Setup: lab.Setup{FirstMessage: 1}}}, "",
			func(c lab.Cell) bool { return c.RoundTrips.N == 0 && c.Together.N == 0 && c.Goodput.N == 0 }},
		{"nothing arrived", with(lab.Sample{Latency: lab.Undelivered}, lab.Sample{Channel: 1, Latency: lab.Undelivered}), "nothing arrived",
			func(c lab.Cell) bool {
				return c.P50.N == 0 && c.Late.N == 1 && c.Late.Mean == 0 && c.Delivered.N == 1 && c.Delivered.Mean == 0 && len(c.CDF) == 0
			}},
		{"one channel", []lab.Result{result(alone, func(int, int) time.Duration { return 60 * ms })}, "",
			func(c lab.Cell) bool { return c.Late.Mean == 1 && c.Together.N == 0 }},
		{"duplicates", with(
			lab.Sample{Channel: 1, Scheduled: 20 * ms, Latency: 60 * ms},
			lab.Sample{Channel: 1, Scheduled: 20 * ms, Latency: 30 * ms},
			lab.Sample{Channel: 1, Scheduled: 20 * ms, Latency: lab.Undelivered},
			lab.Sample{Channel: 2, Scheduled: 20 * ms, Latency: lab.Undelivered},
			lab.Sample{Channel: 2, Scheduled: 20 * ms, Latency: 40 * ms},
		), "3 messages were recorded more than once", func(c lab.Cell) bool { return c.Late.Mean == 0 && c.Delivered.Mean == 1 && c.Max.Mean == 40 }},
		{"before its time", with(lab.Sample{Latency: -5 * ms}, lab.Sample{Channel: 1, Latency: 25 * ms}), "1 message was received before the scheduled time",
			func(c lab.Cell) bool { return c.Delivered.Mean == .5 && c.P50.Mean == 25 }},
		{"the longest time", with(lab.Sample{Channel: -4, Scheduled: math.MinInt64, Latency: math.MaxInt64, Size: math.MaxInt32}), "",
			func(c lab.Cell) bool { return c.Late.Mean == 1 }},
		{"rejected", []lab.Result{{Run: run, Rejected: "late"}, {Run: run, Rejected: "late"}}, "no run counts: late",
			func(c lab.Cell) bool { return c.Rejected == 2 && len(c.Seeds) == 0 }},
		{"rejected for the same, more and less", []lab.Result{
			{Run: run, Rejected: "router up to 15.3ms late (limit 10ms)", Lateness: lab.Lateness{Max: 15_300_000}},
			{Run: run, Rejected: "sender up to 1.2s late (limit 10ms)", Wakes: lab.Lateness{Max: 1_200 * ms}},
			{Run: run, Rejected: "router up to 2.8s late (limit 10ms)", Lateness: lab.Lateness{Max: 2800 * ms}},
			{Run: run, Rejected: "router up to 9m0s late (limit 10ms)", Lateness: lab.Lateness{Max: 540_000 * ms}},
			{Run: run, Rejected: "sender up to 900ms late (limit 10ms)", Wakes: lab.Lateness{Max: 900 * ms}},
		}, "no run counts: router up to 9m0s late (limit 10ms), the worst of 3; sender up to 1.2s late (limit 10ms), the worst of 2",
			func(c lab.Cell) bool { return c.Rejected == 5 }},
		{"failed alike", []lab.Result{{Run: run, Failed: "call 7 of channel 1: eof"}, {Run: run, Failed: "call 12 of channel 2: eof"}, {Run: run, Failed: "a"}},
			"no run counts: a; call 12 of channel 2: eof, and 1 like it", nil},
		{"failed", []lab.Result{{Run: run, Failed: "b"}, {Run: run, Failed: "a"}}, "no run counts: a; b", func(c lab.Cell) bool { return c.Rejected == 0 }},
		{"the same seed twice", []lab.Result{result(run, onTime), result(run, onTime)}, "seed 1 was run twice, which says nothing new", nil},
		{"several transports", []lab.Result{result(run, onTime), result(ordinary("y", .01, 2), onTime)}, "its runs are of several transports", nil},
		{"several conditions", []lab.Result{result(run, onTime), result(ordinary("x", .02, 2), onTime)}, "its runs are of several conditions", nil},
		{"more lost than there was", []lab.Result{{Run: run, Samples: []lab.Sample{{Latency: 25 * ms}}, Down: lab.Passage{Packets: 1, Lost: 5}}}, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			cell := NewCell(c.results, 0)
			if cell.Problem != c.problem {
				t.Errorf("problem %q, want %q", cell.Problem, c.problem)
			}
			if c.check != nil && !c.check(cell) {
				t.Errorf("cell %+v", cell)
			}
			if _, err := json.Marshal(cell); err != nil {
				t.Error(err)
			}
			if _, err := json.Marshal(Assemble(c.results)); err != nil {
				t.Error(err)
			}
		})
	}
}

// random makes a result of anything.
func random(seed uint64) lab.Result {
	r := rand.New(rand.NewPCG(seed, 7))
	run := ordinary(fmt.Sprint("t", seed%3), .01, seed)
	run.Workload.Kind = []lab.Kind{lab.Updates, lab.RPC, lab.Mixed}[seed%2]
	return result(run, func(int, int) time.Duration {
		if r.IntN(10) == 0 {
			return lab.Undelivered
		}
		return time.Duration(r.Int64N(int64(200 * ms)))
	})
}

// Neither the order of samples nor that of results says anything.
func TestOrderDoesNotMatter(t *testing.T) {
	var results []lab.Result
	for seed := range uint64(12) {
		r := random(seed)
		for i := range 20 {
			r.Drops = append(r.Drops, lab.Drop{Direction: lab.Down, At: time.Duration(i) * 9 * ms})
		}
		results = append(results, r)
	}
	want := Assemble(results)
	shuffle := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		shuffle.Shuffle(len(results), func(i, j int) { results[i], results[j] = results[j], results[i] })
		for k := range results {
			s := results[k].Samples
			shuffle.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
		}
		if got := Assemble(results); !reflect.DeepEqual(got, want) {
			t.Fatal("the order of what was found matters")
		}
	}
}

// A message that comes later makes nothing earlier, and one that is lost makes
// nothing later.
func TestMonotony(t *testing.T) {
	for seed := range uint64(40) {
		r := random(seed)
		before := NewCell([]lab.Result{r}, 0)
		i := int(seed) % len(r.Samples)
		if r.Samples[i].Latency < 0 {
			continue
		}
		r.Samples[i].Latency += 30 * ms
		after := NewCell([]lab.Result{r}, 0)
		for name, pair := range map[string][2]lab.Estimate{
			"p50": {before.P50, after.P50}, "p95": {before.P95, after.P95}, "p99": {before.P99, after.P99}, "max": {before.Max, after.Max},
			"late": {before.Late, after.Late}, "very late": {before.VeryLate, after.VeryLate},
		} {
			if pair[1].Mean < pair[0].Mean {
				t.Errorf("seed %d: %s went from %v to %v", seed, name, pair[0].Mean, pair[1].Mean)
			}
		}
		if after.VeryLate.Mean > after.Late.Mean || after.P50.Mean > after.P95.Mean || after.P95.Mean > after.P99.Mean || after.P99.Mean > after.Max.Mean {
			t.Errorf("seed %d: %+v", seed, after)
		}
		if !slices.IsSorted(after.CDF) {
			t.Errorf("seed %d: the CDF goes back", seed)
		}
		r.Samples[i].Latency = lab.Undelivered
		lost := NewCell([]lab.Result{r}, 0)
		if lost.Late.Mean > after.Late.Mean || lost.Delivered.Mean >= after.Delivered.Mean || len(lost.CDF) > len(after.CDF) {
			t.Errorf("seed %d: a lost message made others late", seed)
		}
	}
}
