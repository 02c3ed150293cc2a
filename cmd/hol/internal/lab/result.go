package lab

import "time"

// Undelivered is the Latency of a message that did not arrive.
const Undelivered = time.Duration(-1)

// Sample is one scheduled message, call or object.
type Sample struct {
	Channel int `json:"c"` // of a page's objects: which
	// Scheduled is when it was to be sent, counted from the end of the warm-up.
	Scheduled time.Duration `json:"t"`
	// Latency is the time from then to its arrival: of a message or of the
	// whole object at the receiver, of a call's response at the caller.
	// Undelivered if it did not arrive before the run's end.
	Latency time.Duration `json:"l"`
	Size    int           `json:"s"` // bytes of payload
	// Late by the sender: how long after Scheduled the message was handed to the
	// transport, because the sender was woken late or an earlier one of its
	// channel still waited for room.
	Waited time.Duration `json:"w"`
}

// Setup is what it took to begin, each from the first call of the client's (or
// of the opener's) until the first message was at the other application. 0 means
// not measured.
type Setup struct {
	// FirstMessage is from the beginning of dialling to the client's first
	// message at the server.
	FirstMessage time.Duration `json:"firstMessage"`
	// NextChannel is the same for one more channel that the client opens.
	NextChannel time.Duration `json:"nextChannel"`
	// ServerChannel is the same for one more channel that the server opens;
	// ServerChannelError says why there is none.
	ServerChannel      time.Duration `json:"serverChannel"`
	ServerChannelError string        `json:"serverChannelError,omitempty"`
}

// Passage is what happened to the packets of one direction, from before the
// first handshake packet to the end.
type Passage struct {
	Packets   int64 `json:"packets"` // that came to the router
	Bytes     int64 `json:"bytes"`   // of IP packets, likewise
	Lost      int64 `json:"lost"`    // by Loss
	Burst     int64 `json:"burst"`   // by Burst
	Tail      int64 `json:"tail"`    // by the full queue
	Blocked   int64 `json:"blocked"` // by BlockUDP
	Reordered int64 `json:"reordered"`
	TCP       int64 `json:"tcp"` // packets by protocol
	UDP       int64 `json:"udp"`
}

// Realised is the share of packets that were lost by chance: by Loss or Burst.
func (p Passage) Realised() float64 {
	if p.Packets == 0 {
		return 0
	}
	return float64(p.Lost+p.Burst) / float64(p.Packets)
}

// Lateness says by how much the router missed the times it wanted to send
// packets at, or timed goroutines those they wanted to wake at. Max is also that
// of the times at which nothing was to be sent.
type Lateness struct {
	Mean time.Duration `json:"mean"`
	P99  time.Duration `json:"p99"`
	Max  time.Duration `json:"max"`
}

// Bulk is the transfer beside the messages, during the measured time.
type Bulk struct {
	Bytes    int64         `json:"bytes"` // that arrived
	Duration time.Duration `json:"duration"`
}

// CPU is processor time, user and system, over the measured time. Ends is the
// run's process without its router thread: both applications, their libraries and
// runtime, and what the kernel did for them when they called it. Router is the
// router thread's, and with it the kernel's work on arriving packets, which is
// done as the router hands them over.
type CPU struct {
	Ends   time.Duration `json:"ends"`
	Router time.Duration `json:"router"`
	Wall   time.Duration `json:"wall"` // the time over which they were counted
}

// Dropped counts messages that the transport gave up at either end, without the
// link's doing, from the beginning of the run: queues that were Full, and messages
// that were too old.
type Dropped struct {
	Full    uint64 `json:"full"`
	Expired uint64 `json:"expired"`
}

// MaxDrops bounds the Drops of a Result.
const MaxDrops = 10_000

// Drop is one dropped packet.
type Drop struct {
	Direction Direction     `json:"d"`
	At        time.Duration `json:"t"` // when it came to the router, from the end of the warm-up
	Bytes     int           `json:"s"` // of the IP packet
}

// Result is what one run found.
type Result struct {
	Run     Run      `json:"run"`
	Setup   Setup    `json:"setup"`
	Samples []Sample `json:"samples"`
	// Pages are the completion times of whole pages (page), each with the time
	// its requests were sent.
	Pages []Sample `json:"pages,omitempty"`
	// Arrived is the payload in bytes of the messages, calls or objects that
	// arrived in the measured time, whenever they were scheduled.
	Arrived int64 `json:"arrived"`
	Bulk    Bulk  `json:"bulk"`
	// Passages of the packets that travelled down and up.
	Down     Passage  `json:"down"`
	Up       Passage  `json:"up"`
	Lateness Lateness `json:"lateness"`
	// Wakes are how late the two ends' timed goroutines were woken, by the
	// machine's doing: it is part of the latencies.
	Wakes Lateness `json:"wakes"`
	CPU   CPU      `json:"cpu"`
	// Drops are the packets that the link dropped in the measured time and the
	// drain, in order, at most MaxDrops.
	Drops   []Drop  `json:"drops,omitempty"`
	Dropped Dropped `json:"dropped"`
	// Duplicates are messages that arrived more than once, which is an error of the
	// run on a reliable transport.
	Duplicates int `json:"duplicates,omitempty"`
	// CC is the congestion control that the kernel reports for the TCP sockets
	// of the run, or "" if it had none.
	CC       string `json:"cc,omitempty"`
	Realtime bool   `json:"realtime"` // whether SCHED_RR was in force
	// Rejected says why the run must not be used, "" if it may. It was repeated
	// unless that was done too often; only Run, Lateness, Wakes and Realtime are
	// kept.
	Rejected string `json:"rejected,omitempty"`
	// Failed says why there is no result, "" if there is one: the run ended in an
	// error, or was not made because its control failed. Only Run is there then.
	Failed string `json:"failed,omitempty"`
}

// Counts says whether the result is one of a measurement: neither rejected nor
// failed.
func (r *Result) Counts() bool { return r.Rejected == "" && r.Failed == "" }

// Passage of the packets that travelled in a direction.
func (r *Result) Passage(d Direction) Passage {
	if d == Down {
		return r.Down
	}
	return r.Up
}
