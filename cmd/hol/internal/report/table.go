package report

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// Wide is the least width in columns at which the main table has the titles of
// transports and an interval for every number.
const Wide = 118

// Table writes the tables for a terminal of so many columns, of which 80 are
// enough; 0 means as many as it takes. Colours are used if w is a terminal and
// NO_COLOR is not set.
func Table(w io.Writer, s lab.Study, width int) error {
	t := &terminal{width: width, colour: coloured(w)}
	t.study(finite(s))
	_, err := io.WriteString(w, t.b.String())
	return err
}

func coloured(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// A terminal collects what is printed.
type terminal struct {
	b      strings.Builder
	width  int
	colour bool
	notes  []string // below the table that is being written
}

const (
	bold   = "\x1b[1m"
	dim    = "\x1b[2m"
	red    = "\x1b[1;31m"
	yellow = "\x1b[33m"
	green  = "\x1b[32m"
)

func (t *terminal) paint(code, s string) string {
	if !t.colour || code == "" {
		return s
	}
	return code + s + "\x1b[0m"
}

func (t *terminal) wide() bool { return t.width <= 0 || t.width >= Wide }

// say writes a paragraph, wrapped, with the lines after the first indented.
func (t *terminal) say(code, indent, s string) {
	width := 100
	if t.width > 0 && t.width < width {
		width = t.width
	}
	width = max(width-len(indent), 20)
	for i, l := range strings.Split(text.WrapSoft(s, width), "\n") {
		if i > 0 {
			l = indent + strings.TrimLeft(l, " ")
		}
		fmt.Fprintln(&t.b, t.paint(code, strings.TrimRight(l, " ")))
	}
}

func (t *terminal) study(s lab.Study) {
	t.problems(s)
	all := scenarios(s)
	if len(s.Cells) == 0 {
		t.say("", "", "The study has no results.")
	}
	for _, sc := range all {
		if len(cellsOf(sc)) == 0 {
			continue
		}
		t.scenario(sc)
	}
	t.machine(s)
	t.problems(s)
}

// problems stand before and after everything else: tables of an invalid study
// look like those of a valid one.
func (t *terminal) problems(s lab.Study) {
	if len(s.Problems) == 0 {
		return
	}
	t.say(red, "", "INVALID: these results must not be trusted.")
	for _, p := range s.Problems {
		t.say(red, "  ", "! "+line(p))
	}
	fmt.Fprintln(&t.b)
}

func cellsOf(sc scenario) []lab.Cell {
	var all []lab.Cell
	for _, l := range sc.Levels {
		all = append(all, l.Cells...)
	}
	return all
}

func (t *terminal) scenario(sc scenario) {
	t.say(bold, "", sc.Title)
	t.say(dim, "", describe(sc))
	fmt.Fprintln(&t.b)
	t.latencies(sc)
	t.legend(sc)
	fmt.Fprintln(&t.b)
	t.setup(sc)
	fmt.Fprintln(&t.b)
}

// field is a column of a terminal's table.
type field struct {
	head string
	text func(c lab.Cell) string
	left bool
}

// write writes a table, with a line between the levels.
func (t *terminal) write(levels []level, fields []field) {
	out := table.NewWriter()
	style := table.StyleDefault
	style.Box = table.BoxStyle{
		MiddleHorizontal: "─", MiddleSeparator: "─", MiddleVertical: " ",
		LeftSeparator: "", RightSeparator: "",
	}
	style.Options = table.Options{SeparateColumns: true, SeparateHeader: true}
	style.Format = table.FormatOptions{Header: text.FormatDefault, HeaderVAlign: text.VAlignBottom}
	out.SetStyle(style)
	var configs []table.ColumnConfig
	var head table.Row
	for i, f := range fields {
		align := text.AlignRight
		if f.left {
			align = text.AlignLeft
		}
		configs = append(configs, table.ColumnConfig{Number: i + 1, Align: align, AlignHeader: align, VAlignHeader: text.VAlignBottom})
		head = append(head, f.head)
	}
	out.SetColumnConfigs(configs)
	out.AppendHeader(head)
	for i, l := range levels {
		if i > 0 {
			out.AppendSeparator()
		}
		for _, c := range l.Cells {
			row := make(table.Row, len(fields))
			for j, f := range fields {
				row[j] = f.text(c)
			}
			out.AppendRow(row)
		}
	}
	for _, l := range strings.Split(out.Render(), "\n") {
		fmt.Fprintln(&t.b, strings.TrimRight(l, " "))
	}
	for _, n := range t.notes {
		t.say("", "   ", n)
	}
	t.notes = nil
}

// note adds a note to the table that is being written, and returns its number.
// Equal notes are one.
func (t *terminal) note(s string) int {
	for i, n := range t.notes {
		if _, rest, _ := strings.Cut(n, " "); rest == s {
			return i + 1
		}
	}
	t.notes = append(t.notes, fmt.Sprintf("%d) %s", len(t.notes)+1, s))
	return len(t.notes)
}

func (t *terminal) latencies(sc scenario) {
	scaled := func(u unit, of func(*lab.Cell) *lab.Estimate) func(lab.Cell) string {
		return func(c lab.Cell) string {
			if t.wide() {
				return u.interval(*of(&c))
			}
			return u.mean(*of(&c))
		}
	}
	by := func(name, head string) field {
		c := columnNamed(name)
		return field{head: head, text: scaled(c.scale, c.of)}
	}
	fields := []field{
		{head: "transport", text: t.namedWithNote, left: true},
		{head: "loss\n%", text: func(c lab.Cell) string { return percentage(c.Condition.Link) }},
		by("p50_ms", "p50\nms"), by("p95_ms", "p95\nms"), by("p99_ms", "p99\nms"), by("max_ms", "max\nms"),
		{head: "late\n%", text: t.late},
		by("very_late_share", "tail\n%"),
		{head: "theory\n%", text: func(c lab.Cell) string { return unit(inPercent).mean(c.Theory) }},
		{head: "toge-\nther", text: t.together},
		by("delivered_share", "deli-\nvered"),
	}
	t.write(sc.Levels, fields)
}

// named is the first column. A cell with a problem is marked there.
func (t *terminal) named(c lab.Cell) string {
	name := c.Transport
	if t.wide() {
		name = lookOf(name).Title
	}
	if c.Problem != "" {
		return t.paint(red, name+"!")
	}
	return name
}

// namedWithNote is the same, and has the problem told below the table.
func (t *terminal) namedWithNote(c lab.Cell) string {
	if c.Problem != "" {
		t.note(fmt.Sprintf("%s at %s %%: %s", c.Transport, percentage(c.Condition.Link), line(c.Problem)))
	}
	return t.named(c)
}

func (t *terminal) late(c lab.Cell) string {
	s := unit(inPercent).interval(c.Late)
	switch {
	case c.Late.N == 0:
		return s
	case c.Late.Mean >= 0.1:
		return t.paint(red, s)
	case c.Late.Mean >= 0.02:
		return t.paint(yellow, s)
	}
	return s
}

func (t *terminal) together(c lab.Cell) string {
	s := unit(inShare).mean(c.Together)
	if t.wide() {
		s = unit(inShare).interval(c.Together)
	}
	switch {
	case c.Together.N == 0:
		return s
	case c.Together.Mean > 0.5:
		return t.paint(red, s)
	case c.Together.Mean < 0.05:
		return t.paint(green, s)
	}
	return s
}

// legend says what the columns mean for this link.
func (t *terminal) legend(sc scenario) {
	if sc.Base.Workload.Kind != lab.Page {
		t.say(dim, "  ", fmt.Sprintf("late: later than %s ms after the scheduled time (%s and half a round trip), tail: than %s ms (1.5 round trips); of all sent, undelivered ones not counted.",
			plain(lateAfter(sc.Base)), journey(sc.Base), plain(veryLateAfter(sc.Base))))
	}
	t.say(dim, "  ", "together: where something was late, the share of intervals in which half of the channels or more were; 1 is head-of-line blocking. theory: late, from the loss alone.")
	if sc.runs() > 1 {
		t.say(dim, "  ", fmt.Sprintf("±: 95 %% confidence, over %d seeds. Realised loss: %s.", sc.runs(), sc.realised()))
	} else {
		t.say(dim, "  ", fmt.Sprintf("One seed: no confidence intervals. Realised loss: %s.", sc.realised()))
	}
}

// runs is the largest number of runs of a cell.
func (s scenario) runs() int {
	n := 0
	for _, c := range cellsOf(s) {
		n = max(n, len(c.Seeds))
	}
	return n
}

// realised says between which ends the realised loss was at each level.
func (s scenario) realised() string {
	var parts []string
	for _, l := range s.Levels {
		low, high, any := 0.0, 0.0, false
		for _, c := range l.Cells {
			if c.Realised.N == 0 {
				continue
			}
			if !any {
				low, high, any = c.Realised.Mean, c.Realised.Mean, true
			}
			low, high = min(low, c.Realised.Mean), max(high, c.Realised.Mean)
		}
		if !any {
			continue
		}
		part := unit(inPercent)(low, low)
		if to := unit(inPercent)(high, high); to != part {
			part += " to " + to
		}
		parts = append(parts, part+" %")
	}
	if parts == nil {
		return "not known"
	}
	return strings.Join(parts, ", ")
}

func (t *terminal) machine(s lab.Study) {
	var facts []string
	for _, k := range slices.Sorted(maps.Keys(s.Machine)) {
		facts = append(facts, k+" "+line(s.Machine[k]))
	}
	if s.Version != "" {
		facts = append(facts, "towpath "+s.Version)
	}
	if facts != nil {
		t.say(dim, "  ", "Measured with "+strings.Join(facts, ", ")+".")
	}
	if s.Took > 0 {
		t.say(dim, "  ", fmt.Sprintf("It took %s. The router was at most %s late (mean %s, p99 %s).",
			duration(s.Took.Round(1e9)), duration(s.Lateness.Max.Round(1e4)), duration(s.Lateness.Mean.Round(1e3)), duration(s.Lateness.P99.Round(1e3))))
	}
	if s.Command != "" {
		t.say(dim, "  ", "Repeat it: "+s.Command)
	}
	if len(s.Problems) > 0 {
		fmt.Fprintln(&t.b)
	}
}
