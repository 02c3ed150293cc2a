package stats

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// NewCell makes a cell of the results of one transport under one condition, in
// any order. Results that do not count are left out; rejected is how many
// rejected runs there were besides, which were repeated.
func NewCell(results []lab.Result, rejected int) lab.Cell {
	cell, _ := newCell(results, rejected)
	return cell
}

// newCell also returns what each run that counts said, in the order of seeds.
func newCell(results []lab.Result, rejected int) (lab.Cell, []measured) {
	cell := lab.Cell{Rejected: rejected, Seeds: []uint64{}, CDF: []float64{}}
	if len(results) == 0 {
		cell.Problem = "there was no run"
		return cell, nil
	}
	cell.Transport, cell.Condition = results[0].Run.Transport, condition(results[0].Run)

	var runs []measured
	var reasons reasons
	for i := range results {
		r := &results[i]
		switch {
		case r.Rejected != "":
			cell.Rejected++
			reasons.add(r)
		case r.Failed != "":
			reasons.add(r)
		default:
			runs = append(runs, measured{r, measure(r)})
		}
		if r.Setup.ServerChannelError != "" {
			cell.ServerChannelError = r.Setup.ServerChannelError
		}
	}
	slices.SortStableFunc(runs, func(a, b measured) int {
		switch {
		case a.result.Run.Seed < b.result.Run.Seed:
			return -1
		case a.result.Run.Seed > b.result.Run.Seed:
			return 1
		}
		return 0
	})
	for _, run := range runs {
		cell.Seeds = append(cell.Seeds, run.result.Run.Seed)
	}
	fill(&cell, runs)
	cell.Problem = problem(runs, reasons.String())
	return cell, runs
}

// measured is a result that counts and what it says.
type measured struct {
	result *lab.Result
	measures
}

func fill(cell *lab.Cell, runs []measured) {
	for _, m := range []struct {
		to   *lab.Estimate
		of   func(measured) float64
		most float64
	}{
		{&cell.P50, func(m measured) float64 { return m.p50 }, math.Inf(1)},
		{&cell.P95, func(m measured) float64 { return m.p95 }, math.Inf(1)},
		{&cell.P99, func(m measured) float64 { return m.p99 }, math.Inf(1)},
		{&cell.Max, func(m measured) float64 { return m.max }, math.Inf(1)},
		{&cell.Late, func(m measured) float64 { return m.late }, 1},
		{&cell.VeryLate, func(m measured) float64 { return m.veryLate }, 1},
		{&cell.Together, func(m measured) float64 { return m.together }, 1},
		{&cell.Delivered, func(m measured) float64 { return m.delivered }, 1},
		{&cell.Goodput, func(m measured) float64 { return m.goodput }, math.Inf(1)},
		{&cell.Bulk, func(m measured) float64 { return m.bulk }, math.Inf(1)},
		{&cell.Page, func(m measured) float64 { return m.page }, math.Inf(1)},
		{&cell.FirstMessage, func(m measured) float64 { return m.firstMessage }, math.Inf(1)},
		{&cell.RoundTrips, func(m measured) float64 { return m.roundTrips }, math.Inf(1)},
		{&cell.NextChannel, func(m measured) float64 { return m.nextChannel }, math.Inf(1)},
		{&cell.ServerChannel, func(m measured) float64 { return m.serverChannel }, math.Inf(1)},
		{&cell.CPU, func(m measured) float64 { return m.cpu }, math.Inf(1)},
		{&cell.Realised, func(m measured) float64 { return m.realised }, 1},
		{&cell.Packets, func(m measured) float64 { return m.packets }, math.Inf(1)},
		{&cell.Theory, func(m measured) float64 { return m.theory }, 1},
		{&cell.TheoryVeryLate, func(m measured) float64 { return m.theoryVeryLate }, 1},
	} {
		values := make([]float64, 0, len(runs))
		for _, run := range runs {
			values = append(values, m.of(run))
		}
		*m.to = estimate(values, m.most)
	}
	var arrived []time.Duration
	sent := 0
	for _, run := range runs {
		arrived = append(arrived, run.arrived...)
		sent += run.sent
	}
	slices.Sort(arrived)
	cell.CDF = cdf(arrived, sent)
}

// problem says why there is nothing, or why what there is must not be trusted.
func problem(runs []measured, reasons string) string {
	if len(runs) == 0 {
		return "no run counts: " + reasons
	}
	var problems []string
	sent, arrived, twice, negative := 0, 0, 0, 0
	for _, run := range runs {
		sent += run.sent
		arrived += len(run.arrived)
		twice += run.recordedTwice
		negative += run.negative
	}
	switch {
	case sent == 0:
		problems = append(problems, "nothing was sent")
	case arrived == 0:
		problems = append(problems, "nothing arrived")
	}
	if twice > 0 {
		problems = append(problems, fmt.Sprintf("%s more than once", were(twice, "message", "recorded")))
	}
	if negative > 0 {
		problems = append(problems, fmt.Sprintf("%s before the scheduled time", were(negative, "message", "received")))
	}
	if s := mixture(runs); s != "" {
		problems = append(problems, s)
	}
	return strings.Join(problems, "; ")
}

// mixture says what the runs of a cell should have in common and do not.
func mixture(runs []measured) string {
	first := runs[0].result.Run
	seeds := make(map[uint64]bool)
	for _, m := range runs {
		run := m.result.Run
		switch {
		case run.Transport != first.Transport:
			return "its runs are of several transports"
		case key(condition(run)) != key(condition(first)):
			return "its runs are of several conditions"
		case run.CC != first.CC, run.MaxAge != first.MaxAge, run.Priorities != first.Priorities:
			return "its runs differ in congestion control, maximum age or priorities"
		case seeds[run.Seed]:
			return fmt.Sprintf("seed %d was run twice, which says nothing new", run.Seed)
		}
		seeds[run.Seed] = true
	}
	return ""
}

// were is "1 message was recorded" or "2 messages were recorded".
func were(n int, noun, participle string) string {
	if n == 1 {
		return fmt.Sprintf("1 %s was %s", noun, participle)
	}
	return fmt.Sprintf("%d %ss were %s", n, noun, participle)
}
