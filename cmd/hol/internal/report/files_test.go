package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

func TestJSON(t *testing.T) {
	onEdges(t, func(t *testing.T, _ string, s lab.Study) {
		var b bytes.Buffer
		if err := JSON(&b, s); err != nil {
			t.Fatal(err)
		}
		var head struct{ Schema int }
		if err := json.Unmarshal(b.Bytes(), &head); err != nil || head.Schema != Schema {
			t.Fatalf("schema %d, %v", head.Schema, err)
		}
		back, err := ReadJSON(&b)
		if err != nil {
			t.Fatal(err)
		}
		if want := finite(s); !reflect.DeepEqual(canonical(t, back), canonical(t, want)) {
			t.Error("the study is not what it was")
		}
	})
}

// canonical is a study as encoding/json has it, without indentation.
func canonical(t *testing.T, s lab.Study) string {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestJSONIsReadable(t *testing.T) {
	var b bytes.Buffer
	s := small()
	s.Problems = []string{"brackets ] } in \"text\" \\", "[{"}
	if err := JSON(&b, s); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"{\n  \"schema\": 1,\n  \"command\": ",
		"\n      \"seeds\": [1, 2, 3, 4, 5],\n",
		"\n  \"problems\": [\"brackets ] } in \\\"text\\\" \\\\\", \"[{\"]\n}\n",
		"\n      \"together\": {\"mean\": 0, \"low\": 0, \"high\": 0, \"n\": 0},\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("there is no %q", want)
		}
	}
	if strings.Contains(b.String(), "\n          ]") {
		t.Error("a list without lists is not in one line")
	}
}

func TestReadJSONRefuses(t *testing.T) {
	for _, text := range []string{"", "[]", `{"schema": 2}`, `{"cells": []}`, `{"schema": 1, "cells": 7}`} {
		if _, err := ReadJSON(strings.NewReader(text)); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestCSV(t *testing.T) {
	onEdges(t, func(t *testing.T, _ string, s lab.Study) {
		var b strings.Builder
		if err := CSV(&b, s); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
			t.Error("there is a number that is none")
		}
		rows, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
		if err != nil {
			t.Fatal(err) // also of rows with another number of fields
		}
		if len(rows) != 1+len(s.Cells) {
			t.Errorf("%d rows of %d cells", len(rows)-1, len(s.Cells))
		}
		if strings.Count(b.String(), "\n") != len(rows) {
			t.Error("a row is not one line")
		}
	})
}

func TestCSVGolden(t *testing.T) {
	var b strings.Builder
	if err := CSV(&b, small()); err != nil {
		t.Fatal(err)
	}
	golden(t, "study.csv", b.String())
}

// Every estimate of a cell is in the CSV and in the tables of a page.
func TestEveryEstimateIsShown(t *testing.T) {
	var c lab.Cell
	shown := map[*lab.Estimate]bool{}
	for _, e := range estimates(&c) {
		shown[e] = true
	}
	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		if e, ok := v.Field(i).Addr().Interface().(*lab.Estimate); ok && !shown[e] {
			t.Errorf("%s has no column", v.Type().Field(i).Name)
		}
	}
	named := map[string]bool{}
	for _, name := range append(append([]string(nil), latencyColumns...), costColumns...) {
		named[columnNamed(name).name] = true
	}
	for _, col := range columns {
		if !named[col.name] {
			t.Errorf("%s is in no table of the page", col.name)
		}
	}
}

func TestCSVOfOneSeed(t *testing.T) {
	s := edges()["one cell"]
	s.Problems = []string{"a\nlate control", "another"}
	var b strings.Builder
	if err := CSV(&b, s); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(b.String())).ReadAll()
	if err != nil || len(rows) != 2 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	row := map[string]string{}
	for i, name := range rows[0] {
		row[name] = rows[1][i]
	}
	if row["p50_ms"] == "" || row["p50_ms_low"] != "" || row["p50_ms_high"] != "" {
		t.Errorf("p50 %q, from %q to %q", row["p50_ms"], row["p50_ms_low"], row["p50_ms_high"])
	}
	if last := rows[1][len(rows[1])-1]; last != row["study_invalid"] || last != "a late control; another" {
		t.Errorf("invalid because %q", last)
	}
}
