package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/towpath-go/towpath/e2e/bench/internal/measure"
	"github.com/towpath-go/towpath/e2e/internal/results"
)

// Write writes r as JSON, a line for each sample, with as many digits as mean
// anything.
func Write(w io.Writer, r Report) error {
	samples := r.Samples
	r.Samples = nil
	b, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	var lines bytes.Buffer
	for i, s := range samples {
		if i > 0 {
			lines.WriteByte(',')
		}
		line, err := json.Marshal(rounded(s))
		if err != nil {
			return err
		}
		lines.WriteString("\n\t\t")
		lines.Write(line)
	}
	if len(samples) > 0 {
		lines.WriteString("\n\t")
	}
	empty := []byte(`"samples": null`)
	if bytes.Count(b, empty) != 1 {
		return errors.New("the report has no place for its samples")
	}
	b = bytes.Replace(b, empty, fmt.Appendf(nil, `"samples": [%s]`, lines.Bytes()), 1)
	_, err = w.Write(append(b, '\n'))
	return err
}

func rounded(s measure.Sample) measure.Sample {
	for _, v := range []*float64{&s.Value, &s.P99, &s.Lost, &s.CPU, &s.Allocs, &s.Goroutines, &s.Ratio, &s.CPURatio} {
		*v = significant(*v)
	}
	return s
}

// significant rounds to four digits.
func significant(v float64) float64 {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return v
	}
	shift := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*shift) / shift
}

// Read reads a file that Write has written.
func Read(path string) (Report, error) { return results.Read[Report](path, Schema) }
