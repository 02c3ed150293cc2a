package workload

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// wakes are how late the goroutines of a run were woken. The router may be on time
// while they are not: it goes before them, and before everything else of the
// machine. What they are late with counts as the transport's latency.
type wakes struct {
	counts [wakeSteps + 1]atomic.Int64 // by step, the last of all that were later
	sum    atomic.Int64
	max    atomic.Int64
}

const (
	wakeStep  = 50 * time.Microsecond
	wakeSteps = 2000
	// watchInterval is how often a run looks whether it is woken in time, besides
	// its senders.
	watchInterval = 5 * time.Millisecond
)

func (w *wakes) add(late time.Duration) {
	w.counts[min(int(late/wakeStep), wakeSteps)].Add(1)
	w.sum.Add(int64(late))
	for {
		last := w.max.Load()
		if int64(late) <= last || w.max.CompareAndSwap(last, int64(late)) {
			return
		}
	}
}

// lateness has a 99th percentile that is a step too large at most.
func (w *wakes) lateness() lab.Lateness {
	var counts [wakeSteps + 1]int64
	total := int64(0)
	for i := range counts {
		counts[i] = w.counts[i].Load()
		total += counts[i]
	}
	if total == 0 {
		return lab.Lateness{}
	}
	l := lab.Lateness{Mean: time.Duration(w.sum.Load() / total), Max: time.Duration(w.max.Load())}
	rest := total / 100 // may be later
	step := wakeSteps
	for counts[step] <= rest {
		rest -= counts[step]
		step--
	}
	l.P99 = min(time.Duration(step+1)*wakeStep, l.Max)
	if step == wakeSteps {
		l.P99 = l.Max
	}
	return l
}

// sleep waits for an alarm, and records how late it was if there was anything to
// wait for.
func (s *session) sleep(a alarm, until time.Duration) error {
	early := s.now() < until
	err := a.wait(until)
	if early && err == nil {
		s.wakes.add(s.now() - until)
	}
	return err
}

// watch records how late it is woken until the run ends: in a workload without
// timed messages nothing else does. A time that it has missed because it stood
// still while it was awake counts too: it has nothing else to do.
func (s *session) watch(ctx context.Context) {
	alarm, err := s.newAlarm(ctx, s.base)
	if err != nil {
		s.fail(err)
		return
	}
	defer alarm.close()
	for at := time.Duration(s.start.Load()); ; {
		if err := alarm.wait(at); err != nil {
			s.fail(err)
			return
		}
		late := s.now() - at
		s.wakes.add(late)
		// Times that this wake has missed are not waited for.
		at += (late/watchInterval + 1) * watchInterval
	}
}
