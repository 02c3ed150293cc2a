package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// lines scans lines of any sensible length: a test's output can be long.
func lines(r io.Reader) *bufio.Scanner {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 64<<10), 16<<20)
	return s
}

var errFailed = errors.New("a test failed")

// printRun prints a go test -json run as go test would: a line for each
// package, what failing tests said, and why tests were skipped.
func printRun(w io.Writer, run io.Reader) error {
	type test struct{ pkg, name string }
	output := map[test]*strings.Builder{}
	skipped := map[test]int{} // by reason in place of a name
	failed, seen := false, false
	err := events(run, func(e event) {
		t := test{e.Package, e.Test}
		switch e.Action {
		case "output":
			switch {
			case e.Test != "":
				if output[t] == nil {
					output[t] = new(strings.Builder)
				}
				output[t].WriteString(e.Output)
			case e.Output != "PASS\n" && !strings.HasPrefix(e.Output, "-test.shuffle"):
				io.WriteString(w, e.Output)
			}
		case "build-output":
			io.WriteString(w, e.Output)
		case "fail", "build-fail":
			failed = true
			if b := output[t]; b != nil && e.Test != "" {
				io.WriteString(w, b.String())
			}
			delete(output, t)
		case "pass", "skip":
			seen = true
			if b := output[t]; b != nil && e.Action == "skip" && e.Test != "" {
				skipped[test{e.Package, strings.TrimSpace(lastLine(b.String()))}]++
			}
			delete(output, t)
		}
		if e.Test == "" && (e.Action == "pass" || e.Action == "fail") { // the package's own verdict
			for t, n := range skipped {
				if t.pkg == e.Package {
					fmt.Fprintf(w, "\tskipped %d: %s\n", n, t.name)
					delete(skipped, t)
				}
			}
		}
	})
	// A test that was running when the process died has no verdict.
	for t, b := range output {
		if t.name != "" {
			failed = true
			io.WriteString(w, b.String())
		}
	}
	if err != nil {
		return err
	}
	if failed || !seen {
		return errFailed
	}
	return nil
}

// lastLine returns the last line that a test printed before its verdict.
func lastLine(s string) string {
	last := ""
	for line := range strings.Lines(s) {
		if !strings.HasPrefix(strings.TrimSpace(line), "---") && !strings.HasPrefix(line, "=== ") {
			last = line
		}
	}
	return last
}
