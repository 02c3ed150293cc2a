package main

import (
	"io"
	"strconv"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// writeSamples writes a line for every message, call, object and page of the
// runs that count, times in microseconds. What was not delivered has no latency.
func writeSamples(w io.Writer, results []lab.Result) error {
	const heading = "transport,workload,direction,loss,bursts,seed,what,channel,bytes,scheduled_us,waited_us,latency_us\n"
	if _, err := io.WriteString(w, heading); err != nil {
		return err
	}
	var line []byte
	for _, r := range results {
		if !r.Counts() {
			continue
		}
		what := map[lab.Kind]string{lab.Page: "object", lab.RPC: "call"}[r.Run.Workload.Kind]
		if what == "" {
			what = "message"
		}
		prefix := sampleRun(r.Run)
		for _, part := range []struct {
			what    string
			samples []lab.Sample
		}{{what, r.Samples}, {"page", r.Pages}} {
			for _, s := range part.samples {
				line = appendSample(append(line[:0], prefix...), part.what, s)
				if _, err := w.Write(line); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// sampleRun has the columns that are the same for all samples of a run. None of
// them can have a comma.
func sampleRun(run lab.Run) []byte {
	b := []byte(run.Transport + "," + string(run.Workload.Kind) + "," + string(run.Direction) + ",")
	b = strconv.AppendFloat(b, run.Link.Loss, 'g', -1, 64)
	b = append(b, ',')
	b = strconv.AppendBool(b, run.Link.Burst.Good != 0)
	b = append(b, ',')
	return append(strconv.AppendUint(b, run.Seed, 10), ',')
}

func appendSample(b []byte, what string, s lab.Sample) []byte {
	b = append(append(b, what...), ',')
	b = append(strconv.AppendInt(b, int64(s.Channel), 10), ',')
	b = append(strconv.AppendInt(b, int64(s.Size), 10), ',')
	b = append(appendMicros(b, s.Scheduled), ',')
	b = append(appendMicros(b, s.Waited), ',')
	if s.Latency != lab.Undelivered {
		b = appendMicros(b, s.Latency)
	}
	return append(b, '\n')
}

func appendMicros(b []byte, d time.Duration) []byte {
	return strconv.AppendInt(b, d.Microseconds(), 10)
}
