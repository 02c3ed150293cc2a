package stats

import (
	"cmp"
	"slices"
	"strings"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// Assemble makes a study of results in any order, of those too that do not
// count. It fills in Cells, by condition from easy to hard and then in the
// adapters' order, Timelines, Lateness and Problems; the rest is the caller's.
func Assemble(results []lab.Result) lab.Study {
	groups := group(results)
	study := lab.Study{Cells: []lab.Cell{}}
	for i := range groups {
		g := &groups[i]
		g.cell, g.runs = newCell(g.results, 0)
		if g.failed = failures(g); len(g.failed) > 0 && g.cell.Problem == "" {
			g.cell.Problem = "without loss " + strings.Join(g.failed, ", ")
		}
		study.Cells = append(study.Cells, g.cell)
		for _, run := range g.runs {
			l := run.result.Lateness
			study.Lateness.Mean = max(study.Lateness.Mean, l.Mean)
			study.Lateness.P99 = max(study.Lateness.P99, l.P99)
			study.Lateness.Max = max(study.Lateness.Max, l.Max)
		}
	}
	study.Timelines = timelines(groups)
	study.Problems = problems(groups)
	return study
}

// cellGroup is everything about a cell.
type cellGroup struct {
	results   []lab.Result
	adapter   adapter.Adapter
	order     int // of the adapter
	condition lab.Condition
	key       string // of the condition
	cell      lab.Cell
	runs      []measured
	failed    []string // what a control that failed found
}

// group divides the results by cell, in the order of a study.
func group(results []lab.Result) []cellGroup {
	type place struct{ transport, condition string }
	at := make(map[place]int)
	var groups []cellGroup
	for _, r := range results {
		c := condition(r.Run)
		p := place{r.Run.Transport, key(c)}
		i, ok := at[p]
		if !ok {
			i = len(groups)
			at[p] = i
			a, order := find(r.Run.Transport)
			groups = append(groups, cellGroup{adapter: a, order: order, condition: c, key: p.condition})
		}
		groups[i].results = append(groups[i].results, r)
	}
	slices.SortStableFunc(groups, func(a, b cellGroup) int {
		return cmp.Or(
			compareConditions(a.condition, b.condition),
			cmp.Compare(a.key, b.key),
			cmp.Compare(a.order, b.order),
			cmp.Compare(a.adapter.Name, b.adapter.Name),
		)
	})
	return groups
}

// find returns the adapter and its place in the order of tables. One that is not
// known has its name for a title and comes last.
func find(name string) (adapter.Adapter, int) {
	all := slices.Concat(adapter.All(), adapter.Extra())
	for i, a := range all {
		if a.Name == name {
			return a, i
		}
	}
	return adapter.Adapter{Name: name, Title: name}, len(all)
}
