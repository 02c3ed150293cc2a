package results

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A Document is docs/NAME.md, whose parts between markers are made of results in
// docs/NAME.
type Document struct {
	Name string
	// Most is how many results there are at most.
	Most int
	// Take reads a file of results: what it is to be called in docs/NAME, and what
	// is to be in it.
	Take func(path string) (name string, content []byte, err error)
	// Make makes the parts of the results in a directory, by the names of their
	// markers, "" for one whose result is missing.
	Make func(dir string) ([]Part, error)
}

// A Part of a document is between <!-- NAME: generated --> and <!-- /NAME -->.
type Part struct{ Name, Text string }

// Main is the command that keeps the document up to date. Without -write it says
// whether something would change, with status 1.
func (d Document) Main() {
	docs := flag.String("docs", filepath.Join("..", "docs"), "the directory of "+d.Name+".md and "+d.Name)
	write := flag.Bool("write", false, "write the files")
	flag.Parse()
	changed, err := d.Update(*docs, *write, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "document:", err)
		os.Exit(2)
	}
	if changed {
		fmt.Println(d.Name + ".md")
		if !*write {
			os.Exit(1)
		}
	}
}

// Update takes in files and brings the document up to date.
func (d Document) Update(docs string, write bool, files []string) (changed bool, err error) {
	switch {
	case len(files) > d.Most:
		return false, fmt.Errorf("%s.md is made of %d files at most", d.Name, d.Most)
	case len(files) > 0 && !write:
		return false, errors.New("results are taken in with -write alone")
	}
	dir := filepath.Join(docs, d.Name)
	for _, path := range files {
		name, content, err := d.Take(path)
		if err != nil {
			return false, err
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return false, err
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return false, err
		}
	}
	path := filepath.Join(docs, d.Name+".md")
	have, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	parts, err := d.Make(dir)
	if err != nil {
		return false, err
	}
	want := have
	for _, p := range parts {
		if want, err = p.fill(want); err != nil {
			return false, fmt.Errorf("%s: %w", path, err)
		}
	}
	if bytes.Equal(have, want) {
		return false, nil
	}
	if write {
		err = os.WriteFile(path, want, 0o644)
	}
	return true, err
}

// fill returns text with the part in its place.
func (p Part) fill(text []byte) ([]byte, error) {
	begin, end := []byte("<!-- "+p.Name+": generated -->\n"), []byte("<!-- /"+p.Name+" -->\n")
	i, j := bytes.Index(text, begin), bytes.Index(text, end)
	if i < 0 || j < i {
		return nil, fmt.Errorf("there are no markers %q and %q", begin, end)
	}
	made := strings.TrimSpace(p.Text)
	if made == "" {
		made = "Not measured yet."
	}
	return bytes.Join([][]byte{text[:i+len(begin)], []byte("\n" + made + "\n\n"), text[j:]}, nil), nil
}
