package workload

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

func TestWakes(t *testing.T) {
	add := func(w *wakes, late time.Duration, times int) {
		for range times {
			w.add(late)
		}
	}
	t.Run("none", func(t *testing.T) {
		if got := new(wakes).lateness(); got != (lab.Lateness{}) {
			t.Errorf("%+v", got)
		}
	})
	t.Run("one", func(t *testing.T) {
		var w wakes
		w.add(70 * time.Microsecond)
		want := lab.Lateness{Mean: 70 * time.Microsecond, P99: 70 * time.Microsecond, Max: 70 * time.Microsecond}
		if got := w.lateness(); got != want {
			t.Errorf("%+v, not %+v", got, want)
		}
	})
	t.Run("one in a hundred may be later", func(t *testing.T) {
		var w wakes
		add(&w, 120*time.Microsecond, 99)
		w.add(20 * ms)
		want := lab.Lateness{Mean: 318800 * time.Nanosecond, P99: 150 * time.Microsecond, Max: 20 * ms}
		if got := w.lateness(); got != want {
			t.Errorf("%+v, not %+v", got, want)
		}
	})
	t.Run("beyond the last step", func(t *testing.T) {
		var w wakes
		add(&w, time.Second, 2)
		add(&w, 3*time.Second, 2)
		want := lab.Lateness{Mean: 2 * time.Second, P99: 3 * time.Second, Max: 3 * time.Second}
		if got := w.lateness(); got != want {
			t.Errorf("%+v, not %+v", got, want)
		}
	})
	// A machine that stands still from 50 to 90 ms after the first message: who
	// was to be woken meanwhile is late, and sends late.
	still := func(t *testing.T, run lab.Run) (Outcome, error) {
		return play(t.Context(), (&fake{traits: tcp, delay: 25 * ms}).adapter(), adapter.Env{}, run, Marks{},
			func(ctx context.Context, base time.Time) (alarm, error) {
				// The set-up takes 75 ms, and 20 are between it and the first message.
				return stopped{timer{ctx, base}, 95*ms + 50*ms, 95*ms + 90*ms}, nil
			})
	}
	t.Run("senders", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			run := small()
			o, err := still(t, run)
			if err != nil {
				t.Fatal(err)
			}
			if want := 40 * ms; o.Wakes.Max != want { // the message and the watch of 50 ms
				t.Errorf("%+v, not %v", o.Wakes, want)
			}
			want := all(run, 25*ms)
			for _, c := range []struct {
				index int
				late  time.Duration
			}{{1, 30 * ms}, {2, 10 * ms}, {4, 40 * ms}, {5, 20 * ms}} {
				want[c.index].Waited = c.late
				want[c.index].Latency += c.late
			}
			wantSamples(t, o.Samples, want)
		})
	})
	t.Run("before the first time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			o, err := play(t.Context(), (&fake{traits: tcp, delay: 25 * ms}).adapter(), adapter.Env{}, small(), Marks{},
				func(ctx context.Context, base time.Time) (alarm, error) {
					time.Sleep(lead + 40*ms) // of the bubble
					return newTimer(ctx, base)
				})
			if want := 40 * ms; err != nil || o.Wakes.Max != want {
				t.Errorf("%+v, %v, not %v", o.Wakes, err, want)
			}
		})
	})
	t.Run("without timed messages", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			run := small()
			run.Workload.Kind = lab.Page
			run.Workload.Objects = []int{100}
			o, err := still(t, run)
			if want := 40 * ms; err != nil || o.Wakes.Max != want {
				t.Errorf("%+v, %v, not %v", o.Wakes, err, want)
			}
		})
	})
}

// stopped is an alarm that wakes nobody from one time until another.
type stopped struct {
	timer
	from, to time.Duration
}

func (s stopped) wait(until time.Duration) error {
	if until >= s.from && until < s.to {
		until = s.to
	}
	return s.timer.wait(until)
}

func TestAlarm(t *testing.T) {
	base := time.Now()
	a, err := newAlarm(t.Context(), base)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	t.Run("never early", func(t *testing.T) {
		for range 20 {
			until := time.Since(base) + 2*ms
			if err := a.wait(until); err != nil {
				t.Fatal(err)
			}
			if now := time.Since(base); now < until {
				t.Errorf("woken %v early", until-now)
			}
		}
	})
	t.Run("a time that is past", func(t *testing.T) {
		if err := a.wait(0); err != nil {
			t.Error(err)
		}
	})
	t.Run("the context ends a wait, and those after it", func(t *testing.T) {
		errEnd := errors.New("end")
		ctx, cancel := context.WithCancelCause(t.Context())
		a, err := newAlarm(ctx, base)
		if err != nil {
			t.Fatal(err)
		}
		defer a.close()
		waited := make(chan error, 1)
		go func() { waited <- a.wait(time.Since(base) + time.Hour) }()
		cancel(errEnd)
		if err := <-waited; err != errEnd {
			t.Errorf("%v", err)
		}
		if err := a.wait(0); err != errEnd {
			t.Errorf("%v", err)
		}
	})
}
