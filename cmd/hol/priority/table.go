package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// table returns the rows as Markdown: one table for each congestion control, those
// without TCP in each.
func (s Study) table() string {
	var b strings.Builder
	for _, cc := range s.ccs() {
		fmt.Fprintf(&b, "\nTCP with %s:\n\n", cc)
		b.WriteString("| way | p50, ms | p99, ms | least to most | worst, ms | arrived | bulk, Mbit/s | unsent p50, p99, ms | TCP's RTT, ms |\n")
		b.WriteString("|---|---:|---:|---:|---:|---:|---:|---:|---:|\n")
		for _, r := range s.Rows {
			if r.CC == cc || r.CC == "" {
				b.WriteString(r.line())
			}
		}
	}
	return b.String()
}

// ccs are the congestion controls, as they come first.
func (s Study) ccs() []string {
	var all []string
	for _, r := range s.Rows {
		if r.CC != "" && !slices.Contains(all, r.CC) {
			all = append(all, r.CC)
		}
	}
	return all
}

// line is a row of the table: medians over the runs, the p99 also from the least to
// the most, and the worst message of all runs.
func (r Row) line() string {
	runs := r.counted()
	if len(runs) == 0 {
		return fmt.Sprintf("| %s | no run counts: %s |\n", r.Way, r.Runs[0].Rejected)
	}
	of := func(f func(Run) float64) []float64 {
		var all []float64
		for _, run := range runs {
			all = append(all, f(run))
		}
		return all
	}
	median := func(f func(Run) float64) float64 { return quantile(of(f), 0.5) }
	p99 := of(func(r Run) float64 { return r.P99 })
	arrived, sent := 0, 0
	for _, run := range runs {
		arrived, sent = arrived+run.Arrived, sent+run.Sent
	}
	unsent, rtt := "-", "-"
	if r.CC != "" && r.Link.Rate > 0 {
		atRate := func(bytes float64) float64 { return bytes * 8 / float64(r.Link.Rate) * 1000 }
		unsent = fmt.Sprintf("%.0f, %.0f", atRate(median(func(r Run) float64 { return r.Unsent50 })), atRate(median(func(r Run) float64 { return r.Unsent99 })))
		rtt = fmt.Sprintf("%.0f", median(func(r Run) float64 { return r.RTT50 }))
	}
	return fmt.Sprintf("| %s | %.0f | %.0f | %.0f to %.0f | %.0f | %s | %.2f | %s | %s |\n", r.Way,
		median(func(r Run) float64 { return r.P50 }), quantile(p99, 0.5), slices.Min(p99), slices.Max(p99),
		slices.Max(of(func(r Run) float64 { return r.Max })), share(arrived, sent), median(func(r Run) float64 { return r.Bulk }), unsent, rtt)
}

// share is a part of all, in percent.
func share(part, all int) string {
	if part == all {
		return "all"
	}
	return fmt.Sprintf("%.0f %%", 100*float64(part)/float64(all))
}

// made says how the rows were made.
func (s Study) made() string {
	if len(s.Rows) == 0 {
		return "Not measured yet.\n"
	}
	first, last := s.Rows[0].Started, s.Rows[0].Started
	var machines, revisions, lengths []string
	counted, all := 0, 0
	add := func(list []string, x string) []string {
		if x == "" || slices.Contains(list, x) {
			return list
		}
		return append(list, x)
	}
	for _, r := range s.Rows {
		if r.Started.Before(first) {
			first = r.Started
		}
		if r.Started.After(last) {
			last = r.Started
		}
		machines = add(machines, r.Machine)
		if r.Revision != "" {
			revisions = add(revisions, "`"+r.Revision+"`")
		}
		lengths = add(lengths, r.Duration.String())
		counted, all = counted+len(r.counted()), all+len(r.Runs)
	}
	const layout = "2006-01-02 15:04"
	made := strings.Join(machines, "; ")
	if len(revisions) > 0 {
		made += ", revision " + strings.Join(revisions, ", ")
	}
	return fmt.Sprintf("%s to %s UTC, %s: %d runs of %s each, %d of which count; datagrams wait for %v at most.\n",
		first.UTC().Format(layout), last.UTC().Format("15:04"), made,
		all, strings.Join(lengths, " or "), counted, s.Rows[0].MaxAge.Round(time.Millisecond))
}

// legend says what the ways are.
func legend() string {
	var b strings.Builder
	b.WriteString("| way | what |\n|---|---|\n")
	for _, w := range ways {
		fmt.Fprintf(&b, "| %s | %s |\n", w.name, w.note)
	}
	return b.String()
}
