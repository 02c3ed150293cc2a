package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCallersDirectory(t *testing.T) {
	directory := t.TempDir()
	laboratory, elsewhere, caller := filepath.Join(directory, "hol"), filepath.Join(directory, "else"), filepath.Join(directory, "caller")
	for _, d := range []string{laboratory, elsewhere, caller} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for file, text := range map[string]string{
		filepath.Join(laboratory, "go.mod"): "module " + module + "\n\ngo 1.26\n",
		filepath.Join(elsewhere, "go.mod"):  "module " + module + "/v2\n",
		filepath.Join(caller, "file"):       "",
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const built, cached, installed = "/tmp/go-build123/b001/exe/hol", "/home/x/.cache/go-build/78/abc-d/hol", "/home/x/go/bin/hol"
	entry := strings.Repeat("ed34", 16)
	for _, c := range []struct{ name, program, working, pwd, want string }{
		{"go run -C", built, laboratory, caller, caller},
		{"go run -C, from the build cache", cached, laboratory, caller, caller},
		{"go run -C, from a build cache of another name", "/x/cache/ed/" + entry + "-d/hol", laboratory, caller, caller},
		{"a program whose directory only resembles the cache's", "/x/cache/ed/" + entry[1:] + "-d/hol", laboratory, caller, ""},
		{"a program below the cache's", "/x/cache/ed/" + entry + "-d/bin/hol", laboratory, caller, ""},
		{"go run -C, PWD with a slash", built, laboratory, caller + "/", caller},
		{"go run in the laboratory itself", built, laboratory, laboratory, ""},
		{"another name of the same directory", built, laboratory, filepath.Join(caller, "..", "hol"), ""},
		{"an installed program, whose PWD may be an old one", installed, laboratory, caller, ""},
		{"another module", built, elsewhere, caller, ""},
		{"no module", built, caller, laboratory, ""},
		{"no PWD", built, laboratory, "", ""},
		{"a relative PWD", built, laboratory, ".", ""},
		{"PWD is not there any more", built, laboratory, filepath.Join(directory, "gone"), ""},
		{"PWD is a file", built, laboratory, filepath.Join(caller, "file"), ""},
	} {
		if got := callersDirectory(c.program, c.working, c.pwd); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	for _, c := range []struct{ directory, path, want string }{
		{"", "x", "x"}, {"/d", "x", "/d/x"}, {"/d", "../x", "/x"}, {"/d", "/x", "/x"}, {"/d", "", ""},
	} {
		if got := fromCaller(c.directory, c.path); got != c.want {
			t.Errorf("%q from %q: %q, want %q", c.path, c.directory, got, c.want)
		}
	}
}

func TestCommandLine(t *testing.T) {
	for want, args := range map[string][]string{
		"go run -C cmd/hol .":                           nil,
		"go run -C cmd/hol . --loss 1,2 --out=/x/y":     {"--loss", "1,2", "--out=/x/y"},
		`go run -C cmd/hol . '' 'a b' 'it'\''s' 'ws-*'`: {"", "a b", "it's", "ws-*"},
	} {
		if got := commandLine(args); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
