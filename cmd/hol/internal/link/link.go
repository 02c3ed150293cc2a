package link

import (
	"errors"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// ErrPlatform is returned where there can be no link.
var ErrPlatform = errors.New("the laboratory needs Linux: it is made of network namespaces and TUN devices")

// ErrClosed is returned by the hosts of a closed link.
var ErrClosed = errors.New("link: closed")

// DefaultCC is the congestion control that is used if none is asked for. What is
// compared with TCP has a like one.
const DefaultCC = "cubic"

// MaxDrops is how many drops a link remembers one by one.
const MaxDrops = 1 << 16

// Options are about this machine, not about the link.
type Options struct {
	// CC is the congestion control of all TCP sockets; "" means DefaultCC.
	CC string
	// Realtime asks for SCHED_RR for every thread of the process, and for the
	// router before all others. Without the privilege it is not an error, but
	// Report says so.
	Realtime bool
}

// Cause says why a packet was dropped.
type Cause uint8

const (
	Sent     Cause = iota // it was not
	Lost                  // by Loss
	Burst                 // by Burst
	Tail                  // the queue was full
	Blocked               // UDP is blocked
	Overflow              // more was under way than the router keeps
)

var causes = [...]string{"sent", "lost", "burst", "tail", "blocked", "overflow"}

func (c Cause) String() string {
	if int(c) < len(causes) {
		return causes[c]
	}
	return "unknown"
}

// Drop is one packet that the router dropped.
type Drop struct {
	Direction lab.Direction
	At        time.Time // when it came to the router, with a monotonic reading
	Bytes     int       // of the IP packet
	Cause     Cause
}

// Report is what a link did, from its beginning until now or until Close.
type Report struct {
	Down, Up lab.Passage
	// Lateness is how long after its time each packet was handed to the
	// receiving host's kernel. How long packets waited to be read is not in it,
	// for the kernel does not tell: a packet's delay counts from when the
	// router read it. But Max is at least the longest time, less 2 ms, in which the
	// router did not run although it was to, and nothing waits longer to be read.
	Lateness lab.Lateness
	// RouterCPU is the router thread's processor time, user and system.
	RouterCPU time.Duration
	// CC is what the kernel says of the TCP sockets, several separated by
	// commas; "" if there was none.
	CC string
	// Realtime says whether SCHED_RR is in force.
	Realtime bool
	// Overflow counts packets that were dropped although the link should have
	// carried them, because the machine was too slow; Failed those that the
	// receiving device refused, and the router's own end by an error, which Close
	// returns. A run with any should be rejected.
	Overflow, Failed int64
	// DropsForgotten is how many drops are missing from Drops, beyond MaxDrops.
	DropsForgotten int64
}
