package stats

import (
	"cmp"
	"slices"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

const (
	// beforeDrop and afterDrop are how much of a run a timeline shows around a
	// dropped packet.
	beforeDrop = 100 * time.Millisecond
	afterDrop  = 400 * time.Millisecond
)

// timelines chooses what to look at, by a rule that knows nothing of transports:
//
//  1. The condition that most transports have results of; of these timed updates
//     rather than calls or mixed traffic, an unlimited link, the payload coming
//     down, and then the smallest loss. Pages have no timeline.
//  2. Its seed in which most transports have something to show; the smallest of
//     these. A transport that has nothing to show there takes its own smallest
//     seed that has.
//  3. In a run, of the packets that were dropped in the payload's direction and
//     have messages late or undelivered about them, those with the fewest other
//     drops near them; of these the median by the number of such messages. So
//     what is shown is what one lost packet usually does, not the worst that
//     happened.
func timelines(groups []cellGroup) []lab.Timeline {
	chosen := chooseCondition(groups)
	type shown struct{ bySeed map[uint64]lab.Timeline }
	var all []shown
	count := make(map[uint64]int)
	for _, g := range chosen {
		s := shown{make(map[uint64]lab.Timeline)}
		for _, run := range g.runs {
			if _, ok := s.bySeed[run.result.Run.Seed]; ok {
				continue
			}
			if t, ok := timeline(run.result); ok {
				s.bySeed[t.Seed] = t
				count[t.Seed]++
			}
		}
		all = append(all, s)
	}
	best, found := uint64(0), false
	for seed, n := range count {
		if !found || n > count[best] || n == count[best] && seed < best {
			best, found = seed, true
		}
	}
	var timelines []lab.Timeline
	for _, s := range all {
		t, ok := s.bySeed[best]
		if !ok {
			var own []uint64
			for seed := range s.bySeed {
				own = append(own, seed)
			}
			if len(own) == 0 {
				continue
			}
			t = s.bySeed[slices.Min(own)]
		}
		timelines = append(timelines, t)
	}
	return timelines
}

// chooseCondition returns the groups of the condition to show.
func chooseCondition(groups []cellGroup) []cellGroup {
	byKey := make(map[string][]cellGroup)
	var candidates []lab.Condition
	for _, g := range groups {
		work := g.condition.Workload
		if !timed(work) || work.Channels < 1 || g.condition.Link.Lossless() || len(g.runs) == 0 {
			continue
		}
		if byKey[g.key] == nil {
			candidates = append(candidates, g.condition)
		}
		byKey[g.key] = append(byKey[g.key], g)
	}
	if len(candidates) == 0 {
		return nil
	}
	kinds := []lab.Kind{lab.Updates, lab.RPC, lab.Mixed}
	best := slices.MinFunc(candidates, func(a, b lab.Condition) int {
		return cmp.Or(
			cmp.Compare(len(byKey[key(b)]), len(byKey[key(a)])),
			cmp.Compare(slices.Index(kinds, a.Workload.Kind), slices.Index(kinds, b.Workload.Kind)),
			cmp.Compare(unlimited(b.Link.Rate), unlimited(a.Link.Rate)),
			boolean(a.Direction == lab.Up, b.Direction == lab.Up),
			cmp.Compare(a.Link.Loss, b.Link.Loss),
			compareConditions(a, b),
			cmp.Compare(key(a), key(b)),
		)
	})
	return byKey[key(best)]
}

// window is a candidate for a timeline.
type window struct {
	from, to time.Duration
	drops    int // near it, in the payload's direction
	hit      int // messages late or undelivered
}

// timeline chooses the part of a run to show. It returns false if no message of
// the run was late or undelivered near a dropped packet.
func timeline(r *lab.Result) (lab.Timeline, bool) {
	run := r.Run
	samples := slices.Clone(r.Samples)
	slices.SortStableFunc(samples, func(a, b lab.Sample) int {
		return cmp.Or(cmp.Compare(a.Scheduled, b.Scheduled), cmp.Compare(a.Channel, b.Channel))
	})
	drops := slices.Clone(r.Drops)
	slices.SortStableFunc(drops, func(a, b lab.Drop) int { return cmp.Compare(a.At, b.At) })

	var best []window
	for _, d := range drops {
		if d.Direction != run.Direction {
			continue
		}
		w := window{from: d.At - beforeDrop, to: d.At + afterDrop}
		if w.from < 0 || run.Workload.Duration > 0 && w.to > run.Workload.Duration {
			continue // part of it was not measured
		}
		for _, s := range scheduled(samples, w.from, w.to) {
			if s.Latency < 0 || late(run, s, 1) {
				w.hit++
			}
		}
		if w.hit == 0 {
			continue
		}
		// What was lost shortly before is still being waited for.
		for _, other := range drops {
			if other.Direction == run.Direction && other.At >= w.from-2*run.Link.RTT() && other.At < w.to {
				w.drops++
			}
		}
		if len(best) > 0 && w.drops < best[0].drops {
			best = best[:0]
		}
		if len(best) == 0 || w.drops == best[0].drops {
			best = append(best, w)
		}
	}
	if len(best) == 0 {
		return lab.Timeline{}, false
	}
	slices.SortStableFunc(best, func(a, b window) int {
		return cmp.Or(cmp.Compare(a.hit, b.hit), cmp.Compare(a.from, b.from))
	})
	w := best[len(best)/2]
	t := lab.Timeline{
		Transport: run.Transport, Condition: condition(run), Seed: run.Seed, Channels: run.Workload.Channels,
		From: w.from, To: w.to, Samples: []lab.Sample{}, Drops: []lab.Drop{},
	}
	for _, s := range samples {
		end := s.Scheduled + max(s.Latency, 0)
		if s.Scheduled < w.to && end >= w.from {
			t.Samples = append(t.Samples, s)
		}
	}
	for _, d := range drops {
		if d.At >= w.from && d.At < w.to {
			t.Drops = append(t.Drops, d)
		}
	}
	return t, true
}

// scheduled are those of the sorted samples that were scheduled in a part of the
// run.
func scheduled(samples []lab.Sample, from, to time.Duration) []lab.Sample {
	at := func(s lab.Sample, t time.Duration) int { return cmp.Compare(s.Scheduled, t) }
	first, _ := slices.BinarySearchFunc(samples, from, at)
	end, _ := slices.BinarySearchFunc(samples, to, at)
	return samples[first:end]
}
