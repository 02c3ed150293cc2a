package clients

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

var write = flag.Bool("write", false, "write this package's part of docs/clients.md after a complete run")

// documentFile is relative to the directory of a package below e2e, where go
// test runs.
const documentFile = "../../docs/clients.md"

// Main runs the tests, checks or writes the part of the document, and returns
// the exit status.
func (p *Part) Main(m interface{ Run() int }) int {
	flag.Parse()
	code := m.Run()
	if code == 0 && everything() {
		if err := p.check(); err != nil {
			fmt.Println("docs/clients.md:", err)
			code = 1
		}
	}
	return code
}

// check compares the part with what was measured, or writes it. Where a tool
// was missing it does neither.
func (p *Part) check() error {
	if len(missing) > 0 {
		fmt.Printf("docs/clients.md is neither compared nor written: without %s not all of it was measured\n", strings.Join(missing, ", "))
		return nil
	}
	text, err := p.write(results, machine)
	if err != nil {
		return err
	}
	is, err := os.ReadFile(documentFile)
	if err != nil {
		return err
	}
	is = bytes.ReplaceAll(is, []byte("\r\n"), []byte("\n"))
	want, err := p.replace(is, text)
	switch {
	case err != nil:
		return err
	case *write:
		return os.WriteFile(documentFile, want, 0o644)
	case !same(is, want):
		return fmt.Errorf("differs from what was measured: run go test -C e2e ./%s -write, and look at what changed", p.Name)
	}
	return nil
}

// everything reports whether this run was to measure the whole table.
func everything() bool {
	for name, none := range map[string]string{"test.run": "", "test.skip": "", "test.list": "", "test.count": "0"} {
		if v := flag.Lookup(name).Value.String(); (v == none) == (name == "test.count") {
			return false
		}
	}
	return true
}

// missing are the tools without which a part of the table was not measured.
var (
	missingMu sync.Mutex // guards the following
	missing   []string
)

// Unmeasured tells that for want of a tool a test is skipped elsewhere, so that
// the document is not compared.
func Unmeasured(tool string) {
	missingMu.Lock()
	defer missingMu.Unlock()
	if !slices.Contains(missing, tool) {
		missing = append(missing, tool)
	}
}

// Unavailable skips a test for want of a tool, with the reason, or fails it
// where everything is required.
func Unavailable(t testing.TB, tool string, err error) {
	t.Helper()
	Unmeasured(tool)
	if os.Getenv("TOWPATH_E2E_REQUIRE") != "" {
		t.Fatalf("%s is required: %v", tool, err)
	}
	t.Skipf("without %s: %v", tool, err)
}
