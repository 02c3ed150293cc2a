package workload

import (
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

func TestValidate(t *testing.T) {
	updates := lab.Workload{
		Kind: lab.Updates, Channels: 8, Interval: 20 * time.Millisecond, MinSize: 150, MaxSize: 250,
		Warmup: time.Second, Duration: 20 * time.Second, Drain: time.Second,
	}
	pages := lab.Workload{Kind: lab.Page, Channels: 8, Objects: []int{20, 1 << 20}, Duration: time.Second}
	for _, w := range []lab.Workload{
		updates, pages,
		{Kind: lab.RPC, Channels: 1, Interval: MaxInterval, MinSize: 20, MaxSize: 64 << 10, Duration: MaxDuration},
		{Kind: lab.Mixed, Channels: 256, Interval: MinInterval, MinSize: 20, MaxSize: 20, Duration: MinDuration, Warmup: 0},
		{Kind: lab.Updates, Channels: 1, Interval: MinInterval, MinSize: 20, MaxSize: 20, Duration: 999 * time.Second, Warmup: time.Second, Drain: MaxDrain},
	} {
		if err := Validate(w); err != nil {
			t.Errorf("%+v: %v", w, err)
		}
	}
	for _, c := range []struct {
		from   lab.Workload
		change func(w *lab.Workload)
		want   string
	}{
		{updates, func(w *lab.Workload) { w.Kind = "chat" }, `workload: "chat" is none of updates, mixed, page, rpc`},
		{updates, func(w *lab.Workload) { w.Channels = 0 }, "channels: 0 is not within 1 to 256"},
		{pages, func(w *lab.Workload) { w.Channels = 257 }, "channels: 257 is not within 1 to 256"},
		{updates, func(w *lab.Workload) { w.Interval = time.Millisecond - 1 }, "interval: 999.999µs is not within 1ms to 1m0s"},
		{updates, func(w *lab.Workload) { w.Interval = time.Minute + 1 }, "interval: 1m0.000000001s is not within 1ms to 1m0s"},
		{updates, func(w *lab.Workload) { w.MinSize = 19 }, "smallest size: 19 is not within 20 to 65536"},
		{updates, func(w *lab.Workload) { w.MaxSize = 149 }, "largest size: 149 is not within 150 to 65536"},
		{updates, func(w *lab.Workload) { w.MaxSize = 64<<10 + 1 }, "largest size: 65537 is not within 150 to 65536"},
		{updates, func(w *lab.Workload) { w.Warmup = -1 }, "warm-up: -1ns is not within 0s to 10m0s"},
		{updates, func(w *lab.Workload) { w.Warmup = MaxWarmup + 1 }, "warm-up: 10m0.000000001s is not within 0s to 10m0s"},
		{updates, func(w *lab.Workload) { w.Duration = 0 }, "duration: 0s is not within 10ms to 1h0m0s"},
		{updates, func(w *lab.Workload) { w.Duration = MaxDuration + 1 }, "duration: 1h0m0.000000001s is not within 10ms to 1h0m0s"},
		{updates, func(w *lab.Workload) { w.Drain = -1 }, "drain: -1ns is not within 0s to 10m0s"},
		{updates, func(w *lab.Workload) { w.Drain = MaxDrain + 1 }, "drain: 10m0.000000001s is not within 0s to 10m0s"},
		{pages, func(w *lab.Workload) { w.Objects = nil }, "objects of a page: 0 is not within 1 to 256"},
		{pages, func(w *lab.Workload) { w.Objects = make([]int, 257) }, "objects of a page: 257 is not within 1 to 256"},
		{pages, func(w *lab.Workload) { w.Objects = []int{20, 19} }, "size of object 2: 19 is not within 20 to 1048576"},
		{pages, func(w *lab.Workload) { w.Objects = []int{1<<20 + 1} }, "size of object 1: 1048577 is not within 20 to 1048576"},
		{
			updates, func(w *lab.Workload) {
				w.Interval, w.Channels, w.Duration, w.Warmup = time.Millisecond, 100, 10*time.Second, time.Millisecond
			},
			"messages of all channels: 1000100 is not within 1 to 1000000: lengthen the interval or shorten the duration",
		},
	} {
		w := c.from
		c.change(&w)
		if err := Validate(w); err == nil || err.Error() != c.want {
			t.Errorf("%v, not %s", err, c.want)
		}
	}
}

func TestFits(t *testing.T) {
	unreliable := adapter.Adapter{Name: "d", Title: "Datagrams"}
	streams := adapter.Adapter{Name: "s", Title: "Streams", Traits: adapter.Traits{Reliable: true, Calls: true}}
	large := lab.Workload{Kind: lab.Updates, MaxSize: adapter.MaxDatagram + 1}
	fits := lab.Workload{Kind: lab.Mixed, MaxSize: adapter.MaxDatagram}
	for _, c := range []struct {
		a    adapter.Adapter
		w    lab.Workload
		want string
	}{
		{streams, large, ""},
		{streams, lab.Workload{Kind: lab.Page}, ""},
		{unreliable, fits, ""},
		{unreliable, large, "d: largest size: 1101 is not within 20 to 1100"},
		{unreliable, lab.Workload{Kind: lab.Page}, "d: page needs an answer to every call"},
		{unreliable, lab.Workload{Kind: lab.RPC}, "d: rpc needs an answer to every call"},
	} {
		err := Fits(c.a, c.w)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)) {
			t.Errorf("%s, %+v: %v, not %q", c.a.Name, c.w, err, c.want)
		}
	}
}
