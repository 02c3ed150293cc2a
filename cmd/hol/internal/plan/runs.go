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

// Runs are the runs in the order in which they are made. What does not apply
// is left out.
func (r Request) Runs() []lab.Run {
	control := r.Link
	control.Loss, control.Burst = 0, lab.Burst{}
	controls := min(r.Controls, r.Seeds)
	var lossy []lab.Link
	for _, loss := range r.Losses {
		link := r.Link
		link.Loss = loss
		if link.Lossless() {
			controls = r.Seeds
			continue
		}
		lossy = append(lossy, link)
	}
	var runs []lab.Run
	for i := range controls {
		runs = r.appendSeed(runs, i, []lab.Link{control})
	}
	for i := range r.Seeds {
		runs = r.appendSeed(runs, i, lossy)
	}
	return runs
}

// appendSeed adds one run for each combination. The transports begin one further
// with each seed, so that it is not always the same ones that run side by side.
func (r Request) appendSeed(runs []lab.Run, i int, links []lab.Link) []lab.Run {
	n := len(r.Transports)
	for _, workload := range r.Workloads {
		for _, direction := range r.Directions {
			for _, link := range links {
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
