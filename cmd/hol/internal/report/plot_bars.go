package report

import (
	"fmt"
	"strings"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// bars describes a plot of one number, a bar for each transport.
type bars struct {
	title string
	unit  string // of the numbers as they are written, "" for a share
	scale unit
	of    func(lab.Cell) lab.Estimate
	// theory, if it is not nil, is a mark on the bar.
	theory func(lab.Cell) lab.Estimate
	// missing, if it is not nil, says why there is no bar.
	missing func(lab.Cell) string
	most    float64 // the axis's end at least, in the unit of the estimates
}

// draw draws them in the order of tables, with a heading for each family. It
// returns nil if no transport has the number.
func (s bars) draw(cells []lab.Cell) *drawing {
	most, any := s.most, false
	rows := 0
	last := family(-1)
	for _, c := range cells {
		e := s.of(c)
		any = any || e.N > 0
		most = max(most, e.Mean)
		if s.theory != nil {
			most = max(most, s.theory(c).Mean)
		}
		if f := lookOf(c.Transport).Family; f != last {
			last = f
			rows++
		}
		rows++
	}
	if !any {
		return nil
	}
	// The interval of two runs can be many times the mean: it is cut off, and
	// written behind its bar.
	widest := 1.6 * most
	for _, c := range cells {
		most = max(most, min(s.of(c).High, widest))
	}
	if most == 0 {
		most = 1
	}
	const height, top, left = 18.0, 22.0, 94.0
	d := draw(panelWidth, top+height*float64(rows)+6, s.title, "")
	x := axis{0, most, left, panelWidth - 66, linear}
	d.text("strong", start, 0, 8, s.title)
	bottom := top + height*float64(rows)
	for _, v := range even(most, 5) {
		d.line("grid", x.at(v), top, x.at(v), bottom)
	}
	var desc []string
	y := top + height/2
	last = family(-1)
	for _, c := range cells {
		look := lookOf(c.Transport)
		class := look.Family.class()
		if look.Family != last {
			last = look.Family
			d.text("family "+class, start, 0, y+2, look.Family.String())
			y += height
		}
		d.text("ink", end, left-7, y, look.Short)
		text := s.bar(d, c, x, y, class)
		d.text("ink small", start, min(text.x, panelWidth-6*float64(len([]rune(text.s)))), y, text.s)
		desc = append(desc, look.Title+": "+text.s)
		y += height
	}
	d.line("axis", x.a, top, x.a, bottom)
	d.desc = strings.Join(desc, "; ") + "."
	if s.unit != "" {
		d.desc = "In " + s.unit + ". " + d.desc
	}
	return d
}

// placed is a text and where it begins.
type placed struct {
	x float64
	s string
}

// bar draws one bar and returns the text that belongs behind it.
func (s bars) bar(d *drawing, c lab.Cell, x axis, y float64, class string) placed {
	e := s.of(c)
	if e.N == 0 {
		why := absent
		if s.missing != nil {
			if m := s.missing(c); m != "" {
				why = m
			}
		}
		return placed{x.a + 6, why}
	}
	d.rect("bar "+class, x.a, y-6, x.at(e.Mean)-x.a, 12)
	to := x.at(e.Mean)
	if e.N > 1 && halfWidth(e) > 0 {
		low, high := x.at(e.Low), x.at(e.High)
		d.line("over", low, y, high, y)
		d.line("over", low, y-3, low, y+3)
		d.line("over", high, y-3, high, y+3)
		to = max(to, high)
	}
	if s.theory != nil {
		if t := s.theory(c); t.N > 0 {
			at := x.at(t.Mean)
			d.polygon("foretold", [2]float64{at, y - 6}, [2]float64{at + 3.4, y}, [2]float64{at, y + 6}, [2]float64{at - 3.4, y})
			to = max(to, at+3)
		}
	}
	return placed{to + 5, s.scale.interval(e)}
}

// lateBars and the like are what is drawn at one level.
func lateBars(l level) *drawing {
	return bars{
		title: fmt.Sprintf("Late messages %s, %%", l.At()), unit: "percent of the messages sent", scale: inPercent, most: .01,
		of:     func(c lab.Cell) lab.Estimate { return c.Late },
		theory: func(c lab.Cell) lab.Estimate { return c.Theory },
	}.draw(l.Cells)
}

func togetherBars(l level) *drawing {
	return bars{
		title: fmt.Sprintf("Late together %s", l.At()), scale: inShare, most: 1,
		of: func(c lab.Cell) lab.Estimate { return c.Together },
		missing: func(c lab.Cell) string {
			if c.Late.N > 0 && c.Late.Mean == 0 {
				return "nothing was late"
			}
			return ""
		},
	}.draw(l.Cells)
}

func bulkBars(l level) *drawing {
	return bars{
		title: fmt.Sprintf("Bulk transfer %s, Mbit/s", l.At()), unit: "megabits a second", scale: inMegabits,
		of: func(c lab.Cell) lab.Estimate { return c.Bulk },
	}.draw(l.Cells)
}

func pageBars(l level) *drawing {
	return bars{
		title: fmt.Sprintf("A whole page %s, ms", l.At()), unit: "milliseconds", scale: inMilliseconds,
		of: func(c lab.Cell) lab.Estimate { return c.Page },
	}.draw(l.Cells)
}

// setupBars are what it took to begin, at the least loss that was measured.
func setupBars(l level) []*drawing {
	return present(
		bars{
			title: "Round trips to the first message", scale: inTimes,
			of: func(c lab.Cell) lab.Estimate { return c.RoundTrips },
		}.draw(l.Cells),
		bars{
			title: "One more channel of the client, ms", unit: "milliseconds", scale: inMilliseconds,
			of: func(c lab.Cell) lab.Estimate { return c.NextChannel },
		}.draw(l.Cells),
		bars{
			title: "A channel of the server, ms", unit: "milliseconds", scale: inMilliseconds,
			of: func(c lab.Cell) lab.Estimate { return c.ServerChannel },
			missing: func(c lab.Cell) string {
				if c.ServerChannelError != "" {
					return "no"
				}
				return ""
			},
		}.draw(l.Cells),
		bars{
			title: "Processor time of both ends, ms a second", unit: "milliseconds a second", scale: inTimes,
			of: func(c lab.Cell) lab.Estimate { return c.CPU },
		}.draw(l.Cells),
	)
}

// present leaves out what there was nothing to draw of.
func present(drawings ...*drawing) []*drawing {
	var all []*drawing
	for _, d := range drawings {
		if d != nil {
			all = append(all, d)
		}
	}
	return all
}
