package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// module is the import path that go test -json names packages by.
const module = "github.com/towpath-go/towpath"

// An event is a line of go test -json, as far as it is of interest.
type event struct {
	Action, Package, Test, Output string
}

// events calls f with each event. Lines that are none, such as a compiler's,
// are given as output of no package.
func events(r io.Reader, f func(event)) error {
	d := lines(r)
	for d.Scan() {
		var e event
		line := d.Text()
		if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &e) != nil {
			e = event{Action: "output", Output: line + "\n"}
		}
		f(e)
	}
	return d.Err()
}

// proves reports whether a test of pkg counts for a requirement. The suite's
// own reference shows nothing about a transport, and what runs on one
// transport shows nothing about another.
func proves(id, pkg string) bool {
	pkg = strings.TrimPrefix(strings.TrimPrefix(pkg, module), "/")
	if pkg == suite {
		return false
	}
	h2only := slices.Contains([]string{"h2wt", "internal/h2conn", "internal/h2test", "internal/session"}, pkg)
	switch {
	case strings.HasPrefix(id, "H3-"):
		return !h2only
	case strings.HasPrefix(id, "H2-"), strings.HasPrefix(id, "BP-"):
		return pkg != "h3wt"
	}
	return true
}

// checkRan checks a go test -json run: every id that has claims was shown by a
// test that passed, and none of its tests failed.
func checkRan(w io.Writer, c *coverage, run io.Reader) error {
	passed := map[string]int{}
	var errs []error
	total := 0
	err := events(run, func(e event) {
		if e.Test == "" || e.Action != "pass" && e.Action != "fail" {
			return
		}
		total++
		for part := range strings.SplitSeq(e.Test, "/") {
			for _, id := range claimedIDs(part) {
				switch {
				case e.Action == "fail":
					errs = append(errs, fmt.Errorf("%s: %s of %s failed", id, e.Test, e.Package))
				case proves(id, e.Package):
					passed[id]++
				}
			}
		}
	})
	if err != nil {
		return err
	}
	for _, r := range c.rows {
		if len(c.claims[r.id]) > 0 && passed[r.id] == 0 {
			errs = append(errs, fmt.Errorf("%s: no test for it passed in this run", r.id))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Fprintf(w, "%d tests ran; all %d requirements that the document claims were shown\n", total, len(passed))
	return nil
}
