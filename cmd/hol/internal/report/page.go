package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"regexp"
	"slices"
	"strconv"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

//go:embed page.html
var pageSource string

//go:embed style.css
var pageCSS string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"tight": tight, "capital": capital,
	"plot": func(figure string, n int, d *drawing) template.HTML {
		return template.HTML(d.inline(figure + "-" + strconv.Itoa(n))) // its texts are escaped by the drawing
	},
}).Parse(pageSource))

var numberWithUnit = regexp.MustCompile(`(\d) (%|(?:ms|µs|s|min|B|kB|Mbit/s|kbit/s)\b)`)

// tight keeps numbers and their units in one line.
func tight(s string) string { return numberWithUnit.ReplaceAllString(s, "$1\u00a0$2") }

// A page is what the template shows.
type page struct {
	Study     lab.Study
	Style     template.CSS
	Started   string
	Took      string
	Link      string // of the first scenario
	Journey   string // of the glance's
	Late      string // ms, likewise
	VeryLate  string
	Rejected  int
	Runs      int
	Lateness  string
	Machine   []fact
	Names     []fact // of the transports: titles, and what flags call them
	Glance    *grid
	Of        *scenarioPart // what the glance is of
	Findings  []string
	Scenarios []scenarioPart
	Timelines []figure
	Setup     []figure
	Openings  []string
}

// A scenarioPart is one scenario's section.
type scenarioPart struct {
	ID, Title, Text string
	Realised        string
	Troubles        []string
	Late            []figure
	Levels          []levelPart
	Grids           []*grid
}

type levelPart struct {
	ID, Loss, At string
	Control      string // in place of figures
	Figures      []figure
}

// HTML writes the study as one page that loads nothing: plots are SVG elements
// in it, and there is no script.
func HTML(w io.Writer, s lab.Study) error {
	var b bytes.Buffer // so that an error leaves no half of a page
	if err := pageTemplate.Execute(&b, newPage(finite(s))); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	_, err := w.Write(b.Bytes())
	return err
}

func newPage(s lab.Study) page {
	p := page{Study: s, Style: template.CSS(pageCSS + plotCSS)}
	if !s.Started.IsZero() {
		p.Started = s.Started.UTC().Format("2 January 2006, 15:04 UTC")
	}
	if s.Took > 0 {
		p.Took = duration(s.Took.Round(1e9))
	}
	if l := s.Lateness; l.Max > 0 {
		p.Lateness = fmt.Sprintf("mean %s, p99 %s, at most %s", duration(l.Mean.Round(1e3)), duration(l.P99.Round(1e3)), duration(l.Max.Round(1e4)))
	}
	for _, c := range s.Cells {
		p.Rejected += c.Rejected
	}
	p.Machine = factsOf(s)
	all := scenarios(s)
	for _, sc := range all {
		p.Scenarios = append(p.Scenarios, newScenarioPart(sc))
		for _, l := range sc.Levels {
			p.Timelines = append(p.Timelines, timelineFigure(l)...)
		}
		p.Runs = max(p.Runs, sc.runs())
	}
	if len(all) == 0 {
		return p
	}
	for _, l := range looks {
		if slices.ContainsFunc(s.Cells, func(c lab.Cell) bool { return c.Transport == l.Name }) {
			p.Names = append(p.Names, fact{l.Title, l.Name})
		}
	}
	p.Link = delays(all[0].Base)
	for i, sc := range all {
		if g := glance(sc); g != nil {
			p.Glance, p.Of, p.Findings = g, &p.Scenarios[i], findings(sc)
			p.Journey, p.Late, p.VeryLate = journey(sc.Base), plain(lateAfter(sc.Base)), plain(veryLateAfter(sc.Base))
			break
		}
	}
	p.Setup, p.Openings = setupFigure(all[0]), openings(all[0].Levels[0])
	return p
}

func newScenarioPart(sc scenario) scenarioPart {
	part := scenarioPart{
		ID: sc.ID, Title: sc.Title, Text: describe(sc), Realised: sc.realised(),
		Troubles: troubles(sc), Late: lateFigure(sc), Grids: grids(sc),
	}
	explained := map[string]string{} // a text, and the figure that has it
	for _, l := range sc.Levels {
		of := levelPart{ID: l.ID, Loss: l.Loss(), At: l.At(), Figures: levelFigures(l)}
		if l.uneventful() {
			of.Control = l.control()
		}
		for i := range of.Figures {
			f := &of.Figures[i]
			if f.Reading = explained[f.Text]; f.Reading == "" {
				explained[f.Text] = f.ID
			}
		}
		part.Levels = append(part.Levels, of)
	}
	return part
}
