package plan

import (
	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// A Request is what a study is to measure: every combination of its lists.
type Request struct {
	Transports []adapter.Adapter
	Workloads  []lab.Workload
	Directions []lab.Direction
	// Link without the losses; its Burst is added to each of Losses.
	Link   lab.Link
	Losses []float64
	// Bulk has the Rate and Queue of workloads that send as much as they can
	// (mixed and page), if Link has no Rate: without one they would measure the
	// processor.
	Bulk lab.Link
	// Seeds is how many runs a cell has, FirstSeed the seed of the first.
	Seeds     int
	FirstSeed uint64
	// Controls is how many runs the control of a cell has: the same without
	// Losses and Burst. It is Seeds if a loss of 0 was asked for.
	Controls int
	// Common has what all runs share: CC, MaxAge, Priorities, Realtime,
	// MaxLateness.
	Common lab.Run
}

// Applies says whether a transport can carry a workload: pages and calls need
// a response to arrive.
func Applies(a adapter.Adapter, k lab.Kind) bool {
	return a.Calls || k != lab.Page && k != lab.RPC
}

// LinkFor is the link of a workload, with the losses still to come.
func (r Request) LinkFor(k lab.Kind) lab.Link {
	link := r.Link
	if link.Rate == 0 && (k == lab.Mixed || k == lab.Page) {
		link.Rate, link.Queue = r.Bulk.Rate, r.Bulk.Queue
	}
	return link
}

// Runs are the runs in the order in which they are made. What does not apply
// is left out.
func (r Request) Runs() []lab.Run {
	controls := min(r.Controls, r.Seeds)
	var losses []float64
	for _, loss := range r.Losses {
		if loss == 0 && r.Link.Burst == (lab.Burst{}) {
			controls = r.Seeds
		} else {
			losses = append(losses, loss)
		}
	}
	var runs []lab.Run
	for i := range controls {
		runs = r.appendSeed(runs, i, []float64{0}, lab.Burst{})
	}
	for i := range r.Seeds {
		runs = r.appendSeed(runs, i, losses, r.Link.Burst)
	}
	return runs
}

// appendSeed adds one run for each combination. The transports begin one further
// with each seed, so that it is not always the same ones that run side by side.
func (r Request) appendSeed(runs []lab.Run, i int, losses []float64, burst lab.Burst) []lab.Run {
	n := len(r.Transports)
	for _, workload := range r.Workloads {
		link := r.LinkFor(workload.Kind)
		link.Burst = burst
		for _, direction := range r.Directions {
			for _, loss := range losses {
				link.Loss = loss
				for k := range n {
					a := r.Transports[(k+i)%n]
					if !Applies(a, workload.Kind) {
						continue
					}
					run := r.Common
					run.Transport = a.Name
					run.Workload = workload
					run.Direction = direction
					run.Link = link
					run.Seed = r.FirstSeed + uint64(i)
					runs = append(runs, run)
				}
			}
		}
	}
	return runs
}
