package metrics

import (
	"os"
	"strings"
	"testing"

	"github.com/towpath-go/towpath/transport"
)

// document is what docs/watching.md has between a pair of markers.
func document(t *testing.T, section string) string {
	t.Helper()
	b, err := os.ReadFile("../docs/watching.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, begun := strings.Cut(string(b), "<!-- begin "+section+" -->\n")
	text, _, ended := strings.Cut(rest, "<!-- end "+section+" -->")
	if !begun || !ended {
		t.Fatalf("docs/watching.md has no section %s", section)
	}
	return strings.TrimSpace(text)
}

func TestDocumentHasTheMetrics(t *testing.T) {
	var b strings.Builder
	b.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, f := range families {
		b.WriteString("| `" + f.SampleName() + "` | " + f.Kind.String() + " | " + strings.Join(f.Labels, ", ") + " | " + f.Help + " |\n")
	}
	if got, want := document(t, "metrics"), strings.TrimSpace(b.String()); got != want {
		t.Errorf("docs/watching.md has\n%s\nbut it should be\n%s", got, want)
	}
}

// TestDocumentHasTheWords checks that each word has a row, and each row a word.
func TestDocumentHasTheWords(t *testing.T) {
	for _, c := range []struct {
		section string
		words   []string
	}{
		{"session outcomes", sessionOutcomes},
		{"connection outcomes", connectionOutcomes},
		{"dial outcomes", transport.DialOutcomes()},
		{"fallbacks", transport.FallbackReasons()},
	} {
		var rows []string
		for line := range strings.Lines(document(t, c.section)) {
			if word, ok := strings.CutPrefix(line, "| `"); ok {
				word, _, _ = strings.Cut(word, "`")
				rows = append(rows, word)
			}
		}
		if got, want := strings.Join(rows, " "), strings.Join(c.words, " "); got != want {
			t.Errorf("%s: the document has %s, want %s", c.section, got, want)
		}
	}
}
