package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// findings are the shares, and what falling back to HTTP/2 costs there.
func findings(s scenario) []string {
	all := shares(s)
	if all == nil {
		return nil
	}
	return append(all, fallback(typical(s))...)
}

// shares puts what the late shares of a scenario's typical loss say into
// sentences that hold whatever the numbers are.
func shares(s scenario) []string {
	top := typical(s)
	var cells []lab.Cell
	for _, c := range top.Cells {
		if c.Late.N > 0 && c.Problem == "" {
			cells = append(cells, c)
		}
	}
	if len(cells) < 2 || top.Condition.Link.Lossless() {
		return nil
	}
	slices.SortStableFunc(cells, func(a, b lab.Cell) int {
		switch {
		case a.Late.Mean < b.Late.Mean:
			return -1
		case a.Late.Mean > b.Late.Mean:
			return 1
		}
		return 0
	})
	name := func(c lab.Cell) string {
		return fmt.Sprintf("%s (%s %%)", lookOf(c.Transport).Title, unit(inPercent).mean(c.Late))
	}
	var complete []lab.Cell
	var shared, apart, incomplete []string
	for _, c := range cells {
		if c.Delivered.N > 0 && c.Delivered.Mean >= 0.9995 {
			complete = append(complete, c)
		} else if c.Delivered.N > 0 {
			incomplete = append(incomplete, fmt.Sprintf("%s (%s %%)", lookOf(c.Transport).Title, unit(inPercent).mean(c.Delivered)))
		}
		switch {
		case c.Together.N > 0 && c.Together.Mean > 0.5:
			shared = append(shared, lookOf(c.Transport).Title)
		case c.Together.N > 0 && c.Together.Mean < 0.05:
			apart = append(apart, lookOf(c.Transport).Title)
		}
	}
	var all []string
	if len(complete) > 1 {
		all = append(all, fmt.Sprintf("%s, of the transports that delivered everything, ", top.At())+extremes(complete, name, sent(s.Base)))
		all[0] = capital(all[0])
	}
	if shared != nil {
		all = append(all, "Channels stalled together, more often than not: "+strings.Join(shared, ", ")+".")
	}
	if apart != nil {
		all = append(all, "Channels stalled each on its own: "+strings.Join(apart, ", ")+".")
	}
	if incomplete != nil {
		all = append(all, "Not everything was delivered, so that a late share alone flatters: "+strings.Join(incomplete, ", ")+".")
	}
	return all
}

// extremes names the best and the worst of cells in their order by late shares.
// With each are those whose intervals overlap with its own: which of them is the
// first was chance.
func extremes(cells []lab.Cell, name func(lab.Cell) string, what string) string {
	best, worst := cells[0].Late, cells[len(cells)-1].Late
	if worst.Low <= best.High {
		return "late shares cannot be told apart: their intervals overlap."
	}
	var few, most []string
	for _, c := range cells {
		good, bad := c.Late.Low <= best.High, c.Late.High >= worst.Low
		switch {
		case good && bad: // it says nothing
		case good:
			few = append(few, name(c))
		case bad:
			most = append(most, name(c))
		}
	}
	s := fmt.Sprintf("the fewest %s were late with %s, the most with %s.", what, strings.Join(few, ", "), strings.Join(most, ", "))
	if len(few)+len(most) > 2 {
		s += " Where several are named their intervals overlap."
	}
	return s
}

// cellOf returns a transport's cell of a level. It has no numbers if there is
// none, or if it must not be trusted.
func cellOf(l level, transport string) lab.Cell {
	for _, c := range l.Cells {
		if c.Transport == transport && c.Problem == "" {
			return c
		}
	}
	return lab.Cell{}
}

// fallback says what the same session costs over HTTP/2 instead of HTTP/3, and
// what a WebSocket would.
func fallback(l level) []string {
	h3, h2, ws := cellOf(l, "wt-h3-streams"), cellOf(l, "wt-h2-streams"), cellOf(l, "ws-one")
	if h3.Late.N == 0 || h2.Late.N == 0 || h3.P99.N == 0 || h2.P99.N == 0 {
		return nil
	}
	percent, ms := unit(inPercent).interval, unit(inMilliseconds).interval
	s := fmt.Sprintf("%s WebTransport streams over HTTP/2 in place of HTTP/3 have %s %% of the %s late instead of %s %%, and a p99 of %s ms instead of %s ms.",
		capital(l.At()), percent(h2.Late), sent(l.Condition), percent(h3.Late), ms(h2.P99), ms(h3.P99))
	if ws.Late.N > 0 && ws.P99.N > 0 {
		s += fmt.Sprintf(" With one WebSocket it is %s %%, and %s ms.", percent(ws.Late), ms(ws.P99))
	}
	return []string{s}
}

// fallbackGrid has the numbers of fallback at every level.
func fallbackGrid(s scenario) *grid {
	var levels []level
	for _, l := range s.Levels {
		l.Cells = slices.DeleteFunc(slices.Clone(l.Cells), func(c lab.Cell) bool {
			return !slices.Contains([]string{"wt-h3-streams", "wt-h2-streams", "ws-one"}, c.Transport)
		})
		if len(l.Cells) > 0 {
			levels = append(levels, l)
		}
	}
	return numbersOf("", levels, "p50_ms", "p95_ms", "p99_ms", "max_ms", "late_share", "very_late_share", "together_share")
}

// atOnce says whether a channel was opened without a handshake: its first message
// took less than a quarter of a round trip longer than the way.
func atOnce(e lab.Estimate, c lab.Condition) bool {
	return e.Mean < milliseconds(c.Link.Delay+c.Link.RTT()/4)
}

// openings says which transports can open a channel from the server, and which
// open one without a handshake.
func openings(l level) []string {
	var can, cannot, free, waits []string
	for _, c := range l.Cells {
		title := lookOf(c.Transport).Title
		switch {
		case c.ServerChannel.N > 0:
			can = append(can, title)
		case c.ServerChannelError != "":
			cannot = append(cannot, title)
		}
		switch {
		case c.NextChannel.N == 0:
		case atOnce(c.NextChannel, l.Condition):
			free = append(free, title)
		default:
			waits = append(waits, fmt.Sprintf("%s (%s ms)", title, unit(inMilliseconds).mean(c.NextChannel)))
		}
	}
	var all []string
	for _, s := range []struct {
		what string
		of   []string
	}{
		{"The server can open a channel with ", can},
		{"It cannot with ", cannot},
		{"A further channel of the client needs no handshake with ", free},
		{"It waits for one with ", waits},
	} {
		if s.of != nil {
			all = append(all, s.what+strings.Join(s.of, ", ")+".")
		}
	}
	return all
}
