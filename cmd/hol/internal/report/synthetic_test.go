package report

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// The studies of this file are made up. Their numbers have the size that a real
// one's have, and nothing else to do with it.

// invented is what made-up numbers of a transport come from.
type invented struct {
	hold     float64 // messages that one lost packet holds up
	together float64
	trips    float64
	refuses  string // why the server cannot open a channel
	drops    bool   // whether lost messages stay lost
	cpu      float64
}

var inventions = map[string]invented{
	"wt-h3-streams":    {1, .02, 2, "", false, 44},
	"wt-h3-datagrams":  {0, 0, 2, "", true, 40},
	"wt-h2-streams":    {14, .74, 3, "", false, 25},
	"wt-h2-datagrams":  {13, .73, 3, "", true, 24},
	"wt-ws-streams":    {14, .74, 4, "", false, 26},
	"ws-one":           {14, .72, 4, "", false, 21},
	"ws-per-channel":   {3, .01, 4, "a WebSocket is opened by the client", false, 36},
	"ws-over-h2":       {14, .73, 4, "a WebSocket is opened by the client", false, 27},
	"ws-over-h3":       {1, .03, 3, "a WebSocket is opened by the client", false, 49},
	"webrtc-ordered":   {2, .03, 6, "", false, 71},
	"webrtc-unordered": {0, 0, 6, "", true, 69},
	"http2-streams":    {14, .75, 3, "HTTP has no request from the server", false, 28},
	"http3-streams":    {1, .02, 2, "HTTP has no request from the server", false, 46},
}

func syntheticLink(loss float64) lab.Link {
	return lab.Link{Delay: 25 * time.Millisecond, Loss: loss, MTU: 1500}
}

func syntheticWorkload(kind lab.Kind) lab.Workload {
	w := lab.Workload{Kind: kind, Channels: 8, Interval: 20 * time.Millisecond, MinSize: 150, MaxSize: 250,
		Warmup: time.Second, Duration: 20 * time.Second, Drain: 2 * time.Second}
	if kind == lab.Page {
		w.Objects = []int{1200, 4000, 4000, 18000, 18000, 30000, 90000, 250000}
	}
	return w
}

func estimate(r *rand.Rand, mean, width float64) lab.Estimate {
	w := math.Abs(width * (0.5 + r.Float64()))
	return lab.Estimate{Mean: mean, Low: max(mean-w, 0), High: mean + w, N: 5}
}

func syntheticCell(r *rand.Rand, transport string, c lab.Condition) lab.Cell {
	v, p := inventions[transport], c.Link.Loss
	realised := p * (0.9 + 0.15*r.Float64())
	late := 1 - math.Pow(1-realised, v.hold)
	cell := lab.Cell{Transport: transport, Condition: c, Seeds: []uint64{1, 2, 3, 4, 5}, ServerChannelError: v.refuses}
	delivered := 1.0
	if v.drops {
		delivered = 1 - realised
	}
	cell.Delivered = estimate(r, delivered, 0)
	cell.Delivered.High = min(cell.Delivered.High, 1)
	if late > 0 {
		cell.Together = estimate(r, v.together, 0.02)
	}
	cell.Realised = estimate(r, realised, realised/20)
	cell.Theory = estimate(r, late, late/20)
	cell.Late = estimate(r, late*(0.9+0.2*r.Float64()), late/6)
	cell.VeryLate = estimate(r, late*late/8, late*late/30)
	for i := 0; i <= lab.CDFSteps; i++ {
		q := float64(i) / lab.CDFSteps
		if q > delivered {
			break
		}
		ms := 25.1 + 0.9*q
		if over := q - (1 - 1.8*late); over > 0 {
			ms += 82 * over / (1.8 * late)
			if far := q - (1 - 0.12*late); far > 0 {
				ms += 700 * p * 20 * far / (0.12 * late) * late
			}
		}
		cell.CDF = append(cell.CDF, math.Round(ms*100)/100)
	}
	at := func(q float64) lab.Estimate {
		ms := cell.CDF[min(int(q*lab.CDFSteps), len(cell.CDF)-1)]
		return estimate(r, ms, ms*p)
	}
	cell.P50, cell.P95, cell.P99, cell.Max = at(.5), at(.95), at(.99), at(1)
	cell.FirstMessage = estimate(r, v.trips*50-25+3, 1)
	cell.RoundTrips = estimate(r, (cell.FirstMessage.Mean-25)/50, .02)
	cell.NextChannel = estimate(r, 25.4, .2)
	if v.hold == 3 {
		cell.NextChannel = estimate(r, 175.9, .4)
	}
	if v.refuses == "" {
		cell.ServerChannel = estimate(r, 25.6, .2)
	}
	cell.CPU, cell.Packets = estimate(r, v.cpu, 2), estimate(r, 700, 20)
	cell.Goodput = estimate(r, 640e3*delivered, 900)
	switch c.Workload.Kind {
	case lab.Mixed:
		cell.Bulk = estimate(r, 18e6/(1+20*p*max(v.hold, 1)/8), 4e5)
		cell.Theory, cell.Together = lab.Estimate{}, lab.Estimate{}
	case lab.Page:
		cell.Page = estimate(r, 180+2000*p*max(v.hold/4, 1), 9)
		cell.Theory, cell.Together = lab.Estimate{}, lab.Estimate{}
	}
	return cell
}

// syntheticTimeline shows one loss that holds up as many messages as the
// transport's kind would.
func syntheticTimeline(r *rand.Rand, transport string, c lab.Condition) lab.Timeline {
	v := inventions[transport]
	t := lab.Timeline{Transport: transport, Condition: c, Seed: 3, Channels: 8, From: 4200 * time.Millisecond, To: 4600 * time.Millisecond}
	lost := 4301 * time.Millisecond
	t.Drops = []lab.Drop{{Direction: c.Direction, At: lost, Bytes: 260}, {Direction: c.Direction.Opposite(), At: 4480 * time.Millisecond, Bytes: 60}}
	for channel := range 8 {
		for n := range 20 {
			at := t.From + time.Duration(n)*20*time.Millisecond + time.Duration(channel)*2500*time.Microsecond
			s := lab.Sample{Channel: channel, Scheduled: at, Latency: 25*time.Millisecond + time.Duration(r.IntN(600))*time.Microsecond, Size: 200}
			since := at - lost
			victim := since > -2500*time.Microsecond && since <= 0
			end := lost + 84*time.Millisecond
			switch {
			case victim && v.drops && v.hold == 0:
				s.Latency = lab.Undelivered
			case victim, v.hold > 5 && since > 0 && since < 57*time.Millisecond,
				v.hold == 3 && since > 0 && since < 57*time.Millisecond && channel == int(lost/(2500*time.Microsecond))%8:
				s.Latency = end - at + time.Duration(channel)*100*time.Microsecond
			}
			t.Samples = append(t.Samples, s)
		}
	}
	return t
}

// synthetic is a study of the transports under the conditions.
func synthetic(transports []string, conditions ...lab.Condition) lab.Study {
	r := rand.New(rand.NewPCG(5, 8))
	s := lab.Study{
		Command: "go run -C cmd/hol . --made-up", Version: "v0.0.0-made-up", Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Took: 21*time.Minute + 7*time.Second,
		Machine:  map[string]string{"kernel": "Linux 6.18", "processors": "2", "go": "go1.26.8", "quic-go": "v0.64.1"},
		Lateness: lab.Lateness{Mean: 41 * time.Microsecond, P99: 220 * time.Microsecond, Max: 7300 * time.Microsecond},
	}
	for _, c := range conditions {
		for _, t := range transports {
			s.Cells = append(s.Cells, syntheticCell(r, t, c))
		}
	}
	if len(conditions) > 0 {
		last := conditions[min(len(conditions), 4)-1]
		for _, t := range transports {
			s.Timelines = append(s.Timelines, syntheticTimeline(r, t, last))
		}
	}
	return s
}

func twelve() []string {
	var names []string
	for _, l := range looks {
		if l.Name != "wt-ws-streams" {
			names = append(names, l.Name)
		}
	}
	return names
}

// conditions are all combinations, the losses of one scenario one after the other.
func conditions(kinds []lab.Kind, ways []lab.Direction, losses ...float64) []lab.Condition {
	var all []lab.Condition
	for _, d := range ways {
		for _, k := range kinds {
			for _, l := range losses {
				all = append(all, lab.Condition{Direction: d, Link: syntheticLink(l), Workload: syntheticWorkload(k)})
			}
		}
	}
	return all
}

// usual is a study as the command's default makes it.
func usual() lab.Study {
	return synthetic(twelve(), slices.Concat(
		conditions([]lab.Kind{lab.Updates}, []lab.Direction{lab.Down}, 0, .01, .02, .05),
		conditions([]lab.Kind{lab.Mixed, lab.Page, lab.RPC}, []lab.Direction{lab.Down}, 0, .02))...)
}

// large has every direction and workload, and a transport of each family.
func large() lab.Study {
	return synthetic([]string{"wt-h3-datagrams", "ws-one", "webrtc-ordered", "http3-streams"}, conditions([]lab.Kind{lab.Updates, lab.Mixed, lab.Page, lab.RPC}, []lab.Direction{lab.Down, lab.Up}, 0, .01, .02)...)
}
