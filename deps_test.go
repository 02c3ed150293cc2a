package towpath_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/towpath-go/towpath"

// A room is a package and what its files may import besides the standard
// library. A pattern that ends in /... covers a tree; those without a dot in
// their first element are packages of this module.
type room struct {
	name    string
	imports []string
	tests   []string // further imports of its test files
}

// rooms are the arrows of the module: a package that is not here, or an import
// that is not in its row, fails.
var rooms = []room{
	{name: "."},
	{name: "capsule"},
	{name: "transport"},
	{name: "qlog", imports: []string{"transport", "internal/qlog"}},
	{name: "internal/qlog", imports: []string{"transport", "capsule"}},
	{name: "metrics", imports: []string{"transport"}},
	{name: "transport/transporttest", imports: []string{"transport", "golang.org/x/net/nettest"}},
	{name: "internal/conformance"},
	{name: "internal/security",
		imports: []string{"transport", "h2wt", "h3wt", "wswt", "negotiate", "internal/h2conn", "internal/sessionstate", "internal/hostile"}},
	{name: "internal/gate"},
	{name: "internal/block"},
	{name: "internal/deadline"},
	{name: "internal/memconn", tests: []string{"golang.org/x/net/nettest"}},
	{name: "internal/cork", imports: []string{"golang.org/x/sys/..."}, tests: []string{"internal/testcert"}},
	{name: "internal/testcert", tests: []string{"internal/memconn"}},
	{name: "internal/sessionstate", imports: []string{"transport"}, tests: []string{"internal/hostile"}},
	{name: "internal/hostile", imports: []string{"transport"}},
	{name: "internal/admission", imports: []string{"transport", "internal/quota"}},
	{name: "internal/quota", tests: []string{"transport", "internal/hostile"}},
	{name: "internal/delivery", imports: []string{"transport"}},
	{name: "internal/handshake", imports: []string{"transport", "github.com/dunglas/httpsfv", "golang.org/x/net/http/httpguts", "golang.org/x/net/idna"}},
	{name: "internal/session",
		imports: []string{"transport", "capsule", "internal/sessionstate", "internal/qlog", "internal/gate", "internal/deadline", "internal/block"},
		tests:   []string{"internal/hostile", "transport/transporttest", "internal/memconn", "internal/testcert"}},
	{name: "internal/h2conn",
		imports: []string{"transport", "internal/gate", "internal/deadline", "internal/block", "golang.org/x/net/http2/...", "golang.org/x/net/http/httpguts"},
		tests:   []string{"internal/hostile", "internal/h2test", "internal/memconn", "internal/testcert"}},
	{name: "internal/h2test",
		imports: []string{"capsule", "internal/memconn", "internal/testcert", "golang.org/x/net/http2/..."}},
	{name: "h2wt",
		imports: []string{"transport", "capsule", "internal/session", "internal/sessionstate", "internal/handshake", "internal/h2conn",
			"internal/gate", "internal/deadline", "internal/block", "internal/cork", "internal/quota", "internal/admission", "github.com/dunglas/httpsfv",
			"golang.org/x/net/http/httpguts", "golang.org/x/net/http2/..."},
		tests: []string{"internal/hostile", "transport/transporttest", "internal/h2test", "internal/memconn", "internal/testcert"}},
	{name: "wswt",
		imports: []string{"transport", "capsule", "internal/session", "internal/sessionstate", "internal/quota", "internal/handshake", "internal/cork",
			"github.com/gobwas/ws", "golang.org/x/net/http/httpguts"},
		tests: []string{"internal/hostile", "transport/transporttest", "h2wt", "internal/h2test", "internal/memconn", "internal/testcert"}},
	{name: "h3wt",
		imports: []string{"transport", "capsule", "internal/sessionstate", "internal/qlog", "internal/handshake",
			"internal/gate", "internal/deadline", "github.com/dunglas/httpsfv", "github.com/quic-go/quic-go/...", "golang.org/x/net/http/httpguts"},
		tests: []string{"internal/hostile", "transport/transporttest", "internal/memconn", "internal/testcert", "github.com/quic-go/webtransport-go", "golang.org/x/net/http2/hpack"}},
	{name: "negotiate",
		imports: []string{"transport", "h2wt", "h3wt", "wswt", "internal/handshake", "internal/sessionstate", "internal/quota", "internal/admission", "internal/gate", "internal/deadline",
			"github.com/quic-go/quic-go/...", "golang.org/x/net/...", "golang.org/x/sys/..."},
		tests: []string{"metrics", "internal/hostile", "internal/delivery", "transport/transporttest", "capsule", "internal/h2test", "internal/memconn", "internal/testcert"}},
	{name: "web/suite/server", imports: []string{"transport", "negotiate"}}, // a command of the tests of web
	{name: "cmd/towpath", imports: []string{"transport", "negotiate", "h2wt", "metrics", "qlog", "github.com/alecthomas/kong"},
		tests: []string{"transport/transporttest", "internal/memconn", "internal/testcert"}},
}

// vocabulary is what a package may use of another one whose machinery is not
// for it: names, or beginnings of names that end in *.
var vocabulary = []struct {
	room, imports string
	names         []string
	why           string
}{
	{"internal/session", "net", []string{"Addr", "ErrClosed"}, "the engine is fed bytes and asked for bytes: it has no socket"},
	{"internal/sessionstate", "net", nil, "pure values have no I/O"},
	{"internal/quota", "net", []string{"Addr", "SplitHostPort", "TCPAddr", "UDPAddr"}, "counting has no I/O"},
	{"capsule", "net", nil, "the codec has no I/O"},
	{"h2wt", "golang.org/x/net/http2", []string{"ErrCode*", "Setting*"}, "frames are internal/h2conn's"},
	{"h2wt", "golang.org/x/net/http2/hpack", []string{"HeaderField"}, "header blocks are internal/h2conn's"},
	{"negotiate", "golang.org/x/net/http2", nil, "frames are internal/h2conn's"},
}

type listed struct {
	ImportPath, Dir                    string
	GoFiles                            []string
	Imports, TestImports, XTestImports []string
	Module                             struct{ Main bool }
}

// TestImports checks the direct imports of every package on every platform.
func TestImports(t *testing.T) {
	for _, goos := range []string{"linux", "darwin", "windows", "freebsd"} {
		t.Run(goos, func(t *testing.T) {
			seen := map[string]bool{}
			for _, p := range list(t, goos) {
				name := inModule(p.ImportPath)
				seen[name] = true
				i := slices.IndexFunc(rooms, func(r room) bool { return r.name == name })
				if i < 0 {
					t.Errorf("%s has no row in rooms: say what it may import", name)
					continue
				}
				r := rooms[i]
				for _, imported := range p.Imports {
					if !r.allows(imported, r.imports) {
						t.Errorf("%s may not import %s", name, imported)
					}
				}
				tests := slices.Concat(r.imports, r.tests, []string{r.name})
				for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
					if !r.allows(imported, tests) {
						t.Errorf("the tests of %s may not import %s", name, imported)
					}
				}
			}
			for _, r := range rooms {
				if !seen[r.name] {
					t.Errorf("rooms has a row for %s, which does not exist", r.name)
				}
			}
		})
	}
}

// TestVocabulary checks what is used of packages that are allowed in part.
func TestVocabulary(t *testing.T) {
	packages := list(t, "linux")
	for _, v := range vocabulary {
		i := slices.IndexFunc(packages, func(p listed) bool { return inModule(p.ImportPath) == v.room })
		if i < 0 {
			t.Errorf("%s does not exist", v.room)
			continue
		}
		// All files, whatever platform they are for.
		files, err := filepath.Glob(filepath.Join(packages[i].Dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files, %v", v.room, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, name := range used(t, file, v.imports) {
				if !slices.ContainsFunc(v.names, func(allowed string) bool { return matches(allowed, name) }) {
					t.Errorf("%s uses %s of %s: %s", file, name, v.imports, v.why)
				}
			}
		}
	}
}

// TestRules makes sure that the checks above can fail.
func TestRules(t *testing.T) {
	r := room{imports: []string{"capsule", "golang.org/x/net/http2/..."}}
	for imported, want := range map[string]bool{
		"io": true, "net/http": true, module + "/capsule": true,
		"golang.org/x/net/http2": true, "golang.org/x/net/http2/hpack": true,
		"golang.org/x/net/http2x": false, "golang.org/x/net/nettest": false,
		module: false, module + "/transport": false, module + "/cmd/towpath": false,
		"github.com/stretchr/testify/require": false,
	} {
		if got := r.allows(imported, r.imports); got != want {
			t.Errorf("%s allowed: %v, want %v", imported, got, want)
		}
	}
	if got := used(t, "deps_test.go", "go/token"); !slices.Equal(got, []string{"NewFileSet"}) {
		t.Errorf("this file uses %v of go/token", got)
	}
	if !matches("Setting*", "SettingID") || matches("Addr", "AddrError") || matches("Setting*", "Framer") {
		t.Error("names are not matched as they should be")
	}
}

// allows reports whether imported is of the standard library or matches one of
// the patterns.
func (r room) allows(imported string, patterns []string) bool {
	first, _, _ := strings.Cut(imported, "/")
	if !strings.Contains(first, ".") {
		return true
	}
	return slices.ContainsFunc(patterns, func(p string) bool {
		if first, _, _ := strings.Cut(p, "/"); !strings.Contains(first, ".") || p == "." {
			p = path.Join(module, p)
		}
		tree, isTree := strings.CutSuffix(p, "/...")
		return imported == tree || isTree && strings.HasPrefix(imported, tree+"/")
	})
}

func matches(allowed, name string) bool {
	if prefix, ok := strings.CutSuffix(allowed, "*"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return allowed == name
}

func inModule(importPath string) string {
	if importPath == module {
		return "."
	}
	return strings.TrimPrefix(importPath, module+"/")
}

// list returns the packages of this module.
func list(t *testing.T, goos string) (packages []listed) {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports,TestImports,XTestImports,Module", "./...")
	cmd.Env = append(cmd.Environ(), "GOOS="+goos, "GOARCH=amd64", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	if len(packages) < 5 {
		t.Fatalf("go list shows %d packages", len(packages))
	}
	return packages
}

// used returns the names that a file uses of the package it imports, sorted.
func used(t *testing.T, file, imported string) (names []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	local := ""
	for _, spec := range f.Imports {
		if p, _ := strconv.Unquote(spec.Path.Value); p == imported {
			local = path.Base(imported)
			if spec.Name != nil {
				local = spec.Name.Name
			}
		}
	}
	if local == "" {
		return nil
	}
	if local == "." || local == "_" {
		return []string{"an import by " + local}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == local {
				names = append(names, sel.Sel.Name)
			}
		}
		return true
	})
	slices.Sort(names)
	return slices.Compact(names)
}
