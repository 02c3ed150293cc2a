package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
	"github.com/towpath-go/towpath/cmd/hol/internal/link"
	"github.com/towpath-go/towpath/cmd/hol/internal/plan"
	"github.com/towpath-go/towpath/cmd/hol/internal/trial"
)

// settings are what the flags and the preset come to.
type settings struct {
	request plan.Request
	jobs    int
	retries int
	remarks []string // to be said before the study begins
}

// settings checks everything that can be known before the first run. Its errors
// are the caller's mistakes.
func (c *cli) settings(m host) (settings, error) {
	realtime := m.realtime()
	p := c.preset()
	var s settings
	if p.remark != "" {
		s.remarks = append(s.remarks, p.remark)
	}
	var err error
	r := &s.request
	if r.Transports, err = selectTransports(or(c.Transports, []string{"all"})); err != nil {
		return s, err
	}
	if r.Directions, err = c.directions(p); err != nil {
		return s, err
	}
	if err = c.seeds(p, r); err != nil {
		return s, err
	}
	if err = c.link(p, r); err != nil {
		return s, err
	}
	if err = c.workloads(p, r); err != nil {
		return s, err
	}
	if err = c.common(r, m, realtime); err != nil {
		return s, err
	}
	for _, check := range []func(*plan.Request) error{checkRate, checkDatagrams} {
		if err := check(r); err != nil {
			return s, err
		}
	}
	s.jobs = max(1, min(m.processors, maxJobs/2))
	if r.Common.Realtime {
		s.jobs *= 2
	}
	s.jobs = value(c.Jobs, s.jobs)
	s.retries = value(c.Retries, 3)
	if err := cmp.Or(
		within("jobs", s.jobs, 1, maxJobs),
		within("retries", s.retries, 0, 100)); err != nil {
		return s, err
	}
	if c.Realtime == nil && realtime != nil {
		s.remarks = append(s.remarks, fmt.Sprintf(
			"no real-time scheduling (%v): other processes disturb the runs, and more of them will be rejected.", realtime))
	}
	return s, s.apply()
}

const maxJobs = 16

// apply notes what is left out, and what was not asked for.
func (s *settings) apply() error {
	r := &s.request
	applied := false
	if r.Bulk.Rate != 0 && slices.ContainsFunc(r.Workloads, func(w lab.Workload) bool { return w.Kind == lab.Mixed || w.Kind == lab.Page }) {
		s.remarks = append(s.remarks, "mixed and page have a bandwidth of 20 Mbit/s, or they would measure the processor: --rate is another one, 0 none.")
	}
	for _, w := range r.Workloads {
		var without []string
		for _, a := range r.Transports {
			if !plan.Applies(a, w.Kind) {
				without = append(without, a.Name)
			}
		}
		applied = applied || len(without) < len(r.Transports)
		if len(without) > 0 {
			s.remarks = append(s.remarks, fmt.Sprintf("%s leaves out %s: calls need a response to arrive.", w.Kind, strings.Join(without, ", ")))
		}
	}
	if !applied {
		return usagef("nothing is left to measure: none of the --transports has calls, which page and rpc need")
	}
	if !slices.Contains(r.Losses, 0) || r.Link.Burst.Good != 0 {
		s.remarks = append(s.remarks, "0 % loss is measured besides, as the control.")
	}
	return nil
}

func (c *cli) directions(p preset) ([]lab.Direction, error) {
	if c.Direction == nil {
		return p.directions, nil
	}
	word, err := choose("direction", *c.Direction, "down", "up", "both")
	if word == "both" {
		return []lab.Direction{lab.Down, lab.Up}, err
	}
	return []lab.Direction{lab.Direction(word)}, err
}

func (c *cli) seeds(p preset, r *plan.Request) error {
	r.Seeds = value(c.Seeds, p.seeds)
	first := value(c.Seed, 1)
	r.FirstSeed = uint64(first)
	r.Controls = value(c.Controls, min(p.controls, max(r.Seeds, 1)))
	return cmp.Or(
		within("seeds", r.Seeds, 1, 1000),
		within("seed", first, 0, 1<<53),
		within("controls", r.Controls, 1, r.Seeds))
}

// workloads makes a lab.Workload of each kind that is asked for.
func (c *cli) workloads(p preset, r *plan.Request) error {
	chosen, err := selectKinds(or(c.Workload, p.workloads))
	if err != nil {
		return err
	}
	load, err := choose("load", value(c.Load, "light"), "light", "full")
	if err != nil {
		return err
	}
	w := lab.Workload{
		Channels: value(c.Channels, 8),
		Interval: value(c.Interval, 20*time.Millisecond),
		MinSize:  int(value(c.MinSize, size(loads[load][0]))),
		MaxSize:  int(value(c.MaxSize, size(loads[load][1]))),
		Warmup:   value(c.Warmup, p.warmup),
		Duration: value(c.Duration, p.duration),
		Drain:    value(c.Drain, p.drain),
	}
	// One of the two alone moves the other.
	switch {
	case c.MinSize != nil && c.MaxSize == nil:
		w.MaxSize = max(w.MaxSize, w.MinSize)
	case c.MaxSize != nil && c.MinSize == nil:
		w.MinSize = min(w.MinSize, w.MaxSize)
	}
	if w.MinSize > w.MaxSize {
		return usagef("--min-size %d is larger than --max-size %d", w.MinSize, w.MaxSize)
	}
	for _, k := range chosen {
		w.Kind = k
		w.Objects = nil
		if k == lab.Page {
			w.Objects = value(c.Objects, objects(usualObjects))
		}
		r.Workloads = append(r.Workloads, w)
	}
	if c.Objects != nil && !slices.Contains(chosen, lab.Page) {
		return usagef("--objects are those of a page: add --workload page")
	}
	return checkWorkloads(r.Workloads)
}

func (c *cli) link(p preset, r *plan.Request) error {
	l := lab.Link{
		Delay:    value(c.Delay, 25*time.Millisecond),
		Jitter:   value(c.Jitter, 0),
		Reorder:  value(c.Reorder, false),
		Rate:     int64(value(c.Rate, 0)),
		BlockUDP: value(c.BlockUDP, false),
		MTU:      value(c.MTU, 1500),
	}
	r.Losses = p.losses
	if c.Burst != nil {
		l.Burst = lab.Burst{Good: c.Burst.good, Bad: c.Burst.bad, Loss: c.Burst.loss}
		r.Losses = []float64{0}
	}
	if c.Loss != nil {
		r.Losses = *c.Loss
	}
	switch {
	case l.Rate != 0:
		l.Queue = int(value(c.Queue, size(usualQueue(l.Rate, l))))
	case c.Queue != nil:
		return usagef("--queue waits for a bandwidth: add --rate")
	case c.Rate == nil:
		r.Bulk = lab.Link{Rate: bulkRate, Queue: usualQueue(bulkRate, l)}
	}
	if l.Reorder && l.Jitter == 0 {
		return usagef("--reorder is by jitter: add --jitter")
	}
	if c.Burst != nil && l.Burst.Loss == 0 {
		return usagef("--burst loses 0 percent of the packets in bad periods: more than 0 is needed")
	}
	if err := within("delay", l.Delay, time.Millisecond, link.MaxDelay); err != nil {
		return err
	}
	if err := within("jitter", l.Jitter, 0, l.Delay/3); err != nil {
		return usagef("%w, a third of --delay: more would make delays negative", err)
	}
	r.Link = l
	for _, loss := range r.Losses {
		l.Loss = loss
		if err := checkLink(l); err != nil {
			return err
		}
	}
	return nil
}

// bulkRate is the bandwidth in bits a second of what would else take all there
// is.
const bulkRate = 20_000_000

// usualQueue has room for what is under way in one round trip, but not for less
// than a short burst.
func usualQueue(rate int64, l lab.Link) int {
	return int(min(max(rate/8*int64(l.RTT()/time.Millisecond)/1000, int64(16*l.MTU)), link.MaxQueue))
}

func (c *cli) common(r *plan.Request, m host, notPermitted error) error {
	word, err := choose("realtime", value(c.Realtime, "auto"), "auto", "on", "off")
	if err != nil {
		return err
	}
	if word == "on" && notPermitted != nil {
		return usagef("--realtime on is not permitted here (%w): run as root or with CAP_SYS_NICE, or say --realtime auto", notPermitted)
	}
	r.Common = lab.Run{
		CC:          value(c.CC, "cubic"),
		MaxAge:      value(c.MaxAge, 100*time.Millisecond),
		Priorities:  value(c.Priorities, true),
		Realtime:    word != "off" && notPermitted == nil,
		MaxLateness: value(c.MaxLateness, 10*time.Millisecond),
	}
	if cc := r.Common.CC; cc == "" || len(cc) > 15 || strings.ContainsFunc(cc, notInName) {
		return usagef("--cc is a name of one to 15 letters and digits, as cubic or bbr, not %q", cc)
	}
	if err := m.cc(r.Common.CC); err != nil {
		return usagef("--cc: %w", err)
	}
	return cmp.Or(
		within("max-age", r.Common.MaxAge, time.Millisecond, trial.MaxMaxAge),
		within("max-lateness", r.Common.MaxLateness, trial.MinLateness, trial.MaxLateness))
}

func notInName(r rune) bool {
	return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '_' || r == '-')
}

// within checks a flag's range, inclusive.
func within[T cmp.Ordered](flag string, v, low, high T) error {
	if v < low || v > high {
		return usagef("--%s is %v, and must be from %v to %v", flag, v, low, high)
	}
	return nil
}

// value is what a flag was given, or else the default.
func value[T any](given *T, otherwise T) T {
	if given == nil {
		return otherwise
	}
	return *given
}

// or is the list that was given, or else the default.
func or(given, otherwise []string) []string {
	if len(given) == 0 {
		return otherwise
	}
	return given
}
