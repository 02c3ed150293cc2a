package stats

import (
	"math"
	"slices"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
	"github.com/towpath-go/towpath/cmd/hol/internal/theory"
)

// none is the value of a measure that does not apply to a run.
var none = math.NaN()

// measures is what one run says: times in milliseconds, shares from 0 to 1.
type measures struct {
	p50, p95, p99, max                       float64
	late, veryLate, together, delivered      float64
	goodput, bulk, page                      float64
	firstMessage, roundTrips                 float64
	nextChannel, serverChannel               float64
	cpu, realised, packets                   float64
	theory, theoryVeryLate                   float64
	lateCount, sent, recordedTwice, negative int
	arrived                                  []time.Duration // sorted
}

// base is the latency that the link alone gives a message or a call.
func base(run lab.Run) time.Duration {
	if run.Workload.Kind == lab.RPC {
		return run.Link.RTT()
	}
	return run.Link.Delay
}

// timed says whether messages of the workload have a time they should arrive at.
func timed(work lab.Workload) bool { return work.Kind != lab.Page }

// late says whether a message of the run came later than its base and so many
// halves of the round trip.
func late(run lab.Run, s lab.Sample, halves int) bool {
	return s.Latency >= 0 && s.Latency > base(run)+time.Duration(halves)*run.Link.RTT()/2
}

func measure(r *lab.Result) measures {
	work, link := r.Run.Workload, r.Run.Link
	m := measures{
		p50: none, p95: none, p99: none, max: none,
		late: none, veryLate: none, together: none, delivered: none,
		goodput: none, bulk: none, page: none,
		firstMessage: found(r.Setup.FirstMessage), roundTrips: none,
		nextChannel: found(r.Setup.NextChannel), serverChannel: found(r.Setup.ServerChannel),
		cpu: none, realised: none, packets: none, theory: none, theoryVeryLate: none,
	}
	if r.Setup.FirstMessage > 0 && link.RTT() > 0 {
		m.roundTrips = float64(r.Setup.FirstMessage-link.Delay) / float64(link.RTT())
	}
	if r.CPU.Wall > 0 {
		m.cpu = milliseconds(r.CPU.Ends) / r.CPU.Wall.Seconds()
	}
	if p := r.Passage(r.Run.Direction); p.Packets > 0 {
		m.realised = p.Realised()
		if span := (work.Warmup + work.Duration).Seconds(); span > 0 {
			m.packets = float64(p.Packets) / span
		}
	}
	samples := m.once(r)
	m.ofSamples(r, samples)
	m.ofTransfer(r, samples)
	m.ofTheory(r)
	return m
}

// found is a time in milliseconds, or none if it was not measured.
func found(d time.Duration) float64 {
	if d <= 0 {
		return none
	}
	return milliseconds(d)
}

// once are the samples without those that say again what became of the same
// message, or object of a page: the earliest arrival of each counts. A latency
// that is negative but not Undelivered is of a message that came before it was
// sent: it counts as not delivered, and is reported.
func (m *measures) once(r *lab.Result) []lab.Sample {
	samples := slices.Clone(r.Samples)
	for i := range samples {
		if samples[i].Latency < 0 {
			if samples[i].Latency != lab.Undelivered {
				m.negative++
			}
			samples[i].Latency = lab.Undelivered
		}
	}
	type message struct {
		channel   int
		scheduled time.Duration
	}
	at := make(map[message]int, len(samples))
	kept := samples[:0]
	for _, s := range samples {
		key := message{s.Channel, s.Scheduled}
		i, again := at[key]
		if !again {
			at[key] = len(kept)
			kept = append(kept, s)
			continue
		}
		m.recordedTwice++
		if k := &kept[i]; s.Latency >= 0 && (k.Latency < 0 || s.Latency < k.Latency) {
			*k = s
		}
	}
	return kept
}

func (m *measures) ofSamples(r *lab.Result, samples []lab.Sample) {
	m.sent = len(samples)
	if m.sent == 0 {
		return
	}
	veryLate := 0
	m.arrived = make([]time.Duration, 0, len(samples))
	for _, s := range samples {
		if s.Latency < 0 {
			continue
		}
		m.arrived = append(m.arrived, s.Latency)
		if late(r.Run, s, 1) {
			m.lateCount++
		}
		if late(r.Run, s, 3) {
			veryLate++
		}
	}
	slices.Sort(m.arrived)
	sent := float64(m.sent)
	m.delivered = float64(len(m.arrived)) / sent
	if len(m.arrived) > 0 {
		m.p50 = milliseconds(percentile(m.arrived, .50))
		m.p95 = milliseconds(percentile(m.arrived, .95))
		m.p99 = milliseconds(percentile(m.arrived, .99))
		m.max = milliseconds(m.arrived[len(m.arrived)-1])
	}
	if timed(r.Run.Workload) {
		m.late = float64(m.lateCount) / sent
		m.veryLate = float64(veryLate) / sent
		m.together = together(r.Run, samples)
	}
}

// together is the share of the intervals with a late message in which at least
// half of the channels, and at least two, had one. Every channel sends one
// message in each. With one channel there is no such share.
func together(run lab.Run, samples []lab.Sample) float64 {
	work := run.Workload
	if work.Channels < 2 || work.Interval <= 0 {
		return none
	}
	type place struct {
		slot    time.Duration
		channel int
	}
	seen := make(map[place]bool)
	channels := make(map[time.Duration]int) // that were late, by slot
	for _, s := range samples {
		if !late(run, s, 1) {
			continue
		}
		p := place{s.Scheduled / work.Interval, s.Channel}
		if !seen[p] {
			seen[p] = true
			channels[p.slot]++
		}
	}
	if len(channels) == 0 {
		return none
	}
	most := 0
	for _, n := range channels {
		if n >= 2 && 2*n >= work.Channels {
			most++
		}
	}
	return float64(most) / float64(len(channels))
}

// ofTransfer fills in what arrived in the measured time, whenever it was
// scheduled: what arrives afterwards was carried afterwards.
func (m *measures) ofTransfer(r *lab.Result, samples []lab.Sample) {
	span := r.Run.Workload.Duration
	if span > 0 && len(samples) > 0 {
		m.goodput = float64(r.Arrived) * 8 / span.Seconds()
	}
	if r.Run.Workload.Kind == lab.Mixed && r.Bulk.Duration > 0 {
		m.bulk = float64(r.Bulk.Bytes) * 8 / r.Bulk.Duration.Seconds()
		if math.IsNaN(m.goodput) {
			m.goodput = 0
		}
		m.goodput += m.bulk
	}
	sum, pages := 0.0, 0
	for _, p := range r.Pages {
		if p.Latency >= 0 {
			sum += milliseconds(p.Latency)
			pages++
		}
	}
	if pages > 0 {
		m.page = sum / float64(pages)
	}
}

func (m *measures) ofTheory(r *lab.Result) {
	a, ok := adapter.ByName(r.Run.Transport)
	if !ok {
		return
	}
	forward := r.Run.Direction
	if r.Run.Workload.Kind == lab.RPC {
		forward = lab.Up // that of requests
	}
	there, back := r.Passage(forward), r.Passage(forward.Opposite())
	if there.Packets == 0 {
		return
	}
	p, ok := theory.Predict(r.Run, a.Traits, theory.Losses{Forward: there.Realised(), Back: back.Realised()})
	if ok {
		m.theory, m.theoryVeryLate = p.Late, p.VeryLate
	}
}
