package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/bench/internal/measure"
	"github.com/towpath-go/towpath/e2e/bench/internal/report"
)

// docs/performance.md is what the results in docs/performance give.
func TestDocumentIsUpToDate(t *testing.T) {
	changed, err := report.Document.Update(filepath.Join("..", "..", "..", "docs"), false, nil)
	if err != nil || changed {
		t.Errorf("docs/performance.md: changed %v, %v: run go run -C e2e ./bench/document -write", changed, err)
	}
}

func TestUpdate(t *testing.T) {
	docs := t.TempDir()
	frame := "# x\n"
	for _, name := range []string{"machine", "overview", "goals", "h3wt", "tables"} {
		frame += "between\n<!-- " + name + ": generated -->\nold\n<!-- /" + name + " -->\n"
	}
	if err := os.WriteFile(filepath.Join(docs, "performance.md"), []byte(frame), 0o644); err != nil {
		t.Fatal(err)
	}
	text := func() string {
		b, err := os.ReadFile(filepath.Join(docs, "performance.md"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if changed, err := report.Document.Update(docs, true, nil); err != nil || !changed || strings.Count(text(), "Not measured yet.") != 5 || strings.Count(text(), "between") != 5 || strings.Contains(text(), "old") {
		t.Fatalf("without results: %v, %v\n%s", changed, err, text())
	}
	if changed, err := report.Document.Update(docs, false, nil); err != nil || changed {
		t.Errorf("a second time: %v, %v", changed, err)
	}

	write := func(r report.Report) string {
		path := filepath.Join(t.TempDir(), "a.json")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := report.Write(f, r); err != nil {
			t.Fatal(err)
		}
		return path
	}
	results := write(report.Report{Schema: report.Schema, Settings: report.Settings{Rounds: 1, Duration: time.Second}, Peers: []report.Peer{{Name: "tls"}, {Name: "h2wt", Module: "github.com/towpath-go/towpath"}},
		Samples: []measure.Sample{{Bench: "up64k", Peer: "tls", Round: 1, Result: measure.Result{Value: 1000}, Ratio: 1},
			{Bench: "up64k", Peer: "h2wt", Round: 1, Result: measure.Result{Value: 1234}, Ratio: 1.25}}})
	if _, err := report.Document.Update(docs, false, []string{results}); err == nil {
		t.Error("a result was taken in without -write")
	}
	if changed, err := report.Document.Update(docs, true, []string{results}); err != nil || !changed {
		t.Fatalf("%v, %v", changed, err)
	}
	for _, want := range []string{"1,234", "| reached |", "Not measured yet."} {
		if !strings.Contains(text(), want) {
			t.Errorf("the document lacks %q\n%s", want, text())
		}
	}
	for _, files := range [][]string{{write(report.Report{Schema: 99})}, {results, results}, {filepath.Join(docs, "none.json")}} {
		if _, err := report.Document.Update(docs, true, files); err == nil {
			t.Errorf("%q was taken in", files)
		}
	}
}
