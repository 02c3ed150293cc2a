package metrics

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/transport"
)

func TestWriteText(t *testing.T) {
	source := fixed{
		{Name: "b_seconds", Unit: "seconds", Kind: KindHistogram, Help: "Time.", Labels: []string{"l"}, Points: []Point{
			{Labels: []string{"x"}, Histogram: &Histogram{Buckets: []Bucket{{0.5, 1}, {1, 3}, {1e21, 3}}, Count: 4, Sum: 7.25}},
		}},
		{Name: "a", Help: "Line\nand \\ and \"quotes\".", Labels: []string{"l", "m"}, Points: []Point{
			{Labels: []string{"x\n\"\\", "é"}, Value: 3},
			{Labels: []string{"", "y"}, Value: 1 << 60},
		}},
		{Name: "c", Kind: KindGauge, Points: []Point{{Value: -0.25}}},
		{Name: "d", Kind: KindGauge, Points: []Point{{Value: math.Inf(1)}}},
		{Name: "e", Kind: KindGauge, Points: []Point{{Value: math.Inf(-1)}}},
		{Name: "f", Kind: KindGauge, Points: []Point{{Value: math.NaN()}}},
		{Name: "g", Help: "No point yet."},
	}
	var b bytes.Buffer
	if err := WriteText(&b, source); err != nil {
		t.Fatal(err)
	}
	want := `# TYPE a counter
# HELP a Line\nand \\ and \"quotes\".
a_total{l="x\n\"\\",m="é"} 3
a_total{l="",m="y"} 1.152921504606847e+18
# TYPE b_seconds histogram
# UNIT b_seconds seconds
# HELP b_seconds Time.
b_seconds_bucket{l="x",le="0.5"} 1
b_seconds_bucket{l="x",le="1.0"} 3
b_seconds_bucket{l="x",le="1e+21"} 3
b_seconds_bucket{l="x",le="+Inf"} 4
b_seconds_count{l="x"} 4
b_seconds_sum{l="x"} 7.25
# TYPE c gauge
c -0.25
# TYPE d gauge
d +Inf
# TYPE e gauge
e -Inf
# TYPE f gauge
f NaN
# TYPE g counter
# HELP g No point yet.
# EOF
`
	if b.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
	}
	if err := WriteText(&b, source, source); err == nil {
		t.Error("two sources with the same families were written")
	}
	if err := WriteText(full{}, source); !errors.Is(err, errFull) {
		t.Errorf("error of the writer: %v", err)
	}
}

var errFull = errors.New("full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

// TestRecorderText checks a Recorder's text line by line: metadata first, units as
// suffixes, samples under their own family, everything once.
func TestRecorderText(t *testing.T) {
	r := NewRecorder()
	for _, p := range []transport.Protocol{transport.HTTP3, transport.HTTP2, transport.WebSocket} {
		s := newFake(p)
		s.rtt(time.Millisecond)
		r.SessionOpened(s, transport.ServerSide)
		r.ConnectionOpened(p, transport.ServerSide)
		r.ConnectionRefused(p, transport.LimitConnections)
		r.SessionRefused(transport.Refusal{Protocol: p, Status: 429, Limit: transport.LimitSessions})
		r.Dialed(transport.Dialed{Protocol: p, Fallbacks: []transport.Fallback{{Protocol: p, Reason: transport.FallbackSlow}}})
	}
	var b bytes.Buffer
	if err := WriteText(&b, r); err != nil {
		t.Fatal(err)
	}
	text, found := strings.CutSuffix(b.String(), "# EOF\n")
	if !found {
		t.Fatal("no # EOF at the end")
	}
	sample := regexp.MustCompile(`^([a-z_]+)\{([a-z]+="[^"]*"(,[a-z]+="[^"]*")*)\} [0-9.e+-]+$`)
	suffixes := map[string][]string{"counter": {"_total"}, "gauge": {""}, "histogram": {"_bucket", "_count", "_sum"}}
	seen := map[string]bool{}
	var name, kind string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch f := strings.SplitN(line, " ", 4); {
		case strings.HasPrefix(line, "# TYPE "):
			name, kind = f[2], f[3]
		case strings.HasPrefix(line, "# UNIT "):
			if f[2] != name || !strings.HasSuffix(name, "_"+f[3]) {
				t.Errorf("%s behind the type of %s", line, name)
			}
		case strings.HasPrefix(line, "# HELP "):
			if f[2] != name || f[3] == "" {
				t.Errorf("%s behind the type of %s", line, name)
			}
		default:
			m := sample.FindStringSubmatch(line)
			if m == nil {
				t.Errorf("not a sample: %s", line)
				continue
			}
			suffix, ok := strings.CutPrefix(m[1], name)
			if !ok || !strings.Contains(fmt.Sprintf("%q", suffixes[kind]), `"`+suffix+`"`) {
				t.Errorf("%s in the family %s, a %s", line, name, kind)
			}
		}
		key, _, _ := strings.Cut(line, "} ")
		if seen[key] {
			t.Errorf("twice: %s", key)
		}
		seen[key] = true
	}
	for _, f := range families {
		if !seen["# HELP "+f.Name+" "+f.Help] {
			t.Errorf("%s is not described", f.Name)
		}
	}
}

func TestHandler(t *testing.T) {
	r := NewRecorder()
	h := Handler(r)
	ask := func(h http.Handler, method string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, "/metrics", nil))
		return w
	}
	get := ask(h, http.MethodGet)
	if get.Code != 200 || get.Header().Get("Content-Type") != "application/openmetrics-text; version=1.0.0; charset=utf-8" ||
		!strings.HasSuffix(get.Body.String(), "\n# EOF\n") || get.Header().Get("Content-Length") != fmt.Sprint(get.Body.Len()) {
		t.Errorf("GET: %d %v %s", get.Code, get.Header(), get.Body)
	}
	head := ask(h, http.MethodHead)
	if head.Code != 200 || head.Body.Len() != 0 || head.Header().Get("Content-Length") != get.Header().Get("Content-Length") {
		t.Errorf("HEAD: %d %v %s", head.Code, head.Header(), head.Body)
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		if w := ask(h, method); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d %v", method, w.Code, w.Header())
		}
	}
	if w := ask(Handler(fixed{{Name: "a"}, {Name: "a"}}), http.MethodGet); w.Code != 500 || strings.Contains(w.Body.String(), "# EOF") {
		t.Errorf("a family twice: %d %s", w.Code, w.Body)
	}
}
