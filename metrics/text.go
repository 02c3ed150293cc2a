package metrics

import (
	"bytes"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// ContentType is that of the OpenMetrics text format.
const ContentType = "application/openmetrics-text; version=1.0.0; charset=utf-8"

// WriteText writes what sources have as OpenMetrics 1.0 text. It returns the
// error of Gather, before anything is written, or of w.
func WriteText(w io.Writer, sources ...Source) error {
	text, err := appendText(nil, sources)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// Handler answers GET and HEAD with what sources have as OpenMetrics 1.0 text.
// It tells what a server is used for, and a request costs a look at every session:
// it belongs on an address that strangers do not reach.
func Handler(sources ...Source) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
			return
		}
		text, err := appendText(nil, sources)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", ContentType)
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		w.Header().Set("Cache-Control", "no-store")
		if r.Method == http.MethodGet {
			_, _ = w.Write(text) // nobody to tell
		}
	})
}

func appendText(b []byte, sources []Source) ([]byte, error) {
	all, err := Gather(sources...)
	if err != nil {
		return nil, err
	}
	for i := range all {
		b = appendFamily(b, &all[i])
	}
	return append(b, "# EOF\n"...), nil
}

func appendFamily(b []byte, f *Family) []byte {
	describe := func(what, text string) {
		if text != "" {
			b = append(b, "# "+what+" "+f.Name+" "+text+"\n"...)
		}
	}
	describe("TYPE", f.Kind.String())
	describe("UNIT", f.Unit)
	describe("HELP", escape.Replace(f.Help))
	for i := range f.Points {
		p := &f.Points[i]
		if h := p.Histogram; h != nil {
			b = appendHistogram(b, f, p.Labels, h)
			continue
		}
		b = appendSample(b, f, f.SampleName(), p.Labels, "")
		b = appendNumber(b, p.Value)
		b = append(b, '\n')
	}
	return b
}

func appendHistogram(b []byte, f *Family, values []string, h *Histogram) []byte {
	bucket := func(bound float64, n uint64) {
		b = appendSample(b, f, f.Name+"_bucket", values, boundText(bound))
		b = strconv.AppendUint(b, n, 10)
		b = append(b, '\n')
	}
	for _, k := range h.Buckets {
		bucket(k.UpperBound, k.Count)
	}
	bucket(math.Inf(1), h.Count)
	b = appendSample(b, f, f.Name+"_count", values, "")
	b = strconv.AppendUint(b, h.Count, 10)
	b = append(b, '\n')
	b = appendSample(b, f, f.Name+"_sum", values, "")
	b = appendNumber(b, h.Sum)
	return append(b, '\n')
}

// appendSample appends a sample up to its value. Bound is the label "le" of a
// bucket.
func appendSample(b []byte, f *Family, name string, values []string, bound string) []byte {
	b = append(b, name...)
	open := byte('{')
	label := func(name, value string) {
		b = append(b, open)
		open = ','
		b = append(b, name...)
		b = append(b, '=', '"')
		b = append(b, escape.Replace(value)...)
		b = append(b, '"')
	}
	for i, v := range values {
		label(f.Labels[i], v)
	}
	if bound != "" {
		label("le", bound)
	}
	if open == ',' {
		b = append(b, '}')
	}
	return append(b, ' ')
}

// escape is OpenMetrics' for help texts and label values.
var escape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

func appendNumber(b []byte, v float64) []byte {
	switch {
	case math.IsInf(v, 1):
		return append(b, "+Inf"...)
	case math.IsInf(v, -1):
		return append(b, "-Inf"...)
	case v == math.Trunc(v) && math.Abs(v) < 1<<53:
		return strconv.AppendInt(b, int64(v), 10)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}

// boundText is a bucket's bound in the form that OpenMetrics calls canonical:
// whole numbers have a fraction.
func boundText(v float64) string {
	if math.IsInf(v, 1) {
		return "+Inf"
	}
	t := strconv.AppendFloat(nil, v, 'g', -1, 64)
	if !bytes.ContainsAny(t, ".e") {
		t = append(t, ".0"...)
	}
	return string(t)
}
