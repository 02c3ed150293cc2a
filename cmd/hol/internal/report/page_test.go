package report

import (
	"bytes"
	"html"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	nethtml "golang.org/x/net/html"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

func pageOf(t *testing.T, s lab.Study) string {
	t.Helper()
	var b bytes.Buffer
	if err := HTML(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// pages are those of the edges; one that cannot be made is empty.
var pages = sync.OnceValue(func() map[string]string {
	all := map[string]string{}
	for name, s := range edges() {
		var b bytes.Buffer
		if HTML(&b, s) == nil {
			all[name] = b.String()
		}
	}
	return all
})

// Elements of HTML that have no end.
var void = []string{"meta", "br", "hr", "img", "input", "link", "col"}

func TestPageIsWellFormed(t *testing.T) {
	onEdges(t, func(t *testing.T, name string, _ lab.Study) {
		text := pages()[name]
		ids, wanted := map[string]bool{}, map[string]bool{}
		var open []string
		tokens := nethtml.NewTokenizer(strings.NewReader(text))
		for {
			kind := tokens.Next()
			if kind == nethtml.ErrorToken {
				break
			}
			token := tokens.Token()
			switch kind {
			case nethtml.StartTagToken:
				if !slices.Contains(void, token.Data) {
					open = append(open, token.Data)
				}
			case nethtml.EndTagToken:
				if len(open) == 0 || open[len(open)-1] != token.Data {
					t.Fatalf("</%s> ends %v", token.Data, open)
				}
				open = open[:len(open)-1]
			}
			for _, a := range token.Attr {
				checkAttribute(t, token, a, ids, wanted)
			}
		}
		if len(open) > 0 || text == "" {
			t.Errorf("%d characters, not closed: %v", len(text), open)
		}
		for id := range wanted {
			if !ids[id] {
				t.Errorf("nothing has the id %q", id)
			}
		}
		for _, bad := range []string{"@import", "url(", "<script", "NaN", "+Inf", "undefined", "%!"} {
			if strings.Contains(text, bad) {
				t.Errorf("%q is in the page", bad)
			}
		}
		if _, err := nethtml.Parse(strings.NewReader(text)); err != nil {
			t.Error(err)
		}
	})
}

// checkAttribute looks for what would load something, and gathers ids.
func checkAttribute(t *testing.T, token nethtml.Token, a nethtml.Attribute, ids, wanted map[string]bool) {
	t.Helper()
	switch a.Key {
	case "id":
		if ids[a.Val] || a.Val == "" || strings.ContainsAny(a.Val, " .+%") {
			t.Errorf("the id %q is used twice, or is none", a.Val)
		}
		ids[a.Val] = true
	case "href":
		target, ok := strings.CutPrefix(a.Val, "#")
		if !ok {
			t.Errorf("<%s> refers to %q", token.Data, a.Val)
		}
		wanted[target] = true
	case "aria-labelledby":
		for _, id := range strings.Fields(a.Val) {
			wanted[id] = true
		}
	case "src", "srcset", "style", "xlink:href", "data", "action", "poster", "background":
		t.Errorf("<%s> has %s=%q", token.Data, a.Key, a.Val)
	}
	if strings.HasPrefix(a.Key, "on") {
		t.Errorf("<%s> has %s", token.Data, a.Key)
	}
	if strings.Contains(a.Val, "://") && a.Key != "xmlns" {
		t.Errorf("<%s> has %s=%q", token.Data, a.Key, a.Val)
	}
}

func TestPageHasEveryNumber(t *testing.T) {
	for _, name := range []string{"usual", "large", "small"} {
		s := edges()[name]
		text := html.UnescapeString(pages()[name])
		text = strings.ReplaceAll(strings.ReplaceAll(text, `<span class="spread">`, ""), "</span>", "")
		for _, c := range s.Cells {
			for _, col := range columns {
				e := *col.of(&c)
				if e.N > 0 && !strings.Contains(text, ">"+col.scale.interval(e)+"<") &&
					(col.name != "server_channel_ms" || c.ServerChannelError == "") {
					t.Fatalf("%s of %s is not in the page: %s", col.name, c.Transport, col.scale.interval(e))
				}
			}
		}
		for _, p := range append(s.Problems, s.Command, s.Version) {
			if !strings.Contains(text, p) {
				t.Errorf("%q is not in the page", p)
			}
		}
		if n := strings.Count(text, "Invalid: these results"); n != 2*min(len(s.Problems), 1) {
			t.Errorf("the page says %d times that it is invalid", n)
		}
		rows := strings.Count(text, `<th scope="row" class="`)
		if rows < 2*len(s.Cells) {
			t.Errorf("%d rows of %d cells", rows, len(s.Cells))
		}
	}
}

// A page is a function of its study.
func TestPageIsReproducible(t *testing.T) {
	if pageOf(t, usual()) != pages()["usual"] {
		t.Error("two pages of one study differ")
	}
}

func TestPageFindsItsWay(t *testing.T) {
	text := pages()["large"]
	for _, kind := range []string{"updates", "mixed", "page", "rpc"} {
		for _, way := range []string{"down", "up"} {
			for _, loss := range []string{"", "-0", "-1", "-2", "-numbers"} {
				id := kind + "-" + way + loss
				if strings.Count(text, `href="#`+id+`"`) == 0 || strings.Count(text, `id="`+id+`"`) != 1 {
					t.Errorf("no way leads to %s", id)
				}
			}
		}
	}
}

var (
	svgPattern   = regexp.MustCompile(`(?s)<svg [^>]*viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>(.*?)</svg>`)
	titlePattern = regexp.MustCompile(`<title id="[^"]+">[^<]+</title><desc id="[^"]+">[^<]+</desc>`)
	placePattern = regexp.MustCompile(` (x|x1|x2|cx|y|y1|y2|cy)="([^"]*)"`)
	pathPattern  = regexp.MustCompile(` (?:d|points)="([^"]*)"`)
	pairPattern  = regexp.MustCompile(`(-?[\d.]+)[ ,](-?[\d.]+)`)
)

// Every plot has a title and a description, and nothing is drawn outside it.
func TestPlotsStayInside(t *testing.T) {
	onEdges(t, func(t *testing.T, name string, s lab.Study) {
		plots := svgPattern.FindAllStringSubmatch(pages()[name], -1)
		for _, p := range plots {
			inside(t, p[1], p[2], p[3])
			if !titlePattern.MatchString(p[3]) {
				t.Fatalf("a plot has no title or description: %.200s", p[3])
			}
		}
		if len(s.Cells) > 90 && len(plots) < 50 {
			t.Errorf("%d plots", len(plots))
		}
	})
}

func inside(t *testing.T, width, height, body string) {
	t.Helper()
	w, h := number(t, width), number(t, height)
	check := func(v, most float64) {
		if v < -1 || v > most+1 {
			t.Fatalf("%v is outside 0 to %v: %.400s", v, most, body)
		}
	}
	for _, m := range placePattern.FindAllStringSubmatch(body, -1) {
		if strings.Contains(m[1], "x") {
			check(number(t, m[2]), w)
		} else {
			check(number(t, m[2]), h)
		}
	}
	for _, m := range pathPattern.FindAllStringSubmatch(body, -1) {
		for _, pair := range pairPattern.FindAllStringSubmatch(m[1], -1) {
			check(number(t, pair[1]), w)
			check(number(t, pair[2]), h)
		}
	}
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !isFinite(v) {
		t.Fatalf("%q is no number: %v", s, err)
	}
	return v
}
