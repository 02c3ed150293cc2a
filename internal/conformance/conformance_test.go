package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestClaimedIDs(t *testing.T) {
	for name, want := range map[string]string{
		"H2-001 first SETTINGS":             "H2-001",
		"H2-141_H2-142_limits":              "H2-141 H2-142",
		"FW-18 H3-030 BP-001 DS-02":         "FW-18 H3-030 BP-001 DS-02",
		"TestH2_110_FIN":                    "H2-110",
		"TestH2_110":                        "H2-110",
		"TestH2_110x":                       "",
		"about H2-001":                      "",
		"H2-001x":                           "",
		"H2-":                               "",
		"XX-001 something":                  "",
		"H2-001: a colon is no separator":   "",
		"FW-18 echo of %d bytes":            "FW-18",
		"FW-18_echo_of_5_bytes/from_client": "FW-18",
	} {
		if got := strings.Join(claimedIDs(name), " "); got != want {
			t.Errorf("%q claims %q, want %q", name, got, want)
		}
	}
}

// tree writes files below a temporary directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func testTree(t *testing.T) string {
	return tree(t, map[string]string{
		"docs/requirements.txt":           "# comment\n\n## part one\nH2-001 | C | MUST | first | with a bar\nH2-002 | S | ours | second\n## part two\nFW-01 | B | - | third\n",
		"docs/conformance-exceptions.txt": "# comment\nH2-002: not possible: here\n",
		"a/a_test.go":                     "package a\nfunc TestX() { run(\"H2-001 is <shown>\"); run(\"H2-001 is <shown>\"); run(\"FW-01 too\") }\n",
		"a/a.go":                          "package a\nconst notATest = \"FW-01 in code\"\n",
		"a/testdata/b_test.go":            "package b\nconst notATest = \"FW-01 in data\"\n",
		"transport/transporttest/s.go":    "package s\nvar cases = []string{\"FW-01 case\"}\n",
		"b/b_test.go":                     "package b\nfunc TestH2_001_WhatElse() {}\n",
	})
}

func TestDocument(t *testing.T) {
	c, err := report(testTree(t))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := c.document()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"3 requirements: 2 shown by tests, 1 not.\n",
		"## part one\n", "## part two\n",
		"| H2-001 | C | MUST | first \\| with a bar | a: is &lt;shown&gt;; b: TestH2_001_WhatElse |\n",
		"| H2-002 | S | ours | second | **not shown:** not possible: here |\n",
		"| FW-01 | B | - | third | a: too; transport/transporttest: case |\n",
	} {
		if !strings.Contains(string(doc), want) {
			t.Errorf("the document lacks %q\n%s", want, doc)
		}
	}
}

func TestGaps(t *testing.T) {
	root := testTree(t)
	for name, c := range map[string]struct{ file, text, want string }{
		"neither":           {"docs/conformance-exceptions.txt", "", "H2-002 has no test and no exception"},
		"both":              {"docs/conformance-exceptions.txt", "H2-002: x\nFW-01: x\n", "FW-01 has a test"},
		"unknown test":      {"b/b_test.go", "package b\nconst s = \"H3-999 what\"\n", "H3-999 of b is not in"},
		"unknown exception": {"docs/conformance-exceptions.txt", "H2-002: x\nH2-999: x\n", "the exception for H2-999"},
		"no reason":         {"docs/conformance-exceptions.txt", "H2-002:\n", "not an exception"},
		"a row twice":       {"docs/requirements.txt", "## p\nH2-001 | C | MUST | a\nH2-001 | C | MUST | a\n", "H2-001 is there twice"},
		"not a row":         {"docs/requirements.txt", "## p\nH2-001 | C | PERHAPS | a\n", "not a requirement"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(root, filepath.FromSlash(c.file))
			before, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			defer os.WriteFile(file, before, 0o644)
			if err := os.WriteFile(file, []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			cov, err := report(root)
			if err == nil {
				_, err = cov.document()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestCheckRan(t *testing.T) {
	c := &coverage{
		rows:   []row{{id: "H2-001"}, {id: "H3-001"}, {id: "FW-01"}, {id: "BP-001"}},
		claims: map[string][]claim{"H2-001": {{}}, "H3-001": {{}}, "FW-01": {{}}},
	}
	pass := func(pkg, test string) string {
		return `{"Action":"pass","Package":"github.com/towpath-go/towpath/` + pkg + `","Test":"` + test + `"}` + "\n"
	}
	whole := pass("h2wt", "TestX/H2-001_a/sub") + pass("h3wt", "TestY/H3-001_FW-01_b") + "# not JSON\n"
	if err := checkRan(&strings.Builder{}, c, strings.NewReader(whole)); err != nil {
		t.Errorf("a whole run: %v", err)
	}
	for name, run := range map[string]string{
		"nothing ran":               "",
		"one is missing":            pass("h2wt", "TestX/H2-001_a") + pass("h2wt", "TestX/FW-01_a"),
		"skipped":                   strings.Replace(whole, `"pass"`, `"skip"`, 1),
		"failed":                    whole + strings.Replace(pass("h2wt", "TestX/H2-001_c"), `"pass"`, `"fail"`, 1),
		"only the reference":        pass("h2wt", "TestX/H2-001_a") + pass("h3wt", "TestX/H3-001_a") + pass(suite, "TestReference/FW-01_a"),
		"only on another transport": pass("h2wt", "TestX/H2-001_a") + pass("h2wt", "TestX/H3-001_a") + pass("h2wt", "TestX/FW-01_a"),
	} {
		if err := checkRan(&strings.Builder{}, c, strings.NewReader(run)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestPrintRun(t *testing.T) {
	const run = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestGood"}
{"Action":"output","Package":"p","Test":"TestGood","Output":"good says\n"}
{"Action":"pass","Package":"p","Test":"TestGood"}
{"Action":"output","Package":"p","Test":"TestAway","Output":"=== RUN   TestAway\n"}
{"Action":"output","Package":"p","Test":"TestAway","Output":"    x_test.go:1: why skipped\n"}
{"Action":"output","Package":"p","Test":"TestAway","Output":"--- SKIP: TestAway\n"}
{"Action":"skip","Package":"p","Test":"TestAway"}
{"Action":"output","Package":"p","Output":"PASS\n"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}
`
	var b strings.Builder
	if err := printRun(&b, strings.NewReader(run)); err != nil || b.String() != "ok  \tp\t0.1s\n\tskipped 1: x_test.go:1: why skipped\n" {
		t.Errorf("%v, printed %q", err, b.String())
	}
	for name, add := range map[string]string{
		"a failing test": `{"Action":"output","Package":"p","Test":"TestBad","Output":"bad says\n"}
{"Action":"fail","Package":"p","Test":"TestBad"}
`,
		"a test without a verdict": `{"Action":"output","Package":"p","Test":"TestBad","Output":"bad says\n"}
`,
		"a build": `{"Action":"build-output","Output":"bad says\n"}
{"Action":"build-fail"}
`,
	} {
		b.Reset()
		if err := printRun(&b, strings.NewReader(run+add)); !errors.Is(err, errFailed) || !strings.Contains(b.String(), "bad says") || strings.Contains(b.String(), "good says") {
			t.Errorf("%s: %v, printed %q", name, err, b.String())
		}
	}
	if err := printRun(&b, strings.NewReader("go: cannot run\n")); !errors.Is(err, errFailed) {
		t.Errorf("a run of nothing: %v", err)
	}
}

func TestRequirementsFile(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	c, err := report(root)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, r := range c.rows {
		count[r.id[:2]]++
	}
	for prefix, want := range map[string]int{"H2": 134, "H3": 70, "BP": 32, "DS": 22, "FW": 27} {
		if count[prefix] != want {
			t.Errorf("%d requirements %s, want %d", count[prefix], prefix, want)
		}
	}
}

// TestDocumentIsUpToDate: docs/conformance.md is what the tests say, and no
// requirement is without a test or a reason.
func TestDocumentIsUpToDate(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	c, err := report(root)
	if err != nil {
		t.Fatal(err)
	}
	want, err := c.document()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(documentFile(root))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytes.ReplaceAll(got, []byte("\r\n"), []byte("\n")), want) {
		t.Error("docs/conformance.md is out of date: run go run ./internal/conformance -write")
	}
}
