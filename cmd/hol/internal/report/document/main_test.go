package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
	"github.com/towpath-go/towpath/cmd/hol/internal/report"
)

func TestUpdate(t *testing.T) {
	docs := t.TempDir()
	frame, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "..", "docs", "hol.md"))
	if err != nil {
		t.Fatal(err)
	}
	put := func(name string, b []byte) {
		t.Helper()
		path := filepath.Join(docs, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("hol.md", frame)
	put("hol/old.svg", []byte("<svg/>"))
	put("hol/photograph.png", []byte("kept"))

	f, err := os.Create(filepath.Join(docs, "hol", "updates.json"))
	if err != nil {
		t.Fatal(err)
	}
	one := lab.Estimate{Mean: .1, Low: .05, High: .2, N: 5}
	link := lab.Link{Delay: 25e6, MTU: 1500, Loss: .02}
	study := lab.Study{Command: "hol", Cells: []lab.Cell{{
		Transport: "ws-one", Seeds: []uint64{1, 2}, Late: one, RoundTrips: one,
		Condition: lab.Condition{Direction: lab.Down, Link: link, Workload: lab.Workload{Kind: lab.Updates, Channels: 8}},
	}}}
	if err := report.JSON(f, study); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}

	want := []string{"hol.md", "hol/old.svg", "hol/updates-2-signature.svg"}
	for _, write := range []bool{false, true} {
		changed, err := update(docs, write)
		if err != nil || !slices.Equal(changed, want) {
			t.Fatalf("%v, %v", changed, err)
		}
	}
	changed, err := update(docs, false)
	if err != nil || len(changed) > 0 {
		t.Errorf("after writing %v differ, %v", changed, err)
	}
	if _, err := os.Stat(filepath.Join(docs, "hol", "old.svg")); !os.IsNotExist(err) {
		t.Errorf("a picture of no study is still there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(docs, "hol", "photograph.png")); err != nil {
		t.Error(err)
	}

	// One more is taken in, without what would not be shown.
	results := filepath.Join(t.TempDir(), "up.json")
	study.Cells[0].Condition.Direction = lab.Up
	control := study.Cells[0]
	control.Condition.Link.Loss = 0
	control.CDF = []float64{25, 26}
	study.Cells = append(study.Cells, control)
	f, err = os.Create(results)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(report.JSON(f, study), f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := do(docs, false, []string{results}); err == nil {
		t.Error("a study was taken in without -write")
	}
	want = []string{"hol.md", "hol/up-late.svg", "hol/up-setup.svg"}
	if changed, err := do(docs, true, []string{results}); err != nil || !slices.Equal(changed, want) {
		t.Errorf("with another study %v, %v", changed, err)
	}
	up, err := report.ReadSource(filepath.Join(docs, "hol", "up.json"))
	if err != nil || len(up.Study.Cells) != 2 || up.Study.Cells[1].CDF != nil {
		t.Errorf("%+v, %v", up, err)
	}
	if _, err := do(docs, true, []string{filepath.Join(docs, "hol", "none.json")}); !os.IsNotExist(err) {
		t.Errorf("a study that is not there: %v", err)
	}
	if err := os.WriteFile(filepath.Join(docs, "hol", "updates.json"), []byte(`{"schema": 99}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := update(docs, true); err == nil {
		t.Error("a study of another schema was taken")
	}
}
