package report

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/towpath-go/towpath/e2e/bench/internal/measure"
	"github.com/towpath-go/towpath/e2e/internal/results"
)

// sections are the parts of docs/performance.md that are made of a report, by the
// names of their markers.
var sections = []struct {
	name string
	make func(Report, *strings.Builder)
}{
	{"machine", func(r Report, b *strings.Builder) {
		r.made(b)
		r.versions(b)
	}},
	{"overview", func(r Report, b *strings.Builder) { r.overview(b) }},
	{"goals", func(r Report, b *strings.Builder) { r.goals(b) }},
	{"h3wt", func(r Report, b *strings.Builder) { r.beside(b) }},
	{"tables", func(r Report, b *strings.Builder) {
		for _, bench := range measure.All() {
			r.table(b, bench)
		}
		r.failed(b)
	}},
}

// Name is that of the results in docs/performance.
const Name = "results.json"

// Document is docs/performance.md.
var Document = results.Document{Name: "performance", Most: 1, Take: take, Make: parts}

func take(path string) (name string, content []byte, err error) {
	r, err := Read(path)
	if err != nil {
		return "", nil, err
	}
	var b bytes.Buffer
	err = Write(&b, r)
	return Name, b.Bytes(), err
}

func parts(dir string) ([]results.Part, error) {
	r, err := Read(filepath.Join(dir, Name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var parts []results.Part
	for _, s := range sections {
		var b strings.Builder
		if err == nil {
			s.make(r, &b)
		}
		parts = append(parts, results.Part{Name: s.name, Text: b.String()})
	}
	return parts, nil
}
