// Package prometheus hands metrics to the client library of Prometheus, for
// programs that have a registry of it already.
//
//	recorder := metrics.NewRecorder()
//	server := &negotiate.Server{Monitor: recorder, ...}
//	prometheus.MustRegister(towpathprom.Collector(recorder))
//	http.Handle("/metrics", promhttp.Handler())
//
// where towpathprom is this package. It is a module of its own, so that the library
// itself does not depend on that of Prometheus; [metrics.Handler] needs neither.
package prometheus
