package plan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// lossy are runs with loss, control ones without; what the worker does is the
// transport.
func lossy(what string, seed uint64) lab.Run {
	run := control(what, seed)
	run.Link.Loss = 0.02
	return run
}

func control(what string, seed uint64) lab.Run {
	return lab.Run{
		Transport: what, Seed: seed, Direction: lab.Down,
		Workload: lab.Workload{Kind: lab.Updates, Objects: []int{}}, // is absent in JSON
	}
}

// outcome is a result in short.
func outcome(r lab.Result) string {
	switch {
	case r.Failed != "":
		return "failed: " + r.Failed
	case r.Rejected != "":
		return fmt.Sprintf("rejected: %s (%v, %d samples)", r.Rejected, r.Lateness.Max, len(r.Samples))
	}
	return fmt.Sprintf("%d samples", len(r.Samples))
}

func outcomes(results []lab.Result) []string {
	words := []string{}
	for _, r := range results {
		what, _, _ := strings.Cut(r.Run.Transport, ":")
		words = append(words, fmt.Sprintf("%s %g/%d: %s", what, r.Run.Link.Loss, r.Run.Seed, outcome(r)))
	}
	return words
}

// recorder keeps what happened, without the time.
type recorder struct{ events []string }

func (r *recorder) event(e Event) {
	name := map[Kind]string{Begin: "begin", Done: "done", Repeat: "repeat", Rejected: "rejected", Failed: "failed", LeftOut: "left out"}[e.Kind]
	r.events = append(r.events, fmt.Sprintf("%s %d/%d", name, e.Done, e.Total))
}

// short bounds the runs that hang. Others end long before.
func short(run lab.Run) time.Duration {
	if run.Transport == "hang" || run.Transport == "stuck" {
		return 100 * time.Millisecond
	}
	return time.Minute
}

func execute(t *testing.T, runs []lab.Run, o Options) []string {
	t.Helper()
	results, err := Execute(t.Context(), runs, o)
	if err != nil {
		t.Fatal(err)
	}
	return outcomes(results)
}

func TestWorkersThatFail(t *testing.T) {
	for _, c := range []struct{ what, want string }{
		{"ok", "1 samples"},
		{"prints", "1 samples"},
		{"error", "failed: first line second line"},
		{"panic", "failed: the worker died: exit status 2: panic: on purpose"},
		{"exit", "failed: the worker died: exit status 7: the last words"},
		{"mute", "failed: the worker's result cannot be read: EOF"},
		{"garbage", "failed: the worker's result cannot be read: invalid character 'g' looking for beginning of object key string"},
		{"twice", "failed: the worker wrote more than its result"},
		{"other", "failed: the worker made another run than it was told to"},
		{"hang", "failed: nobody answered"},
		{"stuck", "failed: the run did not end within 5.1s and was killed"},
		{"unheard-of", `failed: the fake worker does not know "unheard-of"`},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			var r recorder
			got := execute(t, []lab.Run{lossy(c.what, 3)}, Options{Limit: short, Progress: r.event})
			if want := c.what + " 0.02/3: " + c.want; len(got) != 1 || got[0] != want {
				t.Errorf("got  %q\nwant %q", got, want)
			}
			last := "failed 1/1"
			if strings.HasSuffix(c.want, " samples") {
				last = "done 1/1"
			}
			if want := []string{"begin 0/1", last}; !slices.Equal(r.events, want) {
				t.Errorf("events %q, want %q", r.events, want)
			}
		})
	}
}

func TestWorkerThatIsKilled(t *testing.T) {
	got := execute(t, []lab.Run{lossy("killed", 1)}, Options{})
	if len(got) != 1 || !strings.HasPrefix(got[0], "killed 0.02/1: failed: the worker died: ") {
		t.Errorf("got %q", got)
	}
}

func TestResultIsBounded(t *testing.T) {
	got := execute(t, []lab.Run{lossy("endless", 1)}, Options{maxResult: 1_000_000})
	if want := []string{"endless 0.02/1: failed: the worker's result is longer than 1000000 bytes"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A run that fails stops no other, and results are in the order of the runs
// however many run at a time.
func TestFailuresStopNothing(t *testing.T) {
	var runs []lab.Run
	var want []string
	for seed := range uint64(8) {
		runs = append(runs, lossy("ok", seed), lossy("error", seed))
		want = append(want, fmt.Sprintf("ok 0.02/%d: 1 samples", seed), fmt.Sprintf("error 0.02/%d: failed: first line second line", seed))
	}
	if got := execute(t, runs, Options{Jobs: 3}); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestRejectedRunsAreRepeated(t *testing.T) {
	again := "reject:" + t.TempDir()
	var r recorder
	got := execute(t, []lab.Run{lossy("rejected", 1), lossy(again, 2), lossy("ok", 3)}, Options{Retries: 2, Progress: r.event})
	rejection := "rejected: the router was late (7ns, 0 samples)"
	want := []string{
		"rejected 0.02/1: " + rejection, "rejected 0.02/1: " + rejection, "rejected 0.02/1: " + rejection,
		"reject 0.02/2: " + rejection, "reject 0.02/2: 1 samples",
		"ok 0.02/3: 1 samples",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	// Repetitions wait until the others have been made.
	events := []string{"begin 0/3", "repeat 0/3", "repeat 0/3", "done 1/3", "repeat 1/3", "done 2/3", "rejected 3/3"}
	if !slices.Equal(r.events, events) {
		t.Errorf("events %q, want %q", r.events, events)
	}
	if got := execute(t, []lab.Run{lossy("rejected", 1)}, Options{}); len(got) != 1 {
		t.Errorf("without retries: %q", got)
	}
}

func TestControlsComeFirst(t *testing.T) {
	runs := []lab.Run{lossy("ok", 1), lossy("error", 1), control("ok", 1), control("error", 1), control("error", 2)}
	var r recorder
	var controls []string
	got := execute(t, runs, Options{Jobs: 2, Progress: r.event, Controls: func(results []lab.Result) error {
		controls = outcomes(results)
		return nil
	}})
	want := []string{
		"ok 0.02/1: 1 samples",
		"error 0.02/1: failed: not made, as it failed without loss: first line second line",
		"ok 0/1: 1 samples", "error 0/1: failed: first line second line", "error 0/2: failed: first line second line",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if !slices.Equal(controls, want[2:]) {
		t.Errorf("Controls was given %q", controls)
	}
	if !slices.Contains(r.events, "left out 4/5") && !slices.Contains(r.events, "left out 5/5") {
		t.Errorf("events %q", r.events)
	}
}

// One control that works is enough.
func TestOneControlOfTwo(t *testing.T) {
	directory := t.TempDir()
	what := "failing:" + directory
	runs := []lab.Run{control(what, 1), control(what, 2), lossy(what, 3)}
	if err := os.WriteFile(directory+"/1", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got := execute(t, runs, Options{})
	want := []string{"failing 0/1: failed: told to", "failing 0/2: 1 samples", "failing 0.02/3: 1 samples"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestControlsEndTheStudy(t *testing.T) {
	unfit := errors.New("unfit")
	results, err := Execute(t.Context(), []lab.Run{control("ok", 1), lossy("ok", 1)}, Options{
		Controls: func([]lab.Result) error { return unfit },
	})
	if err != unfit || !slices.Equal(outcomes(results), []string{"ok 0/1: 1 samples"}) {
		t.Errorf("%v, %q", err, outcomes(results))
	}
	// Controls alone are not judged before their report.
	if _, err := Execute(t.Context(), []lab.Run{control("ok", 1)}, Options{Controls: func([]lab.Result) error { return unfit }}); err != nil {
		t.Error(err)
	}
}

// What was found before the end of the context is kept.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	runs := []lab.Run{lossy("ok", 1), lossy("stuck", 2), lossy("ok", 3)}
	results, err := Execute(ctx, runs, Options{Limit: func(lab.Run) time.Duration { return time.Hour }, Progress: func(e Event) {
		if e.Kind == Done {
			cancel(why) // while the next run begins, or before
		}
	}})
	if err != why || !slices.Equal(outcomes(results), []string{"ok 0.02/1: 1 samples"}) {
		t.Errorf("%v, %q", err, outcomes(results))
	}
}

func TestEnvironment(t *testing.T) {
	for _, c := range []struct{ given, want []string }{
		{nil, []string{"GODEBUG=http2xconnect=1", "TOWPATH_HOL_WORKER=1"}},
		{[]string{"A=b", "GODEBUG="}, []string{"A=b", "GODEBUG=http2xconnect=1", "TOWPATH_HOL_WORKER=1"}},
		{[]string{"TOWPATH_HOL_WORKER=x", "GODEBUG=a=1,b=2"}, []string{"GODEBUG=a=1,b=2,http2xconnect=1", "TOWPATH_HOL_WORKER=1"}},
	} {
		if got := environment(c.given); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.given, got, c.want)
		}
	}
	t.Setenv("GODEBUG", "")
	results, err := Execute(t.Context(), []lab.Run{lossy("environment", 1)}, Options{})
	if err != nil || len(results) != 1 || results[0].CC != "http2xconnect=1" {
		t.Errorf("%v, %+v", err, results)
	}
}

func TestBounded(t *testing.T) {
	b := bounded{max: 5}
	for _, s := range []string{"abc", "def", "g"} {
		if n, err := b.Write([]byte(s)); n != len(s) || err != nil {
			t.Errorf("%q: %d, %v", s, n, err)
		}
	}
	if got := b.kept.String(); got != "abcde" {
		t.Errorf("kept %q", got)
	}
	b = bounded{max: 5, full: errTooLong}
	if n, err := b.Write([]byte("abcde")); n != 5 || err != nil {
		t.Errorf("at the bound: %d, %v", n, err)
	}
	if n, err := b.Write([]byte("f")); n != 0 || err != errTooLong {
		t.Errorf("above the bound: %d, %v", n, err)
	}
}

func TestOneLine(t *testing.T) {
	for in, want := range map[string]string{
		"":                                   "",
		" a\n\tb ":                           "a b",
		strings.Repeat("x", 400):             strings.Repeat("x", 400),
		strings.Repeat("x", 401):             strings.Repeat("x", 400) + "...",
		strings.Repeat("x", 399) + "éy":      strings.Repeat("x", 399) + "...",
		strings.Repeat("x", 398) + "é" + "y": strings.Repeat("x", 398) + "é...",
	} {
		if got := oneLine(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
