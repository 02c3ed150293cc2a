package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFrom(t *testing.T) {
	directory := t.TempDir()
	in := func(name string) string { return filepath.Join(directory, name) }
	read := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(in(name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	status, table, _ := called(t, idle, strings.Fields(short+"--transports ws-one --quiet --html "+in("a.html")+" --csv "+in("a.csv")+" --json "+in("a.json"))...)
	if status != 0 {
		t.Fatalf("status %d", status)
	}
	elsewhere := host{} // on which nothing can be measured
	status, again, stderr := called(t, elsewhere, strings.Fields("--from "+in("a.json")+" --html "+in("b.html")+" --csv "+in("b.csv")+" --json "+in("b.json"))...)
	if status != 0 || again != table || strings.Count(stderr, "wrote") != 3 {
		t.Errorf("status %d, %q\n%s", status, stderr, again)
	}
	for _, suffix := range []string{".html", ".csv", ".json"} {
		if read("a"+suffix) != read("b"+suffix) {
			t.Errorf("%s differs", suffix)
		}
	}

	// An invalid study stays invalid.
	invalid := strings.Replace(read("a.json"), `"schema": 1,`, `"schema": 1, "problems": ["late"],`, 1)
	if err := os.WriteFile(in("invalid.json"), []byte(invalid), 0o644); err != nil {
		t.Fatal(err)
	}
	if status, stdout, _ := called(t, elsewhere, "--from", in("invalid.json")); status != exitInvalid || !strings.HasPrefix(stdout, "INVALID") {
		t.Errorf("status %d, %q", status, stdout)
	}

	if err := os.WriteFile(in("old.json"), []byte(`{"schema": 0}`), 0o644); err != nil {
		t.Fatal(err)
	}
	const alone = "--from measures nothing: it goes with --out, --html, --json and --csv alone\n"
	for line, says := range map[string]string{
		"--from " + in("none.json"):                  "--from: open ",
		"--from " + in("old.json"):                   "--from: report: the study has schema 0",
		"--from " + in("a.json") + " --quick":        alone,
		"--from " + in("a.json") + " --loss 0":       alone,
		"--from " + in("a.json") + " --samples x.gz": alone,
		"--from " + in("a.json") + " --dry-run":      alone,
	} {
		if status, stdout, stderr := called(t, elsewhere, strings.Fields(line)...); status != exitUsage || stdout != "" || !strings.HasPrefix(stderr, "hol: "+says) {
			t.Errorf("%s: status %d, %q, %q", line, status, stdout, stderr)
		}
	}
}
