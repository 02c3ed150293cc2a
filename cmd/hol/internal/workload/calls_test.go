package workload

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

func TestRPC(t *testing.T) {
	rpc := func(d lab.Direction) lab.Run {
		run := small()
		run.Direction = d
		run.Workload.Kind = lab.RPC
		return run
	}
	for _, d := range []lab.Direction{lab.Down, lab.Up} {
		t.Run("latency counts to the response, "+string(d), func(t *testing.T) {
			run := rpc(d)
			f := &fake{traits: tcp, delay: 25 * ms, think: 3 * ms}
			var sizes []int
			f.callSizes = func(request, response int) { sizes = append(sizes, request, response) }
			bubble(t, f, run, func(o Outcome, err error) {
				if err != nil {
					t.Fatal(err)
				}
				wantSamples(t, o.Samples, all(run, 53*ms))
			})
			// Calls are staggered, so they are known by their order.
			s := newSchedule(run.Workload, run.Seed)
			var want []int
			for sequence := range 6 {
				for channel := range 2 {
					if size := s.size(channel, sequence); d == lab.Down {
						want = append(want, HeaderSize, size)
					} else {
						want = append(want, size, HeaderSize)
					}
				}
			}
			if !slices.Equal(sizes, want) {
				t.Errorf("sizes %v, not %v", sizes, want)
			}
			var order []int
			for n := range 12 {
				order = append(order, n)
			}
			if !slices.Equal(f.calls, order) {
				t.Errorf("calls %v, not %v", f.calls, order)
			}
		})
	}
	t.Run("a late call holds up no other", func(t *testing.T) {
		run := rpc(lab.Down)
		f := &fake{traits: tcp, delay: 25 * ms}
		f.callFate = func(h header) time.Duration {
			if h.channel == 1 && h.sequence == 2 {
				return 100 * ms
			}
			return 0
		}
		bubble(t, f, run, func(o Outcome, err error) {
			if err != nil {
				t.Fatal(err)
			}
			want := all(run, 50*ms)
			want[4].Latency = 150 * ms
			wantSamples(t, o.Samples, want)
		})
	})
	t.Run("a call without a response is undelivered", func(t *testing.T) {
		run := rpc(lab.Down)
		f := &fake{traits: tcp, delay: 25 * ms}
		f.callFate = func(h header) time.Duration {
			if h.channel == 0 && h.sequence == 5 {
				return time.Hour
			}
			return 0
		}
		bubble(t, f, run, func(o Outcome, err error) {
			if err != nil {
				t.Fatal(err)
			}
			want := all(run, 50*ms)
			want[3].Latency = lab.Undelivered
			wantSamples(t, o.Samples, want)
		})
	})
	t.Run("calls under way are bounded", func(t *testing.T) {
		run := rpc(lab.Down)
		run.Workload.Channels = 100
		run.Workload.Interval = ms
		run.Workload.Warmup = 0
		run.Workload.Duration = 100 * ms // 10,000 calls
		f := &fake{traits: tcp, delay: 500 * ms}
		var under, most atomic.Int64
		f.calling = func(change int64) { most.Store(max(most.Load(), under.Add(change))) }
		bubble(t, f, run, func(o Outcome, err error) {
			if err != nil {
				t.Fatal(err)
			}
			// The first 4,096 are under way after 41 ms; the next begin when they end.
			if most.Load() != maxCalls {
				t.Errorf("%d calls at once, not %d", most.Load(), maxCalls)
			}
			waited := 0
			for _, s := range o.Samples {
				if s.Waited > 0 {
					waited++
				}
			}
			if waited == 0 || len(o.Samples) != 10_000 {
				t.Errorf("%d of %d samples waited", waited, len(o.Samples))
			}
		})
	})
	t.Run("failures", func(t *testing.T) {
		for _, c := range []struct {
			name   string
			answer func(m []byte) []byte
			want   string
		}{
			{"none", func(m []byte) []byte { return nil }, "call 0 of channel 0: no response"},
			{"short", func(m []byte) []byte { return m[:len(m)-1] }, "call 0 of channel 0: the response is not that of the call"},
			{"of another call", func(m []byte) []byte {
				m[7]++
				return m
			}, "call 0 of channel 0: the response is not that of the call"},
			{"foreign", func(m []byte) []byte { return []byte("hi") }, "call 0 of channel 0: a message that the workload did not send"},
		} {
			f := &fake{traits: tcp, delay: ms, answer: c.answer}
			bubble(t, f, rpc(lab.Down), func(o Outcome, err error) {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: %v, not %s", c.name, err, c.want)
				}
			})
		}
	})
	t.Run("a foreign request", func(t *testing.T) {
		good := header{kind: request, answer: HeaderSize}
		for name, h := range map[string]header{
			"of another kind":       {kind: update, answer: HeaderSize},
			"a small answer":        {kind: request, answer: HeaderSize - 1},
			"an answer beyond call": {kind: request, answer: adapter.MaxCall + 1},
		} {
			var failed error
			s := &session{cancel: func(err error) { failed = err }}
			m := newMessage(HeaderSize)
			good.put(m)
			if len(s.handle(m)) != HeaderSize || failed != nil {
				t.Fatalf("refused: %v", failed)
			}
			h.put(m)
			if s.handle(m) != nil || failed == nil || !strings.Contains(failed.Error(), errForeign.Error()) {
				t.Errorf("%s: %v", name, failed)
			}
		}
	})
}

func TestPage(t *testing.T) {
	run := func(d lab.Direction) lab.Run {
		return lab.Run{Direction: d, Workload: lab.Workload{
			Kind: lab.Page, Channels: 8, Objects: []int{100, 5000, 200_000},
			Warmup: 100 * ms, Duration: 150 * ms, Drain: 200 * ms,
		}}
	}
	// The second object takes longer.
	slow := func(h header) time.Duration { return time.Duration(h.channel%2) * 20 * ms }
	samples := func(started, first, second time.Duration) []lab.Sample {
		return []lab.Sample{
			{Channel: 0, Scheduled: started, Latency: first, Size: 100},
			{Channel: 1, Scheduled: started, Latency: second, Size: 5000},
			{Channel: 2, Scheduled: started, Latency: first, Size: 200_000},
		}
	}
	t.Run("objects down", func(t *testing.T) {
		f := &fake{traits: tcp, delay: 20 * ms, callFate: slow}
		var sizes []int
		f.callSizes = func(request, response int) { sizes = append(sizes, request, response) }
		bubble(t, f, run(lab.Down), func(o Outcome, err error) {
			if err != nil {
				t.Fatal(err)
			}
			// A page takes 60 ms: pages begin at 0, 60, 120, 180, 240 ms, measured are
			// those from 100 to 250.
			wantSamples(t, o.Samples, slices.Concat(samples(20*ms, 40*ms, 60*ms), samples(80*ms, 40*ms, 60*ms), samples(140*ms, 40*ms, 60*ms)))
			wantSamples(t, o.Pages, []lab.Sample{
				{Scheduled: 20 * ms, Latency: 60 * ms, Size: 205_100},
				{Scheduled: 80 * ms, Latency: 60 * ms, Size: 205_100},
				{Scheduled: 140 * ms, Latency: 60 * ms, Size: 205_100},
			})
			if o.Arrived != 3*205_100 { // from 100 to 240 ms
				t.Errorf("%d bytes arrived", o.Arrived)
			}
			slices.Sort(sizes)
			slices.Sort(f.calls)
		})
		want := slices.Repeat([]int{HeaderSize}, 15)
		for _, size := range run(lab.Down).Workload.Objects {
			want = append(want, slices.Repeat([]int{size}, 5)...)
		}
		if !slices.Equal(sizes, want) {
			t.Errorf("sizes %v, not %v", sizes, want)
		}
		if calls := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}; !reflect.DeepEqual(f.calls, calls) {
			t.Errorf("calls %v, not %v", f.calls, calls)
		}
	})
	t.Run("uploads are there when the server has them", func(t *testing.T) {
		f := &fake{traits: tcp, delay: 20 * ms, callFate: slow}
		bubble(t, f, run(lab.Up), func(o Outcome, err error) {
			if err != nil {
				t.Fatal(err)
			}
			wantSamples(t, o.Samples, slices.Concat(samples(20*ms, 20*ms, 40*ms), samples(80*ms, 20*ms, 40*ms), samples(140*ms, 20*ms, 40*ms)))
			wantSamples(t, o.Pages, []lab.Sample{
				{Scheduled: 20 * ms, Latency: 40 * ms, Size: 205_100},
				{Scheduled: 80 * ms, Latency: 40 * ms, Size: 205_100},
				{Scheduled: 140 * ms, Latency: 40 * ms, Size: 205_100},
			})
			if o.Arrived != 2*205_100+5000 { // and the slow object of the page before
				t.Errorf("%d bytes arrived", o.Arrived)
			}
		})
	})
	t.Run("a page that is not whole at the end is undelivered", func(t *testing.T) {
		f := &fake{traits: tcp, delay: 20 * ms}
		f.callFate = func(h header) time.Duration {
			if h.sequence == 4 && h.channel == 1 {
				return time.Hour
			}
			return slow(h)
		}
		bubble(t, f, run(lab.Down), func(o Outcome, err error) {
			if err != nil {
				t.Fatal(err)
			}
			want := samples(140*ms, 40*ms, lab.Undelivered)
			wantSamples(t, o.Samples[6:], want)
			wantSamples(t, o.Pages[2:], []lab.Sample{{Scheduled: 140 * ms, Latency: lab.Undelivered, Size: 205_100}})
		})
	})
	t.Run("the run ends with the last page", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			f := &fake{traits: tcp, delay: 20 * ms, callFate: slow}
			if _, err := play(t.Context(), f.adapter(), adapter.Env{}, run(lab.Down), Marks{}, newTimer); err != nil {
				t.Fatal(err)
			}
			if took, want := time.Since(begun), 60*ms+lead+300*ms; took != want {
				t.Errorf("took %v, not %v", took, want)
			}
		})
	})
	t.Run("there is one page although it begins late", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			f := &fake{traits: tcp, delay: 20 * ms}
			s := &session{run: run(lab.Down), base: time.Now().Add(-time.Second), cancel: cancel, complete: make(chan struct{})}
			server, err := f.adapter().Listen(ctx, adapter.Env{Handle: s.handle})
			if err != nil {
				t.Fatal(err)
			}
			s.client = server.(*fakeServer).client
			s.requestPages(ctx, 50*ms, MaxMessages)
			objects, pages := s.pages.collect(0, s.run.Workload)
			if err := context.Cause(ctx); err != nil || len(pages) != 1 || pages[0].Latency != 40*ms || len(objects) != 3 {
				t.Errorf("%+v, %+v, %v", pages, objects, err)
			}
		})
	})
	t.Run("objects are bounded", func(t *testing.T) {
		for bound, want := range map[int]string{
			8: "objects of all pages: more than 8 arrived: shorten the duration or ask for larger ones",
			9: "",
		} {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				// Three pages of three.
				f := &fake{traits: tcp, delay: 20 * ms}
				s := &session{run: run(lab.Down), base: time.Now(), cancel: cancel, complete: make(chan struct{})}
				server, err := f.adapter().Listen(ctx, adapter.Env{Handle: s.handle})
				if err != nil {
					t.Fatal(err)
				}
				s.client = server.(*fakeServer).client
				s.requestPages(ctx, 3*40*ms, bound)
				if err := context.Cause(ctx); err != nil && err.Error() != want || err == nil && want != "" {
					t.Errorf("%v, not %q", err, want)
				}
				cancel(nil)
			})
		}
	})
	t.Run("failures", func(t *testing.T) {
		f := &fake{traits: tcp, answer: func(m []byte) []byte { return m[:HeaderSize] }}
		bubble(t, f, run(lab.Down), func(o Outcome, err error) {
			if want := " of page 1: the response is not that of the call"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, not %s", err, want)
			}
		})
		var l pageList
		l.add(0, 2)
		for _, h := range []header{{sequence: 1}, {channel: 2}} {
			if err := l.arrived(h, 0); err != errForeign {
				t.Errorf("%+v: %v", h, err)
			}
		}
		if err := l.arrived(header{}, 0); err != nil {
			t.Error(err)
		}
		if err := l.arrived(header{}, 0); err == nil || err.Error() != "it came twice" {
			t.Errorf("%v", err)
		}
	})
}
