// Command document puts the results of soaks into docs/soak.md: the tables between
// its markers, made of docs/soak/run.json and docs/soak/attacks.json.
//
//	go run -C e2e ./soak/document          says whether something would change, with status 1
//	go run -C e2e ./soak/document -write   changes it
//
// Files that --json has written are taken into docs/soak first if they are named,
// as run.json or attacks.json by what is in them; -write is needed then. Their
// paths must be absolute, as go run -C changes the directory.
//
//	go run -C e2e ./soak/document -write "$PWD"/run.json "$PWD"/attacks.json
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/towpath-go/towpath/e2e/soak/internal/report"
)

func main() {
	docs := flag.String("docs", filepath.Join("..", "docs"), "the directory of soak.md and soak")
	write := flag.Bool("write", false, "write the files")
	flag.Parse()
	changed, err := do(*docs, *write, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "document:", err)
		os.Exit(2)
	}
	if changed {
		fmt.Println("soak.md")
		if !*write {
			os.Exit(1)
		}
	}
}

// do takes in files and brings the document up to date.
func do(docs string, write bool, files []string) (changed bool, err error) {
	if len(files) > 0 && !write {
		return false, errors.New("results are taken in with -write alone")
	}
	for _, path := range files {
		if err := take(docs, path); err != nil {
			return false, err
		}
	}
	run, err := read(docs, "run.json")
	if err != nil {
		return false, err
	}
	attacks, err := read(docs, "attacks.json")
	if err != nil {
		return false, err
	}
	path := filepath.Join(docs, "soak.md")
	have, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	want, err := report.Document(have, run, attacks)
	if err != nil || bytes.Equal(have, want) {
		return false, err
	}
	if write {
		err = os.WriteFile(path, want, 0o644)
	}
	return true, err
}

// read reads a result, nil if there is none.
func read(docs, name string) (*report.Report, error) {
	r, err := report.Read(filepath.Join(docs, "soak", name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return &r, err
}

// take puts a result into docs/soak.
func take(docs, path string) error {
	r, err := report.Read(path)
	if err != nil {
		return err
	}
	name := "attacks.json"
	if r.Soak != nil {
		name = "run.json"
	}
	var b bytes.Buffer
	if err := report.Write(&b, r); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(docs, "soak"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(docs, "soak", name), b.Bytes(), 0o644)
}
