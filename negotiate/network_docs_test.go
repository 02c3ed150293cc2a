package negotiate

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// testsIn returns the names of the tests in a directory's files.
func testsIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no test files in %s: %v", dir, err)
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
				names = append(names, fn.Name.Name)
			}
		}
	}
	return names
}

// docs/networks.md names every broken network, and tests that exist.
func TestNetworksDocument(t *testing.T) {
	doc, err := os.ReadFile("../docs/networks.md")
	if err != nil {
		t.Fatal(err)
	}
	here, e2e := testsIn(t, "."), testsIn(t, "../e2e")
	named := regexp.MustCompile("`(e2e: )?(Test[A-Za-z0-9]+)`")
	seen := map[string]bool{}
	network := ""
	for line := range strings.Lines(string(doc)) {
		cells := strings.Split(line, "|")
		if len(cells) < 8 || strings.HasPrefix(cells[1], "-") || strings.TrimSpace(cells[1]) == "id" {
			continue
		}
		if id := strings.TrimSpace(cells[1]); id != "" {
			network = id
		}
		found := named.FindAllStringSubmatch(cells[len(cells)-2], -1)
		// What virtual time cannot show stands in a row that a kernel's test shows.
		if !slices.ContainsFunc(found, func(m []string) bool { return m[1] != "" || m[2] == "TestNetwork"+network }) {
			t.Errorf("a row of %s names neither TestNetwork%s nor a test of e2e: %s", network, network, line)
		}
		for _, m := range found {
			tests := here
			if m[1] != "" {
				tests = e2e
			}
			if !slices.Contains(tests, m[2]) {
				t.Errorf("%s names %s%s, which does not exist", network, m[1], m[2])
			}
			seen[m[2]] = true
		}
	}
	for i := 1; i <= 17; i++ {
		if name := fmt.Sprintf("TestNetworkN%d", i); !seen[name] {
			t.Errorf("%s is in no row", name)
		}
	}
}
