package report

import (
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
)

func TestFlatness(t *testing.T) {
	const mb = 1e6
	one := func(int) int { return 100_000 }
	wave := func(i int) int { return 100_000 + 30_000*(i%8)/7 }
	for name, c := range map[string]struct {
		heap       func(i int) float64 // in MB
		goroutines func(i int) int
		flat       bool
	}{
		"flat":                    {func(int) float64 { return 900 }, one, true},
		"up and down":             {func(i int) float64 { return 900 + 40*float64(i%2) }, one, true},
		"grown before":            {func(i int) float64 { return 50 * float64(min(i, 18)) }, one, true},
		"a leak":                  {func(i int) float64 { return 900 + 4*float64(i) }, one, false},
		"a leak of a small heap":  {func(i int) float64 { return 10 + float64(i) }, one, false},
		"a little":                {func(i int) float64 { return 10 + float64(i)/2 }, one, true},
		"noise":                   {func(i int) float64 { return 500 + 60*float64((i*7)%11)/10 }, one, true},
		"a leak in noise":         {func(i int) float64 { return 500 + 60*float64((i*7)%11)/10 + 6*float64(i) }, one, false},
		"with the sessions":       {func(i int) float64 { return float64(wave(i)) / 200 }, wave, true},
		"a leak beside sessions":  {func(i int) float64 { return float64(wave(i))/200 + 4*float64(i) }, wave, false},
		"goroutines leak as well": {func(i int) float64 { return 900 + 4*float64(i) }, func(i int) int { return 100_000 + 2000*i }, false},
	} {
		var samples []ledger.Sample
		for i := range 40 {
			samples = append(samples, ledger.Sample{At: time.Duration(i) * 15 * time.Second, HeapLive: uint64(c.heap(i) * mb), Goroutines: c.goroutines(i)})
		}
		m := Flatness("client", samples, 5*time.Minute, 10*time.Minute)
		if flat := m.Flat(); flat != c.flat || m.Judged != 20 {
			t.Errorf("%s: flat %v, growth %.1f ± %.1f MB of %.1f, by %d samples", name, flat, m.Growth/mb, m.Error/mb, m.Bound/mb, m.Judged)
		}
	}
	if m := Flatness("client", nil, 0, time.Minute); m.Judged != 0 || m.Growth != 0 {
		t.Errorf("%+v of nothing", m)
	}
}

// The largest run fits a terminal.
func TestTerminal(t *testing.T) {
	tally := ledger.Tally{Connections: 15_123, Sessions: 168_867, Streams: 2_547_572, Whole: 2_461_938, Aborted: 946_293, Lost: 16_009, Bytes: 95e9, Datagrams: 1_213_699}
	counts := ledger.Counts{Ways: map[string]ledger.Tally{}}
	for _, way := range ledger.Ways {
		counts.Ways[way] = tally
	}
	r := Report{Soak: &Soak{Settings: ledger.Settings{Connections: 2000, Sessions: 20000, Transports: ledger.Ways}, Traffic: 10 * time.Minute, Client: counts, Server: counts,
		Sessions: Range{18_000, 19_900, 20_000, 600}, Connections: Range{1_800, 1_990, 2_000, 600},
		Ends:   map[string]int64{"closed by the client": 130_024, "closed by the server": 29_346, "broken": 9_497, "not opened": 7_592, "answer lost": 8},
		Faults: map[string]int{"stall": 923, "silence": 457, "dribble": 388, "rst": 369, "outage": 332, "rebind": 217, "fin": 194, "close": 27},
		Memory: []Memory{{Side: ledger.Client, Mean: 1.5e9, Growth: -120e6, Error: 40e6, Bound: 75e6}, {Side: ledger.Server, Mean: 1.5e9}},
		Left:   []ledger.Left{{Side: ledger.Client, Usage: ledger.Usage{CPU: 600 * time.Second, Peak: 2e9}}, {Side: ledger.Server}}}}
	var b strings.Builder
	Terminal(&b, r)
	for line := range strings.Lines(b.String()) {
		if n := len([]rune(line)) - 1; n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	a := Attack{Name: "sessions-abandoned", Phases: 3, Each: 2e9, Done: ledger.Attacked{Frames: 123_456_789, Connections: 9_999}, VictimAttacked: .99}
	a.Own.Attacked, a.Own.Quiet, a.Pooled.Attacked, a.Pooled.Quiet = Latency{P50: 1234.5, P99: 1234.5}, Latency{P99: 234.5}, Latency{P99: 1234.5}, Latency{P99: 234.5}
	b.Reset()
	AttackTable(&b, Report{Attacks: []Attack{a}})
	for line := range strings.Lines(b.String()) {
		if n := len([]rune(line)) - 1; n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

func TestJudge(t *testing.T) {
	flat := func(v float64) []float64 {
		p := make([]float64, 1000)
		for i := range p {
			p[i] = v
		}
		return p
	}
	for name, c := range map[string]struct {
		quiet, attacked float64
		broken          string
		want            string
	}{
		"as before":        {1, 1, "", ""},
		"20 ms more":       {1, 21, "", ""},
		"more than 20 ms":  {1, 21.5, "", "own connection: p99 21.5 ms"},
		"twice":            {100, 200, "", ""},
		"more than twice":  {100, 201, "", "pooled session: p99 201.0 ms"},
		"a session is cut": {1, 1, "own session: reset", "own session: reset"},
	} {
		a := Attack{Name: "x", Done: ledger.Attacked{Frames: 1}}
		a.Compare(ledger.Latency{Own: flat(c.quiet), Pooled: flat(c.quiet)}, ledger.Latency{Own: flat(c.attacked), Pooled: flat(c.attacked), Broken: c.broken})
		var all string
		for _, v := range Judge(a) {
			all += v.String() + "\n"
		}
		if (c.want == "") != (all == "") || !strings.Contains(all, c.want) || a.Held() != (c.want == "") {
			t.Errorf("%s: %q, held %v", name, all, a.Held())
		}
	}
	var a Attack
	a.Compare(ledger.Latency{Own: flat(1), Pooled: flat(1)}, ledger.Latency{Own: flat(1), Pooled: flat(1)})
	if len(Judge(a)) == 0 {
		t.Error("an attack that sent nothing passes")
	}
	if d := distribution([]float64{5, 1, 4, 2, 3}); d != (Latency{N: 5, P50: 3, P99: 5, Max: 5}) {
		t.Errorf("%+v", d)
	}
}
