// Package metrics counts what servers and dialers do, and writes it for
// monitoring systems. It needs the standard library only.
//
//	r := metrics.NewRecorder()
//	server := &negotiate.Server{Monitor: r, ...}
//	dialer := &negotiate.Dialer{Monitor: r, ...}
//	http.Handle("/metrics", metrics.Handler(r)) // on an address of its own
//
// A Recorder is a [transport.Monitor] and a [Source]. [Handler] and [WriteText]
// give what sources have in the text format of OpenMetrics 1.0; the module
// metrics/prometheus makes them a prometheus.Collector. docs/watching.md lists
// every metric.
//
// # What it costs
//
// Every label value comes from a closed set, so that no peer can cause new
// series: a status or a word that is not in its set becomes "other". A Recorder
// has no goroutine. It remembers each live session, and one that has ended for
// another 3 seconds, in which it may still flush what was written: at most 1,024
// of those. Traffic is not counted as it happens: a scrape reads [transport.Stats]
// of every live session, which takes some milliseconds for 20,000 of them.
//
// Counters never go back, and what a session did is in them once, whenever a
// scrape comes.
package metrics
