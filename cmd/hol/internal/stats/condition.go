package stats

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

func condition(run lab.Run) lab.Condition {
	return lab.Condition{Direction: run.Direction, Link: run.Link, Workload: run.Workload}
}

// key tells conditions apart.
func key(c lab.Condition) string {
	b, err := json.Marshal(c)
	if err != nil {
		panic("BUG: a condition has no JSON: " + err.Error())
	}
	return string(b)
}

// withoutLoss is the condition that controls another one.
func withoutLoss(c lab.Condition) lab.Condition {
	c.Link.Loss, c.Link.Burst = 0, lab.Burst{}
	return c
}

// compareConditions is the order of tables: by workload and load, direction,
// and then from an easy link to a hard one. What it does not tell apart keeps
// the order of the runs.
func compareConditions(a, b lab.Condition) int {
	kinds := []lab.Kind{lab.Updates, lab.Mixed, lab.Page, lab.RPC}
	return cmp.Or(
		cmp.Compare(slices.Index(kinds, a.Workload.Kind), slices.Index(kinds, b.Workload.Kind)),
		cmp.Compare(a.Workload.Channels, b.Workload.Channels),
		cmp.Compare(b.Workload.Interval, a.Workload.Interval),
		cmp.Compare(a.Workload.MaxSize, b.Workload.MaxSize),
		cmp.Compare(a.Workload.MinSize, b.Workload.MinSize),
		slices.Compare(a.Workload.Objects, b.Workload.Objects),
		cmp.Compare(a.Direction, b.Direction),
		boolean(a.Link.BlockUDP, b.Link.BlockUDP),
		cmp.Compare(unlimited(b.Link.Rate), unlimited(a.Link.Rate)),
		cmp.Compare(b.Link.Queue, a.Link.Queue),
		cmp.Compare(a.Link.Delay, b.Link.Delay),
		cmp.Compare(a.Link.Jitter, b.Link.Jitter),
		boolean(a.Link.Reorder, b.Link.Reorder),
		cmp.Compare(a.Link.Burst.Bad, b.Link.Burst.Bad),
		cmp.Compare(b.Link.Burst.Good, a.Link.Burst.Good),
		cmp.Compare(a.Link.Burst.Loss, b.Link.Burst.Loss),
		cmp.Compare(a.Link.Loss, b.Link.Loss),
	)
}

// unlimited is a rate that compares: 0 means no limit.
func unlimited(rate int64) uint64 { return uint64(rate) - 1 }

func boolean(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
