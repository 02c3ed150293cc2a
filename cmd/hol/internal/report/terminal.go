package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// A terminal collects what is printed.
type terminal struct {
	b      strings.Builder
	width  int
	colour bool
	narrow bool     // the table that is being written is too wide with intervals
	notes  []string // below it
	shown  []string // heads of the table that was written last
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

func (t *terminal) wide() bool { return !t.narrow && (t.width <= 0 || t.width >= Wide) }

// say writes a paragraph, wrapped, with the lines after the first indented.
func (t *terminal) say(code, indent, s string) {
	width := 100
	if t.width > 0 && t.width < width {
		width = t.width
	}
	width = max(width-len(indent), 20)
	for i, l := range wrap(s, width) {
		if i > 0 {
			l = indent + l
		}
		fmt.Fprintln(&t.b, t.paint(code, l))
	}
}

// wrap divides a text into lines between its words, and words only where they
// are longer than a line. A number and its unit are one word.
func wrap(s string, width int) []string {
	var lines []string
	var line []rune
	for _, word := range strings.Split(tight(s), " ") {
		w := []rune(word)
		if len(line) > 0 && len(line)+1+len(w) > width {
			lines, line = append(lines, string(line)), nil
		}
		if len(line) > 0 {
			line = append(line, ' ')
		}
		line = append(line, w...)
		for len(line) > width {
			lines, line = append(lines, string(line[:width])), slices.Clone(line[width:])
		}
	}
	lines = append(lines, string(line))
	for i := range lines {
		lines[i] = strings.TrimRight(strings.ReplaceAll(lines[i], "\u00a0", " "), " ")
	}
	return lines
}

// Heads of columns that the legend explains.
const (
	tailHead     = "tail\n%"
	theoryHead   = "theory\n%"
	togetherHead = "toge-\nther"
)

// field is a column of a terminal's table.
type field struct {
	head string
	text func(c lab.Cell) string
	left bool
	// spare fields are left out, the first first, where there is no room.
	spare bool
}

// write writes a table, with a line between the levels. What it has no room for
// goes: intervals, and then fields that can be spared.
func (t *terminal) write(levels []level, fields []field) {
	rows := t.render(levels, fields)
	if t.wide() && t.tooWide(rows) {
		t.narrow = true
		rows = t.render(levels, fields)
	}
	for t.tooWide(rows) {
		i := slices.IndexFunc(fields, func(f field) bool { return f.spare })
		if i < 0 {
			break
		}
		fields = slices.Delete(slices.Clone(fields), i, i+1)
		rows = t.render(levels, fields)
	}
	t.narrow = false
	t.shown = nil
	for _, f := range fields {
		t.shown = append(t.shown, f.head)
	}
	for _, row := range rows {
		fmt.Fprintln(&t.b, row)
	}
	for _, n := range t.notes {
		t.say("", "   ", n)
	}
	t.notes = nil
}

func (t *terminal) tooWide(rows []string) bool {
	return t.width > 0 && slices.ContainsFunc(rows, func(row string) bool { return text.StringWidthWithoutEscSequences(row) > t.width })
}

// render returns the lines of a table.
func (t *terminal) render(levels []level, fields []field) []string {
	t.notes = nil
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
	rows := strings.Split(out.Render(), "\n")
	for i := range rows {
		rows[i] = strings.TrimRight(rows[i], " ")
	}
	return rows
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
		by("p50_ms", "p50\nms"), sparing(by("p95_ms", "p95\nms")), by("p99_ms", "p99\nms"), sparing(by("max_ms", "max\nms")),
		{head: "late\n%", text: t.late},
		sparing(by("very_late_share", tailHead)),
		{head: theoryHead, text: func(c lab.Cell) string { return unit(inPercent).mean(c.Theory) }},
		{head: togetherHead, text: t.together},
		by("delivered_share", "deli-\nvered"),
	}
	fields = slices.DeleteFunc(fields, func(f field) bool { return !t.has(sc, f) })
	t.write(sc.Levels, fields)
}

// has tells whether a field has something in any row.
func (t *terminal) has(sc scenario, f field) bool {
	return slices.ContainsFunc(cellsOf(sc), func(c lab.Cell) bool { return f.text(c) != absent })
}
