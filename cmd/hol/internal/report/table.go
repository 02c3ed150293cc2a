package report

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

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

func (t *terminal) study(s lab.Study) {
	t.problems(s)
	all := scenarios(s)
	if len(s.Cells) == 0 {
		t.say("", "", "The study has no results.")
	}
	beginning := true // set-up is told once: it depends on the link alone
	for _, sc := range all {
		if len(cellsOf(sc)) == 0 {
			continue
		}
		t.scenario(sc, beginning)
		beginning = false
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

func (t *terminal) scenario(sc scenario, beginning bool) {
	t.say(bold, "", sc.Title)
	t.say(dim, "", describe(sc))
	fmt.Fprintln(&t.b)
	t.latencies(sc)
	t.legend(sc)
	fmt.Fprintln(&t.b)
	t.setup(sc, beginning)
	fmt.Fprintln(&t.b)
}

// named is the first column. A cell with a problem is marked there.
func (t *terminal) named(c lab.Cell) string {
	name, room := c.Transport, 16
	if t.wide() {
		name, room = lookOf(name).Title, 30
	}
	name = text.Snip(name, room, "…")
	if c.Problem != "" {
		return t.paint(red, name+"!")
	}
	return name
}

func sparing(f field) field {
	f.spare = true
	return f
}

// namedWithNote is the same, and has the problem told below the table.
func (t *terminal) namedWithNote(c lab.Cell) string {
	if c.Problem != "" {
		t.note(fmt.Sprintf("%s at %s %%: %s", both(c.Transport), percentage(c.Condition.Link), line(c.Problem)))
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
		tail := ""
		if slices.Contains(t.shown, tailHead) {
			tail = fmt.Sprintf(", tail: than %s ms (1.5 round trips)", plain(veryLateAfter(sc.Base)))
		}
		t.say(dim, "  ", fmt.Sprintf("late: later than %s ms after the scheduled time (%s and half a round trip)%s; of all sent, undelivered ones not counted.",
			plain(lateAfter(sc.Base)), journey(sc.Base), tail))
	}
	if slices.Contains(t.shown, togetherHead) {
		t.say(dim, "  ", "together: where something was late, the share of intervals in which half of the channels or more were; 1 is head-of-line blocking.")
	}
	if slices.Contains(t.shown, theoryHead) {
		t.say(dim, "  ", "theory: late, from the loss alone.")
	}
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
	for _, group := range []struct {
		what string
		of   []fact
	}{{"Measured on: ", machine(s)}, {"How: ", manner(s)}, {"With: ", versions(s)}} {
		var facts []string
		for _, f := range group.of {
			facts = append(facts, f.Name+" "+line(f.Value))
		}
		if facts != nil {
			t.say(dim, "  ", group.what+strings.Join(facts, ", ")+".")
		}
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
