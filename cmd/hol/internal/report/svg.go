package report

import (
	_ "embed"
	"fmt"
	"html"
	"strconv"
	"strings"
)

// A drawing is an SVG picture whose colours, dashes and fonts are classes of
// plot.css, so that one drawing serves light and dark pages and print. Its text
// has 11 units; it is meant to be shown at its width or a little more.
//
// Plots are not drawn by a plotting library because those give every element a
// colour of its own, take text's width from fonts that a page does not have, and
// know neither title nor description.
type drawing struct {
	width, height float64
	title, desc   string // for those who do not see it
	b             strings.Builder
}

//go:embed plot.css
var plotCSS string

func draw(width, height float64, title, desc string) *drawing {
	return &drawing{width: width, height: height, title: title, desc: desc}
}

// coordinate is v with a tenth of a unit. What is not a number would make a
// browser drop the element without a word.
func coordinate(v float64) string {
	if !isFinite(v) {
		panic(fmt.Sprintf("BUG: coordinate %v", v))
	}
	s := strconv.FormatFloat(v, 'f', 1, 64)
	s = strings.TrimSuffix(s, ".0")
	if s == "-0" {
		return "0"
	}
	return s
}

// element writes an empty element: names and values alternate.
func (d *drawing) element(name, class string, attributes ...string) {
	fmt.Fprintf(&d.b, `<%s class="%s"`, name, class)
	for i := 0; i+1 < len(attributes); i += 2 {
		fmt.Fprintf(&d.b, ` %s="%s"`, attributes[i], html.EscapeString(attributes[i+1]))
	}
	d.b.WriteString("/>\n")
}

func (d *drawing) line(class string, x1, y1, x2, y2 float64) {
	d.element("line", class, "x1", coordinate(x1), "y1", coordinate(y1), "x2", coordinate(x2), "y2", coordinate(y2))
}

func (d *drawing) rect(class string, x, y, w, h float64) {
	d.element("rect", class, "x", coordinate(x), "y", coordinate(y), "width", coordinate(max(w, 0)), "height", coordinate(max(h, 0)))
}

// path draws a line through points, of which it leaves out those that would not
// be seen.
func (d *drawing) path(class string, points [][2]float64) {
	if len(points) == 0 {
		return
	}
	var p strings.Builder
	var last [2]float64
	for i, at := range points {
		if i > 0 && i < len(points)-1 && abs(at[0]-last[0]) < 0.6 && abs(at[1]-last[1]) < 0.6 {
			continue
		}
		command := "L"
		if i == 0 {
			command = "M"
		}
		fmt.Fprintf(&p, "%s%s %s", command, coordinate(at[0]), coordinate(at[1]))
		last = at
	}
	d.element("path", class, "d", p.String())
}

func (d *drawing) polygon(class string, points ...[2]float64) {
	parts := make([]string, len(points))
	for i, p := range points {
		parts[i] = coordinate(p[0]) + "," + coordinate(p[1])
	}
	d.element("polygon", class, "points", strings.Join(parts, " "))
}

// An anchor is which end of a text is at its place.
type anchor string

const (
	start  anchor = "start"
	middle anchor = "middle"
	end    anchor = "end"
)

// text writes s with the middle of its height at y.
func (d *drawing) text(class string, a anchor, x, y float64, s string) {
	fmt.Fprintf(&d.b, `<text class="%s" x="%s" y="%s" text-anchor="%s">%s</text>`+"\n",
		class, coordinate(x), coordinate(y+3.8), a, html.EscapeString(s))
}

// mark draws the sign of a variant, so that lines can be told apart without
// colours.
func (d *drawing) mark(class string, variant int, x, y float64) {
	const r = 3.4
	switch variant % 5 {
	case 0:
		d.element("circle", class, "cx", coordinate(x), "cy", coordinate(y), "r", coordinate(r))
	case 1:
		d.rect(class, x-r, y-r, 2*r, 2*r)
	case 2:
		d.polygon(class, [2]float64{x, y - 1.3*r}, [2]float64{x + 1.2*r, y + r}, [2]float64{x - 1.2*r, y + r})
	case 3:
		d.polygon(class, [2]float64{x, y - 1.4*r}, [2]float64{x + 1.4*r, y}, [2]float64{x, y + 1.4*r}, [2]float64{x - 1.4*r, y})
	case 4:
		d.polygon(class, [2]float64{x, y + 1.3*r}, [2]float64{x + 1.2*r, y - r}, [2]float64{x - 1.2*r, y - r})
	}
}

// inline is the drawing as an element of a page; id must be unique in it.
func (d *drawing) inline(id string) string {
	return fmt.Sprintf(`<svg class="plot" viewBox="0 0 %s %s" role="img" aria-labelledby="%[3]s-t %[3]s-d"><title id="%[3]s-t">%[4]s</title><desc id="%[3]s-d">%[5]s</desc>`+"\n%[6]s</svg>",
		coordinate(d.width), coordinate(d.height), id, html.EscapeString(d.title), html.EscapeString(d.desc), d.b.String())
}

// standalone is a file with the drawings side by side in so many columns. It
// has a ground of its own, because the page that shows it may be light where the
// reader's system is dark.
func standalone(title, desc string, drawings []*drawing, columns int) string {
	const gap = 18.0
	columns = min(columns, len(drawings))
	var body strings.Builder
	width, y := 0.0, gap
	for i := 0; i < len(drawings); i += columns {
		x, height := gap, 0.0
		for _, d := range drawings[i:min(i+columns, len(drawings))] {
			fmt.Fprintf(&body, `<g transform="translate(%s %s)">`+"\n%s</g>\n", coordinate(x), coordinate(y), d.b.String())
			x += d.width + gap
			height = max(height, d.height)
		}
		width = max(width, x)
		y += height + gap
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" class="plot" width="%s" height="%s" viewBox="0 0 %[1]s %[2]s" role="img" aria-labelledby="t d">
<title id="t">%s</title>
<desc id="d">%s</desc>
<style>
%s</style>
<rect class="ground" x="0.5" y="0.5" width="%s" height="%s" rx="8"/>
%s</svg>
`, coordinate(width), coordinate(y), html.EscapeString(title), html.EscapeString(desc), plotCSS, coordinate(width-1), coordinate(y-1), body.String())
}

func abs(v float64) float64 { return max(v, -v) }
