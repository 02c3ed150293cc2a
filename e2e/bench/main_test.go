package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/towpath-go/towpath/e2e/bench/internal/measure"
	"github.com/towpath-go/towpath/e2e/bench/internal/report"
)

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

// A small run has all its results, in both forms.
func TestRun(t *testing.T) {
	out, printed := captured(t)
	log, said := captured(t)
	file := filepath.Join(t.TempDir(), "r.json")
	status := run(t.Context(), []string{"-quick", "-rounds", "2", "-duration", "5ms", "-peers", "h2wt,go-yamux", "-bench", "up1k,datagrams16,streams16", "-json", file}, out, log)
	if status != 0 {
		t.Fatalf("status %d\n%s%s", status, printed(), said())
	}
	r, err := report.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int)
	for _, s := range r.Samples {
		got[s.Bench+" "+s.Peer]++
		if s.Ratio <= 0 {
			t.Errorf("no ratio: %+v", s)
		}
	}
	for _, want := range []string{"up1k tls", "up1k h2wt", "up1k go-yamux", "streams16 tls", "streams16 h2wt", "streams16 go-yamux", "datagrams16 quic-go", "datagrams16 h2wt"} {
		if got[want] != 2 {
			t.Errorf("%s: %d results, want 2", want, got[want])
		}
		delete(got, want)
	}
	if len(got) > 0 {
		t.Errorf("also measured: %v", got)
	}
	for _, want := range []string{"(`up1k`)", "go-yamux: it has no datagrams", "allocations/write"} {
		if !strings.Contains(printed(), want) {
			t.Errorf("there is no %q in\n%s", want, printed())
		}
	}
	if !strings.Contains(said(), "checking the data of") {
		t.Errorf("no progress: %s", said())
	}
}

func TestProfile(t *testing.T) {
	out, printed := captured(t)
	log, said := captured(t)
	dir := t.TempDir()
	cpu, mem := filepath.Join(dir, "cpu"), filepath.Join(dir, "mem")
	status := run(t.Context(), []string{"-quick", "-peers", "tls", "-bench", "echo", "-cpuprofile", cpu, "-memprofile", mem, "-markdown", filepath.Join(dir, "md")}, out, log)
	if status != 0 || printed() != "" {
		t.Fatalf("status %d\n%s%s", status, printed(), said())
	}
	for _, name := range []string{cpu, mem, filepath.Join(dir, "md")} {
		if info, err := os.Stat(name); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
}

func TestInterrupted(t *testing.T) {
	out, printed := captured(t)
	log, said := captured(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if status := run(ctx, []string{"-quick", "-peers", "tls", "-bench", "echo"}, out, log); status != exitFailed || !strings.Contains(said(), "canceled") {
		t.Errorf("status %d\n%s%s", status, printed(), said())
	}
}

// What is typed wrong is said before anything runs.
func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		args string
		want []string
	}{
		{"-peers h2w", []string{`"h2w"`, "h2wt", "quic-go"}},
		{"-bench up64", []string{`"up64"`, "up64k", "churn64"}},
		{"-peers h2wt,", []string{`""`}},
		{"-round 3", []string{"-rounds"}},
		{"-rounds x", []string{"a number like 5"}},
		{"-rounds 0", []string{"1 or more"}},
		{"-duration 5", []string{"500ms"}},
		{"-duration 1us", []string{"too short"}},
		{"-json", []string{"needs a value"}},
		{"-quick=maybe", []string{"takes no value"}},
		{"-nonsense", []string{"no flag -nonsense"}},
		{"up64k", []string{"only flags"}},
		{"-cpuprofile x", []string{"-peers", "-bench"}},
		{"-cpuprofile x -peers tls -bench idle", []string{"processes of its own"}},
		{"-peers tls -bench echo -json /nonexistent/x", []string{"/nonexistent/x"}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			out, printed := captured(t)
			log, said := captured(t)
			if status := run(t.Context(), strings.Fields(tt.args), out, log); status != exitUsage || printed() != "" {
				t.Errorf("status %d\n%s", status, printed())
			}
			for _, want := range tt.want {
				if !strings.Contains(said(), want) {
					t.Errorf("there is no %q in %q", want, said())
				}
			}
			if strings.Count(said(), "\n") != 1 {
				t.Errorf("not one line: %q", said())
			}
		})
	}
}

func TestList(t *testing.T) {
	for _, tt := range []struct{ flag, want string }{{"-list", "churn64"}, {"-help", "-markdown FILE"}, {"-h", "Usage"}} {
		out, printed := captured(t)
		log, said := captured(t)
		if status := run(t.Context(), []string{tt.flag}, out, log); status != 0 || said() != "" || !strings.Contains(printed(), tt.want) {
			t.Errorf("%s: status %d\n%s%s", tt.flag, status, printed(), said())
		}
	}
	for _, b := range measure.All() {
		if len(b.Title) == 0 || len(b.Unit) == 0 || len(b.Operation) == 0 {
			t.Errorf("%s says too little", b.Name)
		}
	}
}
