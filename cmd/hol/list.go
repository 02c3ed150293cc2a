package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
	"github.com/towpath-go/towpath/cmd/hol/internal/plan"
)

// printTransports writes a table of the transports and their traits, and of
// those that take part only if they are named.
func printTransports(w io.Writer, all, extra []adapter.Adapter) error {
	text := columns(traits(all)) + "\nn TCP: one connection for each channel\n"
	if len(extra) > 0 {
		text += "\nOnly if named by --transports:\n\n" + columns(traits(extra))
	}
	text += "\n" + columns(madeOf(slices.Concat(all, extra)))
	_, err := io.WriteString(w, text)
	return err
}

func traits(all []adapter.Adapter) [][]string {
	rows := [][]string{{"transport", "in tables", "over", "loss delays", "calls"}}
	for _, a := range all {
		rows = append(rows, []string{a.Name, a.Title, over(a), delays(a), yes(a.Calls)})
	}
	return rows
}

func madeOf(all []adapter.Adapter) [][]string {
	rows := [][]string{{"transport", "made of"}}
	for _, a := range all {
		rows = append(rows, []string{a.Name, a.Library})
	}
	return rows
}

// over says how many connections of what a transport has, n for one each channel.
func over(a adapter.Adapter) string {
	number, protocol := "n", "TCP"
	if a.Connections > 0 {
		number = fmt.Sprint(a.Connections)
	}
	if a.UDP {
		protocol = "UDP"
	}
	return number + " " + protocol
}

// delays says whom a lost packet holds up.
func delays(a adapter.Adapter) string {
	switch {
	case a.Shared:
		return "all channels"
	case a.Ordered:
		return "its channel"
	case a.Reliable:
		return "its message"
	}
	return "nothing"
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// printPlan writes how long the runs take, and the runs.
func printPlan(w io.Writer, runs []lab.Run, jobs int) error {
	rows := [][]string{{"run", "transport", "workload", "direction", "loss", "seed", "takes"}}
	for i, run := range runs {
		loss := percent(run.Link.Loss)
		if run.Link.Burst.Good != 0 {
			loss += " + bursts"
		}
		if run.Link.Lossless() {
			loss += " (control)"
		}
		rows = append(rows, []string{
			fmt.Sprint(i + 1), run.Transport, string(run.Workload.Kind), string(run.Direction),
			loss, fmt.Sprint(run.Seed), roughly(plan.Expected(run)),
		})
	}
	_, err := io.WriteString(w, summary(runs, jobs)+"\n\n"+columns(rows))
	return err
}

// summary is how much there is to do.
func summary(runs []lab.Run, jobs int) string {
	noun := "runs"
	if len(runs) == 1 {
		noun = "run"
	}
	memory := ""
	if n := plan.Memory(runs); n >= noticeable {
		memory = fmt.Sprintf(", and %.1f GB of memory", float64(n)*(1+collectAt/100.0)/1e9)
	}
	return fmt.Sprintf("%d %s, %d at a time: about %s%s", len(runs), noun, jobs, roughly(plan.Total(runs, jobs)), memory)
}

// noticeable is the memory in bytes from which on a study says how much it needs.
const noticeable = 200_000_000

// columns aligns rows.
func columns(rows [][]string) string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}
