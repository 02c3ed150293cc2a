package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/soak/internal/report"
)

// The test's process is the command, and what the command starts.
func TestMain(m *testing.M) {
	if role := roles[os.Getenv(roleEnv)]; role != nil {
		os.Exit(role(os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// captured returns a file for output, and a function that reads it.
func captured(t *testing.T) (*os.File, func() string) {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, func() string {
		b, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
}

// A few connections of every way, with cuts and stalls, keep every promise.
func TestSmallSoak(t *testing.T) {
	out, printed := captured(t)
	log, said := captured(t)
	file := filepath.Join(t.TempDir(), "soak.json")
	status := run(context.Background(), []string{"--short", "--duration", "4s", "--connections", "16", "--sessions", "80", "--cuts", "60", "--json", file}, out, log)
	if status != 0 {
		t.Fatalf("status %d\n%s%s", status, printed(), said())
	}
	r, err := report.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	// One connection can be cut all the time, so what each session does at some
	// time is looked for in all of them.
	var aborted, datagrams uint64
	for _, way := range r.Soak.Settings.Transports {
		got := report.Both(r.Soak, way)
		if got.Sessions == 0 || got.Streams == 0 {
			t.Errorf("%s: nothing was tried: %+v", way, got)
		}
		aborted += uint64(got.Aborted)
		datagrams += uint64(got.Datagrams)
	}
	if aborted == 0 || datagrams == 0 {
		t.Errorf("%d streams were aborted, %d datagrams came", aborted, datagrams)
	}
	if len(r.Soak.Left) != 2 || r.Soak.Compared == 0 {
		t.Errorf("%d processes told what is left, %d ends were compared", len(r.Soak.Left), r.Soak.Compared)
	}
	if !strings.Contains(printed(), "every promise was kept") {
		t.Errorf("the report has no verdict:\n%s", printed())
	}
	for line := range strings.Lines(printed()) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 80 {
			t.Errorf("a line of %d columns: %q", n, line)
		}
	}
}

// A run that is interrupted is reported, and its processes have ended.
func TestInterrupted(t *testing.T) {
	out, printed := captured(t)
	log, said := captured(t)
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Second)
	defer cancel()
	status := run(ctx, []string{"--short", "--duration", "10m", "--connections", "4", "--sessions", "4", "--cuts", "0"}, out, log)
	if status != 0 || !strings.Contains(printed(), "interrupted") {
		t.Errorf("status %d\n%s%s", status, printed(), said())
	}
}

func TestUsage(t *testing.T) {
	for args, want := range map[string]string{
		"--durtion 5s":                    "did you mean --duration?",
		"--nothing-like-it":               "(see --help)",
		"--duration 5":                    "give a time like",
		"--duration 1ms":                  "give 1s or more",
		"--sessions ten":                  "give a number",
		"--seed -1":                       "give a number",
		"--cuts -3":                       "give 0 for none",
		"--cuts NaN":                      "give 0 for none",
		"--cuts +Inf":                     "give 0 for none",
		"--attack=":                       "--list-attacks",
		"--transports h3,h4":              "give some of h3, h2, ws, ws-h2",
		"--connections 10 --sessions 5":   "fewer than",
		"--connections 1 --sessions 5000": "100 at most",
		"--short=perhaps":                 "takes no value",
		"--json":                          "needs a value",
		"--json /no/such/dir/file":        "--json",
		"ten":                             "only flags",
		"--connections 100000000 --sessions 100000000": "",
	} {
		out, _ := captured(t)
		log, said := captured(t)
		if strings.Contains(args, "100000000") {
			if err := checkFiles(100_000_000); err != nil && !strings.Contains(err.Error(), "ulimit -n") {
				t.Errorf("%v", err)
			}
			continue
		}
		if status := run(context.Background(), strings.Fields(args), out, log); status != exitUsage {
			t.Errorf("%s: status %d", args, status)
		}
		if got := said(); !strings.Contains(got, want) || strings.Count(got, "\n") != 1 {
			t.Errorf("%s: said %q, want one line with %q", args, got, want)
		}
	}
}

func TestDefaults(t *testing.T) {
	o, err := parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := o.settings
	if s.Connections != 2000 || s.Sessions != 20000 || s.Duration != 10*time.Minute || len(s.Transports) != 4 {
		b, _ := json.Marshal(s)
		t.Errorf("%s", b)
	}
	var usage usageError
	if _, err := parse([]string{"-x"}); !errors.As(err, &usage) {
		t.Errorf("got %v", err)
	}
}
