package stats

import (
	"testing"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// lossy is a run of two seconds in which the messages scheduled in [from, from +
// length) after each drop are late.
func lossy(transport string, loss float64, seed uint64, length time.Duration, drops ...time.Duration) lab.Result {
	run := ordinary(transport, loss, seed)
	run.Workload.Duration = 2 * time.Second
	r := result(run, onTime)
	for _, at := range drops {
		r.Drops = append(r.Drops, lab.Drop{Direction: lab.Down, At: at, Bytes: 300})
		for i := range r.Samples {
			if s := &r.Samples[i]; s.Scheduled >= at && s.Scheduled < at+length {
				s.Latency = 60 * ms
			}
		}
	}
	return r
}

func TestTimelineIsATypicalLoss(t *testing.T) {
	// The drops at 300, 800 and 1,400 ms can be shown; those at 50 and 1,850 ms
	// not, because a part of what is about them was not measured.
	r := lossy("x", .01, 1, 0, 50*ms, 300*ms, 800*ms, 1400*ms, 1850*ms)
	late := func(from, length time.Duration) {
		for i := range r.Samples {
			if s := &r.Samples[i]; s.Scheduled >= from && s.Scheduled < from+length {
				s.Latency = 60 * ms
			}
		}
	}
	late(300*ms, 10*ms)                                                   // 2 messages
	late(800*ms, 40*ms)                                                   // 8
	late(1400*ms, 20*ms)                                                  // 4: the median
	r.Drops = append(r.Drops, lab.Drop{Direction: lab.Up, At: 1410 * ms}) // in the other direction
	tl, ok := timeline(&r)
	if !ok || tl.From != 1300*ms || tl.To != 1800*ms {
		t.Fatalf("from %v to %v (%v)", tl.From, tl.To, ok)
	}
	if tl.Transport != "x" || tl.Seed != 1 || tl.Channels != 4 || tl.Condition.Link.Loss != .01 {
		t.Errorf("%+v", tl)
	}
	if len(tl.Drops) != 2 || tl.Drops[0].At != 1400*ms || tl.Drops[1].Direction != lab.Up {
		t.Errorf("drops %+v", tl.Drops)
	}
	// 100 in the window, and 5 that were sent up to 25 ms before and arrived in it.
	if len(tl.Samples) != 105 || tl.Samples[0].Scheduled != 1275*ms || tl.Samples[104].Scheduled != 1795*ms {
		t.Errorf("%d samples, from %v on", len(tl.Samples), tl.Samples[0].Scheduled)
	}
}

func TestTimelinePrefersALossAlone(t *testing.T) {
	r := lossy("x", .01, 1, 20*ms, 400*ms, 450*ms, 1200*ms)
	if tl, ok := timeline(&r); !ok || tl.From != 1100*ms {
		t.Errorf("from %v (%v)", tl.From, ok)
	}
	// Where every loss has others near it, those with the fewest.
	r = lossy("x", .01, 1, 20*ms, 300*ms, 310*ms, 320*ms, 1200*ms, 1210*ms)
	if tl, ok := timeline(&r); !ok || tl.From < 1100*ms {
		t.Errorf("from %v (%v)", tl.From, ok)
	}
}

// What was lost in the two round trips before is still being waited for.
func TestTimelineCountsLossesShortlyBefore(t *testing.T) {
	for before, want := range map[time.Duration]time.Duration{
		499 * ms: 600 * ms,  // too early to matter to the drop at 700 ms, of more consequence
		501 * ms: 1400 * ms, // so that only the drop at 1,500 ms is alone
	} {
		r := lossy("x", .01, 1, 20*ms, 1500*ms)
		for i := range r.Samples {
			if s := &r.Samples[i]; s.Scheduled >= 700*ms && s.Scheduled < 740*ms {
				s.Latency = 60 * ms
			}
		}
		r.Drops = append(r.Drops, lab.Drop{Direction: lab.Down, At: before}, lab.Drop{Direction: lab.Down, At: 700 * ms})
		if tl, ok := timeline(&r); !ok || tl.From != want {
			t.Errorf("with a drop at %v from %v (%v), want %v", before, tl.From, ok, want)
		}
	}
}

func TestNoTimeline(t *testing.T) {
	undelivered := lossy("x", .01, 1, 0, 700*ms)
	if _, ok := timeline(&undelivered); ok {
		t.Error("of a run in which nobody waited")
	}
	for i := range undelivered.Samples {
		if undelivered.Samples[i].Scheduled == 700*ms {
			undelivered.Samples[i].Latency = lab.Undelivered
		}
	}
	if _, ok := timeline(&undelivered); !ok {
		t.Error("none of a run in which a message was lost")
	}
	up := lossy("x", .01, 1, 20*ms, 700*ms)
	up.Drops[0].Direction = lab.Up
	if _, ok := timeline(&up); ok {
		t.Error("of a packet in the other direction")
	}
	page := lossy("x", .01, 1, 20*ms, 700*ms)
	page.Run.Workload.Kind = lab.Page
	clean := lossy("x", 0, 1, 20*ms, 700*ms)
	failed := lab.Result{Run: ordinary("x", .01, 1), Failed: "no answer"}
	if got := Assemble([]lab.Result{page, clean, failed}).Timelines; len(got) != 0 {
		t.Errorf("%d timelines of a page, of a control, of a run that failed", len(got))
	}
}

func TestTimelinesAreOfTheSameLosses(t *testing.T) {
	type want struct {
		transport string
		loss      float64
		seed      uint64
	}
	for _, c := range []struct {
		name    string
		results []lab.Result
		want    []want
	}{
		{"the smallest seed and loss", []lab.Result{
			lossy("a", .02, 1, 20*ms, 700*ms), lossy("a", .01, 2, 20*ms, 700*ms), lossy("a", .01, 1, 20*ms, 700*ms),
			lossy("b", .01, 1, 20*ms, 700*ms), lossy("b", .02, 1, 20*ms, 700*ms),
		}, []want{{"a", .01, 1}, {"b", .01, 1}}},
		{"the condition that most have", []lab.Result{
			lossy("a", .02, 1, 20*ms, 700*ms), lossy("a", .01, 1, 20*ms, 700*ms), lossy("b", .02, 1, 20*ms, 700*ms),
		}, []want{{"a", .02, 1}, {"b", .02, 1}}},
		{"the seed in which most have something", []lab.Result{
			lossy("a", .01, 1, 20*ms, 700*ms), lossy("a", .01, 2, 20*ms, 700*ms),
			lossy("b", .01, 1, 20*ms), lossy("b", .01, 2, 20*ms, 700*ms),
		}, []want{{"a", .01, 2}, {"b", .01, 2}}},
		{"another seed where there is nothing else", []lab.Result{
			lossy("a", .01, 3, 20*ms, 700*ms), lossy("b", .01, 3, 20*ms, 700*ms),
			lossy("c", .01, 3, 20*ms), lossy("c", .01, 5, 20*ms, 700*ms), lossy("d", .01, 3, 20*ms),
		}, []want{{"a", .01, 3}, {"b", .01, 3}, {"c", .01, 5}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Assemble(c.results).Timelines
			if len(got) != len(c.want) {
				t.Fatalf("%d timelines, want %d", len(got), len(c.want))
			}
			for i, w := range c.want {
				if g := got[i]; (want{g.Transport, g.Condition.Link.Loss, g.Seed}) != w {
					t.Errorf("%s at %v with seed %d, want %+v", g.Transport, g.Condition.Link.Loss, g.Seed, w)
				}
			}
		})
	}
}
