package towpath_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// logging are the functions that log, and which of their arguments is the message.
var logging = map[string]int{
	"Debug": 0, "Info": 0, "Warn": 0, "Error": 0, // slog.Logger
	"Log": 2, "LogAttrs": 2,
	"logAt": 1, "log": 0, "logStream": 0, "Refused": 0, // ours
}

// section is what docs/watching.md has between a pair of markers.
func section(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("docs/watching.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begun := strings.Cut(string(b), "<!-- begin "+name+" -->\n")
	text, _, ended := strings.Cut(rest, "<!-- end "+name+" -->")
	if !begun || !ended {
		t.Fatalf("docs/watching.md has no section %s", name)
	}
	return text
}

// rows are the words in the first column of a table.
func rows(table string) (words []string) {
	for line := range strings.Lines(table) {
		if word, ok := strings.CutPrefix(line, "| `"); ok {
			word, _, _ = strings.Cut(word, "`")
			words = append(words, word)
		}
	}
	return words
}

// parse parses the library's files, without tests.
func parse(t *testing.T, dirs ...string) (files []*ast.File) {
	t.Helper()
	for _, dir := range dirs {
		paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: no files, %v", dir, err)
		}
		for _, p := range paths {
			if strings.HasSuffix(p, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), p, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
	}
	return files
}

// called is the name of a function called, "" if it has none.
func called(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.SelectorExpr:
		return f.Sel.Name
	case *ast.Ident:
		return f.Name
	}
	return ""
}

func literal(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(l.Value)
	return s, err == nil
}

var logDirs = []string{"internal/session", "internal/h2conn", "internal/admission", "h2wt", "wswt", "h3wt", "negotiate", "qlog"}

// TestLogMessagesAreDocumented compares the messages in the sources with the table:
// their names are stable, so that none may appear or vanish unseen.
func TestLogMessagesAreDocumented(t *testing.T) {
	found := map[string]bool{}
	for _, f := range parse(t, logDirs...) {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if i, ok := logging[called(n)]; ok && i < len(n.Args) {
					if s, ok := literal(n.Args[i]); ok {
						found[s] = true
					}
				}
			case *ast.AssignStmt: // a message that is chosen before: event := "..."
				for i, left := range n.Lhs {
					if id, ok := left.(*ast.Ident); ok && id.Name == "event" && i < len(n.Rhs) {
						if s, ok := literal(n.Rhs[i]); ok {
							found[s] = true
						}
					}
				}
			}
			return true
		})
	}
	documented := rows(section(t, "log"))
	for _, s := range slices.Sorted(maps.Keys(found)) {
		if !slices.Contains(documented, s) {
			t.Errorf("the message %q has no row in docs/watching.md", s)
		}
	}
	for _, s := range documented {
		if !found[s] {
			t.Errorf("docs/watching.md has the message %q, which nothing logs", s)
		}
	}
}

// TestLogAttributesAreDocumented does the same with the keys of attributes, which
// are of one form.
func TestLogAttributesAreDocumented(t *testing.T) {
	text := section(t, "log")
	form := regexp.MustCompile(`^[a-z]+(_[a-z0-9]+)*$`)
	seen := 0
	for _, f := range parse(t, logDirs...) {
		ast.Inspect(f, func(n ast.Node) bool {
			c, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := c.Fun.(*ast.SelectorExpr)
			if !ok || len(c.Args) < 2 {
				return true
			}
			if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "slog" {
				if key, ok := literal(c.Args[0]); ok {
					seen++
					if !form.MatchString(key) && !strings.HasSuffix(key, "_") {
						t.Errorf("the key %q is not of the form of the others", key)
					}
					if !strings.Contains(text, "`"+key) {
						t.Errorf("the key %q is not in docs/watching.md", key)
					}
				}
			}
			return true
		})
	}
	if seen < 50 {
		t.Errorf("only %d attributes found", seen)
	}
}

// TestQlogEventsAreDocumented compares the events of internal/qlog with the table.
func TestQlogEventsAreDocumented(t *testing.T) {
	var names []string
	for _, f := range parse(t, "internal/qlog") {
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, s := range g.Specs {
				v := s.(*ast.ValueSpec)
				switch v.Names[0].Name {
				case "Namespace", "Sending", "Receiving", "eventSchema":
					continue
				}
				if len(v.Values) == 1 {
					if s, ok := literal(v.Values[0]); ok {
						names = append(names, "webtransport:"+s)
					}
				}
			}
		}
	}
	if got, want := rows(section(t, "qlog")), names; !slices.Equal(got, want) || len(names) < 10 {
		t.Errorf("docs/watching.md has the events\n%q, the package\n%q", got, want)
	}
}
