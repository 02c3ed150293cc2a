package report

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/towpath-go/towpath/e2e/bench/internal/measure"
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

// Document returns text with what is between its markers made of r; nil is said
// to be missing.
func Document(text []byte, r *Report) ([]byte, error) {
	for _, s := range sections {
		begin, end := []byte("<!-- "+s.name+": generated -->\n"), []byte("<!-- /"+s.name+" -->\n")
		i, j := bytes.Index(text, begin), bytes.Index(text, end)
		if i < 0 || j < i {
			return nil, fmt.Errorf("performance.md has no markers %q and %q", begin, end)
		}
		var b strings.Builder
		if r != nil {
			s.make(*r, &b)
		}
		made := strings.TrimSpace(b.String())
		if made == "" {
			made = "Not measured yet."
		}
		text = bytes.Join([][]byte{text[:i+len(begin)], []byte("\n" + made + "\n\n"), text[j:]}, nil)
	}
	return text, nil
}
