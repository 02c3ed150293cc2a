package metrics

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"

	"github.com/towpath-go/towpath/transport"
)

// constants returns the values of the string constants of a file whose names
// begin with prefix.
func constants(t *testing.T, file, prefix string) (values []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			for i, name := range v.Names {
				if len(name.Name) > len(prefix) && name.Name[:len(prefix)] == prefix && i < len(v.Values) {
					if l, ok := v.Values[i].(*ast.BasicLit); ok && l.Kind == token.STRING {
						text, err := strconv.Unquote(l.Value)
						if err != nil {
							t.Fatal(err)
						}
						values = append(values, text)
					}
				}
			}
		}
		return true
	})
	if len(values) == 0 {
		t.Fatalf("%s has no constants %s*", file, prefix)
	}
	return values
}

// TestWordsComplete compares the closed sets with the constants that exist.
func TestWordsComplete(t *testing.T) {
	for _, c := range []struct {
		file, prefix string
		set          []string
	}{
		{"../transport/limit.go", "Limit", limits},
		{"../transport/dialed.go", "Dial", transport.DialOutcomes()},
		{"../transport/dialed.go", "Fallback", transport.FallbackReasons()},
		{"words.go", "end", append(slices.Clone(sessionOutcomes), connectionOutcomes...)},
	} {
		all := constants(t, c.file, c.prefix)
		for _, w := range all {
			if !slices.Contains(c.set, w) {
				t.Errorf("%s is not in its set", w)
			}
		}
		for _, w := range c.set {
			if !slices.Contains(all, w) && w != other {
				t.Errorf("%s is no constant of %s", w, c.file)
			}
		}
	}
}
