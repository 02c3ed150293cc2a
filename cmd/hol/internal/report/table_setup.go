package report

import (
	"fmt"
	"slices"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// setup writes what it took to begin and what it cost, at the least loss, and
// what a table of latencies does not show of the workload.
func (t *terminal) setup(sc scenario, beginning bool) {
	by := func(name, head string) field {
		c := columnNamed(name)
		return field{head: head, text: func(cell lab.Cell) string {
			if t.wide() {
				return c.scale.interval(*c.of(&cell))
			}
			return c.scale.mean(*c.of(&cell))
		}}
	}
	first := sc.Levels[0]
	fields := []field{{head: "transport", text: t.named, left: true}}
	title := "Cost "
	if beginning {
		title = "Set-up and cost "
		fields = append(fields,
			by("round_trips", "1st message\nround trips"),
			sparing(by("first_message_ms", "1st message\nms")),
			by("next_channel_ms", "one more\nchannel ms"),
			field{head: "channel from\nserver", text: t.fromServer})
	}
	fields = append(fields, by("cpu_ms_per_s", "CPU\nms/s"), sparing(by("goodput_bit_per_s", "goodput\nkbit/s")))
	t.say(bold, "", title+first.At())
	t.write([]level{first}, fields)
	t.over(sc, "bulk_bit_per_s", "Bulk transfer beside the messages, Mbit/s, by loss")
	t.over(sc, "page_ms", "Completion of a page, ms, by loss")
}

func (t *terminal) fromServer(c lab.Cell) string {
	if c.ServerChannelError != "" {
		return fmt.Sprintf("no %d)", t.note(line(c.ServerChannelError)))
	}
	if c.ServerChannel.N == 0 {
		return absent
	}
	if t.wide() {
		return unit(inMilliseconds).interval(c.ServerChannel) + " ms"
	}
	return unit(inMilliseconds).mean(c.ServerChannel) + " ms"
}

// over writes a table of one number, with a column for each loss, where there is
// such a number.
func (t *terminal) over(sc scenario, name, title string) {
	col := columnNamed(name)
	m := matrixOf(sc, col)
	if m == nil {
		return
	}
	fmt.Fprintln(&t.b)
	t.say(bold, "", title)
	fields := []field{{head: "transport", text: t.named, left: true}}
	for i, l := range sc.Levels {
		fields = append(fields, field{head: l.Loss(), text: func(c lab.Cell) string {
			return col.scale.interval(m[c.Transport][i])
		}})
	}
	rows := level{}
	for _, name := range sc.transports() {
		i := slices.IndexFunc(cellsOf(sc), func(c lab.Cell) bool { return c.Transport == name })
		rows.Cells = append(rows.Cells, cellsOf(sc)[i])
	}
	t.write([]level{rows}, fields)
}

// matrixOf has a number of every transport at every level, nil if there is none
// at all.
func matrixOf(sc scenario, col column) map[string][]lab.Estimate {
	m := map[string][]lab.Estimate{}
	any := false
	for i, l := range sc.Levels {
		for _, c := range l.Cells {
			if m[c.Transport] == nil {
				m[c.Transport] = make([]lab.Estimate, len(sc.Levels))
			}
			m[c.Transport][i] = *col.of(&c)
			any = any || col.of(&c).N > 0
		}
	}
	if !any {
		return nil
	}
	return m
}

// transports are those of a scenario, in the order of tables.
func (s scenario) transports() []string {
	var names []string
	for _, c := range cellsOf(s) {
		if !slices.Contains(names, c.Transport) {
			names = append(names, c.Transport)
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	return names
}
