// Command document puts the results of a benchmark into docs/performance.md: the
// tables between its markers, made of docs/performance/results.json.
//
//	go run -C e2e ./bench/document          says whether something would change, with status 1
//	go run -C e2e ./bench/document -write   changes it
//
// A file that -json has written is taken into docs/performance first if it is
// named; -write is needed then. Its path must be absolute, as go run -C changes
// the directory.
//
//	go run -C e2e ./bench/document -write "$PWD"/results.json
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/towpath-go/towpath/e2e/bench/internal/report"
)

func main() {
	docs := flag.String("docs", filepath.Join("..", "docs"), "the directory of performance.md and performance")
	write := flag.Bool("write", false, "write the files")
	flag.Parse()
	changed, err := do(*docs, *write, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "document:", err)
		os.Exit(2)
	}
	if changed {
		fmt.Println("performance.md")
		if !*write {
			os.Exit(1)
		}
	}
}

// do takes in a file and brings the document up to date.
func do(docs string, write bool, files []string) (changed bool, err error) {
	switch {
	case len(files) > 1:
		return false, errors.New("a document has the results of one run")
	case len(files) == 1 && !write:
		return false, errors.New("results are taken in with -write alone")
	case len(files) == 1:
		if err := take(docs, files[0]); err != nil {
			return false, err
		}
	}
	var results *report.Report
	switch r, err := report.Read(filepath.Join(docs, "performance", "results.json")); {
	case err == nil:
		results = &r
	case !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	path := filepath.Join(docs, "performance.md")
	have, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	want, err := report.Document(have, results)
	if err != nil || bytes.Equal(have, want) {
		return false, err
	}
	if write {
		err = os.WriteFile(path, want, 0o644)
	}
	return true, err
}

// take puts a result into docs/performance.
func take(docs, path string) error {
	r, err := report.Read(path)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := report.Write(&b, r); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(docs, "performance"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(docs, "performance", "results.json"), b.Bytes(), 0o644)
}
