package metrics

import (
	"fmt"
	"slices"
	"strings"
)

// A Source has metrics. Metrics returns those of now; the caller may keep them.
// It may be called from any goroutine.
type Source interface {
	Metrics() []Family
}

// A Kind says what the points of a family are.
type Kind uint8

const (
	KindCounter   Kind = iota // a number that only grows
	KindGauge                 // a number
	KindHistogram             // a Histogram each
)

// String returns the type's name in OpenMetrics.
func (k Kind) String() string {
	switch k {
	case KindCounter:
		return "counter"
	case KindGauge:
		return "gauge"
	case KindHistogram:
		return "histogram"
	}
	return "unknown"
}

// A Family is a metric: its description, and a point for each combination of
// label values that occurred.
type Family struct {
	// Name is without the suffix that a counter's samples have: see SampleName.
	// It ends in "_" and the Unit, if there is one.
	Name string
	Help string
	Unit string // a base unit of OpenMetrics, "seconds" or "bytes", or ""
	Kind Kind
	// Labels are the names of the labels.
	Labels []string
	// Points are in the order of their label values.
	Points []Point
}

// SampleName is the name that a query uses: a counter's has "_total" behind it.
// A histogram has several samples, named after Name.
func (f *Family) SampleName() string {
	if f.Kind == KindCounter {
		return f.Name + "_total"
	}
	return f.Name
}

// A Point is one series of a family.
type Point struct {
	// Labels are the values of the family's labels, in their order.
	Labels []string
	// Value is that of a counter or a gauge.
	Value float64
	// Histogram is that of a histogram.
	Histogram *Histogram
}

// A Histogram counts observations.
type Histogram struct {
	// Buckets are in ascending order of their bounds. The bucket without a bound
	// is not among them: its count is Count.
	Buckets []Bucket
	Count   uint64
	Sum     float64
}

// A Bucket counts the observations up to a bound, those of the buckets before
// it included.
type Bucket struct {
	UpperBound float64
	Count      uint64
}

// Gather returns the families of several sources, ordered by name. What several
// Recorders have is added up; one that is given twice counts once. It is an error
// if two other sources have a family of one name.
func Gather(sources ...Source) ([]Family, error) {
	var recorders []*Recorder
	var all []Family
	for _, s := range sources {
		r, ok := s.(*Recorder)
		switch {
		case !ok:
			all = append(all, s.Metrics()...)
		case !slices.Contains(recorders, r):
			recorders = append(recorders, r)
		}
	}
	if len(recorders) > 0 {
		all = append(all, gather(recorders)...)
	}
	slices.SortStableFunc(all, func(a, b Family) int { return strings.Compare(a.Name, b.Name) })
	for i := 1; i < len(all); i++ {
		if all[i-1].Name == all[i].Name {
			return nil, fmt.Errorf("metrics: two sources have %s", all[i].Name)
		}
	}
	return all, nil
}
