package report

import (
	"fmt"
	"strings"

	"github.com/towpath-go/towpath/e2e/bench/internal/measure"
	"github.com/towpath-go/towpath/e2e/internal/results"
)

// A target is what Towpath is to reach in a benchmark.
type target struct {
	bench string
	what  string
	peer  string // whose
	// of reads what is compared with the bound from a cell.
	of    func(Cell) float64
	unit  string
	bound float64
	lower bool // the bound is the most, not the least
}

func ratioOf(c Cell) float64  { return c.Ratio }
func valueOf(c Cell) float64  { return c.Value }
func allocsOf(c Cell) float64 { return c.Allocs }

// none is what an average of allocations must be below to be none: what the
// runtime itself allocates now and then is counted too.
const none = .01

// targets are the goals of h2wt.
var targets = []target{
	{"up64k", "bulk up, writes of 64 KiB", "h2wt", ratioOf, "of tls", 1, false},
	{"down64k", "bulk down, writes of 64 KiB", "h2wt", ratioOf, "of tls", 1, false},
	{"up64k", "CPU for that, up", "h2wt", func(c Cell) float64 { return c.CPURatio }, "of tls", 1, true},
	{"up1k", "bulk up, writes of 1 KiB", "h2wt", ratioOf, "of tls", 4, false},
	{"up1k", "allocations for each of these writes", "h2wt", allocsOf, "", none, true},
	{"streams16", "16 streams of a connection", "h2wt", ratioOf, "of one tls connection", 1.3, false},
	{"echo", "echo of 100 bytes, median time", "h2wt", ratioOf, "of tls", 1.15, true},
	{"churn64", "short streams, 64 at a time", "h2wt", ratioOf, "of quic-go", 1.2, false},
	{"writes100", "writes of 100 bytes on a stream", "h2wt", ratioOf, "of tls", 3, false},
	{"dial", "dial", "h2wt", ratioOf, "of tls", 1.2, true},
	{"idle", "server's memory, idle connection", "h2wt", valueOf, "KiB", 20, true},
	{"pooled", "server's memory, idle session among others", "h2wt", valueOf, "KiB", 4, true},
}

// What h3wt is to reach of webtransport-go in every benchmark, and that it is to
// be better in some.
const (
	h3Peer, h3Beside = "h3wt", "webtransport-go"
	h3Least          = .97
)

// h3Better are the benchmarks in which h3wt is to be better: churn and memory.
var h3Better = map[string]bool{"churn1": true, "churn64": true, "idle": true, "pooled": true}

// reached tells whether v is within the target.
func (t target) reached(v float64) bool {
	if t.lower {
		return v <= t.bound
	}
	return v >= t.bound
}

// goal writes the bound.
func (t target) goal() string {
	switch {
	case t.bound == none:
		return "none"
	case t.lower:
		return "at most " + number(t.bound) + suffix(t.unit)
	}
	return "at least " + number(t.bound) + suffix(t.unit)
}

func suffix(unit string) string {
	if unit == "" {
		return ""
	}
	return " " + unit
}

// verdict writes what came of a target.
func verdict(reached bool) string {
	if reached {
		return "reached"
	}
	return "**missed**"
}

// goals writes the table of h2wt's targets, with the best of the other libraries
// in the same run.
func (r Report) goals(b *strings.Builder) {
	rows := [][]string{{"what", "goal", "h2wt", "best of the others", "goal is"}}
	for _, t := range targets {
		c, ok := r.cell(t.bench, t.peer)
		if !ok {
			continue
		}
		v := t.of(c)
		best, name := r.best(t)
		if name != "" {
			best += " (" + name + ")"
		}
		rows = append(rows, []string{t.what, t.goal(), number(v), best, verdict(t.reached(v))})
	}
	if len(rows) > 1 {
		results.Table(b, 2, rows)
	}
}

// best returns the best of what others than Towpath and the reference reach.
func (r Report) best(t target) (value, name string) {
	bench := measure.Named(t.bench)
	best := 0.0
	for _, p := range r.Peers {
		if p.Module == towpath || p.Name == bench.Reference || p.Name == "tls" || p.Name == "tls16" {
			continue
		}
		c, ok := r.cell(t.bench, p.Name)
		if !ok {
			continue
		}
		if v := t.of(c); name == "" || t.lower && v < best || !t.lower && v > best {
			best, name = v, p.Name
		}
	}
	if name == "" {
		return "-", ""
	}
	return number(best), name
}

// towpath is the module whose peers are not "others".
const towpath = "github.com/towpath-go/towpath"

// beside writes the table of h3wt and webtransport-go: each benchmark's ratio, of
// the two in the same round.
func (r Report) beside(b *strings.Builder) {
	rows := [][]string{{"what", h3Peer, h3Beside, "ratio", "least to most", "goal", "goal is"}}
	for _, bench := range measure.All() {
		c, ok := r.cell(bench.Name, h3Peer)
		d, ok2 := r.cell(bench.Name, h3Beside)
		if !ok || !ok2 {
			continue
		}
		t := h3Target(bench)
		all := r.ratios(bench.Name)
		v := measure.Median(all)
		rows = append(rows, []string{bench.Title + ", " + bench.Unit, number(c.Value), number(d.Value), ratio(v),
			ratio(measure.Quantile(all, 0)) + " to " + ratio(measure.Quantile(all, 1)), t.goal(), verdict(t.reached(v))})
		if bench.Steady {
			rows = append(rows, []string{"goroutines of that", number(c.Goroutines), number(d.Goroutines), ratio(c.Goroutines / d.Goroutines), "",
				t.goal(), verdict(t.reached(c.Goroutines / d.Goroutines))})
		}
	}
	if len(rows) > 1 {
		results.Table(b, 1, rows)
	}
}

// h3Target is what h3wt is to reach in a benchmark.
func h3Target(bench *measure.Bench) target {
	t := target{bench: bench.Name, peer: h3Peer, bound: h3Least, lower: bench.Lower}
	switch {
	case h3Better[bench.Name]:
		t.bound = 1
	case bench.Lower:
		t.bound = 1 / h3Least
	}
	return t
}

// ratios are those of h3wt to webtransport-go in the rounds that have both.
func (r Report) ratios(bench string) (all []float64) {
	at := make(map[int]float64)
	for _, s := range r.Samples {
		if s.Bench == bench && s.Peer == h3Beside {
			at[s.Round] = s.Value
		}
	}
	for _, s := range r.Samples {
		if v := at[s.Round]; s.Bench == bench && s.Peer == h3Peer && v > 0 {
			all = append(all, s.Value/v)
		}
	}
	return all
}

// overview writes one line for each peer, with what matters most.
func (r Report) overview(b *strings.Builder) {
	type column struct {
		bench, title string
		of           func(Cell) string
	}
	withRatio := func(c Cell) string {
		if c.Ratio == 0 {
			return number(c.Value)
		}
		return number(c.Value) + " (" + ratio(c.Ratio) + ")"
	}
	plain := func(c Cell) string { return number(c.Value) }
	columns := []column{
		{"up64k", "bulk, MB/s", withRatio}, {"up64k", "CPU s/GB", func(c Cell) string { return number(c.CPU) }}, {"up1k", "1 KiB writes, MB/s", withRatio},
		{"streams16", "16 streams, MB/s", withRatio}, {"echo", "echo, us", withRatio}, {"churn64", "short streams, /s", plain},
		{"writes100", "100 B writes, k/s", withRatio}, {"dial", "dial, ms", withRatio}, {"idle", "idle, KiB", plain}, {"pooled", "pooled, KiB", plain},
	}
	titles := []string{"peer"}
	for _, c := range columns {
		titles = append(titles, c.title)
	}
	rows := [][]string{titles}
	for _, p := range r.Peers {
		row, some := []string{p.Name}, false
		for _, column := range columns {
			text := "-"
			if c, ok := r.cell(column.bench, p.Name); ok {
				text, some = column.of(c), true
			}
			row = append(row, text)
		}
		if some {
			rows = append(rows, row)
		}
	}
	if len(rows) > 1 {
		results.Table(b, 1, rows)
	}
}

// versions lists the peers.
func (r Report) versions(b *strings.Builder) {
	rows := [][]string{{"peer", "module", "how"}}
	for _, p := range r.Peers {
		module := strings.TrimSpace(p.Module + " " + p.Version)
		switch {
		case p.Module == "":
			module = r.Machine.Go
		case p.Module == towpath:
			module = fmt.Sprintf("this one, `%s`", r.Machine.Revision)
		}
		rows = append(rows, []string{p.Name, module, p.Note})
	}
	results.Table(b, 3, rows)
}
