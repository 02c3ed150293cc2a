package hostile

import (
	"encoding/json"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// Attribute is the key of the test attribute that has a [Row] as JSON.
const Attribute = "towpath-attack"

// An Attack is what a peer does, and what is promised about it.
type Attack struct {
	// Name says what the peer does, in a few words: "rapid reset".
	Name string
	// Victim is the part that is attacked: "h2", "h3", "ws", "session", "page" or "server".
	Victim string
	// Bytes and Goroutines bound what the victim may have more than before the
	// attack. Each test says next to them which documented limits they are the
	// sum of.
	Bytes      int64
	Goroutines int
	// Reaction is what requirements have the victim do: "ENHANCE_YOUR_CALM on
	// the connection", "datagrams dropped".
	Reaction string
	// Limit is the limit that is reached, "" if there is none.
	Limit transport.Limit
}

// A Row is what was measured of an attack.
type Row struct {
	Test       string          `json:"test"`
	Name       string          `json:"attack"`
	Victim     string          `json:"victim"`
	Reaction   string          `json:"reaction"`
	Limit      transport.Limit `json:"limit,omitempty"`
	Bytes      int64           `json:"bound_bytes"`
	Peak       int64           `json:"peak_bytes"`
	Goroutines int             `json:"bound_goroutines"`
	MostGo     int             `json:"peak_goroutines"`
	Frames     int             `json:"frames,omitempty"`       // of the costlier run
	Cost       float64         `json:"us_per_frame,omitempty"` // microseconds of CPU time, the attacker's included
	Growth     float64         `json:"growth,omitempty"`       // cost of a frame among four times as many, as a ratio
	Held       bool            `json:"held"`                   // the bounds were
}

// A Meter measures one attack.
type Meter struct {
	t     testing.TB
	row   Row
	start state
}

// Start takes the victim's state before the attack as what the attack is
// measured against. The victim, and what the script needs, exist already. In a
// bubble of synctest it waits for rest first, as [Meter.Sample] does.
func Start(t testing.TB, a Attack) *Meter {
	t.Helper()
	startThreads()
	atRest()
	if a.Name == "" || a.Victim == "" || a.Reaction == "" || a.Bytes <= 0 {
		t.Fatal("hostile: an attack without name, victim, reaction or bound")
	}
	return &Meter{
		t: t,
		row: Row{
			Test: t.Name(), Name: a.Name, Victim: a.Victim, Reaction: a.Reaction, Limit: a.Limit,
			Bytes: a.Bytes, Goroutines: a.Goroutines,
		},
		start: settled(),
	}
}

// atRest waits until all other goroutines of the bubble are blocked, if it is
// called in one of synctest. Whatever they allocate while garbage is collected
// counts as live, dead or not: on a busy machine, and with the race detector, that
// is more than most attacks make a victim hold.
func atRest() {
	defer func() {
		// There is no other way to ask for it.
		if r := recover(); r != nil && r != "goroutine is not in a bubble" {
			panic(r)
		}
	}()
	synctest.Wait()
}

// Sample measures, at a time when the victim holds as much as it will; the
// largest of several samples counts. In a bubble of synctest it waits until all
// goroutines but the caller's are blocked: the garbage of one that runs would be
// measured as held. So a script samples between two pieces of a flood, none of its
// goroutines may be in [synctest.Wait] then, and the caller holds no mutex. Outside
// of a bubble nothing else may run. It collects garbage, so it is called some dozens
// of times at most.
func (m *Meter) Sample() {
	atRest()
	now := held()
	m.row.Peak = max(m.row.Peak, now.since(m.start))
	m.row.MostGo = max(m.row.MostGo, now.goroutines-m.start.goroutines)
}

// Cost measures the CPU time of a frame. Run carries the attack out with so many
// frames, on a victim of its own whose limits do not stop it. It is called with
// n and with four times n frames: a frame among four times as many may cost at
// most twice as much, or the work grows faster than the attack. Since what else
// runs on the machine disturbs the ratio (never for the better in both runs),
// the best of five tries counts. It cannot be used in a bubble of synctest, but
// run may make one.
//
// With the race detector, whose own work is most of what would be measured, run
// is called once.
func (m *Meter) Cost(n int, run func(frames int)) {
	m.t.Helper()
	if raceDetector {
		run(n)
		return
	}
	for range 5 {
		small := perFrame(n, run)
		large := perFrame(4*n, run)
		growth := large / max(small, 0.001)
		if m.row.Growth == 0 || growth < m.row.Growth {
			m.row.Growth, m.row.Cost, m.row.Frames = growth, large, 4*n
		}
		if m.row.Growth <= 1.2 {
			break
		}
	}
	if m.row.Growth > 2 {
		m.t.Errorf("a frame costs %.1f times as much among four times as many", m.row.Growth)
	}
}

// perFrame returns microseconds of CPU time.
func perFrame(n int, run func(frames int)) float64 {
	runtime.GC()
	before := cpuTime()
	run(n)
	return float64(cpuTime()-before) / float64(time.Microsecond) / float64(n)
}

// End compares what was measured with the bounds, and leaves it as an attribute
// of the test. Reached is the error that the victim ended the session or the
// connection with, nil if it goes on; it must tell of the attack's limit.
func (m *Meter) End(reached error) {
	m.t.Helper()
	m.row.Held = true
	if m.row.Peak > m.row.Bytes {
		m.t.Errorf("%s: %d bytes held, the bound is %d", m.row.Name, m.row.Peak, m.row.Bytes)
		m.row.Held = false
	}
	if m.row.MostGo > m.row.Goroutines {
		m.t.Errorf("%s: %d goroutines more, the bound is %d", m.row.Name, m.row.MostGo, m.row.Goroutines)
		m.row.Held = false
	}
	if reached != nil {
		if limit, _ := transport.ReachedLimit(reached); limit != m.row.Limit {
			m.t.Errorf("%s: ended for limit %q, want %q: %v", m.row.Name, limit, m.row.Limit, reached)
		}
	}
	text, err := json.Marshal(m.row)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Attr(Attribute, string(text))
}
