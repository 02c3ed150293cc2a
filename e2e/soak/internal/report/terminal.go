package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/towpath-go/towpath/e2e/internal/results"
	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
)

// Terminal writes a soak for a terminal of 80 columns.
func Terminal(w io.Writer, r Report) {
	s := r.Soak
	fmt.Fprintf(w, "\n%s connections, %s sessions, seed %d; %s of traffic\n", count(int64(s.Settings.Connections)), count(int64(s.Settings.Sessions)),
		s.Settings.Seed, seconds(s.Traffic))
	fmt.Fprintf(w, "(%s to open it all before, %s to end it after)\n", seconds(s.Opening), seconds(s.Ending))
	wrapped(w, "open at a time ", fmt.Sprintf("%s connections, %s sessions", s.Connections, s.Sessions))
	fmt.Fprintln(w)
	rows := [][]string{{"both ends", "conns", "sessions", "streams", "whole", "aborted", "lost", "MB", "datagr."}}
	var all ledger.Tally
	add := func(name string, t ledger.Tally) {
		row := []string{name}
		for _, n := range []int64{t.Connections, t.Sessions, t.Streams, t.Whole, t.Aborted, t.Lost, t.Bytes / 1e6, t.Datagrams} {
			row = append(row, narrow(n))
		}
		rows = append(rows, row)
	}
	for _, way := range s.Settings.Transports {
		t := Both(s, way)
		all.Add(t)
		add(way, t)
	}
	add("all", all)
	Table(w, rows)

	fmt.Fprintln(w, "(aborted: as asked; lost: with their session, as its user was told)")
	fmt.Fprintln(w)
	wrapped(w, "ends compared  ", counted(s.Ends))
	wrapped(w, "done to it     ", counted(s.Faults))
	fmt.Fprintln(w)
	rows = [][]string{{"MB, left", "CPU s", "peak", "heap", "growth", "bound", "goroutines", "files", "streams", "bytes"}}
	for _, l := range s.Left {
		row := []string{l.Side, fmt.Sprintf("%.0f", l.Usage.CPU.Seconds()), fmt.Sprintf("%.0f", float64(l.Usage.Peak)/1e6), "", "", ""}
		for _, m := range s.Memory {
			if m.Side == l.Side {
				row[3], row[4], row[5] = fmt.Sprintf("%.0f", m.Mean/1e6), fmt.Sprintf("%+.0f±%.0f", m.Growth/1e6, m.Error/1e6), fmt.Sprintf("%.0f", m.Bound/1e6)
			}
		}
		account := ""
		if l.Side == ledger.Server {
			account = count(l.Account)
		}
		rows = append(rows, append(row, count(int64(items(l.Goroutines))), count(int64(items(l.Files))), count(l.Streams), account))
	}
	Table(w, rows)
	Verdict(w, r)
}

// maxShown bounds the violations that are shown; the JSON has more.
const maxShown = 50

// Verdict writes what was violated, a line each.
func Verdict(w io.Writer, r Report) {
	fmt.Fprintln(w)
	for i, v := range r.Violations {
		if i == maxShown {
			fmt.Fprintf(w, "violated: %d more\n", len(r.Violations)-maxShown+r.Withheld)
			break
		}
		fmt.Fprintln(w, "violated: "+v.String())
	}
	switch {
	case len(r.Violations) > 0:
	case r.Interrupted:
		fmt.Fprintln(w, "interrupted; every promise was kept so far")
	default:
		fmt.Fprintln(w, "every promise was kept")
	}
}

// String returns "1,990 to 2,000 (mean 1,998)".
func (r Range) String() string {
	return fmt.Sprintf("%s to %s (mean %s)", count(int64(r.Least)), count(int64(r.Most)), count(int64(r.Mean+.5)))
}

// Both is what both sides did on the sessions of a way. Connections and sessions
// are the client's.
func Both(s *Soak, way string) ledger.Tally {
	t := s.Client.Ways[way]
	u := s.Server.Ways[way]
	u.Connections, u.Sessions, u.Refused, u.Closed, u.Broken = 0, 0, 0, 0, 0
	t.Add(u)
	return t
}

// items is how many things "3 x this", "1 x that" are.
func items(list []string) int {
	n := 0
	for _, s := range list {
		m := 0
		fmt.Sscanf(s, "%d x", &m)
		n += m
	}
	return n
}

// Table writes rows whose first column is text, and the others numbers.
func Table(w io.Writer, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-len([]rune(cell)))
			if i == 0 {
				b.WriteString(cell + pad)
			} else {
				b.WriteString("  " + pad + cell)
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// counted lists counts, the largest first.
func counted[T int | int64](m map[string]T) string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if m[a] != m[b] {
			return int(m[b] - m[a])
		}
		return strings.Compare(a, b)
	})
	var parts []string
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("%s %s", count(int64(m[name])), name))
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// count writes a number with commas, or a large one with fewer digits.
func count(n int64) string { return results.Thousands(fmt.Sprint(n)) }

// narrow is count in at most seven characters.
func narrow(n int64) string {
	switch {
	case n >= 10e6:
		return fmt.Sprintf("%.1fM", float64(n)/1e6)
	case n >= 1e6:
		return fmt.Sprintf("%.2fM", float64(n)/1e6)
	}
	return count(n)
}

func megabytes(b float64) string { return fmt.Sprintf("%.1f", b/1e6) }

// wrapped writes a list behind a title, in lines of at most 80 characters.
func wrapped(w io.Writer, title, list string) {
	line := title
	for i, part := range strings.Split(list, ", ") {
		switch {
		case i == 0:
			line += part
		case len(line)+len(part)+3 > 80:
			fmt.Fprintln(w, line+",")
			line = strings.Repeat(" ", len(title)) + part
		default:
			line += ", " + part
		}
	}
	fmt.Fprintln(w, line)
}

func seconds(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	s := int(d.Seconds() + .5)
	if s < 60 {
		return fmt.Sprintf("%d s", s)
	}
	return strings.TrimSuffix(fmt.Sprintf("%d min %d s", s/60, s%60), " 0 s")
}
