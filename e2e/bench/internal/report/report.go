// Package report is what a run of the benchmark came to: as JSON, as tables, and
// as docs/performance.md.
package report

import (
	"time"

	"github.com/towpath-go/towpath/e2e/bench/internal/measure"
	"github.com/towpath-go/towpath/e2e/internal/results"
)

// Schema is the version of the JSON.
const Schema = 1

// A Report is what a run came to.
type Report struct {
	Schema      int               `json:"schema"`
	Command     string            `json:"command"`
	Begun       time.Time         `json:"begun"`
	Took        time.Duration     `json:"took"`
	Machine     results.Machine   `json:"machine"`
	Interrupted bool              `json:"interrupted,omitempty"`
	Settings    Settings          `json:"settings"`
	Peers       []Peer            `json:"peers"`
	Samples     []measure.Sample  `json:"samples"`
	Failures    []measure.Failure `json:"failures,omitempty"`
}

// Settings are those of the run.
type Settings struct {
	Rounds       int           `json:"rounds"`
	Duration     time.Duration `json:"duration"`
	Warmup       time.Duration `json:"warmup"`
	Idle         int           `json:"idle"`
	Cipher       string        `json:"cipher"`
	StreamWindow int           `json:"stream_window"`
	ConnWindow   int           `json:"conn_window"`
}

// A Peer is a library that took part.
type Peer struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"` // of its module
	Module  string `json:"module,omitempty"`
	Note    string `json:"note,omitempty"`
	// Cannot says for benchmarks of the run why the peer has no result.
	Cannot map[string]string `json:"cannot,omitempty"`
}
