package report

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
)

// An Attack is what a bystander felt of one attack.
type Attack struct {
	Name   string          `json:"name"`
	What   string          `json:"what"`
	Way    string          `json:"way"` // of the bystander's sessions
	Note   string          `json:"note,omitempty"`
	Phases int             `json:"phases"` // of each kind, in turn
	Each   time.Duration   `json:"each"`
	Own    Comparison      `json:"own"`    // on a connection of its own
	Pooled Comparison      `json:"pooled"` // beside other sessions on a further connection
	Done   ledger.Attacked `json:"done"`
	// VictimQuiet and VictimAttacked are the seconds of CPU time that the victim
	// used in a second, Peak what it had resident at most.
	VictimQuiet    float64 `json:"victim_quiet"`
	VictimAttacked float64 `json:"victim_attacked"`
	Peak           uint64  `json:"victim_peak_resident"`
	Broken         string  `json:"broken,omitempty"` // what happened to the bystander, if it lost a session
}

// A Comparison has latencies without and with an attack.
type Comparison struct {
	Quiet    Latency `json:"quiet"`
	Attacked Latency `json:"attacked"`
}

// A Latency is a distribution, in milliseconds.
type Latency struct {
	N   int     `json:"n"`
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// The bound on the p99: so many times the quiet one, or so many milliseconds more.
const (
	boundTimes = 2
	boundMore  = 20
)

// Held tells whether the attacked p99 is within its bound.
func (c Comparison) Held() bool {
	return c.Attacked.N > 0 && c.Quiet.N > 0 && c.Attacked.P99 <= max(boundTimes*c.Quiet.P99, c.Quiet.P99+boundMore)
}

// Held tells whether the bystander was unhurt.
func (a Attack) Held() bool { return a.Broken == "" && a.Own.Held() && a.Pooled.Held() }

// Compare takes what was measured.
func (a *Attack) Compare(quiet, attacked ledger.Latency) {
	a.Own = Comparison{distribution(quiet.Own), distribution(attacked.Own)}
	a.Pooled = Comparison{distribution(quiet.Pooled), distribution(attacked.Pooled)}
	a.Broken = attacked.Broken
	if quiet.Broken != "" {
		a.Broken = quiet.Broken
	}
}

func distribution(ms []float64) Latency {
	if len(ms) == 0 {
		return Latency{}
	}
	ms = slices.Sorted(slices.Values(ms))
	at := func(q float64) float64 { return ms[int(q*float64(len(ms)-1)+.5)] }
	return Latency{N: len(ms), P50: at(.5), P99: at(.99), Max: ms[len(ms)-1]}
}

// Judge returns what was violated.
func Judge(a Attack) (all []ledger.Violation) {
	violate := func(what string, args ...any) {
		all = append(all, ledger.Violation{Side: ledger.Bystander, Way: a.Way, Offset: -1, What: "attack " + a.Name + ": " + fmt.Sprintf(what, args...)})
	}
	if a.Broken != "" {
		violate("%s", a.Broken)
	}
	for _, c := range []struct {
		of string
		Comparison
	}{{"own connection", a.Own}, {"pooled session", a.Pooled}} {
		if !c.Held() {
			violate("%s: p99 %.1f ms, and %.1f ms without it", c.of, c.Attacked.P99, c.Quiet.P99)
		}
	}
	if a.Done.Frames == 0 {
		violate("nothing was sent: %s", a.Done.Err)
	}
	return all
}

// AttackTable writes attacks for a terminal of 80 columns.
func AttackTable(w io.Writer, r Report) {
	rows := [][]string{{"ms", "p50", "own p99", "", "pool p99", "", "CPU", "sent", "conns", "held"}}
	for _, a := range r.Attacks {
		held := "yes"
		if !a.Held() {
			held = "NO"
		}
		rows = append(rows, []string{a.Name, ms(a.Own.Attacked.P50), ms(a.Own.Quiet.P99), ms(a.Own.Attacked.P99), ms(a.Pooled.Quiet.P99), ms(a.Pooled.Attacked.P99),
			fmt.Sprintf("%.2f", a.VictimAttacked), short(a.PerSecond(a.Done.Frames)), short(a.PerSecond(a.Done.Connections)), held})
	}
	fmt.Fprintln(w)
	Table(w, rows)
	fmt.Fprintln(w, "\np99 without and with the attack. In a second of it: the victim's CPU time, of\nits one processor; frames, capsules, packets or handshakes sent; connections")
}

// PerSecond returns what of a count falls on a second of attack.
func (a Attack) PerSecond(n int64) float64 {
	return float64(n) / (float64(a.Phases) * a.Each.Seconds())
}

func ms(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

// short writes a number with three digits at most: 1.2k, 3.4M.
func short(v float64) string {
	for _, unit := range []string{"", "k", "M"} {
		if v < 1000 || unit == "M" {
			if v < 10 && unit != "" {
				return fmt.Sprintf("%.1f%s", v, unit)
			}
			return fmt.Sprintf("%.0f%s", v, unit)
		}
		v /= 1000
	}
	return ""
}
