package report

import (
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
)

func TestFlatness(t *testing.T) {
	samples := func(f func(i int) uint64) (all []ledger.Sample) {
		for i := range 40 {
			all = append(all, ledger.Sample{At: time.Duration(i) * 15 * time.Second, HeapInUse: f(i)})
		}
		return all
	}
	const mb = 1e6
	for name, c := range map[string]struct {
		f    func(i int) uint64
		flat bool
	}{
		"flat":                   {func(int) uint64 { return 900 * mb }, true},
		"up and down":            {func(i int) uint64 { return uint64(900*mb + i%2*40*mb) }, true},
		"grown before":           {func(i int) uint64 { return uint64(min(i, 18) * 50 * mb) }, true},
		"a leak":                 {func(i int) uint64 { return uint64(900*mb + i*4*mb) }, false},
		"a leak of a small heap": {func(i int) uint64 { return uint64(10*mb + i*mb) }, false},
		"a little":               {func(i int) uint64 { return uint64(10*mb + i*mb/2) }, true},
	} {
		m := Flatness("client", samples(c.f), 5*time.Minute, 10*time.Minute)
		if flat := m.Growth <= m.Bound; flat != c.flat || m.Judged != 20 {
			t.Errorf("%s: flat %v, growth %.1f MB of %.1f, by %d samples", name, flat, m.Growth/mb, m.Bound/mb, m.Judged)
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
