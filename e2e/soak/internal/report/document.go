package report

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/towpath-go/towpath/e2e/internal/results"
	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
)

// The results in docs/soak.
const (
	runName    = "run.json"
	attackName = "attacks.json"
)

// Document is docs/soak.md.
var Document = results.Document{Name: "soak", Most: 2, Take: take, Make: parts}

func take(path string) (name string, content []byte, err error) {
	r, err := Read(path)
	if err != nil {
		return "", nil, err
	}
	name = attackName
	if r.Soak != nil {
		name = runName
	}
	var b bytes.Buffer
	err = Write(&b, r)
	return name, b.Bytes(), err
}

func parts(dir string) ([]results.Part, error) {
	var parts []results.Part
	for _, p := range []struct {
		name, file string
		make       func(*strings.Builder, *Report)
	}{{"run", runName, runSection}, {"attacks", attackName, attackSection}} {
		r, err := Read(filepath.Join(dir, p.file))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		var b strings.Builder
		if err == nil {
			p.make(&b, &r)
		}
		parts = append(parts, results.Part{Name: p.name, Text: b.String()})
	}
	return parts, nil
}

// made says by what and where a result was made.
func made(b *strings.Builder, r *Report) {
	fmt.Fprintf(b, "`%s`, begun %s on %s", r.Command, r.Begun.Format("2006-01-02 15:04 MST"), r.Machine)
	if r.Machine.Race {
		b.WriteString(", with the race detector")
	}
	if r.Interrupted {
		b.WriteString(", interrupted")
	}
	b.WriteString(".\n\n")
}

// verdict lists what was violated.
func verdict(b *strings.Builder, r *Report) {
	if len(r.Violations) == 0 {
		b.WriteString("Violations: none.\n")
		return
	}
	fmt.Fprintf(b, "Violations: %d.\n\n", len(r.Violations)+r.Withheld)
	for _, v := range r.Violations {
		b.WriteString("- " + v.String() + "\n")
	}
}

func runSection(b *strings.Builder, r *Report) {
	s := r.Soak
	made(b, r)
	fmt.Fprintf(b, "%s connections and %s sessions, seed %d: %s of traffic after %s in which everything was opened, and %s for the end. Open at a time were %v connections and %v sessions.\n\n",
		count(int64(s.Settings.Connections)), count(int64(s.Settings.Sessions)), s.Settings.Seed, seconds(s.Traffic), seconds(s.Opening), seconds(s.Ending), s.Connections, s.Sessions)
	rows := [][]string{{"way", "connections", "sessions", "streams", "received whole", "aborted as asked", "lost and said", "MB checked", "datagrams"}}
	var all ledger.Tally
	row := func(name string, t ledger.Tally) []string {
		return []string{name, count(t.Connections), count(t.Sessions), count(t.Streams), count(t.Whole), count(t.Aborted), count(t.Lost), count(t.Bytes / 1e6), count(t.Datagrams)}
	}
	for _, way := range s.Settings.Transports {
		t := Both(s, way)
		all.Add(t)
		rows = append(rows, row(way, t))
	}
	results.Table(b, 1, append(rows, row("all", all)))
	fmt.Fprintf(b, "Ends compared: %s.\n\nDone to the connections: %s.\n\n", counted(s.Ends), counted(s.Faults))

	rows = [][]string{{"process", "CPU", "most resident, MB", "alive on the heap, MB", "growth in the second half, MB", "bound, MB", "goroutines left", "files left", "streams left", "bytes in the account"}}
	for _, l := range s.Left {
		row := []string{l.Side, seconds(l.Usage.CPU), megabytes(float64(l.Usage.Peak)), "", "", ""}
		for _, m := range s.Memory {
			if m.Side == l.Side {
				row[3], row[4], row[5] = megabytes(m.Mean), fmt.Sprintf("%+.1f ± %.1f", m.Growth/1e6, m.Error/1e6), megabytes(m.Bound)
			}
		}
		account := ""
		if l.Side == ledger.Server {
			account = count(l.Account)
		}
		rows = append(rows, append(row, count(int64(items(l.Goroutines))), count(int64(items(l.Files))), count(l.Streams), account))
	}
	results.Table(b, 1, rows)

	rows = [][]string{{"after", "client: alive, MB", "goroutines", "files", "server: alive, MB", "goroutines", "files"}}
	client, server := s.Memory[0].Samples, s.Memory[1].Samples
	for i := 0; i < min(len(client), len(server)); i += max(1, len(client)/12) {
		c, v := client[i], server[i]
		rows = append(rows, []string{seconds(c.At), megabytes(float64(c.HeapLive)), count(int64(c.Goroutines)), count(int64(c.Files)),
			megabytes(float64(v.HeapLive)), count(int64(v.Goroutines)), count(int64(v.Files))})
	}
	results.Table(b, 0, rows)
	verdict(b, r)
}

func attackSection(b *strings.Builder, r *Report) {
	made(b, r)
	if r.Placement == "" {
		b.WriteString("All processes shared the processors.\n\n")
	} else {
		fmt.Fprintf(b, "Processors: %s.\n\n", r.Placement)
	}
	if len(r.Attacks) > 0 {
		a := r.Attacks[0]
		fmt.Fprintf(b, "%d quiet and %d attacked phases of %s in turn for each.\n\n", a.Phases, a.Phases, seconds(a.Each))
	}
	rows := [][]string{{"attack", "what is sent", "held", "own: p50 quiet", "p50 attacked", "p99 quiet", "p99 attacked", "pooled: p99 quiet", "p99 attacked", "victim's CPU", "sent a second", "connections a second"}}
	for _, a := range r.Attacks {
		held := "yes"
		if !a.Held() {
			held = "**no**"
		}
		rows = append(rows, []string{"`" + a.Name + "`", a.What, held, ms(a.Own.Quiet.P50), ms(a.Own.Attacked.P50), ms(a.Own.Quiet.P99), ms(a.Own.Attacked.P99),
			ms(a.Pooled.Quiet.P99), ms(a.Pooled.Attacked.P99), fmt.Sprintf("%.0f %%", 100*a.VictimAttacked), short(a.PerSecond(a.Done.Frames)), short(a.PerSecond(a.Done.Connections))})
	}
	results.Table(b, 3, rows)
	for _, a := range r.Attacks {
		if a.Note != "" {
			fmt.Fprintf(b, "`%s`: %s.\n\n", a.Name, a.Note)
		}
	}
	verdict(b, r)
}
