package plan

import (
	"reflect"
	"slices"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
	"github.com/towpath-go/towpath/cmd/hol/internal/workload"
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

// Memory is how many bytes the samples of the runs take, which are kept until the
// study's end, about. Pages are taken to come as fast as the bandwidth and a round
// trip for each let them.
func Memory(runs []lab.Run) int64 {
	sum := int64(0)
	for _, run := range runs {
		sum += samples(run)
	}
	// A latency is there once more, among the sorted ones of its run.
	return sum * int64(reflect.TypeFor[lab.Sample]().Size()+reflect.TypeFor[time.Duration]().Size())
}

// samples is how many a run has.
func samples(run lab.Run) int64 {
	w := run.Workload
	if w.Kind != lab.Page {
		return int64(w.Channels) * int64(w.Duration/max(w.Interval, 1))
	}
	page := run.Link.RTT().Seconds()
	if run.Link.Rate > 0 {
		bytes := 0
		for _, size := range w.Objects {
			bytes += size
		}
		page = max(page, float64(bytes)*8/float64(run.Link.Rate))
	}
	if page == 0 {
		return workload.MaxMessages
	}
	return min(int64(len(w.Objects))*int64(w.Duration.Seconds()/page+1), workload.MaxMessages)
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
