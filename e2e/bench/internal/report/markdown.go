package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/towpath-go/towpath/e2e/bench/internal/measure"
	"github.com/towpath-go/towpath/e2e/internal/results"
)

// A Cell is what one peer came to in one benchmark: medians over the rounds, and
// how far apart those are.
type Cell struct {
	Bench, Peer          string
	N                    int
	Value, Least, Most   float64
	Ratio, LeastR, MostR float64
	CPU, CPURatio        float64
	P99, Lost            float64
	Allocs, Goroutines   float64
	PerConn              int
}

// cell gathers the samples of one peer in one benchmark, false if there are none.
func (r Report) cell(bench, peer string) (Cell, bool) {
	c := Cell{Bench: bench, Peer: peer}
	var value, ratio, cpu, cpuRatio, p99, lost, allocs, goroutines []float64
	for _, s := range r.Samples {
		if s.Bench != bench || s.Peer != peer {
			continue
		}
		c.N++
		c.PerConn = s.PerConn
		value = append(value, s.Value)
		p99, lost, cpu = append(p99, s.P99), append(lost, s.Lost), append(cpu, s.CPU)
		allocs, goroutines = append(allocs, s.Allocs), append(goroutines, s.Goroutines)
		if s.Ratio > 0 {
			ratio = append(ratio, s.Ratio)
		}
		if s.CPURatio > 0 {
			cpuRatio = append(cpuRatio, s.CPURatio)
		}
	}
	if c.N == 0 {
		return c, false
	}
	c.Value, c.Least, c.Most = measure.Median(value), slices.Min(value), slices.Max(value)
	if len(ratio) > 0 {
		c.Ratio, c.LeastR, c.MostR = measure.Median(ratio), slices.Min(ratio), slices.Max(ratio)
	}
	c.CPU, c.CPURatio, c.P99, c.Lost = measure.Median(cpu), measure.Median(cpuRatio), measure.Median(p99), measure.Median(lost)
	c.Allocs, c.Goroutines = measure.Median(allocs), measure.Median(goroutines)
	return c, true
}

// Markdown writes a table for each benchmark of the run.
func Markdown(w io.Writer, r Report) error {
	var b strings.Builder
	r.made(&b)
	r.goals(&b)
	for _, bench := range measure.All() {
		r.table(&b, bench)
	}
	r.failed(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// failed lists what could not be measured.
func (r Report) failed(b *strings.Builder) {
	for _, f := range r.Failures {
		fmt.Fprintf(b, "Failed: %s of %s in round %d: %s\n\n", f.Bench, f.Peer, f.Round, strings.ReplaceAll(f.Error, "\n", "; "))
	}
}

// made says by what and where a result was made.
func (r Report) made(b *strings.Builder) {
	s := r.Settings
	fmt.Fprintf(b, "`%s`, begun %s, %s: %s of %v each, %s",
		r.Command, r.Begun.Format("2006-01-02 15:04 MST"), r.Machine, rounds(s.Rounds), s.Duration, s.Cipher)
	if r.Took > 0 {
		fmt.Fprintf(b, ", %v in all", r.Took)
	}
	if r.Machine.Race {
		b.WriteString(", with the race detector")
	}
	if r.Interrupted {
		b.WriteString(", interrupted")
	}
	b.WriteString(".\n\n")
}

func rounds(n int) string {
	if n == 1 {
		return "1 round"
	}
	return fmt.Sprintf("%d rounds", n)
}

// columns are what a benchmark's table has besides the value.
func columns(bench *measure.Bench, cells []Cell) (titles []string, values []func(Cell) string) {
	add := func(title string, f func(Cell) string) { titles, values = append(titles, title), append(values, f) }
	some := func(f func(Cell) float64) bool {
		return slices.ContainsFunc(cells, func(c Cell) bool { return f(c) != 0 })
	}
	add(bench.Unit, func(c Cell) string { return number(c.Value) })
	add("least to most", func(c Cell) string { return number(c.Least) + " to " + number(c.Most) })
	if some(func(c Cell) float64 { return c.Ratio }) {
		add("of "+bench.Reference, func(c Cell) string { return ratio(c.Ratio) })
		add("least to most", func(c Cell) string {
			if c.Ratio == 0 {
				return "-"
			}
			return ratio(c.LeastR) + " to " + ratio(c.MostR)
		})
	}
	if some(func(c Cell) float64 { return c.P99 }) {
		add("p99", func(c Cell) string { return number(c.P99) })
	}
	if slices.Contains(bench.Needs, "datagrams") {
		add("lost", func(c Cell) string { return fmt.Sprintf("%.1f %%", 100*c.Lost) })
	}
	if some(func(c Cell) float64 { return c.CPU }) && !bench.Steady {
		title := "CPU us/" + bench.Operation
		if bench.PerGB {
			title = "CPU s/GB"
		}
		add(title, func(c Cell) string { return number(c.CPU) })
		if some(func(c Cell) float64 { return c.CPURatio }) {
			add("of "+bench.Reference, func(c Cell) string { return ratio(c.CPURatio) })
		}
	}
	if bench.Steady {
		add("goroutines", func(c Cell) string { return number(c.Goroutines) })
	}
	if some(func(c Cell) float64 { return float64(c.PerConn) }) {
		add("on a connection", func(c Cell) string { return fmt.Sprint(c.PerConn) })
	}
	add("allocations/"+bench.Operation, func(c Cell) string { return number(c.Allocs) })
	return titles, values
}

// table writes a benchmark's table, if the run had it.
func (r Report) table(b *strings.Builder, bench *measure.Bench) {
	var cells []Cell
	for _, p := range r.Peers {
		if c, ok := r.cell(bench.Name, p.Name); ok {
			cells = append(cells, c)
		}
	}
	if len(cells) == 0 {
		return
	}
	fmt.Fprintf(b, "### %s (`%s`)\n\n", bench.Title, bench.Name)
	titles, values := columns(bench, cells)
	rows := [][]string{append([]string{"peer"}, titles...)}
	var reasons []string
	for _, p := range r.Peers {
		row := []string{p.Name}
		if c, ok := r.cell(bench.Name, p.Name); ok {
			for _, f := range values {
				row = append(row, f(c))
			}
		} else if why := p.Cannot[bench.Name]; why != "" {
			for range values {
				row = append(row, "-")
			}
			reasons = append(reasons, p.Name+": "+why)
		} else {
			continue
		}
		rows = append(rows, row)
	}
	results.Table(b, 1, rows)
	if len(reasons) > 0 {
		b.WriteString("-: " + strings.Join(reasons, "; ") + ".\n\n")
	}
}

// number writes three digits, or all before the point.
func number(v float64) string {
	switch a := max(v, -v); {
	case a >= 100:
		return results.Thousands(fmt.Sprintf("%.0f", v))
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a == 0:
		return "0"
	}
	return fmt.Sprintf("%.2f", v)
}

func ratio(v float64) string {
	if v == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", v)
}
