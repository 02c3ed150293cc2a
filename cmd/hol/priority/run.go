package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
	"github.com/towpath-go/towpath/cmd/hol/internal/link"
)

// slow is the link unless another one is asked for. A round trip takes 40 ms.
var slow = lab.Link{Delay: 20 * time.Millisecond, Rate: 5_000_000, Queue: 25_000, MTU: 1500}

const (
	messageSize = 200
	bulkSize    = 16 << 10 // of one write
	// least and spread are the time between two messages: its mean is 40 ms.
	least, spread = 20 * time.Millisecond, 40 * time.Millisecond

	// drain bounds the wait for messages that are still under way at the end.
	drain = 8 * time.Second
	// maxLateness is how late the router may be for 1 % of the packets.
	maxLateness = 2 * time.Millisecond
)

// A length is how long a run is: what is measured comes after the warm-up.
type length struct{ warmup, duration time.Duration }

// A Run is one run of a way. Times are in milliseconds.
type Run struct {
	Seed uint64 `json:"seed"`
	// P50, P99 and Max are the latency of the messages that arrived, from when
	// they were to be written.
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
	// Sent counts messages, Arrived those that came.
	Sent    int `json:"sent"`
	Arrived int `json:"arrived"`
	// Bulk is its throughput in Mbit/s of payload.
	Bulk float64 `json:"bulk"`
	// Unsent50 and Unsent99 are the bytes that the sender's kernel had taken and
	// not sent, when a message was to be written; RTT50 and RTT99 what its TCP
	// had measured, smoothed. 0 without TCP.
	Unsent50 float64 `json:"unsent50"`
	Unsent99 float64 `json:"unsent99"`
	RTT50    float64 `json:"rtt50"`
	RTT99    float64 `json:"rtt99"`
	// Dropped counts packets that found the queue full.
	Dropped int64 `json:"dropped"`
	// Late99 is how late the router was, LateMax at most.
	Late99  float64 `json:"late99"`
	LateMax float64 `json:"lateMax"`
	// Rejected says why the run does not count, "" if it does.
	Rejected string `json:"rejected,omitempty"`
}

// measure does one run.
func measure(ctx context.Context, w way, path lab.Link, cc string, seed uint64, long length, maxAge time.Duration) (_ Run, err error) {
	l, err := link.Open(path, seed, link.Options{CC: cc, Realtime: true})
	if err != nil {
		return Run{}, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	certificate, err := adapter.NewCertificate(l.Server().Addr())
	if err != nil {
		return Run{}, err
	}
	sc := &scene{client: l.Client(), server: l.Server(), certificate: certificate, maxAge: maxAge}
	defer sc.close()
	opening, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, err := w.open(opening, sc)
	if err != nil {
		return Run{}, err
	}
	run, err := transfer(ctx, c, sc, seed, long)
	if err != nil {
		return Run{}, err
	}
	r := l.Report()
	run.Seed, run.Dropped = seed, r.Up.Tail
	run.Late99, run.LateMax = milliseconds(r.Lateness.P99), milliseconds(r.Lateness.Max)
	switch {
	case r.Overflow > 0 || r.Failed > 0:
		run.Rejected = "the machine was too slow for the link"
	case r.Lateness.P99 > maxLateness:
		run.Rejected = fmt.Sprintf("the link was %.1f ms late", run.Late99)
	}
	return run, nil
}
