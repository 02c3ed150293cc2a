package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
	"github.com/towpath-go/towpath/cmd/hol/internal/plan"
)

// asCommand makes the test binary be the command, with workers that measure
// nothing: see fake.
const asCommand = "TOWPATH_HOL_TEST_COMMAND"

func TestMain(m *testing.M) {
	// The race detector would wait for a second at each worker's end.
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	switch {
	case plan.IsWorker():
		os.Exit(plan.Serve(fake))
	case os.Getenv(asCommand) != "":
		os.Exit(run(untilSignal(), os.Args[1:], streams{os.Stdout, os.Stderr}, idle))
	}
	os.Exit(m.Run())
}

// idle is a machine on which everything is allowed.
var idle = host{
	processors: 2,
	realtime:   func() error { return nil },
	link:       func() error { return nil },
	cc:         func(string) error { return nil },
}

// fake is what workers do in these tests: of every transport each message takes
// the one-way delay; with loss, a tenth of them a round trip more. What else
// happens is said by the congestion control.
func fake(ctx context.Context, run lab.Run) (lab.Result, error) {
	w := run.Workload
	r := lab.Result{Run: run, CC: run.CC, Realtime: true, Setup: lab.Setup{FirstMessage: 3 * run.Link.Delay}}
	for at, n := time.Duration(0), 0; at < w.Duration; at += w.Interval {
		for c := range w.Channels {
			s := lab.Sample{Channel: c, Scheduled: at, Latency: run.Link.Delay, Size: w.MinSize}
			if n++; run.Link.Loss > 0 && n%10 == 0 {
				s.Latency += run.Link.RTT()
			}
			r.Samples = append(r.Samples, s)
		}
	}
	r.Down.Packets, r.Up.Packets = int64(len(r.Samples)), int64(len(r.Samples))
	r.Down.Lost = int64(float64(r.Down.Packets) * run.Link.Loss)
	control := run.Link.Lossless()
	switch run.CC {
	case "late": // without loss too
		for i := range r.Samples {
			r.Samples[i].Latency += 2 * run.Link.RTT()
		}
	case "latefirst":
		if control && strings.HasPrefix(run.Transport, "wt-h3") {
			r.Samples[0].Latency += 2 * run.Link.RTT()
		}
	case "fails":
		if !control && run.Transport == "wt-h2-streams" {
			return r, errors.New("nobody answered")
		}
	case "rejected":
		if control {
			r.Rejected = "the router was 11ms late"
		}
	case "hangs": // in all runs but the controls
		if !control {
			<-ctx.Done()
			return r, ctx.Err()
		}
	case "blocked":
		if run.Link.BlockUDP && strings.HasPrefix(run.Transport, "wt-h3") {
			return r, errors.New("timeout")
		}
	}
	return r, nil
}

// called runs the command in this process, and returns what it wrote.
func called(t *testing.T, host host, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	directory := t.TempDir()
	var files [2]*os.File
	for i, name := range []string{"stdout", "stderr"} {
		f, err := os.Create(filepath.Join(directory, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	status = run(t.Context(), args, streams{files[0], files[1]}, host)
	var written [2]string
	for i, f := range files {
		text, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		written[i] = string(text)
	}
	return status, written[0], written[1]
}

func TestUsage(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"--transports ws-on", `there is no transport "ws-on": did you mean ws-one?`},
		{"--transports ws", `there is no transport "ws": did you mean 'ws-*'?`},
		{"--transports WT-H3-Streams", `there is no transport "WT-H3-Streams": did you mean wt-h3-streams?`},
		{"--transports quic-* --quick", `no transport matches "quic-*": there are `},
		{"--transports wt-[", `"wt-[" is no shell pattern: a bracket is open`},
		{"--transports zzzzzzzzzzzz", `there is no transport "zzzzzzzzzzzz": there are `},
		{"--workload update", `there is no workload "update": did you mean updates?`},
		{"--workload x", `there is no workload "x": there are updates, mixed, page, rpc`},
		{"--workload page --transports wt-h3-datagrams", "nothing is left to measure: none of the --transports has calls, which page and rpc need"},
		{"--direction left", `--direction is down, up or both, not "left"`},
		{"--direction bot", `--direction is down, up or both, not "bot": did you mean both?`},
		{"--load heavy", `--load is light or full, not "heavy"`},
		{"--loss x", `--loss: "x" is no number of percent, as 0.5 is (see --help)`},
		{"--loss 1,,2", `--loss: "" is no number of percent, as 0.5 is (see --help)`},
		{"--loss NaN", `--loss: "NaN" is no number of percent, as 0.5 is (see --help)`},
		{"--loss=-1", `--loss: -1 is not from 0 to 50 percent (see --help)`},
		{"--loss -1", `--loss: -1 is not from 0 to 50 percent (see --help)`},
		{"--loss -.5", `--loss: -.5 is not from 0 to 50 percent (see --help)`},
		{"--loss 101", `--loss: 101 is not from 0 to 50 percent (see --help)`},
		{"--loss 1,1.0", `--loss: 1.0 is there twice (see --help)`},
		{"--loss 50.1", "--loss: 50.1 is not from 0 to 50 percent (see --help)"},
		{"--seeds 0", "--seeds is 0, and must be from 1 to 1000"},
		{"--seeds -3", "--seeds is -3, and must be from 1 to 1000"},
		{"--seeds 1001", "--seeds is 1001, and must be from 1 to 1000"},
		{"--seed=-1", "--seed is -1, and must be from 0 to 9007199254740992"},
		{"--seed 9007199254740993", "--seed is 9007199254740993, and must be from 0 to 9007199254740992"},
		{"--seeds 3 --controls 4", "--controls is 4, and must be from 1 to 3"},
		{"--controls 0", "--controls is 0, and must be from 1 to 5"},
		{"--channels 0", "--channels is 0, and must be from 1 to 256"},
		{"--channels 257", "--channels is 257, and must be from 1 to 256"},
		{"--channels many", `--channels: expected a valid 64 bit int but got "many" (see --help)`},
		{"--interval 999us", "--interval is 999µs, and must be from 1ms to 1m0s"},
		{"--interval 20", `--interval: "20" is no time, as 20ms is (see --help)`},
		{"--min-size 8", "--min-size is 8, and must be from 20 to 65536"},
		{"--max-size 70k", "--max-size is 70000, and must be from 20 to 65536"},
		{"--max-size 1101", "--max-size is 1101, and must be at most 1100 for the datagrams of wt-h3-datagrams: lower it, or choose other --transports"},
		{"--max-size=-5", `--max-size: "-5" is no number of bytes, as 200, 64k or 1M (see --help)`},
		{"--max-size 1e300k", `--max-size: "1e300k" is no number of bytes, as 200, 64k or 1M (see --help)`},
		{"--min-size 300 --max-size 200", "--min-size 300 is larger than --max-size 200"},
		{"--objects 4k", "--objects are those of a page: add --workload page"},
		{"--workload page --objects 0x4k", `--objects: "0x4k" is not NxSIZE with N from 1 to 256, as 24x4k is (see --help)`},
		{"--workload page --objects 256x4k,1k", `--objects: a page has from 1 to 256 objects (see --help)`},
		{"--workload page --objects 2M", "--objects has one of 2000000 bytes, and must have some from 20 to 1048576"},
		{"--duration 99ms", "--duration is 99ms, and must be from 100ms to 1h0m0s"},
		{"--duration 1h1s", "--duration is 1h0m1s, and must be from 100ms to 1h0m0s"},
		{"--duration 1h --interval 1ms", "messages of all channels: "},
		{"--warmup=-1s", "--warmup is -1s, and must be from 0s to 10m0s"},
		{"--drain 11m", "--drain is 11m0s, and must be from 0s to 10m0s"},
		{"--delay 0s", "--delay is 0s, and must be from 1ms to 10s"},
		{"--delay 30ms --jitter 10001us", "--jitter is 10.001ms, and must be from 0s to 10ms, a third of --delay: more would make delays negative"},
		{"--delay -5ms", "--delay is -5ms, and must be from 1ms to 10s"},
		{"--reorder", "--reorder is by jitter: add --jitter"},
		{"--burst 1s,20ms", `--burst: "1s,20ms" is not GOOD,BAD,PERCENT, as 1s,20ms,100 is (see --help)`},
		{"--burst 1,20ms,100", `--burst: "1" is no time, as 20ms is (see --help)`},
		{"--burst 1s,20ms,0", "--burst loses 0 percent of the packets in bad periods: more than 0 is needed"},
		{"--burst 1s,20ms,200", "--burst: 200 is not from 0 to 100 percent (see --help)"},
		{"--burst 0s,20ms,100", "--burst has a period of 0s, and must have periods from 1ms to 1h"},
		{"--burst 1s,2h,100", "--burst has a period of 2h0m0s, and must have periods from 1ms to 1h"},
		{"--rate 7999", "--rate is 7999, and must be from 8000 to 100000000000"},
		{"--rate fast", `--rate: "fast" is no number of bits a second, as 500k or 10M (see --help)`},
		{"--rate 600k", "--rate 600000 is less than the messages' 640000 bits a second: raise it, or --interval, or lower --channels or --max-size"},
		{"--workload updates,mixed --load full --channels 80", "--rate 20000000 is less than the messages' 20800000 bits a second: raise it, or --interval, or lower --channels or --max-size"},
		{"--rate 10M --queue 1k", "--queue is 1000, and must be from 1500 to 67108864"},
		{"--queue 64k", "--queue waits for a bandwidth: add --rate"},
		{"--mtu 1279", "--mtu is 1279, and must be from 1280 to 65535"},
		{"--cc Cubic!", `--cc is a name of one to 15 letters and digits, as cubic or bbr, not "Cubic!"`},
		{"--max-age 0s", "--max-age is 0s, and must be from 1ms to 1m0s"},
		{"--max-lateness 1us", "--max-lateness is 1µs, and must be from 100µs to 10s"},
		{"--jobs 0", "--jobs is 0, and must be from 1 to 16"},
		{"--jobs 17", "--jobs is 17, and must be from 1 to 16"},
		{"--retries=-1", "--retries is -1, and must be from 0 to 100"},
		{"--realtime maybe", `--realtime is auto, on or off, not "maybe"`},
		{"--quick --full", "--quick and --full can't be used together (see --help)"},
		{"--json x --html x --dry-run=false", "--html and --json both name x"},
		{"--html no/such/x.html", "--html: there is no directory no/such: make it first"},
		{"--html", "--html needs a value: --html=FILE (see --help)"},
		{"--html --csv x", "--html needs a value: --html=FILE (see --help)"},
		{"--burst --quick", "--burst needs a value: --burst=GOOD,BAD,PERCENT (see --help)"},
		{"--transports= --quick", "--transports needs a value: --transports=NAME (see --help)"},
		{"--json=", "--json: there is no file name (see --help)"},
		{"--json --csv -", "--json and --csv both write to standard output: give one of them a file"},
		{"--samples - --html -", "--html and --samples both write to standard output: give one of them a file"},
		{"--out -", "--out is a directory, and standard output is none: --html -, --json - and --csv - write there"},
		{"--csv .", "--csv: . is a directory"},
		{"--out main_test.go", "--out: mkdir main_test.go: not a directory"},
		{"--quik", `unknown flag --quik, did you mean one of "--quick", "--quiet"? (see --help)`},
		{"stray", "unexpected argument stray (see --help)"},
	} {
		status, stdout, stderr := called(t, idle, strings.Fields(c.args)...)
		line, rest, _ := strings.Cut(stderr, "\n")
		if want := "hol: " + c.says; status != exitUsage || stdout != "" || rest != "" || line != want && !(strings.HasSuffix(want, " ") && strings.HasPrefix(line, want)) {
			t.Errorf("%s: status %d, stdout %q\ngot  %swant %s", c.args, status, stdout, stderr, want)
		}
	}
}

// An empty value, as of a variable of the shell that is not set, is not one that
// is not given.
func TestEmptyValues(t *testing.T) {
	for _, f := range reflect.VisibleFields(reflect.TypeFor[cli]()) {
		name, placeholder := f.Tag.Get("name"), f.Tag.Get("placeholder")
		if name == "" {
			name = regexp.MustCompile("([a-z])([A-Z])").ReplaceAllString(f.Name, "$1-$2")
		}
		name = "--" + strings.ToLower(name)
		if placeholder == "" {
			continue
		}
		want := "hol: " + name + " needs a value: " + name + "=" + placeholder + " (see --help)\n"
		if name == "--json" {
			want = "hol: --json: there is no file name (see --help)\n"
		}
		for _, args := range [][]string{{name, ""}, {name, " "}, {name + "="}} {
			if name == "--json" && args[len(args)-1] == " " {
				continue // a name like any other
			}
			if status, stdout, stderr := called(t, idle, args...); status != exitUsage || stdout != "" || stderr != want {
				t.Errorf("%q: status %d, %q, %q", args, status, stdout, stderr)
			}
		}
	}
}

func TestNoSuchCC(t *testing.T) {
	host := idle
	host.cc = func(name string) error { return fmt.Errorf("no %s here; it offers reno, cubic", name) }
	for _, args := range [][]string{{"--cc", "fantasy"}, {"--cc", "fantasy", "--dry-run"}} {
		want := "hol: --cc: no fantasy here; it offers reno, cubic\n"
		if status, stdout, stderr := called(t, host, args...); status != exitUsage || stdout != "" || stderr != want {
			t.Errorf("%q: status %d, %q, %q", args, status, stdout, stderr)
		}
	}
}

func TestNotPermitted(t *testing.T) {
	host := idle
	host.realtime = func() error { return syscall.EPERM }
	want := "hol: --realtime on is not permitted here (operation not permitted): run as root or with CAP_SYS_NICE, or say --realtime auto\n"
	if status, _, stderr := called(t, host, "--realtime", "on"); status != exitUsage || stderr != want {
		t.Errorf("status %d, %q", status, stderr)
	}
	host.link = func() error { return errors.New("the laboratory needs Linux") }
	if status, stdout, stderr := called(t, host, "--quick"); status != exitInvalid || stdout != "" || stderr != "hol: the laboratory needs Linux\n" {
		t.Errorf("status %d, %q, %q", status, stdout, stderr)
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, arg := range []string{"--help", "--version"} {
		status, stdout, stderr := called(t, idle, arg)
		if status != 0 || stderr != "" || !strings.Contains(stdout, "hol") {
			t.Errorf("%s: status %d, %q, %q", arg, status, stdout, stderr)
		}
		if arg == "--help" && !strings.Contains(strings.Join(strings.Fields(stdout), " "), "exit status is 0 if the study is complete and valid, 1 if it is invalid or incomplete, 2 if") {
			t.Errorf("%s does not say the exit statuses", arg)
		}
		for line := range strings.Lines(stdout) {
			if len([]rune(strings.TrimRight(line, "\n"))) > 80 {
				t.Errorf("wider than 80 columns: %s", line)
			}
		}
	}
}
