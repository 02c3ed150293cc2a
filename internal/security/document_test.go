package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/transport"
)

func root(t *testing.T) string {
	t.Helper()
	r, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDocumentIsUpToDate(t *testing.T) {
	r := root(t)
	old, err := os.ReadFile(documentFile(r))
	if err != nil {
		t.Fatal(err)
	}
	attacks, err := readAttacks(r)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := generate(old, attacks)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(old, doc) {
		t.Error("docs/security.md is not what would be generated: go run ./internal/security -write")
	}
	for _, a := range attacks {
		if !a.Held {
			t.Errorf("%s: committed with a bound that did not hold", a.key())
		}
	}
}

// names returns the limits that package transport has, in the order of its source.
func names(t *testing.T) []transport.Limit {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root(t), "transport", "limit.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var found []transport.Limit
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			if id, ok := v.Type.(*ast.Ident); !ok || id.Name != "Limit" {
				continue
			}
			text, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, transport.Limit(text))
		}
	}
	return found
}

func TestEveryLimitHasARow(t *testing.T) {
	var rows []transport.Limit
	for _, r := range limitRows {
		rows = append(rows, r.limit)
		if r.def == "" || r.field == "" || r.beyond == "" || r.because == "" {
			t.Errorf("the row of %q is not complete", r.limit)
		}
	}
	want := names(t)
	if len(want) == 0 {
		t.Fatal("no limits found in package transport")
	}
	for _, l := range want {
		if n := len(slices.DeleteFunc(slices.Clone(rows), func(r transport.Limit) bool { return r != l })); n == 0 {
			t.Errorf("limit %q has no row", l)
		}
	}
	for _, l := range rows {
		if !slices.Contains(want, l) {
			t.Errorf("%q is no limit of package transport", l)
		}
	}
}

func TestRan(t *testing.T) {
	row := func(name string, held bool) attack {
		return attack{Package: "h2wt", Row: hostile.Row{Test: "TestHostileX/DS-01_a", Name: name, Victim: "h2", Held: held}}
	}
	const run = `{"Action":"attr","Package":"github.com/towpath-go/towpath/h2wt","Test":"TestHostileX/DS-01_a","Key":"towpath-attack","Value":"{\"test\":\"TestHostileX/DS-01_a\",\"attack\":\"resets\",\"victim\":\"h2\",\"held\":HELD}"}` + "\nnot JSON\n" +
		`{"Action":"attr","Package":"x","Test":"T","Key":"other","Value":"y"}` + "\n"
	held, broken := strings.Replace(run, "HELD", "true", 1), strings.Replace(run, "HELD", "false", 1)
	for _, c := range []struct {
		name  string
		known []attack
		run   string
		want  string
	}{
		{"as the document says", []attack{row("resets", true)}, held, ""},
		{"an attack that did not run", []attack{row("resets", true), row("pings", true)}, held, "pings is in docs/security.md and did not run"},
		{"an attack that the document lacks", nil, held, "resets ran and is not in docs/security.md"},
		{"a bound that did not hold", []attack{row("resets", true)}, broken, "a bound did not hold"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := checkRan(&bytes.Buffer{}, c.known, strings.NewReader(c.run))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
