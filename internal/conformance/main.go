// Command conformance says which test shows which requirement. It reads
// docs/requirements.txt, finds the tests whose names begin with a requirement's
// id, and writes docs/conformance.md; docs/conformance-exceptions.txt holds the
// reason of each requirement that no test shows.
//
//	go run ./internal/conformance -write            write docs/conformance.md
//	go run ./internal/conformance -ran run.json     check that every test the document claims ran and passed
//	go test -json ./... | go run ./internal/conformance -print
//
// The last prints one line for each package and the output of failing tests, and
// fails if one did. The tests of this package check that the document is up to
// date and that no requirement is without a row.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	write := flag.Bool("write", false, "write docs/conformance.md")
	ran := flag.String("ran", "", "`file` with the output of go test -json to check the claims against")
	show := flag.Bool("print", false, "print a go test -json run from standard input")
	flag.Parse()
	if err := run(*write, *ran, *show); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func run(write bool, ran string, show bool) error {
	if show {
		return printRun(os.Stdout, os.Stdin)
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	r, err := report(root)
	if err != nil {
		return err
	}
	if ran != "" {
		f, err := os.Open(ran)
		if err != nil {
			return err
		}
		defer f.Close()
		return checkRan(io.Writer(os.Stdout), r, f)
	}
	doc, err := r.document()
	if err != nil {
		return err
	}
	if write {
		return os.WriteFile(documentFile(root), doc, 0o644)
	}
	_, err = os.Stdout.Write(doc)
	return err
}
