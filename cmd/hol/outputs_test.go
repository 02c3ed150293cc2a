package main

import (
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

func TestOutputs(t *testing.T) {
	directory := t.TempDir()
	in := func(name string) string { return filepath.Join(directory, name) }
	for _, c := range []struct {
		line string
		want outputs
	}{
		{"", outputs{}},
		{"--json", outputs{stdout: "json"}},
		{"--json -", outputs{stdout: "json"}},
		{"--json a --html b --csv c --samples d", outputs{json: in("a"), html: in("b"), csv: in("c"), samples: in("d")}},
		{"--out new", outputs{json: in("new/hol.json"), html: in("new/hol.html"), csv: in("new/hol.csv")}},
		{"--out . --json --samples x", outputs{json: in("hol.json"), html: in("hol.html"), csv: in("hol.csv"), samples: in("x"), stdout: "json"}},
		{"--out new --html ./other.html", outputs{json: in("new/hol.json"), html: in("other.html"), csv: in("new/hol.csv")}},
		{"--html -", outputs{stdout: "html"}},
		{"--csv - --json x", outputs{json: in("x"), stdout: "csv"}},
		{"--samples=-", outputs{stdout: "samples"}},
		{"--csv " + os.DevNull + " --samples " + os.DevNull, outputs{csv: os.DevNull, samples: os.DevNull}},
	} {
		flags := cli{}
		if err := parse(&flags, strings.Fields(c.line), streams{}); err != nil {
			t.Fatal(err)
		}
		if got, err := flags.outputs(directory); got != c.want || err != nil {
			t.Errorf("%s: %+v, %v", c.line, got, err)
		}
	}
	// Finding out whether files can be written leaves none.
	entries, err := os.ReadDir(directory)
	if err != nil || len(entries) != 1 || entries[0].Name() != "new" {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestWriteFile(t *testing.T) {
	directory := t.TempDir()
	path := filepath.Join(directory, "x")
	write := func(text string, err error) func(io.Writer) error {
		return func(w io.Writer) error {
			_, werr := io.WriteString(w, text)
			return errors.Join(werr, err)
		}
	}
	if err := writeFile(path, write("first", nil)); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	if err := writeFile(path, write("half", broken)); !errors.Is(err, broken) {
		t.Errorf("a report that fails: %v", err)
	}
	// What was there is there, and nothing else.
	text, err := os.ReadFile(path)
	entries, _ := os.ReadDir(directory)
	if err != nil || string(text) != "first" || len(entries) != 1 {
		t.Errorf("%q, %v, %v", text, err, entries)
	}
	if err := writeFile(path, write("second", nil)); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "second" {
		t.Errorf("%q, %v", text, err)
	}
	if err := writeFile(os.DevNull, write("gone", nil)); err != nil {
		t.Errorf("a device: %v", err)
	}
}

func TestWriteFileKeeps(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has neither such permissions nor links for everybody")
	}
	directory := t.TempDir()
	in := func(name string) string { return filepath.Join(directory, name) }
	// What the umask leaves of a new file, as any other program finds it.
	if err := os.WriteFile(in("plain"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	plain, err := os.Stat(in("plain"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		os.WriteFile(in("private"), nil, 0o600),
		os.Symlink("private", in("link")),
		os.Symlink(in("link"), in("link-to-link")),
		os.Symlink("there-yet", in("not")),
		os.Symlink("loop", in("loop"))); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, file string
		mode       os.FileMode
	}{
		{"new", "new", plain.Mode()},
		{"private", "private", 0o600},
		{"link-to-link", "private", 0o600},
		{"not", "there-yet", plain.Mode()},
	} {
		err := writable(in(c.name))
		if err == nil {
			err = writeFile(in(c.name), func(w io.Writer) error {
				_, err := io.WriteString(w, c.name)
				return err
			})
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		info, err := os.Lstat(in(c.file))
		text, _ := os.ReadFile(in(c.file))
		if err != nil || info.Mode() != c.mode || string(text) != c.name {
			t.Errorf("%s: %v, %v, %q; want mode %v", c.name, err, info.Mode(), text, c.mode)
		}
	}
	for _, name := range []string{"link", "link-to-link", "not"} {
		if info, err := os.Lstat(in(name)); err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Errorf("%s is no link any more: %v", name, err)
		}
	}
	if err := writable(in("loop")); err == nil {
		t.Error("a link to itself can be written")
	}
	if f, err := beside(in("no/file")); err == nil || !strings.HasPrefix(err.Error(), "open "+in("no/file")+": ") {
		t.Errorf("a directory that is not there: %v, %v", f, err)
	}
}

func TestSamples(t *testing.T) {
	run := func(kind lab.Kind, l lab.Link) lab.Run {
		return lab.Run{Transport: "ws-one", Workload: lab.Workload{Kind: kind}, Direction: lab.Up, Seed: 7, Link: l}
	}
	results := []lab.Result{
		{Run: run(lab.Updates, lab.Link{Loss: 0.005}), Samples: []lab.Sample{
			{Channel: 2, Scheduled: 20 * time.Millisecond, Latency: 25_400 * time.Microsecond, Size: 200, Waited: 3 * time.Microsecond},
			{Channel: 3, Scheduled: time.Second, Latency: lab.Undelivered, Size: 150},
		}},
		{Run: run(lab.Updates, lab.Link{}), Rejected: "late", Samples: []lab.Sample{{}}},
		{Run: run(lab.Updates, lab.Link{}), Failed: "x", Samples: []lab.Sample{{}}},
		{Run: run(lab.RPC, lab.Link{Burst: lab.Burst{Good: 1}}), Samples: []lab.Sample{{Size: 1}}},
		{Run: run(lab.Page, lab.Link{}), Samples: []lab.Sample{{Size: 2}}, Pages: []lab.Sample{{Size: 3}}},
	}
	want := []string{
		"transport,workload,direction,loss,bursts,seed,what,channel,bytes,scheduled_us,waited_us,latency_us",
		"ws-one,updates,up,0.005,false,7,message,2,200,20000,3,25400",
		"ws-one,updates,up,0.005,false,7,message,3,150,1000000,0,",
		"ws-one,rpc,up,0,true,7,call,0,1,0,0,0",
		"ws-one,page,up,0,false,7,object,0,2,0,0,0",
		"ws-one,page,up,0,false,7,page,0,3,0,0,0",
	}
	for _, name := range []string{"s.csv", "s.csv.gz"} {
		path := filepath.Join(t.TempDir(), name)
		if err := writeFile(path, compressed(path, func(w io.Writer) error { return writeSamples(w, results) })); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var r io.Reader = f
		if strings.HasSuffix(name, ".gz") {
			if r, err = gzip.NewReader(f); err != nil {
				t.Fatal(err)
			}
		}
		text, err := io.ReadAll(r)
		if got := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
}
