package main

import (
	"time"

	"github.com/alecthomas/kong"
)

var groups = []kong.Group{
	{Key: "study", Title: "What to measure"},
	{Key: "load", Title: "The load"},
	{Key: "link", Title: "The link"},
	{Key: "transport", Title: "The transports"},
	{Key: "run", Title: "How to measure"},
	{Key: "output", Title: "The report"},
}

// cli are the flags. A flag that is not given is nil, or empty if a list, and
// leaves what the preset has.
type cli struct {
	Quick bool `group:"study" xor:"preset" help:"Under two minutes: 2 % loss, light updates, 3 s a run."`
	Full  bool `group:"study" xor:"preset" help:"As for a paper: all workloads, both directions, 0.5, 1, 2 and 5 % loss, ten runs of 20 s each. Takes hours; what Ctrl-C leaves is reported."`

	Transports []string     `group:"study" placeholder:"NAME" help:"Names or shell patterns like 'ws-*', or all (the default)."`
	Workload   []string     `group:"study" placeholder:"KIND" help:"updates (default), mixed, page, rpc, or all."`
	Direction  *string      `group:"study" placeholder:"WAY" help:"Of the payload: down (to the client; default), up, both."`
	Loss       *percentages `group:"study" placeholder:"PERCENT,..." help:"Of packets, independently; 1,2 by default. 0 is measured besides as the control, and in full if listed."`
	Seeds      *int         `group:"study" placeholder:"N" help:"Runs a cell: 5. They differ in what is lost."`
	Seed       *int64       `group:"study" placeholder:"FIRST" help:"The first run's seed: 1."`
	Controls   *int         `group:"study" placeholder:"N" help:"Runs a control: 2."`

	Load     *string        `group:"load" placeholder:"NAME" help:"Sizes: light (150-250 B; default) or full (200-1100 B)."`
	Channels *int           `group:"load" placeholder:"N" help:"Channels with messages of their own: 8."`
	Interval *time.Duration `group:"load" placeholder:"TIME" help:"Between two messages of a channel: 20ms."`
	MinSize  *size          `group:"load" placeholder:"BYTES" help:"Of the smallest message."`
	MaxSize  *size          `group:"load" placeholder:"BYTES" help:"Of the largest."`
	Objects  *objects       `group:"load" placeholder:"NxSIZE,..." help:"What a page consists of: 24x4k,12x16k,4x60k."`
	Warmup   *time.Duration `group:"load" placeholder:"TIME" help:"Not measured, before: 1s."`
	Duration *time.Duration `group:"load" placeholder:"TIME" help:"Measured, of each run: 10s."`
	Drain    *time.Duration `group:"load" placeholder:"TIME" help:"For late messages, after: 2s."`

	Delay    *time.Duration `group:"link" placeholder:"TIME" help:"One way: 25ms."`
	Jitter   *time.Duration `group:"link" placeholder:"TIME" help:"Standard deviation of the delay: none."`
	Reorder  *bool          `group:"link" help:"Let jitter change the packets' order."`
	Burst    *burst         `group:"link" placeholder:"GOOD,BAD,PERCENT" help:"Lose that share of packets in bad periods of the mean length BAD, between good ones of the mean length GOOD; for example 1s,20ms,100. None by default; with --burst and no --loss there is no other loss."`
	Rate     *rate          `group:"link" placeholder:"BITS" help:"Bandwidth in bits a second: unlimited (0), but 20M for mixed and page."`
	Queue    *size          `group:"link" placeholder:"BYTES" help:"That wait for the bandwidth; what does not fit is dropped. One round trip's worth, at least 16 packets."`
	BlockUDP *bool          `group:"link" name:"block-udp" help:"Drop UDP."`
	MTU      *int           `group:"link" name:"mtu" placeholder:"BYTES" help:"1500."`

	CC         *string        `group:"transport" name:"cc" placeholder:"NAME" help:"TCP's congestion control: cubic."`
	MaxAge     *time.Duration `group:"transport" placeholder:"TIME" help:"That a datagram waits in the sender over HTTP/2: 100ms."`
	Priorities *bool          `group:"transport" negatable:"" help:"Messages before bulk, where the transport can: yes."`

	Jobs        *int           `group:"run" placeholder:"N" help:"Runs at a time: two a processor with real-time scheduling, else one."`
	Realtime    *string        `group:"run" placeholder:"WHEN" help:"Real-time scheduling (SCHED_RR): auto (if permitted; default), on, off."`
	MaxLateness *time.Duration `group:"run" placeholder:"TIME" help:"A run whose router or senders were later is rejected and repeated: 10ms."`
	Retries     *int           `group:"run" placeholder:"N" help:"Repetitions of a rejected run: 3."`
	DryRun      bool           `group:"run" help:"Print the runs and the time they take, and end."`
	List        bool           `group:"run" help:"List the transports, and end."`

	From    string `group:"output" placeholder:"FILE" help:"Measure nothing: report the study that --json has written."`
	Out     string `group:"output" placeholder:"DIR" help:"Write hol.html, hol.json and hol.csv there."`
	HTML    string `group:"output" name:"html" placeholder:"FILE" help:"Write a page with plots; like the next ones, to standard output in place of the tables if FILE is -."`
	JSON    target `group:"output" name:"json" placeholder:"[FILE]" help:"Write everything as JSON to the FILE that may follow; else, or with -, to standard output in place of the tables."`
	CSV     string `group:"output" name:"csv" placeholder:"FILE" help:"Write the cells as CSV."`
	Samples string `group:"output" placeholder:"FILE" help:"Write every message's latency as CSV, compressed if FILE ends in .gz."`
	Quiet   bool   `group:"output" help:"No progress."`

	Version kong.VersionFlag `help:"Print the version and exit."`
}
