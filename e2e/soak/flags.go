package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/towpath-go/towpath/e2e/internal/results"
	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
	"github.com/towpath-go/towpath/e2e/soak/internal/peers"
)

const help = `Usage: soak [--short] [flags]

Run 2,000 connections and 20,000 sessions over every transport for ten minutes,
with cuts and stalls, and check that nothing is lost without being said and that
nothing is left behind. The exit status is 0 if every promise was kept, 1 if one
was not, 2 if the command line is wrong.

What to run
  --short              60 connections, 600 sessions, 15 s: 40 s at most in all
  --duration TIME      of the traffic (10m)
  --connections N      kept open (2000)
  --sessions N         kept open, on these connections (20000)
  --transports LIST    of h3, h2, ws, ws-h2 (all)
  --cuts N             connections cut a minute; twice as many are stalled (120)
  --seed N             of all chance (1)

Attacks
  --attack NAME        measure what a bystander feels of an attack; several with
                       commas, or all; with --short each for 2 s only
  --list-attacks       list them, and end

The report
  --json FILE          write everything as JSON
  --profiles DIR       write profiles of both heaps there, at half-time and at the
                       end: go tool pprof -base tells what grew
  --quiet              no progress
`

// options are the command line.
type options struct {
	settings   ledger.Settings
	attack     string
	list, help bool
	json       string
	profiles   string
	quiet      bool
	args       []string
}

// names are the flags, for who mistypes one.
var names = []string{"short", "duration", "connections", "sessions", "transports", "cuts", "seed", "attack", "list-attacks", "json", "profiles", "quiet", "help"}

// parse reads the command line.
func parse(args []string) (options, error) {
	o := options{args: args}
	f := flag.NewFlagSet("soak", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	short := f.Bool("short", false, "")
	duration := f.Duration("duration", 0, "")
	connections := f.Int("connections", 0, "")
	sessions := f.Int("sessions", 0, "")
	transports := f.String("transports", strings.Join(ledger.Ways, ","), "")
	cuts := f.Float64("cuts", -1, "")
	seed := f.Uint64("seed", 1, "")
	f.StringVar(&o.attack, "attack", "", "")
	f.BoolVar(&o.list, "list-attacks", false, "")
	f.StringVar(&o.json, "json", "", "")
	f.StringVar(&o.profiles, "profiles", "", "")
	f.BoolVar(&o.quiet, "quiet", false, "")
	f.BoolVar(&o.help, "help", false, "")
	f.BoolVar(&o.help, "h", false, "")
	if err := f.Parse(args); err != nil {
		return o, usageError{mistyped(err)}
	}
	if f.NArg() > 0 {
		return o, usageError{fmt.Errorf("there are no arguments, only flags: what is %q? (see --help)", f.Arg(0))}
	}
	s := settings(*short)
	given := make(map[string]bool)
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if given["duration"] {
		s.Duration = *duration
	}
	if given["connections"] {
		s.Connections = *connections
		if !given["sessions"] {
			s.Sessions = 10 * *connections
		}
	}
	if given["sessions"] {
		s.Sessions = *sessions
		if !given["connections"] {
			s.Connections = max(*sessions/10, min(*sessions, 4))
		}
	}
	if given["cuts"] {
		s.Cuts = *cuts
	} else if given["connections"] || given["sessions"] {
		s.Cuts *= float64(s.Connections) / float64(settings(*short).Connections)
	}
	s.Seed = *seed
	if given["attack"] && strings.TrimSpace(o.attack) == "" {
		return o, usageError{errors.New("--attack needs a name, or all: see --list-attacks")}
	}
	for _, way := range strings.Split(*transports, ",") {
		way = strings.TrimSpace(way)
		if !slices.Contains(ledger.Ways, way) {
			return o, usageError{fmt.Errorf("there is no transport %q: give some of %s, with commas", way, strings.Join(ledger.Ways, ", "))}
		}
		s.Transports = append(s.Transports, way)
	}
	s.Transports = ledger.Sorted(s.Transports)
	s = paced(s)
	o.settings = s
	if o.help || o.list || o.attack != "" {
		return o, nil
	}
	return o, check(s)
}

// check says what is wrong with settings.
func check(s ledger.Settings) error {
	switch {
	case s.Duration < time.Second:
		return usageError{fmt.Errorf("--duration %v is too short to see anything: give 1s or more", s.Duration)}
	case s.Connections < 1 || s.Sessions < 1:
		return usageError{fmt.Errorf("--connections %d and --sessions %d: give 1 or more", s.Connections, s.Sessions)}
	case s.Cuts < 0:
		return usageError{fmt.Errorf("--cuts %v is negative: give 0 for none", s.Cuts)}
	case math.IsNaN(s.Cuts) || math.IsInf(s.Cuts, 0):
		return usageError{fmt.Errorf("--cuts %v is not a number of cuts: give 0 for none", s.Cuts)}
	}
	if _, err := peers.Mix(s.Connections, s.Sessions, s.Transports); err != nil {
		return usageError{fmt.Errorf("--connections and --sessions do not fit: %w", err)}
	}
	return nil
}

// settings are a preset's.
func settings(short bool) ledger.Settings {
	if short {
		return ledger.Settings{Short: true, Duration: 15 * time.Second, Connections: 60, Sessions: 600, Cuts: 90,
			Lifetime: 5 * time.Second, Detect: 4 * time.Second, Patience: 20 * time.Second, SampleEvery: time.Second, Parallel: 24}
	}
	return ledger.Settings{Duration: 10 * time.Minute, Connections: 2000, Sessions: 20000, Cuts: 120,
		Lifetime: time.Minute, Detect: 15 * time.Second, Patience: 2 * time.Minute, SampleEvery: 7500 * time.Millisecond, Parallel: 64}
}

// operations is what each side begins a second, all its sessions together.
const operations = 400

// paced sets how often a session does something by how many there are, and how
// often memory is looked at by how long the run is.
func paced(s ledger.Settings) ledger.Settings {
	s.SampleEvery = max(min(s.SampleEvery, s.Duration/12), 200*time.Millisecond)
	s.Think = max(time.Duration(float64(s.Sessions)/operations*float64(time.Second)), 100*time.Millisecond)
	return s
}

// mistyped is package flag's error with a remedy.
func mistyped(err error) error {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		name = strings.TrimLeft(name, "-")
		if near := nearest(name); near != "" {
			return fmt.Errorf("there is no flag --%s: did you mean --%s? (see --help)", name, near)
		}
		return fmt.Errorf("there is no flag --%s (see --help)", name)
	}
	if rest, ok := strings.CutPrefix(text, "invalid boolean value "); ok {
		_, flag, _ := strings.Cut(rest, " for -")
		flag, _, _ = strings.Cut(flag, ":")
		return fmt.Errorf("--%s takes no value (see --help)", flag)
	}
	if value, flag, ok := strings.Cut(text, " for flag -"); ok {
		flag, _, _ = strings.Cut(flag, ":")
		value = strings.TrimPrefix(value, "invalid value ")
		want := map[string]string{"duration": "a time like 90s or 10m", "connections": "a number like 2000", "sessions": "a number like 20000",
			"cuts": "a number like 120", "seed": "a number from 0"}[flag]
		return fmt.Errorf("--%s %s is not possible: give %s", flag, strings.Trim(value, `"`), want)
	}
	if flag, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return fmt.Errorf("--%s needs a value (see --help)", flag)
	}
	return err
}

// nearest is the flag that differs least from a mistyped one, "" if none is near.
func nearest(name string) string {
	best, least := "", 3
	for _, n := range names {
		if d := distance(name, n); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance is how many letters have to be changed, added or left out.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost++
			}
			before = row[j+1]
			row[j+1] = min(cost, row[j]+1, before+1)
		}
	}
	return row[len(b)]
}

// thousands writes a number for reading: 20,000.
func thousands[T int | int64 | uint64](n T) string { return results.Thousands(fmt.Sprint(n)) }
