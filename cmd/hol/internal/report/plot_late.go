package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// A series is a transport's cells at the levels of a scenario.
type series struct {
	look
	cells []lab.Cell // with a late share
}

func (s scenario) series() []series {
	var all []series
	for _, t := range s.transports() {
		one := series{look: lookOf(t)}
		for _, c := range cellsOf(s) {
			if c.Transport == t && c.Late.N > 0 {
				one.cells = append(one.cells, c)
			}
		}
		if len(one.cells) > 0 {
			all = append(all, one)
		}
	}
	return all
}

// lateByLoss are plots of the late share against the loss, one for each family.
// There are none for a scenario with one level.
func lateByLoss(s scenario) []*drawing {
	all := s.series()
	if s.Base.Link.Burst.Good > 0 { // its control has another kind of loss, not less of it
		s.Levels = slices.DeleteFunc(slices.Clone(s.Levels), func(l level) bool { return l.Condition.Link.Lossless() })
		all = s.series()
	}
	if len(s.Levels) < 2 || len(all) == 0 {
		return nil
	}
	most := 0.01
	for _, one := range all {
		for _, c := range one.cells {
			most = max(most, c.Late.High, c.Late.Mean, c.Theory.Mean)
		}
	}
	most = min(most*1.1, 1)
	var drawings []*drawing
	for f := range families {
		if slices.ContainsFunc(all, func(o series) bool { return o.Family == f }) {
			drawings = append(drawings, lateOf(s, f, all, most))
		}
	}
	return drawings
}

func lateOf(s scenario, f family, all []series, most float64) *drawing {
	var desc strings.Builder
	d := draw(panelWidth, 236, fmt.Sprintf("Late share against loss, %s", f), "")
	top := s.Levels[len(s.Levels)-1].Condition.Link.Loss
	x := axis{0, top, 54, panelWidth - 114, linear}
	y := axis{0, most, 204, 24, root}
	d.text("family "+f.class(), start, 0, 8, f.String())
	last := 1e9
	for _, v := range []float64{0, .01, .02, .05, .1, .2, .3, .5, .75, 1} {
		if v > most || last-y.at(v) < 13 {
			continue
		}
		last = y.at(v)
		d.line("grid", 40, y.at(v), x.b+12, y.at(v))
		d.text("", end, 35, y.at(v), plain(v*100)+" %")
	}
	edge := -100.0
	for _, l := range s.Levels {
		v := l.Condition.Link.Loss
		d.line("grid", x.at(v), y.a, x.at(v), y.b)
		if x.at(v)-edge > 26 {
			d.text("", middle, x.at(v), y.a+11, l.Loss())
			edge = x.at(v)
		}
	}
	d.line("axis", 40, y.a, x.b+12, y.a)
	line := func(one series, of func(lab.Cell) lab.Estimate, aside float64) (points [][2]float64) {
		for _, c := range one.cells {
			if e := of(c); e.N > 0 {
				points = append(points, [2]float64{x.at(c.Condition.Link.Loss) + aside, y.at(e.Mean)})
			}
		}
		return points
	}
	measured := func(c lab.Cell) lab.Estimate { return c.Late }
	for _, one := range all {
		if one.Family != f {
			d.path("ghost", line(one, measured, 0))
		}
	}
	var mine []series
	for _, one := range all {
		if one.Family == f {
			mine = append(mine, one)
		}
	}
	// Side by side, so that intervals at one loss do not hide each other.
	aside := func(i int) float64 { return 6 * (float64(i) - float64(len(mine)-1)/2) }
	for i, one := range mine {
		d.path("theory "+f.class(), line(one, func(c lab.Cell) lab.Estimate { return c.Theory }, aside(i)))
	}
	for i, one := range mine {
		d.path(fmt.Sprintf("curve %s v%d", f.class(), one.Variant), line(one, measured, aside(i)))
		fmt.Fprintf(&desc, "%s:", one.Title)
		for _, c := range one.cells {
			at := x.at(c.Condition.Link.Loss) + aside(i)
			if c.Late.N > 1 && halfWidth(c.Late) > 0 {
				whisker(d, "whisker "+f.class(), at, y.at(c.Late.Low), y.at(c.Late.High))
			}
			d.mark("mark "+f.class(), one.Variant, at, y.at(c.Late.Mean))
			fmt.Fprintf(&desc, " %s %% late at %s %% loss", unit(inPercent).interval(c.Late), percentage(c.Condition.Link))
			if c.Theory.N > 0 {
				fmt.Fprintf(&desc, " (theory %s %%)", unit(inPercent).mean(c.Theory))
			}
			desc.WriteString(",")
		}
		desc.WriteString(" ")
	}
	labels(d, f, mine, x.b+10, y)
	d.text("", start, x.a, 229, "loss of packets, each direction")
	d.desc = strings.ReplaceAll(strings.TrimSpace(desc.String())+" ", ", ", "; ")
	d.desc = strings.TrimRight(d.desc, "; ") + "."
	return d
}

// labels names the lines at their right ends.
func labels(d *drawing, f family, mine []series, x float64, y axis) {
	ends := slices.Clone(mine)
	at := func(s series) float64 { return y.at(s.cells[len(s.cells)-1].Late.Mean) }
	slices.SortStableFunc(ends, func(a, b series) int {
		switch {
		case at(a) < at(b):
			return -1
		case at(a) > at(b):
			return 1
		}
		return 0
	})
	places := make([]float64, len(ends))
	for i, e := range ends {
		places[i] = at(e)
	}
	for i, p := range spread(places, 14, y.b, y.a) {
		d.line("ghost", x+4, places[i], x+9, p)
		d.mark("mark "+f.class(), ends[i].Variant, x+14, p)
		d.text("named "+f.class(), start, x+21, p, ends[i].Short)
	}
}

// whisker is a vertical interval.
func whisker(d *drawing, class string, x, low, high float64) {
	d.line(class, x, low, x, high)
	d.line(class, x-3, low, x+3, low)
	d.line(class, x-3, high, x+3, high)
}
