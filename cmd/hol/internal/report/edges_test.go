package report

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// edges are studies that every output has to stand. Tests do not change them.
var edges = sync.OnceValue(makeEdges)

func makeEdges() map[string]lab.Study {
	all := map[string]lab.Study{
		"usual": usual(),
		"large": large(),
		"small": small(),
		"empty": {},
		"only problems": {
			Command:  "go run -C cmd/hol . --made-up",
			Problems: []string{"The control of one WebSocket failed: 3 of 400 messages were late.", "<b>markup</b> & \"quotes\"\nand a second line"},
		},
	}
	down := []lab.Direction{lab.Down}
	one := synthetic([]string{"ws-one"}, conditions([]lab.Kind{lab.Updates}, down, .02)...)
	one.Cells[0].Seeds = one.Cells[0].Seeds[:1]
	for _, e := range estimates(&one.Cells[0]) {
		if e.N > 0 {
			*e = lab.Estimate{Mean: e.Mean, Low: e.Mean, High: e.Mean, N: 1}
		}
	}
	all["one cell"] = one

	zero := synthetic(twelve(), conditions([]lab.Kind{lab.Updates, lab.Mixed, lab.Page}, down, 0, .01)...)
	for i := range zero.Cells {
		for _, e := range estimates(&zero.Cells[i]) {
			if e.N > 0 {
				*e = lab.Estimate{N: 5}
			}
		}
		zero.Cells[i].CDF = nil
	}
	all["all zero"] = zero

	nothing := synthetic(twelve(), conditions([]lab.Kind{lab.Updates}, down, 0, .01)...)
	for i := range nothing.Cells {
		c := &nothing.Cells[i]
		*c = lab.Cell{Transport: c.Transport, Condition: c.Condition, Rejected: 4, Problem: "no run counts: the router was 42.0 ms late", CDF: []float64{}}
	}
	for i := range nothing.Timelines {
		nothing.Timelines[i].Samples, nothing.Timelines[i].Drops = nil, nil
	}
	all["no result"] = nothing

	undelivered := synthetic([]string{"wt-h3-datagrams", "webrtc-unordered"}, conditions([]lab.Kind{lab.Updates}, down, 0, .5)...)
	for i := range undelivered.Cells {
		c := &undelivered.Cells[i]
		c.Delivered, c.CDF = lab.Estimate{N: 5}, []float64{}
		c.P50, c.P95, c.P99, c.Max = lab.Estimate{}, lab.Estimate{}, lab.Estimate{}, lab.Estimate{}
	}
	for i := range undelivered.Timelines {
		for j := range undelivered.Timelines[i].Samples {
			undelivered.Timelines[i].Samples[j].Latency = lab.Undelivered
		}
	}
	all["nothing delivered"] = undelivered

	infinite := synthetic(twelve()[:3], conditions([]lab.Kind{lab.Updates}, down, .01, .02)...)
	infinite.Cells[1].P99.Mean = math.NaN()
	infinite.Cells[2].Max.High = math.Inf(1)
	infinite.Cells[3].CDF[500] = math.Inf(1)
	all["not finite"] = infinite

	slow := synthetic(twelve(), conditions([]lab.Kind{lab.Updates}, down, .05)...)
	for i := range slow.Cells {
		c := &slow.Cells[i]
		c.Max, c.P99 = lab.Estimate{Mean: 123456.7, Low: 100000, High: 150000, N: 5}, lab.Estimate{Mean: 99.97, Low: 90, High: 110, N: 5}
		c.CDF[len(c.CDF)-1] = 123456.7
		c.Late = lab.Estimate{Mean: .99996, Low: .9, High: 1, N: 5}
	}
	all["slow"] = slow

	bursts := conditions([]lab.Kind{lab.Updates}, down, 0, 0)
	bursts[1].Link.Burst = lab.Burst{Good: time.Second, Bad: 20 * time.Millisecond, Loss: 1}
	all["bursts"] = synthetic(twelve(), bursts...)

	loads := conditions([]lab.Kind{lab.Updates}, down, .02, .02)
	loads[1].Workload.MaxSize = 1100
	all["two loads"] = synthetic(twelve(), loads...)

	odd := conditions([]lab.Kind{lab.RPC}, down, 0, .02, .02, .02)
	odd[1].Workload.Channels = 256
	odd[2].Link.Rate, odd[2].Link.Queue = 1_000_000, 30_000
	odd[3].Link.Jitter, odd[3].Link.Reorder, odd[3].Link.BlockUDP = 3*time.Millisecond, true, true
	strange := synthetic([]string{"wt-ws-streams", "ws-one"}, odd...)
	for i := range strange.Cells {
		strange.Cells[i].ServerChannelError = "a <script>alert(1)</script> of | the\nserver's"
	}
	for _, name := range []string{"", "a-transport-that-nobody-knows-and-whose-name-is-long"} {
		c := strange.Cells[0]
		c.Transport, c.Problem = name, "<img src=x>"
		strange.Cells = append(strange.Cells, c)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range strange.Timelines {
		t := &strange.Timelines[i]
		t.Condition, t.Channels = odd[1], 256
		t.Samples = append(t.Samples, lab.Sample{Channel: 900, Scheduled: t.From}, lab.Sample{Channel: -1, Scheduled: t.From})
		for range 500 {
			t.Samples = append(t.Samples, lab.Sample{
				Channel: r.IntN(256), Scheduled: time.Duration(r.Int64N(int64(6 * time.Second))), Latency: time.Duration(r.Int64N(int64(20 * time.Second)))})
		}
		t.Drops = append(t.Drops, lab.Drop{At: -time.Second}, lab.Drop{At: time.Hour})
	}
	strange.Timelines = append(strange.Timelines, lab.Timeline{Transport: "ws-one", Condition: odd[1]})
	all["odd"] = strange
	return all
}

// onEdges runs a test on each of them.
func onEdges(t *testing.T, test func(t *testing.T, name string, s lab.Study)) {
	for name, s := range edges() {
		t.Run(name, func(t *testing.T) { test(t, name, s) })
	}
}
