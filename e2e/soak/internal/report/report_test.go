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
