package report

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

var writeGolden = flag.Bool("write", false, "write the files of testdata anew")

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *writeGolden {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-write renews it):\n%s", name, got)
	}
}

// small is what golden files are made of.
func small() lab.Study {
	s := synthetic([]string{"wt-h3-datagrams", "wt-h2-streams", "ws-per-channel", "http2-streams"},
		conditions([]lab.Kind{lab.Updates, lab.Mixed}, []lab.Direction{lab.Down}, 0, .02)...)
	s.Problems = []string{"The control of HTTP/2 streams failed: without loss 3 of 8000 messages were late (0.038 %). Something other than the link delays messages here."}
	s.Cells[7].Problem = "1 of 6 runs has no result: the router was 12.0 ms late"
	return s
}

func TestTableGolden(t *testing.T) {
	for name, width := range map[string]int{"table80.txt": 80, "table120.txt": 120} {
		var b strings.Builder
		if err := Table(&b, small(), width); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.String())
	}
}

// A narrow terminal has fewer columns, and a legend of those it has.
func TestNarrowTable(t *testing.T) {
	s := synthetic(twelve(), conditions([]lab.Kind{lab.Updates}, []lab.Direction{lab.Down}, 0, .01, .05)...)
	for width, legend := range map[int]bool{80: true, 66: true, 60: false} {
		var b strings.Builder
		if err := Table(&b, s, width); err != nil {
			t.Fatal(err)
		}
		for l := range strings.Lines(b.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(l, "\n")); n > width {
				t.Errorf("%d columns: %s", n, l)
			}
		}
		for _, word := range []string{" tail", "tail: "} {
			if strings.Contains(b.String(), word) != legend {
				t.Errorf("%d columns: %q is there, or not", width, word)
			}
		}
	}
}

// Whatever the study, no line is longer than the terminal, and what is not
// written to a terminal has no colours.
func TestTableFits(t *testing.T) {
	onEdges(t, func(t *testing.T, _ string, s lab.Study) {
		for _, width := range []int{80, Wide, 120, 200, 0} {
			var b strings.Builder
			if err := Table(&b, s, width); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(b.String(), "\x1b") {
				t.Error("there are colours without a terminal")
			}
			for l := range strings.Lines(b.String()) {
				l = strings.TrimSuffix(l, "\n")
				if n := utf8.RuneCountInString(l); width > 0 && n > width {
					t.Errorf("%d columns of %d: %s", n, width, l)
				}
				if strings.HasSuffix(l, " ") {
					t.Errorf("a line ends with a space: %q", l)
				}
			}
			for _, c := range s.Cells {
				name := c.Transport
				if width == 0 || width >= Wide {
					name = lookOf(name).Title
				}
				if len(name) <= 25 && !strings.Contains(b.String(), name) {
					t.Errorf("%q is not in the table of %d columns", name, width)
				}
			}
		}
	})
}

func TestProblemsAtBothEnds(t *testing.T) {
	s := usual()
	s.Problems = []string{"The control failed."}
	var b strings.Builder
	if err := Table(&b, s, 80); err != nil {
		t.Fatal(err)
	}
	const want = "INVALID: these results must not be trusted.\n! The control failed.\n\n"
	if !strings.HasPrefix(b.String(), want) || !strings.HasSuffix(b.String(), want) {
		t.Errorf("the table does not begin and end with the problems:\n%s", b.String())
	}
}

func TestColours(t *testing.T) {
	terminal := &terminal{width: 80, colour: true}
	terminal.study(small())
	text := terminal.b.String()
	for _, want := range []string{red + "INVALID", red + "0.7", red + "http2-streams!"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Count(text, "\x1b[0m")*2 != strings.Count(text, "\x1b[") {
		t.Error("a colour does not end")
	}
	for l := range strings.Lines(text) {
		for _, code := range []string{red, bold, dim, yellow, green, "\x1b[0m"} {
			l = strings.ReplaceAll(l, code, "")
		}
		if n := utf8.RuneCountInString(strings.TrimSuffix(l, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, l)
		}
	}
	t.Setenv("NO_COLOR", "1")
	if coloured(os.Stdout) || coloured(io.Discard) {
		t.Error("there are colours in spite of NO_COLOR, or without a file")
	}
}
