package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/towpath-go/towpath/e2e/bench/internal/measure"
	"github.com/towpath-go/towpath/e2e/bench/internal/peer"
)

const help = `Usage: bench [flags]

Measure Towpath beside the libraries that a Go program would use in its place, on
this machine's loopback: throughput, latency, streams, messages, datagrams, dials,
memory. Every result is compared with crypto/tls (streams, messages and datagrams
with quic-go) measured right before and after in the same round. The exit status
is 0 if everything was measured, 1 if something was not, 2 if the command line is
wrong.

What to measure
  -peers LIST        with commas (all)
  -bench LIST        with commas (all)
  -list              list both, and end
  -rounds N          (5)
  -duration TIME     of one measurement (1s)
  -quick             one round of 50 ms each: to see that it works
  -alone             without the reference, and so without ratios

Results
  -markdown FILE     tables, to a file instead of the standard output
  -json FILE         everything, for go run -C e2e ./bench/document
  -cpuprofile FILE   a CPU profile; wants one of -peers and one of -bench, and
                     implies -alone
  -memprofile FILE   the same, of where memory was allocated
`

// options are the command line.
type options struct {
	plan                   measure.Plan
	list, help, quick      bool
	json, markdown         string
	cpuprofile, memprofile string
	args                   []string
}

var names = []string{"peers", "bench", "list", "rounds", "duration", "quick", "alone", "markdown", "json", "cpuprofile", "memprofile", "help"}

// parse reads the command line.
func parse(args []string) (options, error) {
	o := options{args: args}
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.Usage = func() {}
	peers := f.String("peers", "", "")
	benches := f.String("bench", "", "")
	f.IntVar(&o.plan.Rounds, "rounds", 5, "")
	duration := f.Duration("duration", time.Second, "")
	f.BoolVar(&o.plan.Alone, "alone", false, "")
	f.BoolVar(&o.quick, "quick", false, "")
	f.BoolVar(&o.list, "list", false, "")
	f.StringVar(&o.json, "json", "", "")
	f.StringVar(&o.markdown, "markdown", "", "")
	f.StringVar(&o.cpuprofile, "cpuprofile", "", "")
	f.StringVar(&o.memprofile, "memprofile", "", "")
	f.BoolVar(&o.help, "help", false, "")
	f.BoolVar(&o.help, "h", false, "")
	if err := f.Parse(args); err != nil {
		return o, usageError{mistyped(err)}
	}
	if f.NArg() > 0 {
		return o, usageError{fmt.Errorf("there are no arguments, only flags: what is %q? (see -help)", f.Arg(0))}
	}
	given := make(map[string]bool)
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if o.quick {
		if !given["rounds"] {
			o.plan.Rounds = 1
		}
		if !given["duration"] {
			*duration = 50 * time.Millisecond
		}
	}
	o.plan.Options = times(*duration, o.quick)
	o.plan.Peers, o.plan.Benches = peer.All(), measure.All()
	var err error
	if given["peers"] {
		if o.plan.Peers, err = peer.Select(*peers); err != nil {
			return o, usageError{err}
		}
	}
	if given["bench"] {
		if o.plan.Benches, err = measure.Select(*benches); err != nil {
			return o, usageError{err}
		}
	}
	return o, o.check(*duration)
}

// check says what is wrong with options.
func (o *options) check(duration time.Duration) error {
	switch {
	case o.plan.Rounds < 1:
		return usageError{fmt.Errorf("-rounds %d: give 1 or more", o.plan.Rounds)}
	case duration < time.Millisecond:
		return usageError{fmt.Errorf("-duration %v is too short to see anything: give 1ms or more", duration)}
	}
	if o.cpuprofile == "" && o.memprofile == "" {
		return nil
	}
	o.plan.Alone = true
	if len(o.plan.Peers) != 1 || len(o.plan.Benches) != 1 {
		return usageError{errors.New("a profile is of one peer and one benchmark: name them with -peers and -bench")}
	}
	if o.plan.Benches[0].Steady {
		return usageError{fmt.Errorf("%s runs in processes of its own, of which there is no profile", o.plan.Benches[0].Name)}
	}
	return nil
}

// times are the times of a measurement.
func times(duration time.Duration, quick bool) measure.Options {
	o := measure.Options{Duration: duration, Warmup: min(duration/4, 250*time.Millisecond), Idle: 1000, Settle: time.Second}
	if quick {
		o.Idle, o.Settle = 20, 50*time.Millisecond
	}
	return o
}

// mistyped is package flag's error with a remedy.
func mistyped(err error) error {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		name = strings.TrimLeft(name, "-")
		for _, n := range names {
			if strings.HasPrefix(n, name) || strings.HasPrefix(name, n) {
				return fmt.Errorf("there is no flag -%s: did you mean -%s? (see -help)", name, n)
			}
		}
		return fmt.Errorf("there is no flag -%s (see -help)", name)
	}
	if value, flag, ok := strings.Cut(text, " for flag -"); ok {
		flag, _, _ = strings.Cut(flag, ":")
		value = strings.TrimPrefix(value, "invalid value ")
		want := map[string]string{"duration": "a time like 500ms or 2s", "rounds": "a number like 5"}[flag]
		return fmt.Errorf("-%s %s is not possible: give %s", flag, strings.Trim(value, `"`), want)
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return fmt.Errorf("-%s needs a value (see -help)", name)
	}
	if rest, ok := strings.CutPrefix(text, "invalid boolean value "); ok {
		_, name, _ := strings.Cut(rest, " for -")
		name, _, _ = strings.Cut(name, ":")
		return fmt.Errorf("-%s takes no value (see -help)", name)
	}
	return err
}
