package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// A grid is a table of a page or of a document.
type grid struct {
	Caption string
	Heads   []string
	Rows    []gridRow
}

type gridRow struct {
	Look  look
	Bad   bool // a cell with a problem
	First bool // of a level or family
	Cells []gridCell
}

type gridCell struct {
	Text string
	Heat int // 0 to 4, how bad a share is
}

// Mean is the Text without its interval, which Spread is.
func (c gridCell) Mean() string {
	mean, _, _ := strings.Cut(c.Text, "±")
	return mean
}

// Spread begins with the sign, and is empty where there is no interval.
func (c gridCell) Spread() string { return c.Text[len(c.Mean()):] }

// Class is the family's.
func (r gridRow) Class() string { return r.Look.Family.class() }

// glance is the late share of every transport at every loss, with the signature
// and what was delivered at the typical one.
func glance(s scenario) *grid {
	late := columnNamed("late_share")
	m := matrixOf(s, late)
	if m == nil {
		return nil
	}
	g := &grid{Caption: "Late " + sent(s.Base) + ", % of those sent, by loss"}
	for _, l := range s.Levels {
		g.Heads = append(g.Heads, l.Loss())
	}
	top := typical(s)
	g.Heads = append(g.Heads, "together "+top.At(), "delivered "+top.At()+", %")
	last := family(-1)
	for _, t := range s.transports() {
		row := gridRow{Look: lookOf(t), First: lookOf(t).Family != last}
		last = row.Look.Family
		for _, e := range m[t] {
			row.Cells = append(row.Cells, gridCell{late.scale.interval(e), heat(e)})
		}
		var at lab.Cell
		if i := slices.IndexFunc(top.Cells, func(c lab.Cell) bool { return c.Transport == t }); i >= 0 {
			at = top.Cells[i]
		}
		row.Cells = append(row.Cells,
			gridCell{Text: unit(inShare).interval(at.Together)}, gridCell{Text: unit(inPercent).interval(at.Delivered)})
		row.Bad = slices.ContainsFunc(cellsOf(s), func(c lab.Cell) bool { return c.Transport == t && c.Problem != "" })
		g.Rows = append(g.Rows, row)
	}
	return g
}

func heat(e lab.Estimate) int {
	if e.N == 0 {
		return 0
	}
	for i, bound := range []float64{.005, .02, .08, .25} {
		if e.Mean < bound {
			return i
		}
	}
	return 4
}

// numbersOf is a table of columns of a scenario, a row for each transport and
// level. Columns without any number are left out; it is nil if all are.
func numbersOf(caption string, levels []level, names ...string) *grid {
	g := &grid{Caption: caption}
	var used []column
	for _, name := range names {
		col := columnNamed(name)
		if slices.ContainsFunc(levels, func(l level) bool {
			return slices.ContainsFunc(l.Cells, func(c lab.Cell) bool { return col.of(&c).N > 0 })
		}) {
			used = append(used, col)
		}
	}
	if len(used) == 0 {
		return nil
	}
	several := len(levels) > 1
	if several {
		g.Heads = append(g.Heads, "loss %")
	}
	for _, col := range used {
		g.Heads = append(g.Heads, col.head)
	}
	for _, l := range levels {
		for i, c := range l.Cells {
			row := gridRow{Look: lookOf(c.Transport), First: i == 0, Bad: c.Problem != ""}
			if several {
				row.Cells = append(row.Cells, gridCell{Text: percentage(l.Condition.Link)})
			}
			for _, col := range used {
				e := *col.of(&c)
				text := col.scale.interval(e)
				if col.name == "server_channel_ms" && c.ServerChannelError != "" {
					text = "no: " + line(c.ServerChannelError)
				}
				cell := gridCell{Text: text}
				if col.name == "late_share" {
					cell.Heat = heat(e)
				}
				row.Cells = append(row.Cells, cell)
			}
			g.Rows = append(g.Rows, row)
		}
	}
	return g
}

// The two halves of what is known of a cell.
var (
	latencyColumns = []string{"p50_ms", "p95_ms", "p99_ms", "max_ms", "late_share", "theory_late_share", "very_late_share", "theory_very_late_share", "together_share", "delivered_share", "page_ms", "bulk_bit_per_s"}
	costColumns    = []string{"round_trips", "first_message_ms", "next_channel_ms", "server_channel_ms", "goodput_bit_per_s", "cpu_ms_per_s", "packets_per_s", "realised_loss_share"}
)

// grids are all numbers of a scenario.
func grids(s scenario) []*grid {
	var all []*grid
	for _, g := range []*grid{
		numbersOf("Latencies and what was late", s.Levels, latencyColumns...),
		numbersOf("Set-up, cost and what the link did", s.Levels, costColumns...),
	} {
		if g != nil {
			all = append(all, g)
		}
	}
	return all
}

// troubles are the problems of a scenario's cells.
func troubles(s scenario) []string {
	var all []string
	for _, c := range cellsOf(s) {
		if c.Problem != "" {
			all = append(all, fmt.Sprintf("%s at %s %% loss: %s", both(c.Transport), percentage(c.Condition.Link), line(c.Problem)))
		}
	}
	return all
}
