package report

import (
	"bytes"
	"encoding/xml"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

const docs = "../../../../docs"

// docs/hol.md and its pictures are what the studies in docs/hol give.
func TestDocumentIsUpToDate(t *testing.T) {
	document, err := os.ReadFile(filepath.Join(docs, "hol.md"))
	if err != nil {
		t.Fatal(err)
	}
	studies, err := ReadSources(filepath.Join(docs, "hol"))
	if err != nil {
		t.Fatal(err)
	}
	want, pictures, err := Document(document, studies)
	if err != nil {
		t.Fatal(err)
	}
	const remedy = "go run -C cmd/hol ./internal/report/document -write renews it"
	if !bytes.Equal(document, want) {
		t.Errorf("docs/hol.md is not what the studies give; %s", remedy)
	}
	files, err := filepath.Glob(filepath.Join(docs, "hol", "*.svg"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if pictures[filepath.Base(path)] == nil {
			t.Errorf("%s belongs to no study; %s", path, remedy)
		}
	}
	for name, b := range pictures {
		if have, err := os.ReadFile(filepath.Join(docs, "hol", name)); err != nil || !bytes.Equal(have, b) {
			t.Errorf("%s is not what the studies give (%v); %s", name, err, remedy)
		}
	}
}

// blank is a document with every part and nothing else.
func blank() []byte {
	var b bytes.Buffer
	for _, p := range parts {
		b.WriteString("## " + p.name + "\n\n" + p.begin() + "\n" + p.end() + "\n\n")
	}
	return b.Bytes()
}

var pictureLink = regexp.MustCompile(`!\[[^\]\n]+\]\(hol/([^)\n]+)\)`)

func TestDocument(t *testing.T) {
	onEdges(t, func(t *testing.T, _ string, s lab.Study) {
		text, pictures, err := Document(blank(), []Source{{"study", s}})
		if err != nil {
			t.Fatal(err)
		}
		again, _, err := Document(text, []Source{{"study", s}})
		if err != nil || !bytes.Equal(text, again) {
			t.Errorf("a second time gives another document (%v)", err)
		}
		shown := map[string]bool{}
		for _, m := range pictureLink.FindAllSubmatch(text, -1) {
			shown[string(m[1])] = true
		}
		for name, b := range pictures {
			if !shown[name] {
				t.Errorf("%s is not shown", name)
			}
			wellFormed(t, name, b)
		}
		if len(shown) != len(pictures) {
			t.Errorf("%d pictures of %d", len(pictures), len(shown))
		}
		for _, bad := range []string{"NaN", "Inf", "<script", "<img", "%!"} {
			if bytes.Contains(text, []byte(bad)) {
				t.Errorf("%q is in the document", bad)
			}
		}
		tables(t, string(text))
	})
}

// tables checks that the rows of each table have as many fields as its head.
func tables(t *testing.T, text string) {
	t.Helper()
	fields := 0
	for l := range strings.Lines(text) {
		n := strings.Count(strings.ReplaceAll(l, `\|`, ""), "|")
		if n == 0 {
			fields = 0
			continue
		}
		if fields == 0 {
			fields = n
		}
		if n != fields {
			t.Fatalf("%d bars instead of %d: %s", n, fields, l)
		}
	}
}

// wellFormed checks a picture, which a page shows by itself.
func wellFormed(t *testing.T, name string, b []byte) {
	t.Helper()
	decoder := xml.NewDecoder(bytes.NewReader(b))
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if element, ok := token.(xml.StartElement); ok {
			for _, a := range element.Attr {
				if a.Name.Local == "href" || strings.Contains(a.Value, "://") && a.Name.Local != "xmlns" {
					t.Errorf("%s: <%s %s=%q>", name, element.Name.Local, a.Name.Local, a.Value)
				}
			}
		}
	}
	for _, want := range []string{"prefers-color-scheme: dark", `class="ground"`, "<title", "<desc"} {
		if !bytes.Contains(b, []byte(want)) {
			t.Errorf("%s has no %s", name, want)
		}
	}
	for _, bad := range []string{"NaN", "Inf", "url(", "@import", "<script"} {
		if bytes.Contains(b, []byte(bad)) {
			t.Errorf("%s has %s", name, bad)
		}
	}
}

func TestDocumentGolden(t *testing.T) {
	s := small()
	text, pictures, err := Document(blank(), []Source{{"study", s}})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "document.md", string(text))
	var names []string
	for name := range pictures {
		names = append(names, name)
	}
	slices.Sort(names)
	golden(t, "pictures.txt", strings.Join(names, "\n")+"\n")
}

func TestDocumentRefuses(t *testing.T) {
	p := parts[0]
	for name, document := range map[string]string{
		"no markers":     "",
		"one of them":    p.begin() + "\n",
		"a second pair":  string(blank()) + p.begin() + "\n" + p.end() + "\n",
		"the wrong way":  strings.Replace(strings.Replace(string(blank()), p.end()+"\n", "", 1), p.begin(), p.end()+"\n"+p.begin(), 1),
		"not whole line": strings.Replace(string(blank()), p.begin()+"\n", p.begin()+" ", 1),
	} {
		if _, _, err := Document([]byte(document), nil); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	text, pictures, err := Document(blank(), nil)
	if err != nil || len(pictures) > 0 || strings.Count(string(text), "Nothing has been measured yet.") != 1 || strings.Count(string(text), "Not measured here.") != len(parts)-2 {
		t.Errorf("without a study: %d pictures, %v\n%s", len(pictures), err, text)
	}
}

// withLink is a study whose conditions are changed.
func withLink(s lab.Study, change func(*lab.Condition)) lab.Study {
	s.Cells, s.Timelines = slices.Clone(s.Cells), slices.Clone(s.Timelines)
	for i := range s.Cells {
		change(&s.Cells[i].Condition)
	}
	for i := range s.Timelines {
		change(&s.Timelines[i].Condition)
	}
	return s
}

func section(text []byte, name string) string {
	p := part{name: name}
	_, after, _ := strings.Cut(string(text), p.begin()+"\n")
	in, _, _ := strings.Cut(after, p.end())
	return in
}

func TestDocumentOfStudies(t *testing.T) {
	of := func(c ...lab.Condition) lab.Study { return synthetic([]string{"wt-h3-streams", "ws-one"}, c...) }
	down := []lab.Direction{lab.Down}
	light := of(conditions([]lab.Kind{lab.Updates}, down, 0, .01, .02)...)
	up := of(conditions([]lab.Kind{lab.Updates}, []lab.Direction{lab.Up}, 0, .02)...)
	up.Machine = map[string]string{"jobs": "2", "kernel": "Linux 6.18"}
	full := withLink(of(conditions([]lab.Kind{lab.Updates}, down, 0, .02)...), func(c *lab.Condition) { c.Workload.MinSize, c.Workload.MaxSize = 200, 1100 })
	bursts := withLink(of(conditions([]lab.Kind{lab.Updates}, down, 0, .01)...), func(c *lab.Condition) {
		if c.Link.Loss > 0 {
			c.Link.Loss, c.Link.Burst = 0, lab.Burst{Good: 980e6, Bad: 20e6, Loss: 1}
		}
	})
	start := of(conditions([]lab.Kind{lab.Updates}, down, 0)...)
	for i := range start.Cells {
		start.Cells[i].RoundTrips.N = 10
	}
	start.Problems = []string{"nobody | knows"}
	other := of(conditions([]lab.Kind{lab.Updates}, down, 0, .02)...)
	sources := []Source{{"again", other}, {"bursts", bursts}, {"full", full}, {"setup", start}, {"up", up}, {"updates", light}}
	text, pictures, err := Document(blank(), sources)
	if err != nil {
		t.Fatal(err)
	}
	tables(t, string(text))
	for name, want := range map[string][]string{
		"study": {
			"**setup.json is invalid", "- nobody \\| knows",
			"| [again](hol/again.json) |", "| runs at a time | 2 (up) |", "| kernel | Linux 6.18 |", "| quic-go | v0.64.1 (again, updates, full, bursts, setup) |",
			"([up.json](hol/up.json))",
		},
		"updates": {"**Light updates, server to client (again).**", "**Light updates, server to client (updates).**", "(hol/again-late.svg)", "(hol/updates-late.svg)"},
		"up":      {"client to server", "(hol/up-late.svg)"},
		"full":    {"**Full load, server to client.**", "(hol/full-late.svg)", "(hol/full-2-latency.svg)"},
		"bursts":  {"(hol/bursts-0-bursts-signature.svg)"},
		"setup":   {"From setup.json, at 0 % loss."},
		"mixed":   {"Not measured here.", "go run -C cmd/hol . --workload mixed --json docs/hol/mixed.json"},
	} {
		in := section(text, name)
		for _, w := range want {
			if !strings.Contains(in, w) {
				t.Errorf("%s has no %q:\n%s", name, w, in)
			}
		}
		if name != "mixed" && strings.Contains(in, "Not measured") {
			t.Errorf("%s is not measured", name)
		}
	}
	if in := section(text, "updates"); strings.Contains(in, "setup") {
		t.Errorf("a study without loss is among those of loss:\n%s", in)
	}

	// What is left out of a study that is taken in is not missed.
	for i := range sources {
		whole := len(sources[i].Study.Timelines)
		for _, c := range sources[i].Study.Cells {
			whole += len(c.CDF)
		}
		sources[i].Study = Trim(sources[i].Study)
		rest := len(sources[i].Study.Timelines)
		for _, c := range sources[i].Study.Cells {
			rest += len(c.CDF)
		}
		if rest == 0 || sources[i].Name != "setup" && rest >= whole {
			t.Errorf("%s: %d of %d are left", sources[i].Name, rest, whole)
		}
	}
	again, trimmed, err := Document(blank(), sources)
	same := slices.Equal(slices.Sorted(maps.Keys(trimmed)), slices.Sorted(maps.Keys(pictures)))
	if err != nil || !bytes.Equal(again, text) || !same {
		t.Errorf("trimmed studies give another document, %v", err)
	}
}

func TestReadSources(t *testing.T) {
	dir := t.TempDir()
	if all, err := ReadSources(filepath.Join(dir, "none")); err != nil || len(all) > 0 {
		t.Errorf("%v, %v", all, err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("b.json", `{"schema": 1, "command": "b"}`)
	write("a-2.json", `{"schema": 1, "command": "a"}`)
	write("picture.svg", "<svg/>")
	all, err := ReadSources(dir)
	if err != nil || len(all) != 2 || all[0].Name != "a-2" || all[0].Study.Command != "a" || all[1].Name != "b" {
		t.Errorf("%+v, %v", all, err)
	}
	for name, text := range map[string]string{"old.json": `{"schema": 99}`, "none.json": "", "My study.json": `{"schema": 1}`, "a--b.json": `{"schema": 1}`} {
		write(name, text)
		if _, err := ReadSources(dir); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTrimShortensLatencies(t *testing.T) {
	s := synthetic([]string{"ws-one"}, conditions([]lab.Kind{lab.Updates}, []lab.Direction{lab.Down}, .02)...)
	s.Cells[0].CDF = []float64{25.123456, 99.999}
	if got := Trim(s).Cells[0].CDF; !slices.Equal(got, []float64{25.12, 100}) {
		t.Error(got)
	}
	if s.Cells[0].CDF[0] != 25.123456 {
		t.Error("the study itself was changed")
	}
}
