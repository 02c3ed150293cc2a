package lab

import "time"

// Estimate is a mean over the runs of a cell that differ in their seed, with
// its 95 % confidence interval (Student's t). With fewer than two runs Low and
// High are the mean.
type Estimate struct {
	Mean float64 `json:"mean"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	N    int     `json:"n"` // runs; 0 means that it does not apply, and the rest is 0
}

// CDFSteps is into how many equal shares a Cell's CDF divides the messages sent.
const CDFSteps = 1000

// Condition is what the runs of a cell have in common besides the transport.
type Condition struct {
	Direction Direction `json:"direction"`
	Link      Link      `json:"link"`
	Workload  Workload  `json:"workload"`
}

// Cell is one transport under one condition, over all seeds. Times are in
// milliseconds, shares from 0 to 1.
type Cell struct {
	Transport string    `json:"transport"`
	Condition Condition `json:"condition"`
	Seeds     []uint64  `json:"seeds"`    // of the runs that count
	Rejected  int       `json:"rejected"` // runs that were rejected and repeated
	// Problem says why the cell has no result, or why it must not be trusted.
	Problem string `json:"problem,omitempty"`

	P50 Estimate `json:"p50"` // of the latency of what was delivered, by run
	P95 Estimate `json:"p95"`
	P99 Estimate `json:"p99"`
	Max Estimate `json:"max"`
	// Late and VeryLate are the shares of all messages sent that came later
	// than the one-way delay and 0.5 or 1.5 round trips. Undelivered ones are not
	// late: see Delivered.
	Late     Estimate `json:"late"`
	VeryLate Estimate `json:"veryLate"`
	// Together is the share of the intervals with a late message in which half
	// of the channels or more were late: the signature of head-of-line blocking.
	// N is 0 if nothing was late.
	Together  Estimate `json:"together"`
	Delivered Estimate `json:"delivered"`
	// Goodput is the payload that arrived in the measured time, in bits per second,
	// whenever it was scheduled; Bulk is the bulk
	// transfer's part.
	Goodput Estimate `json:"goodput"`
	Bulk    Estimate `json:"bulk"`
	Page    Estimate `json:"page"` // mean completion time of a page

	FirstMessage  Estimate `json:"firstMessage"`
	RoundTrips    Estimate `json:"roundTrips"` // FirstMessage less the one-way delay, in round trips
	NextChannel   Estimate `json:"nextChannel"`
	ServerChannel Estimate `json:"serverChannel"`
	// ServerChannelError says why the server cannot open a channel, "" if it can.
	ServerChannelError string `json:"serverChannelError,omitempty"`

	CPU Estimate `json:"cpu"` // of both ends, in milliseconds a second of wall time
	// Realised is the share of packets lost by chance in the workload's
	// direction; Packets how many there were, a second.
	Realised Estimate `json:"realised"`
	Packets  Estimate `json:"packets"`
	// Theory is the predicted Late at the realised loss, by run; N is 0 where
	// there is no prediction.
	Theory Estimate `json:"theory"`
	// TheoryVeryLate is the same for VeryLate.
	TheoryVeryLate Estimate `json:"theoryVeryLate"`
	// CDF[i] is the latency in milliseconds within which i/CDFSteps of all
	// messages sent had arrived, of all runs together. It ends before CDFSteps
	// where messages were not delivered.
	CDF []float64 `json:"cdf"`
}

// Timeline is a part of one run in which a loss can be seen: who waited for it.
type Timeline struct {
	Transport string    `json:"transport"`
	Condition Condition `json:"condition"`
	Seed      uint64    `json:"seed"`
	Channels  int       `json:"channels"`
	// From and To are the part of the run, counted from the end of the warm-up.
	From    time.Duration `json:"from"`
	To      time.Duration `json:"to"`
	Samples []Sample      `json:"samples"`
	Drops   []Drop        `json:"drops"`
}

// Study is everything that one command found.
type Study struct {
	Command string        `json:"command"` // as it can be typed again
	Version string        `json:"version"` // of towpath
	Started time.Time     `json:"started"`
	Took    time.Duration `json:"took"`
	// Machine describes where it ran: kernel, processors, Go, quic-go and so on.
	Machine map[string]string `json:"machine"`
	Cells   []Cell            `json:"cells"`
	// Timelines are of the same losses for every transport, where it can be.
	Timelines []Timeline `json:"timelines,omitempty"`
	// Lateness is the worst of all runs that count.
	Lateness Lateness `json:"lateness"`
	// Problems are why results must not be trusted, as a control in which
	// messages were late. Empty means that the study is valid.
	Problems []string `json:"problems,omitempty"`
}
