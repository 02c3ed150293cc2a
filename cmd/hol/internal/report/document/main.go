// Command document puts studies into docs/hol.md: the tables between its markers
// and the pictures in docs/hol, all made of the studies in docs/hol/*.json.
//
//	go run -C cmd/hol ./internal/report/document          what would change, with status 1
//	go run -C cmd/hol ./internal/report/document -write   change it
//
// Studies that are named are taken into docs/hol first, under their files'
// names and without what the document does not show, which is most of it; -write
// is needed then. Their paths must be absolute, as go run -C changes the directory.
//
//	go run -C cmd/hol ./internal/report/document -write "$PWD"/results/updates.json
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/towpath-go/towpath/cmd/hol/internal/report"
)

func main() {
	docs := flag.String("docs", filepath.Join("..", "..", "docs"), "the directory of hol.md and hol")
	write := flag.Bool("write", false, "write the files; otherwise name those that are not what the studies give")
	flag.Parse()
	changed, err := do(*docs, *write, flag.Args())
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

func do(docs string, write bool, studies []string) (changed []string, err error) {
	if len(studies) > 0 && !write {
		return nil, errors.New("studies are taken in with -write alone")
	}
	for _, path := range studies {
		if err := take(docs, path); err != nil {
			return nil, err
		}
	}
	return update(docs, write)
}

// take puts a study into docs/hol.
func take(docs, path string) error {
	s, err := report.ReadSource(path)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := report.JSON(&b, report.Trim(s.Study)); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(docs, "hol"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(docs, "hol", s.Name+".json"), b.Bytes(), 0o644)
}

// update returns the files below docs that are not what the studies give, and
// writes or removes them if it shall.
func update(docs string, write bool) (changed []string, err error) {
	studies, err := report.ReadSources(filepath.Join(docs, "hol"))
	if err != nil {
		return nil, err
	}
	document, err := os.ReadFile(filepath.Join(docs, "hol.md"))
	if err != nil {
		return nil, err
	}
	text, pictures, err := report.Document(document, studies)
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
