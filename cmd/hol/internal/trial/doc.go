// Package trial does one lab.Run in this process: it opens the link, starts the
// transport's two ends on its two hosts, lets a workload run over it, and puts
// together what all three found.
//
// The process should do nothing else meanwhile: its processor time is reported,
// and what it is late with is measured as latency.
package trial
