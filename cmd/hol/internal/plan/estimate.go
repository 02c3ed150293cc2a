package plan

import (
	"slices"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

const (
	// overhead is what a run takes besides its workload's times: the process, the
	// link, the handshakes and the first channels.
	overhead = 700 * time.Millisecond
	// setupLimit bounds the same, with losses in the handshakes.
	setupLimit = 30 * time.Second
)

// workloadTime is the time of the schedule.
func workloadTime(run lab.Run) time.Duration {
	return run.Workload.Warmup + run.Workload.Duration + run.Workload.Drain
}

// Expected is how long a run takes, about.
func Expected(run lab.Run) time.Duration { return workloadTime(run) + overhead }

// Limit is how long a run may take; its worker is killed then.
func Limit(run lab.Run) time.Duration { return workloadTime(run) + setupLimit }

// Total is how long runs take, so many at a time, controls before others.
func Total(runs []lab.Run, jobs int) time.Duration {
	busy := make([]time.Duration, max(jobs, 1)) // until when each job has work
	assign := func(lossless bool) {
		for _, run := range runs {
			if run.Link.Lossless() == lossless {
				first := slices.Index(busy, slices.Min(busy))
				busy[first] += Expected(run)
			}
		}
	}
	assign(true)
	all := slices.Max(busy)
	for i := range busy {
		busy[i] = all
	}
	assign(false)
	return slices.Max(busy)
}

// A forecast says how long the rest takes, from how long the runs took that
// were made.
type forecast struct {
	expected, took time.Duration // of the attempts that were made
	open           time.Duration // expected, of the runs without an end
	jobs           int
}

func (f *forecast) attempt(run lab.Run, took time.Duration) {
	f.expected += Expected(run)
	f.took += took
}

func (f *forecast) left() time.Duration {
	ratio := 1.0
	if f.expected > 0 {
		ratio = float64(f.took) / float64(f.expected)
	}
	return time.Duration(float64(f.open) * ratio / float64(f.jobs))
}
