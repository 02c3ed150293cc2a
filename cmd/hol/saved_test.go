package main

import (
	"errors"
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
	before := read("a.json")
	if err := errors.Join(os.Link(in("a.json"), in("linked.json")), os.Symlink("a.json", in("symbolic.json"))); err != nil {
		t.Fatal(err)
	}
	const alone = "--from measures nothing: it goes with --out, --html, --json, --csv and --quiet alone\n"
	for line, says := range map[string]string{
		"--from " + in("none.json"): "--from: open ",
		"--from " + in("a.csv"):     "--from: " + in("a.csv") + " is not a study that --json has written: report: invalid character",
		"--from " + directory:       "--from: report: read " + directory + ": ",
		"--from -":                  "--from is a file: --from /dev/stdin is standard input\n",
		"--from " + in("a.json") + " --html " + in("a.json"):                                             "--from and --html both name " + in("a.json") + "\n",
		"--from " + in("a.json") + " --csv " + directory + "/../" + filepath.Base(directory) + "/a.json": "--from and --csv both name " + in("a.json") + "\n",
		"--from " + in("a.json") + " --csv " + in("linked.json"):                                         "--from and --csv both name " + in("linked.json") + "\n",
		"--from " + in("a.json") + " --json " + in("symbolic.json"):                                      "--from and --json both name " + in("symbolic.json") + "\n",
		"--from " + in("old.json"):                                                                       "--from: " + in("old.json") + " is not a study that --json has written: report: the study has schema 0",
		"--from " + in("a.json") + " --quick":                                                            alone,
		"--from " + in("a.json") + " --loss 0":                                                           alone,
		"--from " + in("a.json") + " --samples x.gz":                                                     alone,
		"--from " + in("a.json") + " --dry-run":                                                          alone,
	} {
		if status, stdout, stderr := called(t, elsewhere, strings.Fields(line)...); status != exitUsage || stdout != "" || !strings.HasPrefix(stderr, "hol: "+says) {
			t.Errorf("%s: status %d, %q, %q", line, status, stdout, stderr)
		}
	}
	if read("a.json") != before {
		t.Error("the study that was read has been changed")
	}

	// The study's own directory gets what it lacks.
	own := t.TempDir()
	saved := filepath.Join(own, "hol.json")
	if err := os.WriteFile(saved, []byte(before), 0o444); err != nil {
		t.Fatal(err)
	}
	status, _, stderr = called(t, elsewhere, "--from", saved, "--out", own)
	if status != 0 || strings.Count(stderr, "wrote") != 2 || strings.Contains(stderr, "hol.json") {
		t.Errorf("status %d, %q", status, stderr)
	}

	// One report can be had on standard output.
	for flag, begins := range map[string]string{"--csv": "transport,", "--html": "<!doctype html>", "--json": "{"} {
		status, stdout, stderr := called(t, elsewhere, "--from", saved, flag, "-")
		if status != 0 || stderr != "" || !strings.HasPrefix(strings.ToLower(stdout), begins) {
			t.Errorf("%s -: status %d, %q, %.40q", flag, status, stderr, stdout)
		}
	}
}
