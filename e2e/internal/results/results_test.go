package results

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

type result struct {
	Schema int    `json:"schema"`
	Name   string `json:"name"`
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "r.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRead(t *testing.T) {
	if r, err := Read[result](file(t, `{"schema":2,"name":"x"}`), 2); err != nil || r.Name != "x" {
		t.Errorf("%+v, %v", r, err)
	}
	for content, want := range map[string]string{
		`{"schema":1,"name":7}`: "schema 1, not 2",
		`{"schema":2,"name":7}`: "cannot unmarshal",
		`{`:                     "unexpected end",
	} {
		if _, err := Read[result](file(t, content), 2); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "r.json") {
			t.Errorf("%s: %v, want %q and the file's name", content, err, want)
		}
	}
}

func TestDocument(t *testing.T) {
	docs := t.TempDir()
	path := filepath.Join(docs, "x.md")
	text := func() string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	part := Part{Name: "a", Text: "made\n\n"}
	d := Document{Name: "x", Most: 1, Make: func(string) ([]Part, error) { return []Part{part, {Name: "b"}}, nil },
		Take: func(path string) (string, []byte, error) {
			b, err := os.ReadFile(path)
			return "taken.json", b, err
		}}
	if err := os.WriteFile(path, []byte("# x\n<!-- a: generated -->\nold\n<!-- /a -->\nbetween\n<!-- b: generated -->\n<!-- /b -->\nend\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := text()
	if changed, err := d.Update(docs, false, nil); err != nil || !changed || text() != before {
		t.Errorf("only looked at: %v, %v\n%s", changed, err, text())
	}
	in := file(t, "{}")
	if changed, err := d.Update(docs, true, []string{in}); err != nil || !changed {
		t.Errorf("%v, %v", changed, err)
	}
	if want := "# x\n<!-- a: generated -->\n\nmade\n\n<!-- /a -->\nbetween\n<!-- b: generated -->\n\nNot measured yet.\n\n<!-- /b -->\nend\n"; text() != want {
		t.Errorf("%q, want %q", text(), want)
	}
	if b, err := os.ReadFile(filepath.Join(docs, "x", "taken.json")); err != nil || string(b) != "{}" {
		t.Errorf("taken: %q, %v", b, err)
	}
	if changed, err := d.Update(docs, false, nil); err != nil || changed {
		t.Errorf("a second time: %v, %v", changed, err)
	}
	for want, files := range map[string][]string{"-write alone": {in}, "1 files at most": {in, in}} {
		if _, err := d.Update(docs, false, files); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	part.Name = "missing"
	if _, err := d.Update(docs, true, nil); err == nil || !strings.Contains(err.Error(), "no markers") {
		t.Errorf("without markers: %v", err)
	}
}

func TestMachine(t *testing.T) {
	if got := model("processor\t: 0\nmodel name\t: Some CPU\nmodel name\t: Other\n"); got != "Some CPU" {
		t.Errorf("model %q", got)
	}
	if got := total("MemFree: 1 kB\nMemTotal:       2048 kB\n"); got != 2<<20 {
		t.Errorf("memory %d", got)
	}
	if model("") != "" || total("MemTotal:") != 0 {
		t.Error("nothing is something")
	}
	m := Machine{Go: "go1", Processors: 2, CPU: "CPU", Kernel: "6", Memory: 3 << 30, Revision: "abc"}
	if got, want := m.String(), "2 processors (CPU, Linux 6, 3 GiB, go1), revision `abc`"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	m.Load = "0.5"
	if got := m.String(); !strings.Contains(got, "go1, load 0.5)") {
		t.Error(got)
	}
	if here := Here(3, true); here.Processors != 3 || !here.Race || here.Go == "" {
		t.Errorf("%+v", here)
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	Table(&b, 1, [][]string{{"a", "n"}, {"x", Thousands("-1234567")}})
	if want := "| a | n |\n|---|---:|\n| x | -1,234,567 |\n\n"; b.String() != want {
		t.Errorf("%q", b.String())
	}
}
