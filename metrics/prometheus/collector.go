package prometheus

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/towpath-go/towpath/metrics"
)

// Collector collects what sources have: see [metrics.Gather] for what becomes of
// several. Its names are those of [metrics.WriteText]. It is an unchecked
// collector, since sources may come to have further families: register it once.
// Its Collect may be called from any goroutine.
func Collector(sources ...metrics.Source) prometheus.Collector {
	return collector(append([]metrics.Source(nil), sources...))
}

type collector []metrics.Source

// Describe implements prometheus.Collector. Saying nothing makes it unchecked.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	families, err := metrics.Gather(c...)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(err), err)
		return
	}
	for i := range families {
		f := &families[i]
		desc := prometheus.NewDesc(f.SampleName(), f.Help, f.Labels, nil)
		for _, p := range f.Points {
			ch <- metric(desc, f.Kind, p)
		}
	}
}

// metric makes a point one of Prometheus. What a source got wrong, such as the
// number of labels, is an invalid metric, which the registry reports.
func metric(desc *prometheus.Desc, kind metrics.Kind, p metrics.Point) prometheus.Metric {
	var m prometheus.Metric
	var err error
	if h := p.Histogram; h != nil {
		buckets := make(map[float64]uint64, len(h.Buckets))
		for _, b := range h.Buckets {
			buckets[b.UpperBound] = b.Count
		}
		m, err = prometheus.NewConstHistogram(desc, h.Count, h.Sum, buckets, p.Labels...)
	} else {
		t := prometheus.GaugeValue
		if kind == metrics.KindCounter {
			t = prometheus.CounterValue
		}
		m, err = prometheus.NewConstMetric(desc, t, p.Value, p.Labels...)
	}
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return m
}
