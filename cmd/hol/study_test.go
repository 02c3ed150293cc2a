package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// short are flags for a study of fake runs: two transports over HTTP/3, two
// over HTTP/2, a control and two seeds each.
const short = "--transports wt-h* --loss 2 --seeds 2 --controls 1 --duration 1s --warmup 0s --drain 0s "

// study is what the command writes with --json to standard output.
func study(t *testing.T, args string) (int, lab.Study, string) {
	t.Helper()
	status, stdout, stderr := called(t, idle, strings.Fields(short+"--json "+args)...)
	var s lab.Study
	if err := json.Unmarshal([]byte(stdout), &s); err != nil {
		t.Fatalf("status %d, %v, %q, %q", status, err, stdout, stderr)
	}
	return status, s, stderr
}

// problem is a cell's.
func problem(t *testing.T, s lab.Study, transport string, loss float64) string {
	t.Helper()
	for _, cell := range s.Cells {
		if cell.Transport == transport && cell.Condition.Link.Loss == loss {
			return cell.Problem
		}
	}
	t.Fatalf("there is no cell of %s with loss %v", transport, loss)
	return ""
}

func TestValidStudy(t *testing.T) {
	status, s, stderr := study(t, "")
	if status != 0 || len(s.Problems) > 0 || len(s.Cells) != 8 {
		t.Errorf("status %d, %q, %d cells\n%s", status, s.Problems, len(s.Cells), stderr)
	}
	for _, cell := range s.Cells {
		if cell.Problem != "" {
			t.Errorf("%s: %s", cell.Transport, cell.Problem)
		}
		want := 0.0
		if cell.Condition.Link.Loss > 0 {
			want = 0.1
		}
		if d := cell.Late.Mean - want; d < -1e-9 || d > 1e-9 {
			t.Errorf("%s, loss %v: %v late, want %v", cell.Transport, cell.Condition.Link.Loss, cell.Late.Mean, want)
		}
	}
	if want := "go run -C cmd/hol . --transports 'wt-h*' --loss 2 --seeds 2 --controls 1 --duration 1s --warmup 0s --drain 0s --json"; s.Command != want {
		t.Errorf("command %q", s.Command)
	}
	if s.Machine["processors"] == "" || s.Machine["go"] == "" || s.Started.IsZero() || s.Took <= 0 {
		t.Errorf("%+v, started %v, took %v", s.Machine, s.Started, s.Took)
	}
	if want := "hol: 0 % loss is measured besides, as the control.\nhol: 12 runs, 4 at a time: about 5 s.\n"; !strings.HasPrefix(stderr, want) || !strings.HasSuffix(stderr, "hol: 12 of 12 runs\n") {
		t.Errorf("standard error:\n%s", stderr)
	}
	if _, _, stderr := study(t, "--quiet"); stderr != "" {
		t.Errorf("with --quiet: %q", stderr)
	}
}

func TestLateWithoutLoss(t *testing.T) {
	// Two of the four: the study goes on, and is invalid.
	status, s, stderr := study(t, "--cc latefirst --quiet")
	if status != exitInvalid || len(s.Problems) == 0 || len(s.Cells) != 8 {
		t.Errorf("status %d, %q, %d cells", status, s.Problems, len(s.Cells))
	}
	if !strings.Contains(stderr, "hol: without loss: ") || !strings.HasSuffix(stderr, "hol: the study goes on for the other transports, but will be invalid\n") {
		t.Errorf("standard error:\n%s", stderr)
	}
	// All of them: there is no more to measure.
	status, s, _ = study(t, "--cc late --quiet")
	if status != exitInvalid || len(s.Cells) != 4 || len(s.Problems) == 0 || s.Problems[0] != "partial: no transport passes without loss, so nothing else is measured: "+
		"let the machine be idle, lower --jobs, or see what fails above; 4 of 12 runs have a result" {
		t.Errorf("status %d, %q, %d cells", status, s.Problems, len(s.Cells))
	}
}

func TestFailingRuns(t *testing.T) {
	status, s, stderr := study(t, "--cc fails")
	if got := problem(t, s, "wt-h2-streams", 0.02); status != exitInvalid || !strings.Contains(got, "nobody answered") {
		t.Errorf("status %d, problem %q", status, got)
	}
	if got := problem(t, s, "wt-h2-datagrams", 0.02); got != "" {
		t.Errorf("of another transport: %q", got)
	}
	if want := "hol: wt-h2-streams, updates down, 2 % loss, seed 1: failed: nobody answered\n"; !strings.Contains(stderr, want) {
		t.Errorf("standard error:\n%s", stderr)
	}
}

func TestRejectedRuns(t *testing.T) {
	status, s, stderr := study(t, "--cc rejected --retries 1 --jobs 1")
	if status != exitInvalid || len(s.Cells) != 4 {
		t.Errorf("status %d, %d cells", status, len(s.Cells))
	}
	for _, want := range []string{
		"hol: wt-h3-streams, updates down, 0 % loss, seed 1: rejected, will be repeated: the router was 11ms late\n",
		"hol: wt-h3-streams, updates down, 0 % loss, seed 1: rejected once more, given up: the router was 11ms late\n",
		"hol: more runs were rejected; they are counted\n",
	} {
		if strings.Count(stderr, want) != 1 {
			t.Errorf("standard error lacks %q, or has it more than once:\n%s", want, stderr)
		}
	}
}

func TestBlockedUDP(t *testing.T) {
	status, s, stderr := study(t, "--cc blocked --block-udp")
	for _, loss := range []float64{0, 0.02} {
		if got := problem(t, s, "wt-h3-streams", loss); !strings.Contains(got, "it needs UDP, which the link drops: ") || !strings.Contains(got, "timeout") {
			t.Errorf("loss %v: %q", loss, got)
		}
		if got := problem(t, s, "wt-h2-streams", loss); got != "" {
			t.Errorf("over TCP, loss %v: %q", loss, got)
		}
	}
	// That there is no result is what was to be found.
	if status != 0 || len(s.Problems) > 0 || strings.Contains(stderr, "without loss") {
		t.Errorf("status %d, %q\n%s", status, s.Problems, stderr)
	}
	run := lab.Run{Transport: "wt-h3-streams", Link: lab.Link{BlockUDP: true}}
	if got := limit(run); got != blockedLimit {
		t.Errorf("a run that cannot succeed may take %v", got)
	}
	run.Transport = "wt-h2-streams"
	if got := limit(run); got <= blockedLimit {
		t.Errorf("one over TCP may take %v", got)
	}
}

// command is the command in a process of its own.
func command(t *testing.T, args string) *exec.Cmd {
	// Tests that nohup has started ignore SIGHUP, and so would the command: what
	// is caught here has its default there.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hangups) })
	cmd := exec.Command(os.Args[0], strings.Fields(args)...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	return cmd
}

// reading follows what a process writes to standard error, to what matches.
func reading(t *testing.T, r io.Reader, until string) {
	t.Helper()
	pattern := regexp.MustCompile(until)
	var read strings.Builder
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if pattern.MatchString(lines.Text()) {
			return
		}
		read.WriteString(lines.Text() + "\n")
	}
	t.Fatalf("standard error ended without %s:\n%s", until, read.String())
}

func TestFirstSignal(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		cmd := command(t, short+"--json --cc hangs")
		var stdout bytes.Buffer
		cmd.Stdout = &stdout
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		reading(t, stderr, "^hol: 4 of 12 runs")
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, stderr); err != nil {
			t.Fatal(err)
		}
		exit, ok := errors.AsType[*exec.ExitError](cmd.Wait())
		if !ok || exit.ExitCode() != exitInvalid {
			t.Errorf("%v: %v", sig, exit)
		}
		var s lab.Study
		if err := json.Unmarshal(stdout.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		if len(s.Problems) == 0 || s.Problems[0] != "partial: interrupted; 4 of 12 runs have a result" || len(s.Cells) != 4 {
			t.Errorf("%v: %q, %d cells", sig, s.Problems, len(s.Cells))
		}
	}
}

func TestReports(t *testing.T) {
	directory := t.TempDir()
	samples := filepath.Join(directory, "samples.csv")
	status, stdout, stderr := called(t, idle, strings.Fields(fmt.Sprintf("%s--out %s/new --samples %s --transports wt-h3-streams", short, directory, samples))...)
	if status != 0 || !strings.Contains(stdout, "wt-h3-streams") {
		t.Fatalf("status %d, %q, %q", status, stdout, stderr)
	}
	for name, begins := range map[string]string{
		"new/hol.html": "<!doctype html>", "new/hol.json": "{", "new/hol.csv": "transport,", "samples.csv": "transport,workload,",
	} {
		path := filepath.Join(directory, name)
		text, err := os.ReadFile(path)
		if err != nil || !strings.HasPrefix(strings.ToLower(string(text)), begins) {
			t.Errorf("%s: %v, %.40q", name, err, text)
		}
		if !strings.Contains(stderr, "hol: wrote "+path+"\n") {
			t.Errorf("%s is not said:\n%s", name, stderr)
		}
	}
}

func TestDryRun(t *testing.T) {
	status, stdout, stderr := called(t, idle, strings.Fields("--dry-run --transports wt-h3-streams --seeds 1 --loss 2 --duration 5300ms")...)
	want := `2 runs, 4 at a time: about 18 s

run  transport      workload  direction  loss           seed  takes
1    wt-h3-streams  updates   down       0 % (control)  1     9 s
2    wt-h3-streams  updates   down       2 %            1     9 s
`
	_, long, _ := called(t, idle, strings.Fields("--dry-run --full")...)
	if begin := "3528 runs, 4 at a time: about 6 h 3 min, and 1.5 GB of memory\n\n"; !strings.HasPrefix(long, begin) {
		t.Errorf("a long plan does not begin with %q: %.100q", begin, long)
	}
	if status != 0 || stdout != want || stderr != "hol: 0 % loss is measured besides, as the control.\n" {
		t.Errorf("status %d, %q\n%s", status, stderr, stdout)
	}
}

// A dry run finds what a study would find about its files, and makes none.
func TestDryOutputs(t *testing.T) {
	directory := t.TempDir()
	in := func(name string) string { return filepath.Join(directory, name) }
	if err := os.WriteFile(in("file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for line, says := range map[string]string{
		"--html " + in("no/x.html"):               "hol: --html: there is no directory " + in("no") + ": make it first\n",
		"--csv " + directory:                      "hol: --csv: " + directory + " is a directory\n",
		"--csv " + in("x") + " --json " + in("x"): "hol: --json and --csv both name " + in("x") + "\n",
		"--out " + in("file"):                     "hol: --out: mkdir " + in("file") + ": not a directory\n",
		"--out " + in("file/new"):                 "hol: --out: stat " + in("file/new") + ": not a directory\n",
	} {
		if status, stdout, stderr := called(t, idle, strings.Fields("--dry-run "+line)...); status != exitUsage || stdout != "" || stderr != says {
			t.Errorf("%s: status %d, %q, %q", line, status, stdout, stderr)
		}
	}
	for _, line := range []string{"--out " + in("new/er"), "--out " + directory, "--html " + in("x") + " --csv -"} {
		if status, stdout, stderr := called(t, idle, strings.Fields("--dry-run --loss 0,1 "+line)...); status != 0 || stderr != "" || !strings.Contains(stdout, " runs, ") {
			t.Errorf("%s: status %d, %q, %q", line, status, stdout, stderr)
		}
	}
	entries, err := os.ReadDir(directory)
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestList(t *testing.T) {
	status, stdout, stderr := called(t, idle, "--list")
	if status != 0 || stderr != "" {
		t.Errorf("status %d, %q", status, stderr)
	}
	for _, want := range []string{
		"transport         in tables                  over   loss delays   calls\n",
		"wt-h3-streams     WebTransport/h3 streams    1 UDP  its channel   yes\n",
		"wt-h3-datagrams   WebTransport/h3 datagrams  1 UDP  nothing       no\n",
		"ws-per-channel    WebSocket per channel      n TCP  its channel   yes\n",
		"\ntransport         made of\n",
		"\nwt-h3-streams     towpath h3wt, quic-go\n",
		"\nwt-ws-streams     towpath wswt\n",
		"n TCP: one connection for each channel\n",
		"\nOnly if named by --transports:\n\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("lacks %q:\n%s", want, stdout)
		}
	}
	for line := range strings.Lines(stdout) {
		if len(strings.TrimRight(line, "\n")) > 79 {
			t.Errorf("wider than 79 columns: %s", line)
		}
	}
}
