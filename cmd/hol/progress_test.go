package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
	"github.com/towpath-go/towpath/cmd/hol/internal/plan"
)

// shown is what a progress of ten runs writes. The study takes a second a run.
func shown(t *testing.T, terminal, quiet bool, width int) string {
	var b strings.Builder
	synctest.Test(t, func(t *testing.T) {
		p := newProgress(&b, terminal, quiet, func() int { return width })
		event := func(kind plan.Kind, done int, r lab.Result) {
			p.event(plan.Event{Kind: kind, Result: r, Done: done, Total: 10, Left: time.Duration(10-done) * time.Second})
		}
		run := lab.Run{Transport: "ws-one", Direction: lab.Down, Seed: 3, Workload: lab.Workload{Kind: lab.Updates}, Link: lab.Link{Loss: 0.02}}
		event(plan.Begin, 0, lab.Result{})
		time.Sleep(1500 * time.Millisecond)
		event(plan.Done, 1, lab.Result{})
		event(plan.Repeat, 1, lab.Result{Run: run, Rejected: "late"})
		event(plan.Failed, 2, lab.Result{Run: run, Failed: "no answer"})
		p.say("%d words", 2)
		event(plan.Done, 10, lab.Result{})
		p.stop()
	})
	return b.String()
}

func TestProgressOnATerminal(t *testing.T) {
	const clear = "\x1b[K"
	bar := func(full, empty int, text string) string {
		return "\r[" + strings.Repeat("#", full) + strings.Repeat("-", empty) + "]" + text + clear
	}
	want := bar(0, 54, " 0/10 runs, 10 s left") + // at 80 columns, three stay free
		bar(0, 55, " 0/10 runs, 9 s left") +
		bar(5, 50, " 1/10 runs, 9 s left") +
		"\r" + clear + "hol: ws-one, updates down, 2 % loss, seed 3: rejected, will be repeated: late\n" +
		bar(4, 39, " 1/10 runs, 1 rejected, 9 s left") +
		"\r" + clear + "hol: ws-one, updates down, 2 % loss, seed 3: failed: no answer\n" +
		bar(6, 27, " 2/10 runs, 1 rejected, 1 failed, 8 s left") +
		"\r" + clear + "hol: 2 words\n" +
		bar(6, 27, " 2/10 runs, 1 rejected, 1 failed, 8 s left") +
		bar(42, 0, " 10/10 runs, 1 rejected, 1 failed") +
		"\r" + clear
	for _, width := range []int{80, 200} {
		if got := shown(t, true, false, width); got != want {
			t.Errorf("width %d:\ngot  %q\nwant %q", width, got, want)
		}
	}
	// Where there is no room for a bar, nothing is wrapped.
	for line := range strings.SplitSeq(shown(t, true, false, 20), "\r") {
		line, _, _ = strings.Cut(line, clear)
		if len(line) > 17 {
			t.Errorf("%q is wider than 17 columns", line)
		}
	}
}

func TestProgressElsewhere(t *testing.T) {
	want := `hol: 1 of 10 runs, 9 s left
hol: ws-one, updates down, 2 % loss, seed 3: rejected, will be repeated: late
hol: ws-one, updates down, 2 % loss, seed 3: failed: no answer
hol: 2 of 10 runs, 1 rejected, 1 failed, 8 s left
hol: 2 words
hol: 10 of 10 runs, 1 rejected, 1 failed
`
	if got := shown(t, false, false, 80); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	for _, terminal := range []bool{true, false} {
		if got := shown(t, terminal, true, 80); got != "hol: 2 words\n" {
			t.Errorf("quiet: %q", got)
		}
	}
}

func TestRoughly(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 1400 * time.Millisecond: "1 s", 59 * time.Second: "59 s", time.Minute: "1 min", 110 * time.Second: "1 min 50 s",
		599 * time.Second: "9 min 59 s", 600 * time.Second: "10 min", 3569 * time.Second: "59 min", 3599 * time.Second: "60 min",
		time.Hour: "1 h", 6*time.Hour + 40*time.Minute: "6 h 40 min",
	} {
		if got := roughly(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
