package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
	"github.com/towpath-go/towpath/e2e/soak/internal/report"
)

// docs/soak.md is what the results in docs/soak give.
func TestDocumentIsUpToDate(t *testing.T) {
	changed, err := report.Document.Update(filepath.Join("..", "..", "..", "docs"), false, nil)
	if err != nil || changed {
		t.Errorf("docs/soak.md: changed %v, %v: run go run -C e2e ./soak/document -write", changed, err)
	}
}

func TestUpdate(t *testing.T) {
	docs := t.TempDir()
	frame := "# x\n<!-- run: generated -->\nold\n<!-- /run -->\nbetween\n<!-- attacks: generated -->\n<!-- /attacks -->\nend\n"
	if err := os.WriteFile(filepath.Join(docs, "soak.md"), []byte(frame), 0o644); err != nil {
		t.Fatal(err)
	}
	text := func() string {
		b, err := os.ReadFile(filepath.Join(docs, "soak.md"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if changed, err := report.Document.Update(docs, true, nil); err != nil || !changed || strings.Count(text(), "Not measured yet.") != 2 || !strings.Contains(text(), "between") {
		t.Fatalf("without results: %v, %v\n%s", changed, err, text())
	}
	if changed, err := report.Document.Update(docs, false, nil); err != nil || changed {
		t.Errorf("a second time: %v, %v", changed, err)
	}

	write := func(name string, r report.Report) string {
		path := filepath.Join(t.TempDir(), name)
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
	run := write("a.json", report.Report{Schema: report.Schema, Soak: &report.Soak{Settings: ledger.Settings{Connections: 2000, Transports: []string{ledger.H3}},
		Memory: []report.Memory{{Side: ledger.Client}, {Side: ledger.Server}}}})
	attacks := write("b.json", report.Report{Schema: report.Schema, Attacks: []report.Attack{{Name: "some-attack", Phases: 1, Each: 1e9}},
		Violations: []ledger.Violation{{Side: "bystander", Offset: -1, What: "p99"}}})
	if _, err := report.Document.Update(docs, false, []string{run}); err == nil {
		t.Error("a result was taken in without -write")
	}
	if changed, err := report.Document.Update(docs, true, []string{run, attacks}); err != nil || !changed {
		t.Fatalf("%v, %v", changed, err)
	}
	for _, want := range []string{"2,000 connections", "`some-attack`", "| **no** |", "Violations: none.", "Violations: 1.", "- bystander: p99"} {
		if !strings.Contains(text(), want) {
			t.Errorf("the document lacks %q\n%s", want, text())
		}
	}
	if _, err := report.Document.Update(docs, true, []string{write("c.json", report.Report{Schema: 99})}); err == nil {
		t.Error("a result of another schema was taken")
	}
}
