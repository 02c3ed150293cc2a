package report

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// studies says what was measured, when, where, and whether it can be trusted.
func (b *book) studies() {
	if len(b.sources) == 0 {
		b.say("Nothing has been measured yet.")
		return
	}
	all := b.sourcesInOrder()
	for _, s := range all {
		if len(s.Study.Problems) > 0 {
			b.say("**%s.json is invalid, and its results must not be trusted:**", s.Name)
			var lines []string
			for _, p := range s.Study.Problems {
				lines = append(lines, line(p))
			}
			b.list(lines)
		}
	}
	b.out.WriteString("\n| study | measured on | in | runs that count | rejected and repeated | router late by: mean, p99, most | valid |\n|---|---|--:|--:|--:|---|---|\n")
	for _, s := range all {
		b.studyRow(s)
	}
	b.say("The router's lateness is that of the worst run that counts. The studies were made by these commands:")
	var commands []string
	for _, s := range all {
		if s.Study.Command != "" {
			commands = append(commands, line(s.Study.Command))
		}
	}
	b.say("```sh\n%s\n```", strings.Join(commands, "\n"))
	b.machines(all)
	b.out.WriteString("\n")
	for _, sc := range b.scenarios {
		fmt.Fprintf(&b.out, "- **%s** ([%s.json](hol/%[2]s.json)). %s Realised loss: %s.\n", escape(sc.Title), sc.Source, escape(describe(sc)), sc.realised())
	}
}

// sourcesInOrder are the studies in the order of their scenarios; those without
// any are at the end.
func (b *book) sourcesInOrder() []Source {
	all := slices.Clone(b.sources)
	first := func(s Source) int {
		if i := slices.IndexFunc(b.scenarios, func(sc scenario) bool { return sc.Source == s.Name }); i >= 0 {
			return i
		}
		return len(b.scenarios)
	}
	slices.SortStableFunc(all, func(x, y Source) int { return first(x) - first(y) })
	return all
}

func (b *book) studyRow(s Source) {
	measured, took, late := absent, absent, absent
	if !s.Study.Started.IsZero() {
		measured = s.Study.Started.UTC().Format("2 January 2006, 15:04 UTC")
	}
	if s.Study.Took > 0 {
		took = duration(s.Study.Took.Round(1e9))
	}
	if l := s.Study.Lateness; l.Max > 0 {
		late = fmt.Sprintf("%s, %s, %s", duration(l.Mean.Round(1e3)), duration(l.P99.Round(1e3)), duration(l.Max.Round(1e4)))
	}
	runs, rejected, valid := 0, 0, "yes"
	for _, c := range s.Study.Cells {
		runs += len(c.Seeds)
		rejected += c.Rejected
		if c.Problem != "" {
			valid = "in part"
		}
	}
	if len(s.Study.Problems) > 0 {
		valid = "**no**"
	}
	fmt.Fprintf(&b.out, "| [%s](hol/%[1]s.json) | %s | %s | %d | %d | %s | %s |\n", s.Name, measured, took, runs, rejected, late, valid)
}

// machines says what the studies were measured with: what is the same for all
// of them once.
func (b *book) machines(all []Source) {
	var names []string
	values := map[string]map[string][]string{} // by name and value, the studies
	var order []fact
	for _, s := range all {
		for _, f := range factsOf(s.Study) {
			if values[f.Name] == nil {
				values[f.Name] = map[string][]string{}
				names = append(names, f.Name)
			}
			if values[f.Name][f.Value] == nil {
				order = append(order, f)
			}
			values[f.Name][f.Value] = append(values[f.Name][f.Value], s.Name)
		}
	}
	if names == nil {
		return
	}
	b.out.WriteString("\n| | |\n|---|---|\n")
	for _, name := range names {
		var texts []string
		for _, f := range order {
			if f.Name != name {
				continue
			}
			text := line(f.Value)
			if of := values[name][f.Value]; len(of) < len(all) {
				text += " (" + strings.Join(of, ", ") + ")"
			}
			texts = append(texts, text)
		}
		fmt.Fprintf(&b.out, "| %s | %s |\n", escape(name), escape(strings.Join(texts, "; ")))
	}
}

// timed writes what was late in the scenarios of a topic.
func (b *book) timed(t topic) {
	for _, s := range b.of(t) {
		g := glance(s)
		if g == nil {
			continue
		}
		b.say("**%s.** Late %s in %% of those sent, by loss; late is later than %s ms.", escape(s.Title), sent(s.Base), plain(lateAfter(s.Base)))
		b.table(g)
		if t == updatesDown {
			b.list(shares(s)) // the rest is the next section
		} else {
			b.list(findings(s))
		}
		late := lateFigure(s)
		for _, f := range late {
			b.figure(f, capital("late "+sent(s.Base))+" against the loss: "+s.Title)
		}
		if late == nil { // one loss alone
			for _, f := range signatureFigure(typical(s)) {
				b.figure(f, f.Title+": "+s.Title)
			}
		}
	}
}

// fallback compares the two ways of one session.
func (b *book) fallback() {
	for _, s := range b.of(updatesDown) {
		var sentences []string
		for _, l := range s.lossy() {
			sentences = append(sentences, fallback(l)...)
		}
		if sentences != nil {
			b.say("**%s.**", escape(s.Title))
			b.table(fallbackGrid(s))
			b.list(sentences)
		}
	}
}

// latency draws the distributions at the typical loss.
func (b *book) latency(t topic) {
	for _, s := range b.of(t) {
		l := typical(s)
		for _, f := range latencyFigure(l) {
			b.figure(f, f.Title+": "+s.Title)
		}
		if t == updatesDown {
			for _, f := range signatureFigure(l) {
				b.figure(f, f.Title+": "+s.Title)
			}
		}
	}
}

func (b *book) timelines() {
	for _, s := range b.of(updatesDown) {
		for _, l := range s.Levels {
			for _, f := range timelineFigure(l) {
				b.figure(f, f.Title)
			}
		}
	}
}

// summary has the numbers that decide, for each transport.
func (b *book) summary() {
	updates := b.of(updatesDown)
	if len(updates) == 0 {
		return
	}
	first := b.beginning()
	l := typical(updates[0])
	g := &grid{Heads: []string{"passes without UDP", "late, %", "p99, ms", "late together", "delivered, %"}}
	if first != nil {
		g.Heads = append(g.Heads, "first message, round trips", "one more channel", "channel from the server")
	}
	for _, c := range l.Cells {
		row := gridRow{Look: lookOf(c.Transport), Bad: c.Problem != ""}
		add := func(text string) { row.Cells = append(row.Cells, gridCell{Text: text}) }
		add(passesWithoutUDP(c.Transport))
		add(unit(inPercent).interval(c.Late))
		add(unit(inMilliseconds).interval(c.P99))
		add(unit(inShare).mean(c.Together))
		add(unit(inPercent).mean(c.Delivered))
		if first != nil {
			begin := cellOf(first.Levels[0], c.Transport)
			add(unit(inTimes).mean(begin.RoundTrips))
			add(opening(begin.NextChannel, begin.Condition))
			if begin.ServerChannelError != "" {
				add("no")
			} else {
				add(opening(begin.ServerChannel, begin.Condition))
			}
		}
		g.Rows = append(g.Rows, row)
	}
	b.say("%s, %s; late is later than %s ms.", escape(updates[0].Title), l.At(), plain(lateAfter(l.Condition)))
	b.table(g)
}

func passesWithoutUDP(transport string) string {
	a, ok := adapter.ByName(transport)
	switch {
	case !ok:
		return absent
	case a.UDP:
		return "no"
	}
	return "yes"
}

// opening says what a channel cost that began with a message.
func opening(e lab.Estimate, c lab.Condition) string {
	switch {
	case e.N == 0:
		return absent
	case atOnce(e, c):
		return "at once"
	}
	trips := plain(math.Round((e.Mean-milliseconds(c.Link.Delay))/milliseconds(c.Link.RTT())*10) / 10)
	if trips == "1" {
		return "after 1 round trip"
	}
	return "after " + trips + " round trips"
}

// beginning is the scenario in which set-up was measured most often without
// loss, nil if it was not.
func (b *book) beginning() *scenario {
	var s *scenario
	runs := func(s scenario) (n int) {
		for _, c := range s.Levels[0].Cells {
			n = max(n, c.RoundTrips.N)
		}
		return n
	}
	for i := range b.scenarios {
		lossless := b.scenarios[i].Levels[0].Condition.Link.Lossless()
		if lossless && runs(b.scenarios[i]) > 0 && (s == nil || runs(b.scenarios[i]) > runs(*s)) {
			s = &b.scenarios[i]
		}
	}
	return s
}

func (b *book) setup() {
	s := b.beginning()
	if s == nil {
		return
	}
	for _, f := range setupFigure(*s) {
		b.say("From %s.json, %s.", s.Source, s.Levels[0].At())
		b.table(numbersOf("", s.Levels[:1], "round_trips", "first_message_ms", "next_channel_ms", "server_channel_ms"))
		b.list(openings(s.Levels[0]))
		b.figure(f, f.Title)
	}
}

// beside writes how messages and the bulk transfer beside them fared. That they
// are late says little there: most of them wait for the bulk, the question is for
// how long.
func (b *book) beside() {
	for _, s := range b.of(besideBulk) {
		b.say("**%s.** Latencies of the messages, and what the bulk transfer had beside them.", escape(s.Title))
		b.table(numbersOf("", s.Levels, "p50_ms", "p95_ms", "p99_ms", "late_share", "delivered_share", "bulk_bit_per_s"))
		for _, f := range latencyFigure(typical(s)) {
			b.figure(f, f.Title+": "+s.Title)
		}
		b.bars(s, "bulk", "Bulk transfer beside the messages", bulkBars)
	}
}

// bars are a picture of one number at the least loss and at the highest.
func (b *book) bars(s scenario, name, title string, draw func(level) *drawing) {
	drawings := present(draw(s.Levels[0]))
	if n := len(s.Levels); n > 1 {
		drawings = append(drawings, present(draw(s.Levels[n-1]))...)
	}
	b.picture(s.ID+"-"+name, title+": "+s.Title, drawings, 2)
}

// over writes one number by loss, and a picture of it.
func (b *book) over(t topic, name, title string, draw func(level) *drawing) {
	col := columnNamed(name)
	for _, s := range b.of(t) {
		m := matrixOf(s, col)
		if m == nil {
			continue
		}
		g := &grid{}
		for _, l := range s.Levels {
			g.Heads = append(g.Heads, l.Loss())
		}
		for _, t := range s.transports() {
			row := gridRow{Look: lookOf(t)}
			row.Bad = slices.ContainsFunc(cellsOf(s), func(c lab.Cell) bool { return c.Transport == t && c.Problem != "" })
			for _, e := range m[t] {
				row.Cells = append(row.Cells, gridCell{Text: col.scale.interval(e)})
			}
			g.Rows = append(g.Rows, row)
		}
		b.say("**%s.** %s, by loss.", escape(s.Title), title)
		b.table(g)
		b.bars(s, strings.SplitN(name, "_", 2)[0], title, draw)
	}
}

// numbers writes everything.
func (b *book) numbers() {
	for _, s := range b.scenarios {
		for _, g := range grids(s) {
			b.say("<details><summary>%s: %s</summary>", escape(s.Title), escape(strings.ToLower(g.Caption[:1])+g.Caption[1:]))
			b.table(g)
			b.say("</details>")
		}
	}
}
