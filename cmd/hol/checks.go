package main

import (
	"cmp"
	"fmt"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
	"github.com/towpath-go/towpath/cmd/hol/internal/link"
	"github.com/towpath-go/towpath/cmd/hol/internal/plan"
	"github.com/towpath-go/towpath/cmd/hol/internal/trial"
	"github.com/towpath-go/towpath/cmd/hol/internal/workload"
)

// minDuration is the shortest that is worth the set-up.
const minDuration = 100 * time.Millisecond

// maxLoss is the largest share of lost packets: handshakes hardly succeed above.
const maxLoss = 0.5

// checkWorkloads refuses what no workload can be, by the flags' names.
func checkWorkloads(workloads []lab.Workload) error {
	for _, w := range workloads {
		err := cmp.Or(
			within("channels", w.Channels, 1, workload.MaxChannels),
			within("interval", w.Interval, workload.MinInterval, workload.MaxInterval),
			within("min-size", w.MinSize, workload.HeaderSize, adapter.MaxMessage),
			within("max-size", w.MaxSize, workload.HeaderSize, adapter.MaxMessage),
			within("warmup", w.Warmup, 0, workload.MaxWarmup),
			within("duration", w.Duration, minDuration, workload.MaxDuration),
			within("drain", w.Drain, 0, workload.MaxDrain))
		if err != nil {
			return err
		}
		for _, size := range w.Objects {
			if size < workload.HeaderSize || size > adapter.MaxCall {
				return usagef("--objects has one of %d bytes, and must have some from %d to %d", size, workload.HeaderSize, adapter.MaxCall)
			}
		}
	}
	return nil
}

// checkLink refuses what no link can be.
func checkLink(l lab.Link) error {
	if err := within("mtu", l.MTU, link.MinMTU, link.MaxMTU); err != nil {
		return err
	}
	if l.Rate != 0 {
		if err := cmp.Or(
			within("rate", l.Rate, link.MinRate, link.MaxRate),
			within("queue", l.Queue, l.MTU, link.MaxQueue)); err != nil {
			return err
		}
	}
	if l.Burst.Good != 0 || l.Burst.Bad != 0 {
		for _, period := range []time.Duration{l.Burst.Good, l.Burst.Bad} {
			if period < link.MinPeriod || period > link.MaxPeriod {
				return usagef("--burst has a period of %v, and must have periods from 1ms to 1h", period)
			}
		}
	}
	return nil
}

// checkRate refuses messages that are more than the bandwidth.
func checkRate(r *plan.Request) error {
	for _, w := range r.Workloads {
		rate := r.LinkFor(w.Kind).Rate
		if rate == 0 || w.Kind == lab.Page {
			continue
		}
		load := float64(8*w.Channels*(w.MinSize+w.MaxSize)/2) / w.Interval.Seconds()
		if load > float64(rate) {
			return usagef("--rate %d is less than the messages' %.0f bits a second: raise it, or --interval, or lower --channels or --max-size", rate, load)
		}
	}
	return nil
}

// checkDatagrams refuses messages that are larger than a datagram.
func checkDatagrams(r *plan.Request) error {
	for _, w := range r.Workloads {
		if w.Kind != lab.Updates && w.Kind != lab.Mixed || w.MaxSize <= adapter.MaxDatagram {
			continue
		}
		for _, a := range r.Transports {
			if !a.Reliable {
				return usagef("--max-size is %d, and must be at most %d for the datagrams of %s: lower it, or choose other --transports",
					w.MaxSize, adapter.MaxDatagram, a.Name)
			}
		}
	}
	return nil
}

// checkRuns asks those who make the runs. What the flags can be is checked
// before, by the flags' names.
func checkRuns(runs []lab.Run) error {
	for _, run := range runs {
		if run.Seed != runs[0].Seed {
			continue // it is like one of the first seed
		}
		if err := trial.Check(run); err != nil {
			return usageError{err}
		}
	}
	return nil
}

// percent writes a share: 0.02 as 2 %.
func percent(share float64) string {
	return fmt.Sprintf("%.6g %%", share*100)
}
