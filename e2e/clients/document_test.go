package clients

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// sample returns a part of two tables and three rows, all measured.
func sample() (*Part, measurement) {
	one, other := Sessions("One", "of sessions"), &Table{"Other", "of something else", []string{"client"}, []string{"walks", "swims"}}
	a := &Row{Name: "a", Table: one, Peer: "A|a", End: "client", Transport: "HTTP/2", Module: "go github.com/quic-go/webtransport-go"}
	b := &Row{Name: "b", Table: one, Peer: "B", End: "both", Transport: "HTTP/3", Module: "as recorded", Configure: "`X`"}
	c := &Row{Name: "c", Table: other, Peer: "C", Module: "machine ship"}
	got := measurement{}
	for _, r := range []*Row{a, b, c} {
		got[r] = make([]*outcome, len(r.Table.Columns))
		for c := range got[r] {
			got[r][c] = &outcome{works: true, test: "Test" + r.Peer[:1]}
		}
	}
	got[a][Uni] = &outcome{note: "it <has> none", test: "TestA"}
	got[b][Bidi] = &outcome{works: true, note: "slowly", test: "TestB"}
	got[b][Uni] = &outcome{note: "it <has> none", test: "TestB"}
	got[c][1] = &outcome{works: true, note: "slowly", test: "TestC"}
	return &Part{"sample", []*Table{one, other}, []*Row{a, b, c}, "Sample notes", "Sample versions", "TestA/a:_bidi"}, got
}

var sampleMachine = map[string]string{"ship": "Ship 1.2"}

func TestPart(t *testing.T) {
	part, results := sample()
	doc, err := part.write(results, sampleMachine)
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.Repeat(" ✓ |", int(ColumnCount)-2)
	for _, want := range []string{
		"| A\\|a | client | HTTP/2 | ✓ | ✗ <sup>[1](#sample-notes)</sup> |" + plain + "\n",
		"| B | both | HTTP/3 | ✓ <sup>[2](#sample-notes)</sup> | ✗ <sup>[1](#sample-notes)</sup> |" + plain + "\n",
		"\n## Sample notes\n\n1. It &lt;has&gt; none.\n2. Slowly.\n\n## Sample versions\n",
		"\n## Other\n\nof something else\n\n| client | walks | swims |\n|---|:-:|:-:|\n| C | ✓ | ✓ <sup>[2](#sample-notes)</sup> |\n",
		"| C | Ship 1.2<!-- moves --> | nothing | `TestC/c:` |\n",
		"| A\\|a (client, HTTP/2) | github.com/quic-go/webtransport-go v",
		"| B (both, HTTP/3) | as recorded | `X` | `TestB/b:` |\n",
	} {
		if !strings.Contains(string(doc), want) {
			t.Errorf("the part lacks %q\n%s", want, doc)
		}
	}
}

// TestIncompletePart: no field is left out, and none is measured by the way.
func TestIncompletePart(t *testing.T) {
	for want, spoil := range map[string]func(p *Part, results measurement){
		`"b" was not measured for datagrams`:    func(p *Part, results measurement) { results[p.Rows[1]][Datagrams] = nil },
		`"b" was not measured for bidi`:         func(p *Part, results measurement) { results[p.Rows[1]][Bidi] = nil },
		`"c" was not measured for swims`:        func(p *Part, results measurement) { results[p.Rows[2]][1] = nil },
		`nothing of "a" was measured`:           func(p *Part, results measurement) { delete(results, p.Rows[0]) },
		`two rows are named "a"`:                func(p *Part, results measurement) { p.Rows[1].Name = "a" },
		`"a" is measured by TestA and TestZ`:    func(p *Part, results measurement) { results[p.Rows[0]][Uni].test = "TestZ" },
		`the row "c" is not in the list`:        func(p *Part, results measurement) { p.Rows = p.Rows[:2] },
		`the table of "c" is not in the list`:   func(p *Part, results measurement) { p.Tables = p.Tables[:1] },
		`the table "Other" has no rows`:         func(p *Part, results measurement) { p.Rows[2].Table = p.Tables[0] },
		"go example.com/none is not pinned":     func(p *Part, results measurement) { p.Rows[0].Module = "go example.com/none" },
		"the version of aeroplane is not known": func(p *Part, results measurement) { p.Rows[0].Module = "machine aeroplane" },
	} {
		part, results := sample()
		spoil(part, results)
		if _, err := part.write(results, sampleMachine); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestReplace(t *testing.T) {
	part := &Part{Name: "sample"}
	begin, end := part.begin()+"\n", part.end()+"\n"
	got, err := part.replace([]byte("before\n"+begin+"old\n"+end+"after\n"), []byte(begin+"new\n"+end))
	if want := "before\n" + begin + "new\n" + end + "after\n"; err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	for _, spoilt := range []string{"", begin, end, end + begin, begin + begin + end, begin + end + end, begin + strings.TrimSpace(end), begin + strings.TrimSpace(end) + "x\n"} {
		if got, err := part.replace([]byte(spoilt), nil); err == nil {
			t.Errorf("%q was taken for a document: %q", spoilt, got)
		}
	}
}

// TestSame: nothing is overlooked but a version that moves.
func TestSame(t *testing.T) {
	part, results := sample()
	a, _ := part.write(results, sampleMachine)
	b, _ := part.write(results, map[string]string{"ship": "Ship 1.3"})
	if bytes.Equal(a, b) || !same(a, b) {
		t.Error("another version of a program of the machine's counts as a difference")
	}
	for _, change := range [][2]string{{"✓", "✗"}, {"Slowly", "Fast"}, {moving, ""}, {"| C |", "| D |"}, {"webtransport-go v", "webtransport-go w"}, {"TestC", "TestD"}} {
		if same(a, bytes.Replace(b, []byte(change[0]), []byte(change[1]), 1)) {
			t.Errorf("%q for %q is no difference", change[1], change[0])
		}
	}
}

// TestPartsOfDocument: every part of the document belongs to a package that
// compares it.
func TestPartsOfDocument(t *testing.T) {
	doc, err := os.ReadFile("../../docs/clients.md")
	Must(t, err)
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^<!-- begin (\w+),`).FindAllSubmatch(doc, -1) {
		names = append(names, string(m[1]))
		if _, err := (&Part{Name: string(m[1])}).replace(doc, nil); err != nil {
			t.Error(err)
		}
	}
	slices.Sort(names)
	owners := map[string]bool{}
	files, err := filepath.Glob("../*/*_test.go")
	Must(t, err)
	for _, file := range files {
		b, err := os.ReadFile(file)
		Must(t, err)
		if bytes.Contains(b, []byte("part.Main(")) {
			owners[filepath.Base(filepath.Dir(file))] = true
		}
	}
	delete(owners, "clients") // this file
	if want := slices.Sorted(maps.Keys(owners)); !slices.Equal(names, want) {
		t.Errorf("the document has the parts %v, the packages %v compare theirs", names, want)
	}
}

// TestLockFiles: what npm ci installs is pinned, from whichever registry is set up.
func TestLockFiles(t *testing.T) {
	files, err := filepath.Glob("../*/node/package-lock.json")
	Must(t, err)
	if len(files) < 2 {
		t.Errorf("the lock files are %v", files)
	}
	for _, file := range append(files, "../../.ci/node/package-lock.json") {
		b, err := os.ReadFile(file)
		Must(t, err)
		var lock struct {
			Packages map[string]struct{ Version, Resolved, Integrity string }
		}
		Must(t, json.Unmarshal(b, &lock))
		if len(lock.Packages) < 2 {
			t.Errorf("%s pins nothing", file)
		}
		for name, p := range lock.Packages {
			if p.Resolved != "" || name != "" && (p.Version == "" || p.Integrity == "") {
				t.Errorf("%s: %s has version %q, resolved %q, integrity %q", file, name, p.Version, p.Resolved, p.Integrity)
			}
		}
	}
}

// TestUnmeasured: the document is compared unless something was missing.
func TestUnmeasured(t *testing.T) {
	part, _ := sample()
	if err := part.check(); err == nil || !strings.Contains(err.Error(), `nothing of "a" was measured`) {
		t.Errorf("with everything there: %v", err)
	}
	defer func(was []string) { missing = was }(missing)
	Unmeasured("ship")
	Unmeasured("ship")
	if err := part.check(); err != nil || len(missing) != 1 {
		t.Errorf("without ship: %v, %q missing", err, missing)
	}
}
