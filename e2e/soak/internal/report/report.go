// Package report is what a soak, or a series of attacks, came to: as JSON, as
// tables for a terminal, and as docs/soak.md.
package report

import (
	"encoding/json"
	"io"
	"math"
	"time"

	"github.com/towpath-go/towpath/e2e/internal/results"
	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
)

// Schema is the version of the JSON.
const Schema = 1

// A Report is what a run came to.
type Report struct {
	Schema      int                `json:"schema"`
	Command     string             `json:"command"`
	Begun       time.Time          `json:"begun"`
	Machine     results.Machine    `json:"machine"`
	Interrupted bool               `json:"interrupted,omitempty"`
	Violations  []ledger.Violation `json:"violations"`
	Withheld    int                `json:"violations_not_listed,omitempty"`
	Soak        *Soak              `json:"soak,omitempty"`
	Attacks     []Attack           `json:"attacks,omitempty"`
	// Placement says how the processes of an attack shared the processors, ""
	// if they all ran anywhere.
	Placement string `json:"placement,omitempty"`
}

// A Soak is one long run.
type Soak struct {
	Settings ledger.Settings `json:"settings"`
	Opening  time.Duration   `json:"opening"` // until every session had been open
	Traffic  time.Duration   `json:"traffic"` // from then on
	Ending   time.Duration   `json:"ending"`
	// Sessions and Connections are how many were open during the traffic, looked
	// at once a second.
	Sessions    Range            `json:"open_sessions"`
	Connections Range            `json:"open_connections"`
	Client      ledger.Counts    `json:"client"`
	Server      ledger.Counts    `json:"server"`
	Faults      map[string]int   `json:"faults"`
	Ends        map[string]int64 `json:"ends"` // sessions by how they ended
	Compared    int64            `json:"compared"`
	Memory      []Memory         `json:"memory"`
	Left        []ledger.Left    `json:"left"`
}

// A Range is of numbers that were looked at now and then.
type Range struct {
	Least int     `json:"least"`
	Mean  float64 `json:"mean"`
	Most  int     `json:"most"`
	N     int     `json:"n"`
}

// Add adds a number.
func (r *Range) Add(v int) {
	if r.N == 0 || v < r.Least {
		r.Least = v
	}
	r.Most = max(r.Most, v)
	r.Mean += (float64(v) - r.Mean) / float64(r.N+1)
	r.N++
}

// Memory is how the heap of one process behaved. What is judged is what is alive
// right after a garbage collection: the heap's spans in use are what they were made
// for the most, and fall late.
type Memory struct {
	Side    string          `json:"side"`
	Samples []ledger.Sample `json:"samples"`
	// Mean and Growth are of the second half of the traffic. Growth is what time
	// adds in that half: of the plane that fits best through the samples, over
	// time and the number of goroutines, which tells how many sessions were open.
	// Error is the standard error of that, from how far the samples lie beside the
	// plane: what is under way at the moment of a sample comes and goes.
	Mean   float64 `json:"mean"`
	Growth float64 `json:"growth"`
	Error  float64 `json:"error"`
	Bound  float64 `json:"bound"`
	Judged int     `json:"judged"` // samples in the second half
}

// Flat tells whether the growth is within its bound: it is not if it is beyond by
// more than twice its error, as that of one steady heap in forty would be.
func (m Memory) Flat() bool { return m.Growth-2*m.Error <= m.Bound }

// Flatness judges the samples taken between two times.
func Flatness(side string, samples []ledger.Sample, from, to time.Duration) Memory {
	m := Memory{Side: side, Samples: samples}
	var t, g, y []float64
	for _, s := range samples {
		if s.At < from || s.At > to {
			continue
		}
		t, g, y = append(t, s.At.Seconds()), append(g, float64(s.Goroutines)), append(y, float64(s.HeapLive))
	}
	m.Judged = len(y)
	if len(y) < 4 {
		return m
	}
	m.Mean = mean(y)
	perSecond, deviation := slope(t, g, y)
	m.Growth, m.Error = perSecond*(to-from).Seconds(), deviation*(to-from).Seconds()
	m.Bound = max(flatShare*m.Mean, flatBytes)
	return m
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// steady is the share of the mean within which a number of goroutines does not
// count as changing: it then explains nothing.
const steady = .02

// slope is how y grows with t, by least squares: alone, or beside g if that
// changes. Deviation is its standard error.
func slope(t, g, y []float64) (a, deviation float64) {
	mt, mg, my := mean(t), mean(g), mean(y)
	var tt, tg, gg, ty, gy float64
	for i := range y {
		u, v, w := t[i]-mt, g[i]-mg, y[i]-my
		tt, tg, gg, ty, gy = tt+u*u, tg+u*v, gg+v*v, ty+u*w, gy+v*w
	}
	if tt == 0 {
		return 0, 0
	}
	var b float64
	variance, free := 1/tt, float64(len(y)-2)
	// Where the number only follows the time, one cannot be told from the other.
	determinant := tt*gg - tg*tg
	if gg/float64(len(y)) < steady*steady*mg*mg || determinant < .1*tt*gg {
		a = ty / tt
	} else {
		a, b = (ty*gg-gy*tg)/determinant, (gy*tt-ty*tg)/determinant
		variance, free = gg/determinant, free-1
	}
	var rest float64
	for i := range y {
		d := y[i] - my - a*(t[i]-mt) - b*(g[i]-mg)
		rest += d * d
	}
	return a, math.Sqrt(rest / free * variance)
}

// The bound on Memory.Growth: a share of the mean, or so many bytes if that is
// more.
const (
	flatShare = .05
	flatBytes = 16 << 20
)

// Write writes r as JSON.
func Write(w io.Writer, r Report) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "\t")
	return e.Encode(r)
}

// Read reads a file that Write has written.
func Read(path string) (Report, error) { return results.Read[Report](path, Schema) }
