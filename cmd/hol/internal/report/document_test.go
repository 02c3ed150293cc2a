package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

const docs = "../../../../docs"

// docs/hol.md and its pictures are what docs/hol/study.json gives.
func TestDocumentIsUpToDate(t *testing.T) {
	document, err := os.ReadFile(filepath.Join(docs, "hol.md"))
	if err != nil {
		t.Fatal(err)
	}
	var study *lab.Study
	f, err := os.Open(filepath.Join(docs, "hol", "study.json"))
	switch {
	case err == nil:
		defer f.Close()
		s, err := ReadJSON(f)
		if err != nil {
			t.Fatal(err)
		}
		study = &s
	case !errors.Is(err, fs.ErrNotExist):
		t.Fatal(err)
	}
	want, pictures, err := Document(document, study)
	if err != nil {
		t.Fatal(err)
	}
	const remedy = "go run -C cmd/hol ./internal/report/document -write renews it"
	if !bytes.Equal(document, want) {
		t.Errorf("docs/hol.md is not what the study gives; %s", remedy)
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
			t.Errorf("%s is not what the study gives (%v); %s", name, err, remedy)
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
		text, pictures, err := Document(blank(), &s)
		if err != nil {
			t.Fatal(err)
		}
		again, _, err := Document(text, &s)
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
	text, pictures, err := Document(blank(), &s)
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
	if err != nil || len(pictures) > 0 || strings.Count(string(text), "Nothing has been measured yet.") != len(parts) {
		t.Errorf("without a study: %d pictures, %v\n%s", len(pictures), err, text)
	}
}
