package report

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/bench/internal/measure"
	"github.com/towpath-go/towpath/e2e/bench/internal/peer"
	"github.com/towpath-go/towpath/e2e/internal/results"
)

// sample is a peer's result in one round.
func sample(bench, name string, round int, value, ratio float64) measure.Sample {
	return measure.Sample{Bench: bench, Peer: name, Round: round, Ratio: ratio, CPURatio: ratio, Result: measure.Result{Value: value, CPU: value / 100, Allocs: float64(round)}}
}

// example has three rounds of three peers.
func example() Report {
	r := Report{Schema: Schema, Command: "bench -x", Begun: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Took: time.Minute,
		Machine: results.Machine{Go: "go1.26", CPU: "CPU", Kernel: "6", Memory: 1 << 30, Processors: 2, Revision: "abc"},
		Peers: []Peer{{Name: "tls"}, {Name: "h2wt", Module: towpath}, {Name: "h3wt", Module: towpath},
			{Name: "webtransport-go", Module: "w", Version: "v1"}, {Name: "yamux", Module: "y", Cannot: map[string]string{"datagrams": "it has none"}}}}
	for i, f := range []float64{1, 2, 3} {
		round := i + 1
		r.Samples = append(r.Samples,
			sample("up64k", "tls", round, 1000*f, 1), sample("up64k", "h2wt", round, 1200*f, 1.2), sample("up64k", "yamux", round, 800*f, .8),
			sample("echo", "tls", round, 10*f, 1), sample("echo", "h2wt", round, 12*f, 1.2), sample("echo", "yamux", round, 20*f, 2),
			sample("churn64", "h3wt", round, 300*f, 0), sample("churn64", "webtransport-go", round, 200*f, 0),
			sample("down64k", "h3wt", round, 96*f, 0), sample("down64k", "webtransport-go", round, 100*f, 0),
			sample("datagrams", "h2wt", round, 5*f, 0))
	}
	return r
}

func TestCell(t *testing.T) {
	c, ok := example().cell("up64k", "h2wt")
	if !ok || c.N != 3 || c.Value != 2400 || c.Least != 1200 || c.Most != 3600 || c.Ratio != 1.2 || c.CPU != 24 || c.CPURatio != 1.2 || c.Allocs != 2 {
		t.Errorf("%+v", c)
	}
	if _, ok := example().cell("up64k", "nobody"); ok {
		t.Error("a cell of nothing")
	}
}

func TestMarkdown(t *testing.T) {
	r := example()
	r.Failures = []measure.Failure{{Bench: "up1k", Peer: "yamux", Round: 2, Error: "a\nb"}}
	var b bytes.Buffer
	if err := Markdown(&b, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"`bench -x`, begun 2026-01-02 03:04 UTC, 2 processors (CPU, Linux 6, 1 GiB, go1.26",
		"(`up64k`)", "| h2wt | 2,400 | 1,200 to 3,600 | 1.20 | 1.20 to 1.20 | 24.0 | 1.20 | 2.00 |",
		"| yamux | - | - | - | - | - |", "-: yamux: it has none.", "Failed: up1k of yamux in round 2: a; b",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("there is no %q in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "(`dial`)") {
		t.Error("there is a table of what was not measured")
	}
}

// Goals are reached or missed, beside the best of the others.
func TestGoals(t *testing.T) {
	var b strings.Builder
	r := example()
	r.goals(&b)
	for _, want := range []string{
		"| bulk up, writes of 64 KiB | at least 1.00 of tls | 1.20 | 0.80 (yamux) | reached |",
		"| echo of 100 bytes, median time | at most 1.15 of tls | 1.20 | 2.00 (yamux) | **missed** |",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("there is no %q in\n%s", want, b.String())
		}
	}
	b.Reset()
	r.beside(&b)
	for _, want := range []string{"| 600 | 400 | 1.50 | 1.50 to 1.50 | at least 1.00 | reached |", "| 192 | 200 | 0.96 | 0.96 to 0.96 | at least 0.97 | **missed** |"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("there is no %q in\n%s", want, b.String())
		}
	}
	for _, target := range targets {
		if measure.Named(target.bench) == nil || peer.Named(target.peer) == nil {
			t.Errorf("a goal is of %s of %s", target.bench, target.peer)
		}
	}
	if peer.Named(h3Peer) == nil || peer.Named(h3Beside) == nil {
		t.Error("who is compared is not there")
	}
}

// What is less better is reached at the bound and below, what is more better at the
// bound and above.
func TestReached(t *testing.T) {
	for _, tt := range []struct {
		lower bool
		v     float64
		want  bool
	}{{false, 1, true}, {false, .99, false}, {false, 1.01, true}, {true, 1, true}, {true, .99, true}, {true, 1.01, false}} {
		if got := (target{bound: 1, lower: tt.lower}).reached(tt.v); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
	if b := h3Target(measure.Named("echo")); math.Abs(b.bound-1/.97) > 1e-9 || !b.lower {
		t.Errorf("%+v", b)
	}
	if b := h3Target(measure.Named("idle")); b.bound != 1 || !b.lower {
		t.Errorf("%+v", b)
	}
}

// What is written is read again, with four digits.
func TestJSON(t *testing.T) {
	for _, r := range []Report{example(), {Schema: Schema}} {
		var b bytes.Buffer
		if err := Write(&b, r); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "r.json")
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := Read(path)
		if err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
		if len(got.Samples) == 0 {
			got.Samples = nil
		}
		if !reflect.DeepEqual(got, r) {
			t.Errorf("got  %+v\nwant %+v", got, r)
		}
		if lines := strings.Count(b.String(), "\n"); len(r.Samples) > 0 && lines > len(r.Samples)+60 {
			t.Errorf("%d samples are %d lines", len(r.Samples), lines)
		}
	}
	for v, want := range map[float64]float64{0: 0, 1234.56: 1235, .00123456: .001235, -98765: -98770, 1: 1} {
		if got := significant(v); math.Abs(got-want) > 1e-9 {
			t.Errorf("%v becomes %v", v, got)
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", .004: "0.00", .5: "0.50", 9.876: "9.88", 12.34: "12.3", 999.6: "1,000", 1234567: "1,234,567", -1234: "-1,234"} {
		if got := number(v); got != want {
			t.Errorf("number(%v) = %q, want %q", v, got, want)
		}
	}
}
