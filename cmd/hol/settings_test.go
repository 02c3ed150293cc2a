package main

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// parsed are the settings of a command line that is right.
func parsed(t *testing.T, host host, line string) settings {
	t.Helper()
	var c cli
	if err := parse(&c, strings.Fields(line), streams{}); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	s, err := c.settings(host)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return s
}

func TestDefaults(t *testing.T) {
	s := parsed(t, idle, "")
	want := lab.Run{
		Transport: adapter.All()[0].Name, Direction: lab.Down, Seed: 1, CC: "cubic",
		Workload: lab.Workload{
			Kind: lab.Updates, Channels: 8, Interval: 20 * time.Millisecond, MinSize: 150, MaxSize: 250,
			Warmup: time.Second, Duration: 10 * time.Second, Drain: 2 * time.Second,
		},
		Link:   lab.Link{Delay: 25 * time.Millisecond, MTU: 1500},
		MaxAge: 100 * time.Millisecond, Priorities: true, Realtime: true, MaxLateness: 10 * time.Millisecond,
	}
	runs := s.request.Runs()
	if fmt.Sprint(runs[0]) != fmt.Sprint(want) {
		t.Errorf("got  %+v\nwant %+v", runs[0], want)
	}
	n := len(adapter.All())
	if len(runs) != n*(2+2*5) || s.jobs != 4 || s.retries != 3 {
		t.Errorf("%d runs of %d transports, %d jobs, %d retries", len(runs), n, s.jobs, s.retries)
	}
	if got := strings.Join(s.remarks, "\n"); got != "0 % loss is measured besides, as the control." {
		t.Errorf("remarks %q", got)
	}
}

// Each flag, by what it changes.
func TestFlags(t *testing.T) {
	for _, c := range []struct {
		line string
		get  func(settings) any
		want any
	}{
		{"--seeds 3 --seed 9", seeds, "9 10 11"},
		{"--seed 0 --seeds 1", seeds, "0"},
		{"--controls 4", func(s settings) any { return s.request.Controls }, 4},
		{"--seeds 1", func(s settings) any { return s.request.Controls }, 1},
		{"--quick", func(s settings) any { return s.request.Controls }, 1},
		{"--loss 0.5,2%", losses1, "[0.005 0.02]"},
		{"--quick", losses1, "[0.02]"},
		{"--quick --loss 5", losses1, "[0.05]"},
		{"--full", losses1, "[0.005 0.01 0.02 0.05]"},
		{"--burst 1s,20ms,100", losses1, "[0]"},
		{"--burst 1s,20ms,100 --loss 1", losses1, "[0.01]"},
		{"--burst 980ms,20ms,50%", func(s settings) any { return s.request.Link.Burst }, lab.Burst{Good: 980 * time.Millisecond, Bad: 20 * time.Millisecond, Loss: 0.5}},
		{"--direction up", directions, "[up]"},
		{"--direction both", directions, "[down up]"},
		{"--full", directions, "[down up]"},
		{"--full --direction down", directions, "[down]"},
		{"--workload rpc,updates", workloads, "updates rpc"},
		{"--workload all", workloads, "updates mixed page rpc"},
		{"--full", workloads, "updates mixed page rpc"},
		{"--workload m*", workloads, "mixed"},
		{"--load full", sizes, "200-1100"},
		{"--min-size 100 --max-size 200", sizes, "100-200"},
		{"--load full --min-size 300", sizes, "300-1100"},
		{"--min-size 300", sizes, "300-300"},
		{"--max-size 100", sizes, "100-100"},
		{"--max-size 1Ki", sizes, "150-1024"},
		{"--channels 3 --interval 5ms", func(s settings) any { w := s.request.Workloads[0]; return fmt.Sprint(w.Channels, w.Interval) }, "3 5ms"},
		{"--quick", times, "500ms 3s 1s"},
		{"--quick --duration 1s", times, "500ms 1s 1s"},
		{"--full --warmup 0s --drain 5s", times, "0s 20s 5s"},
		{"--workload page --objects 2x1k,64", func(s settings) any { return fmt.Sprint(s.request.Workloads[0].Objects) }, "[1000 1000 64]"},
		{"--workload page", func(s settings) any { return len(s.request.Workloads[0].Objects) }, 40},
		{"--delay 5ms --jitter 1ms --reorder", func(s settings) any { l := s.request.Link; return fmt.Sprint(l.Delay, l.Jitter, l.Reorder) }, "5ms 1ms true"},
		{"--rate 10M", rates, "10000000 62500"},
		{"--rate 1M", rates, "1000000 24000"}, // 16 packets
		{"--rate 1M --queue 64k", rates, "1000000 64000"},
		{"--workload updates,mixed,page,rpc", bulks, "0 20000000 20000000 0"},
		{"--workload updates,mixed --rate 1M", bulks, "1000000 1000000"},
		{"--workload updates,mixed --rate 0", bulks, "0 0"},
		{"--workload mixed", func(s settings) any { return s.request.LinkFor(lab.Mixed).Queue }, 125_000},
		{"--rate 1.5G --delay 10s", rates, "1500000000 67108864"},
		{"--block-udp --mtu 1280", func(s settings) any { l := s.request.Link; return fmt.Sprint(l.BlockUDP, l.MTU) }, "true 1280"},
		{"--cc bbr --max-age 1s --no-priorities --max-lateness 1ms", func(s settings) any {
			r := s.request.Common
			return fmt.Sprintf("%s %v %v %v", r.CC, r.MaxAge, r.Priorities, r.MaxLateness)
		}, "bbr 1s false 1ms"},
		{"--jobs 7 --retries 0", func(s settings) any { return fmt.Sprint(s.jobs, s.retries) }, "7 0"},
		{"--realtime off", func(s settings) any { return fmt.Sprint(s.jobs, s.request.Common.Realtime) }, "2 false"},
		{"--realtime on", func(s settings) any { return fmt.Sprint(s.jobs, s.request.Common.Realtime) }, "4 true"},
		{"--transports wt-h2-*,wt-h3-streams", transports, "wt-h3-streams wt-h2-streams wt-h2-datagrams"},
		{"--transports wt-ws-streams", transports, "wt-ws-streams"},
		{"--transports wt-*", transports, "wt-h3-streams wt-h3-datagrams wt-h2-streams wt-h2-datagrams"},
	} {
		if got := c.get(parsed(t, idle, c.line)); got != c.want {
			t.Errorf("%s: %v, want %v", c.line, got, c.want)
		}
	}
	if got, want := parsed(t, idle, "--transports all").request.Transports, adapter.All(); len(got) != len(want) {
		t.Errorf("all: %d of %d", len(got), len(want))
	}
}

func seeds(s settings) any {
	var words []string
	for _, r := range s.request.Runs() {
		if word := fmt.Sprint(r.Seed); !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

func losses1(s settings) any    { return fmt.Sprint(s.request.Losses) }
func directions(s settings) any { return fmt.Sprint(s.request.Directions) }
func rates(s settings) any      { return fmt.Sprint(s.request.Link.Rate, s.request.Link.Queue) }

// bulks are the bandwidths of the workloads.
func bulks(s settings) any {
	var words []string
	for _, w := range s.request.Workloads {
		words = append(words, fmt.Sprint(s.request.LinkFor(w.Kind).Rate))
	}
	return strings.Join(words, " ")
}

func workloads(s settings) any {
	var words []string
	for _, w := range s.request.Workloads {
		words = append(words, string(w.Kind))
	}
	return strings.Join(words, " ")
}

func sizes(s settings) any {
	w := s.request.Workloads[0]
	return fmt.Sprintf("%d-%d", w.MinSize, w.MaxSize)
}

func times(s settings) any {
	w := s.request.Workloads[0]
	return fmt.Sprint(w.Warmup, w.Duration, w.Drain)
}

func transports(s settings) any { return strings.Join(names(s.request.Transports), " ") }

func TestRemarks(t *testing.T) {
	slow := idle
	slow.processors = 40
	slow.realtime = func() error { return syscall.EPERM }
	const control = "0 % loss is measured besides, as the control."
	for _, c := range []struct {
		host host
		line string
		want []string
	}{
		{idle, "--loss 0,1", nil},
		{idle, "--loss 1", []string{control}},
		{idle, "--loss 0 --burst 1s,20ms,100", []string{control}},
		{idle, "--quick --loss 0", []string{quick.remark}},
		{idle, "--loss 0 --workload rpc --transports wt-h3-*", []string{"rpc leaves out wt-h3-datagrams: calls need a response to arrive."}},
		{idle, "--loss 0 --workload page --transports ws-one", []string{"mixed and page have a bandwidth of 20 Mbit/s, or they would measure the processor: --rate is another one, 0 none."}},
		{idle, "--loss 0 --workload page --transports ws-one --rate 1M", nil},
		{slow, "--loss 0", []string{"no real-time scheduling (operation not permitted): other processes disturb the runs, and more of them will be rejected."}},
		{slow, "--loss 0 --realtime off", nil},
	} {
		if got := parsed(t, c.host, c.line).remarks; !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.line, got, c.want)
		}
	}
	if s := parsed(t, slow, ""); s.jobs != 8 || s.request.Common.Realtime {
		t.Errorf("%d jobs, real time %v", s.jobs, s.request.Common.Realtime)
	}
}

func TestJSONTarget(t *testing.T) {
	for line, want := range map[string]target{
		"":                       {},
		"--json":                 {given: true},
		"--json -":               {given: true},
		"--json=-":               {given: true},
		"--json x":               {given: true, file: "x"},
		"--json=x":               {given: true, file: "x"},
		"--json --quiet":         {given: true},
		"--json x --quiet":       {given: true, file: "x"},
		"--json - --csv y":       {given: true},
		"--quiet --json --csv y": {given: true},
	} {
		var c cli
		if err := parse(&c, strings.Fields(line), streams{}); err != nil || c.JSON != want {
			t.Errorf("%s: %+v, %v", line, c.JSON, err)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"updates", "mixed", "page"}
	for word, want := range map[string]string{"update": "updates", "Mixd": "mixed", "pgae": "page", "": "", "something": ""} {
		if got := nearest(word, names); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "ab", 2}, {"ab", "", 2}, {"kitten", "sitting", 3}, {"same", "same", 0}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%q, %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
