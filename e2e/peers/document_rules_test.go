package peers

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// sample returns a table of two rows that is complete.
func sample() ([]*row, map[*row]*[columnCount]*outcome) {
	a := &row{name: "a", section: foreign, peer: "A|a", end: "client", transport: "HTTP/2", module: "go github.com/quic-go/webtransport-go"}
	b := &row{name: "b", section: own, peer: "B", end: "both", transport: "HTTP/3", module: "as recorded", configure: "`X`"}
	got := map[*row]*[columnCount]*outcome{}
	for _, r := range []*row{a, b} {
		got[r] = new([columnCount]*outcome)
		for c := range columnCount {
			got[r][c] = &outcome{works: true, test: "Test" + r.peer[:1]}
		}
	}
	got[a][uni] = &outcome{note: "it <has> none", test: "TestA"}
	got[b][bidi] = &outcome{works: true, note: "slowly", test: "TestB"}
	got[b][uni] = &outcome{note: "it <has> none", test: "TestB"}
	return []*row{a, b}, got
}

// sampleRequests returns a table of requests of one row that is complete.
func sampleRequests() requestTable {
	r := &requestRow{name: "c", client: "C", module: "Debian's"}
	got := new([requestColumnCount]*outcome)
	for c := range requestColumnCount {
		got[c] = &outcome{works: true, test: "TestC"}
	}
	got[requestTrailers] = &outcome{works: true, note: "slowly", test: "TestC"}
	return requestTable{[]*requestRow{r}, map[*requestRow]*[requestColumnCount]*outcome{r: got}}
}

// TestIncompleteRequests is TestIncompleteDocument for the other table.
func TestIncompleteRequests(t *testing.T) {
	rows, results := sample()
	q := sampleRequests()
	q.results[q.rows[0]][requestHEAD] = nil
	if _, err := document(rows, results, q); err == nil || !strings.Contains(err.Error(), `"c" was not measured for HEAD`) {
		t.Errorf("got %v", err)
	}
	q = sampleRequests()
	q.results[new(requestRow)] = new([requestColumnCount]*outcome)
	if _, err := document(rows, results, q); err == nil || !strings.Contains(err.Error(), "2 rows of requests were measured, 1 are listed") {
		t.Errorf("got %v", err)
	}
}

func TestDocument(t *testing.T) {
	rows, results := sample()
	doc, err := document(rows, results, sampleRequests())
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.Repeat(" ✓ |", int(columnCount)-2)
	for _, want := range []string{
		"| A\\|a | client | HTTP/2 | ✓ | ✗ <sup>[1](#notes)</sup> |" + plain + "\n",
		"| B | both | HTTP/3 | ✓ <sup>[2](#notes)</sup> | ✗ <sup>[1](#notes)</sup> |" + plain + "\n",
		"\n1. It &lt;has&gt; none.\n2. Slowly.\n",
		"| C | ✓ | ✓ | ✓ <sup>[2](#notes)</sup> | ✓ |",
		"| C | Debian's | nothing | `TestC/c:` |\n",
		"| A\\|a (client, HTTP/2) | github.com/quic-go/webtransport-go v",
		"| B (both, HTTP/3) | as recorded | `X` | `TestB/b:` |\n",
	} {
		if !strings.Contains(string(doc), want) {
			t.Errorf("the document lacks %q\n%s", want, doc)
		}
	}
}

// TestIncompleteDocument: no field is left out, and none is measured by the way.
func TestIncompleteDocument(t *testing.T) {
	for want, spoil := range map[string]func(rows []*row, results map[*row]*[columnCount]*outcome) []*row{
		`"b" was not measured for datagrams`: func(rows []*row, results map[*row]*[columnCount]*outcome) []*row {
			results[rows[1]][datagrams] = nil
			return rows
		},
		`nothing of "a" was measured`: func(rows []*row, results map[*row]*[columnCount]*outcome) []*row {
			delete(results, rows[0])
			return rows
		},
		`two rows are named "a"`: func(rows []*row, results map[*row]*[columnCount]*outcome) []*row {
			rows[1].name = "a"
			return rows
		},
		`"a" is measured by TestA and TestZ`: func(rows []*row, results map[*row]*[columnCount]*outcome) []*row {
			results[rows[0]][uni].test = "TestZ"
			return rows
		},
		`the row "b" is not in the list`: func(rows []*row, _ map[*row]*[columnCount]*outcome) []*row {
			return rows[:1]
		},
		"example.com/none is not pinned": func(rows []*row, _ map[*row]*[columnCount]*outcome) []*row {
			rows[0].module = "go example.com/none"
			return rows
		},
	} {
		rows, results := sample()
		rows = spoil(rows, results)
		if _, err := document(rows, results, sampleRequests()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestLockFiles: what npm ci installs is pinned, from whichever registry is set up.
func TestLockFiles(t *testing.T) {
	for _, file := range []string{"node/package-lock.json", "../../.ci/node/package-lock.json"} {
		b, err := os.ReadFile(file)
		must(t, err)
		var lock struct {
			Packages map[string]struct{ Version, Resolved, Integrity string }
		}
		must(t, json.Unmarshal(b, &lock))
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
