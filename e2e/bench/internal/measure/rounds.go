package measure

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/towpath-go/towpath/e2e/bench/internal/peer"
)

// A Plan says what is measured, and how often.
type Plan struct {
	Benches []*Bench
	Peers   []*peer.Peer
	Rounds  int
	Options Options
	// Alone leaves out the reference, and with it ratios, unless it is among the
	// peers.
	Alone bool
}

// A Sample is one peer's result in one round.
type Sample struct {
	Bench string `json:"bench"`
	Peer  string `json:"peer"`
	Round int    `json:"round"`
	Result
	// Ratio and CPURatio are to the reference's mean right before and right after
	// in the same round; 0 if it was not measured.
	Ratio    float64 `json:"ratio,omitempty"`
	CPURatio float64 `json:"cpu_ratio,omitempty"`
}

// A Failure is a measurement that did not work.
type Failure struct {
	Bench string `json:"bench"`
	Peer  string `json:"peer"`
	Round int    `json:"round"`
	Error string `json:"error"`
}

// A step is one measurement. Of a group, which is a benchmark in one round, the
// reference has the steps before and after each other's.
type step struct {
	round, group int
	bench        *Bench // what is done
	peer         *peer.Peer
	reference    bool
}

// steps are a plan's in their order. Each round begins with another peer, so that
// none always has the same neighbours in time.
func (p Plan) steps() (steps []step) {
	for round := range p.Rounds {
		for i, b := range p.Benches {
			var turn []*peer.Peer
			reference := peer.Named(b.Reference)
			if p.Alone {
				reference = nil
			}
			for _, q := range p.Peers {
				if q != reference && b.does(q) {
					turn = append(turn, q)
				}
			}
			if len(turn) == 0 && !slices.Contains(p.Peers, reference) {
				continue
			}
			if len(turn) > 0 {
				k := round % len(turn)
				turn = append(slices.Clone(turn[k:]), turn[:k]...)
			}
			add := func(q *peer.Peer, isReference bool) {
				s := step{round: round, group: round*len(p.Benches) + i, bench: b, peer: q, reference: isReference}
				if q.Name == b.Reference && b.ReferenceBench != "" {
					s.bench = Named(b.ReferenceBench)
				}
				steps = append(steps, s)
			}
			if reference != nil {
				add(reference, true)
			}
			for _, q := range turn {
				add(q, false)
				if reference != nil && !b.Steady {
					add(reference, true)
				}
			}
		}
	}
	return steps
}

// does tells whether a peer is measured, be it by what the reference does instead.
func (b *Bench) does(p *peer.Peer) bool {
	return b.Lacks(p) == "" || p.Name == b.Reference && b.ReferenceBench != ""
}

// A Progress is how far a run is.
type Progress struct {
	Round, Rounds int
	Bench, Peer   string
	Done, Steps   int
	Left          time.Duration
}

// Run measures. It tells of each step before it begins. When ctx ends it returns
// what there is, and the cause.
func (p Plan) Run(ctx context.Context, tell func(Progress)) (samples []Sample, failures []Failure, err error) {
	steps := p.steps()
	clock := newClock(p.Options, steps)
	results := make([]Result, len(steps))
	ok := make([]bool, len(steps))
	for first := 0; first < len(steps); {
		end := first
		for ; end < len(steps) && steps[end].group == steps[first].group; end++ {
			s := steps[end]
			tell(Progress{Round: s.round + 1, Rounds: p.Rounds, Bench: p.name(s), Peer: s.peer.Name, Done: end, Steps: len(steps), Left: clock.left(steps[end:])})
			begun := time.Now()
			r, err := s.bench.Measure(ctx, s.peer, p.Options)
			if ctx.Err() != nil {
				return samples, failures, context.Cause(ctx)
			}
			clock.took(s.bench, time.Since(begun))
			if err != nil {
				failures = append(failures, Failure{Bench: p.name(s), Peer: s.peer.Name, Round: s.round + 1, Error: err.Error()})
				continue
			}
			results[end], ok[end] = r, true
		}
		samples = append(samples, p.group(steps[first:end], results[first:end], ok[first:end])...)
		first = end
	}
	return samples, failures, nil
}

// name is the benchmark that a step is for.
func (p Plan) name(s step) string { return p.Benches[s.group%len(p.Benches)].Name }

// group makes the samples of one benchmark in one round.
func (p Plan) group(steps []step, results []Result, ok []bool) (samples []Sample) {
	var references []Result
	for i, s := range steps {
		if !ok[i] {
			continue
		}
		sample := Sample{Bench: p.name(s), Peer: s.peer.Name, Round: s.round + 1, Result: results[i]}
		if s.reference {
			references = append(references, results[i])
			continue
		}
		if value, cpu, found := neighbours(steps, results, ok, i); found {
			sample.Ratio = sample.Value / value
			if cpu > 0 {
				sample.CPURatio = sample.CPU / cpu
			}
		}
		samples = append(samples, sample)
	}
	if len(references) > 0 {
		s := steps[0]
		m := Sample{Bench: p.name(s), Peer: s.peer.Name, Round: s.round + 1, Result: middle(references), Ratio: 1}
		if m.CPU > 0 {
			m.CPURatio = 1
		}
		samples = append([]Sample{m}, samples...)
	}
	return samples
}

// neighbours returns the mean of the reference's results before and after a step:
// of one where there is only one.
func neighbours(steps []step, results []Result, ok []bool, i int) (value, cpu float64, found bool) {
	n := 0.0
	take := func(k int) bool {
		if !steps[k].reference || !ok[k] {
			return false
		}
		value, cpu, n = value+results[k].Value, cpu+results[k].CPU, n+1
		return true
	}
	for k := i - 1; k >= 0 && !take(k); k-- {
	}
	if i+1 < len(steps) {
		take(i + 1)
	}
	if n == 0 || value == 0 {
		return 0, 0, false
	}
	return value / n, cpu / n, true
}

// middle returns the medians of results.
func middle(all []Result) Result {
	of := func(f func(Result) float64) float64 {
		var v []float64
		for _, r := range all {
			v = append(v, f(r))
		}
		return Median(v)
	}
	return Result{
		Value: of(func(r Result) float64 { return r.Value }), P99: of(func(r Result) float64 { return r.P99 }),
		Lost: of(func(r Result) float64 { return r.Lost }), CPU: of(func(r Result) float64 { return r.CPU }),
		Allocs: of(func(r Result) float64 { return r.Allocs }), Goroutines: of(func(r Result) float64 { return r.Goroutines }),
		PerConn: all[0].PerConn,
	}
}

// A clock tells how long the rest will take: what steps of each benchmark took so
// far, on average.
type clock struct {
	guess map[*Bench]time.Duration
	spent map[*Bench]time.Duration
	n     map[*Bench]int
}

func newClock(o Options, steps []step) *clock {
	c := &clock{guess: make(map[*Bench]time.Duration), spent: make(map[*Bench]time.Duration), n: make(map[*Bench]int)}
	for _, s := range steps {
		c.guess[s.bench] = o.Duration + o.Warmup + 30*time.Millisecond
		if s.bench.Steady {
			c.guess[s.bench] = 2*o.Settle + time.Duration(o.Idle)*2*time.Millisecond
		}
	}
	return c
}

func (c *clock) took(b *Bench, d time.Duration) {
	c.spent[b] += d
	c.n[b]++
}

func (c *clock) left(steps []step) (d time.Duration) {
	for _, s := range steps {
		if n := c.n[s.bench]; n > 0 {
			d += c.spent[s.bench] / time.Duration(n)
		} else {
			d += c.guess[s.bench]
		}
	}
	return d
}

// Check verifies the data of all peers of a plan, and the references'.
func (p Plan) Check(ctx context.Context, tell func(*peer.Peer)) error {
	var errs []error
	for _, q := range p.Measured() {
		tell(q)
		if err := Verify(ctx, q); err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if len(errs) > 0 {
		return fmt.Errorf("wrong data, nothing is measured: %w", errors.Join(errs...))
	}
	return nil
}

// Measured are the peers that are measured, as the reference or otherwise.
func (p Plan) Measured() (peers []*peer.Peer) {
	for _, s := range p.steps() {
		if !slices.Contains(peers, s.peer) {
			peers = append(peers, s.peer)
		}
	}
	return peers
}
