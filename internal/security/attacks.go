package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/towpath-go/towpath/internal/hostile"
)

// module is the import path that go test -json names packages by.
const module = "github.com/towpath-go/towpath"

// An attack is what one test measured.
type attack struct {
	Package string `json:"package"` // below the module
	hostile.Row
}

func attacksFile(root string) string { return filepath.Join(root, "docs", "security", "attacks.json") }

// An event is a line of go test -json, as far as it is of interest.
type event struct {
	Action, Package, Test, Output, Key, Value string
}

// events calls f with each event of a run; other lines are passed over.
func events(r io.Reader, f func(event) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 64<<10), 16<<20)
	for s.Scan() {
		var e event
		if !bytes.HasPrefix(s.Bytes(), []byte("{")) || json.Unmarshal(s.Bytes(), &e) != nil {
			continue
		}
		if err := f(e); err != nil {
			return err
		}
	}
	return s.Err()
}

// rows collects the attacks of a run, in the order of packages and tests.
func rows(run io.Reader) ([]attack, error) {
	var found []attack
	err := events(run, func(e event) error {
		if e.Action != "attr" || e.Key != hostile.Attribute {
			return nil
		}
		a := attack{Package: strings.TrimPrefix(strings.TrimPrefix(e.Package, module), "/")}
		if err := json.Unmarshal([]byte(e.Value), &a.Row); err != nil {
			return fmt.Errorf("%s of %s: %w", e.Test, e.Package, err)
		}
		found = append(found, a)
		return nil
	})
	slices.SortStableFunc(found, func(a, b attack) int {
		return cmp.Or(cmp.Compare(a.Package, b.Package), cmp.Compare(a.Test, b.Test), cmp.Compare(a.Name, b.Name))
	})
	return found, err
}

// key is what an attack is known by from run to run.
func (a attack) key() string { return a.Package + " " + a.Test + " " + a.Name }

func readAttacks(root string) ([]attack, error) {
	b, err := os.ReadFile(attacksFile(root))
	if err != nil {
		return nil, err
	}
	var known []attack
	if err := json.Unmarshal(b, &known); err != nil {
		return nil, fmt.Errorf("%s: %w", attacksFile(root), err)
	}
	return known, nil
}

// writeAttacks keeps what was measured, a line for each attack.
func writeAttacks(root string, found []attack) error {
	if len(found) == 0 {
		return errors.New("no test measured an attack")
	}
	var b bytes.Buffer
	b.WriteString("[\n")
	for i, a := range found {
		line, err := json.Marshal(a)
		if err != nil {
			return err
		}
		b.Write(line)
		if i < len(found)-1 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString("]\n")
	if err := os.MkdirAll(filepath.Dir(attacksFile(root)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(attacksFile(root), b.Bytes(), 0o644)
}

// checkRan checks that a run measured every known attack and none besides, and
// that the bounds held.
func checkRan(w io.Writer, known []attack, run io.Reader) error {
	found, err := rows(run)
	if err != nil {
		return err
	}
	var errs []error
	seen := map[string]bool{}
	for _, a := range found {
		seen[a.key()] = true
		if !a.Held {
			errs = append(errs, fmt.Errorf("%s: a bound did not hold", a.key()))
		}
	}
	for _, a := range known {
		if !seen[a.key()] {
			errs = append(errs, fmt.Errorf("%s is in docs/security.md and did not run", a.key()))
		}
		delete(seen, a.key())
	}
	for key := range seen {
		errs = append(errs, fmt.Errorf("%s ran and is not in docs/security.md: go run ./internal/security -measure", key))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%d attacks measured, all within their bounds\n", len(known))
	return err
}

// failures passes on what a run says of packages and of tests that failed.
func failures(w io.Writer) io.Writer { return &failing{w: w, output: map[string][]string{}} }

type failing struct {
	w      io.Writer
	rest   []byte
	output map[string][]string
}

func (f *failing) Write(p []byte) (int, error) {
	f.rest = append(f.rest, p...)
	for {
		line, rest, whole := bytes.Cut(f.rest, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		var e event
		if json.Unmarshal(line, &e) == nil {
			f.take(e)
		}
		f.rest = slices.Clone(rest)
	}
}

func (f *failing) take(e event) {
	t := e.Package + " " + e.Test
	switch {
	case e.Action == "output" && e.Test == "":
		io.WriteString(f.w, e.Output)
	case e.Action == "output":
		f.output[t] = append(f.output[t], e.Output)
	case e.Action == "fail":
		io.WriteString(f.w, strings.Join(f.output[t], ""))
		delete(f.output, t)
	case e.Action == "pass", e.Action == "skip":
		delete(f.output, t)
	}
}
