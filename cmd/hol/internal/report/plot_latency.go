package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// panelWidth is the width of every drawing: that of a phone.
const panelWidth = 344

// floor is the least share of messages that a plot of latencies shows.
const floor = 1.0 / lab.CDFSteps

// latencies are plots of the share of messages that took longer than a latency,
// one for each family, with the other families' lines behind.
func latencies(l level) []*drawing {
	most := 0.0
	for _, c := range l.Cells {
		if n := len(c.CDF); n > 0 {
			most = max(most, c.CDF[n-1])
		}
	}
	least := max(milliseconds(base(l.Condition))*0.8, 0.1)
	most = max(most*1.08, veryLateAfter(l.Condition)*1.2, least*4)
	var all []*drawing
	for f := range families {
		cells := slices.DeleteFunc(slices.Clone(l.Cells), func(c lab.Cell) bool { return lookOf(c.Transport).Family != f || len(c.CDF) == 0 })
		if len(cells) > 0 {
			all = append(all, latency(l, f, cells, least, most))
		}
	}
	return all
}

func latency(l level, f family, cells []lab.Cell, least, most float64) *drawing {
	var desc strings.Builder
	fmt.Fprintf(&desc, "Share of messages that took longer than a time, on logarithmic axes. ")
	for _, c := range cells {
		fmt.Fprintf(&desc, "%s: median %s ms, p99 %s ms, %s %% late. ", lookOf(c.Transport).Title,
			unit(inMilliseconds).mean(c.P50), unit(inMilliseconds).mean(c.P99), unit(inPercent).mean(c.Late))
	}
	d := draw(panelWidth, 250, fmt.Sprintf("Latencies of %s %s", f, l.At()), strings.TrimSpace(desc.String()))
	x := axis{least, most, 40, panelWidth - 8, math.Log10}
	y := axis{floor, 1, 218, max(44, 14+15*math.Ceil(float64(len(cells))/2)), math.Log10}
	d.text("family "+f.class(), start, 0, 8, f.String())
	for _, v := range []float64{1, .1, .01, .001} {
		d.line("grid", x.a, y.at(v), x.b, y.at(v))
		d.text("", end, x.a-5, y.at(v), plain(v*100)+" %")
	}
	alone := milliseconds(base(l.Condition))
	marks := slices.DeleteFunc(nice(least, most), func(v float64) bool { return v > alone/1.35 && v < alone*1.35 })
	marks = append(marks, alone)
	slices.Sort(marks)
	for _, v := range marks {
		d.line("grid", x.at(v), y.a, x.at(v), y.b)
	}
	ticks(d, x, y.a, marks)
	d.line("axis", x.a, y.a, x.b, y.a)
	for i, v := range []float64{lateAfter(l.Condition), veryLateAfter(l.Condition)} {
		if l.Condition.Workload.Kind == lab.Page {
			break // nothing of a page has a time at which it should arrive
		}
		d.line("bound", x.at(v), y.a, x.at(v), y.b-11)
		d.text("small", start, x.at(v)+3, y.b-8, [...]string{"late", "tail"}[i])
	}
	for _, c := range l.Cells {
		if lookOf(c.Transport).Family != f {
			d.path("ghost", exceeding(c.CDF, x, y))
		}
	}
	for i, c := range cells {
		look := lookOf(c.Transport)
		class := fmt.Sprintf("curve %s v%d", f.class(), look.Variant)
		points := exceeding(c.CDF, x, y)
		d.path(class, points)
		if n := len(c.CDF); n <= lab.CDFSteps { // the rest never came
			at := points[len(points)-1]
			d.path("never "+f.class(), [][2]float64{at, {x.b, at[1]}})
		}
		left, row := 108+122*float64(i%2), 8+15*float64(i/2)
		d.path(class, [][2]float64{{left, row}, {left + 24, row}})
		d.text("ink", start, left+30, row, look.Short)
	}
	what := "ms from the scheduled time to the arrival"
	switch l.Condition.Workload.Kind {
	case lab.Page:
		what = "ms from the request to the whole object"
	case lab.RPC:
		what = "ms from the scheduled time to the response"
	}
	d.text("", start, x.a, 243, what)
	return d
}

// ticks writes numbers below an axis at y, leaving out those without room.
func ticks(d *drawing, x axis, y float64, values []float64) {
	last := math.Inf(-1)
	for _, v := range values {
		s := plain(v)
		half := float64(len(s)) * 3.2
		if x.at(v)-half < last+6 || x.at(v)+half > d.width+2 {
			continue
		}
		d.text("", middle, x.at(v), y+11, s)
		last = x.at(v) + half
	}
}

// exceeding are the points of a line of the share of messages that took longer,
// down to the floor.
func exceeding(cdf []float64, x, y axis) [][2]float64 {
	var points [][2]float64
	for i, ms := range cdf {
		share := 1 - float64(i)/lab.CDFSteps
		points = append(points, [2]float64{x.at(ms), y.at(share)})
		if share < floor*1.001 {
			break // what follows would lie on the axis
		}
	}
	return points
}
