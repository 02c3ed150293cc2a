// Command document puts a study into docs/hol.md: the tables between its markers
// and the pictures in docs/hol, both made of docs/hol/study.json.
//
//	go run -C cmd/hol ./internal/report/document          what would change, with status 1
//	go run -C cmd/hol ./internal/report/document -write   change it
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
	"github.com/towpath-go/towpath/cmd/hol/internal/report"
)

func main() {
	docs := flag.String("docs", filepath.Join("..", "..", "docs"), "the directory of hol.md and hol")
	write := flag.Bool("write", false, "write the files; otherwise name those that are not what the study gives")
	flag.Parse()
	changed, err := update(*docs, *write)
	if err != nil {
		fmt.Fprintln(os.Stderr, "document:", err)
		os.Exit(2)
	}
	for _, name := range changed {
		fmt.Println(name)
	}
	if len(changed) > 0 && !*write {
		os.Exit(1)
	}
}

// update returns the files below docs that are not what the study gives, and
// writes or removes them if it shall.
func update(docs string, write bool) (changed []string, err error) {
	study, err := read(filepath.Join(docs, "hol", "study.json"))
	if err != nil {
		return nil, err
	}
	document, err := os.ReadFile(filepath.Join(docs, "hol.md"))
	if err != nil {
		return nil, err
	}
	text, pictures, err := report.Document(document, study)
	if err != nil {
		return nil, err
	}
	want := map[string][]byte{"hol.md": text}
	for name, b := range pictures {
		want[filepath.Join("hol", name)] = b
	}
	old, err := filepath.Glob(filepath.Join(docs, "hol", "*.svg"))
	if err != nil {
		return nil, err
	}
	for _, path := range old {
		name := filepath.Join("hol", filepath.Base(path))
		if want[name] != nil {
			continue
		}
		changed = append(changed, name)
		if write {
			err = errors.Join(err, os.Remove(path))
		}
	}
	for name, b := range want {
		path := filepath.Join(docs, name)
		if have, readErr := os.ReadFile(path); readErr == nil && bytes.Equal(have, b) {
			continue
		}
		changed = append(changed, name)
		if write {
			err = errors.Join(err, os.WriteFile(path, b, 0o644))
		}
	}
	slices.Sort(changed)
	return changed, err
}

// read returns nil if there is no study.
func read(path string) (*lab.Study, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := report.ReadJSON(f)
	return &s, err
}
