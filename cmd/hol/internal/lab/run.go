package lab

import "time"

// Direction is the way a workload's payload travels.
type Direction string

const (
	Down Direction = "down" // from the server to the client
	Up   Direction = "up"   // from the client to the server
)

// Opposite is the other direction.
func (d Direction) Opposite() Direction {
	if d == Down {
		return Up
	}
	return Down
}

// Link is what a link between the two hosts is asked to be; each direction has
// its own packet counts and its own queue.
type Link struct {
	// Delay is the one-way delay of every packet.
	Delay time.Duration `json:"delay"`
	// Jitter is the standard deviation of a normal variation of the delay, cut
	// at 3 deviations and at 0 below. Packets keep their order unless Reorder.
	Jitter  time.Duration `json:"jitter"`
	Reorder bool          `json:"reorder"`
	// Rate is the bandwidth in bits per second of IP packets, 0 for no limit.
	Rate int64 `json:"rate"`
	// Queue bounds the bytes of IP packets that wait for the Rate; what does not
	// fit is dropped at the tail. Not used without Rate.
	Queue int `json:"queue"`
	// Loss is the probability, 0 to 1, with which each packet is lost
	// independently of others, as a function of seed, direction and the packet's
	// number.
	Loss float64 `json:"loss"`
	// Burst, if its Good is not 0, loses packets in bad periods besides.
	Burst Burst `json:"burst"`
	// BlockUDP drops every UDP packet.
	BlockUDP bool `json:"blockUDP"`
	// MTU of both devices, in bytes, at least 1,280.
	MTU int `json:"mtu"`
}

// Burst is a Gilbert-Elliott model by the clock: good and bad periods alternate,
// with exponentially distributed lengths that depend on the seed alone, so that
// all transports meet the same bad periods. In a bad period a packet is lost
// with probability Loss.
type Burst struct {
	Good time.Duration `json:"good"` // mean length
	Bad  time.Duration `json:"bad"`  // mean length
	Loss float64       `json:"loss"` // 0 to 1
}

// Lossless says whether the link loses nothing by chance: such a run is a
// control.
func (l Link) Lossless() bool { return l.Loss == 0 && l.Burst == Burst{} }

// RTT is the round trip time of the link without queueing.
func (l Link) RTT() time.Duration { return 2 * l.Delay }

// Kind names a workload.
type Kind string

const (
	Updates Kind = "updates" // timed messages on every channel
	Mixed   Kind = "mixed"   // the same beside one bulk transfer
	Page    Kind = "page"    // many objects at once, again and again
	RPC     Kind = "rpc"     // timed short calls
)

// Workload is what the two ends do once they are connected. A size range is
// uniform and inclusive, in bytes of application payload.
type Workload struct {
	Kind Kind `json:"kind"`
	// Channels is how many independent message channels there are. Calls are
	// spread over as many where a transport has fixed channels.
	Channels int `json:"channels"`
	// Interval is the time between two messages of one channel (updates, mixed)
	// or between two calls of one channel (rpc). Channels are staggered evenly
	// in it.
	Interval time.Duration `json:"interval"`
	MinSize  int           `json:"minSize"` // of a message, or of an rpc's larger half
	MaxSize  int           `json:"maxSize"`
	// Objects are the sizes in bytes that one page asks for at once; the next
	// page begins when all have arrived (page).
	Objects []int `json:"objects,omitempty"`
	// Warmup is not measured; Duration is (both from the first scheduled
	// message on). Drain is how long late messages are waited for afterwards.
	Warmup   time.Duration `json:"warmup"`
	Duration time.Duration `json:"duration"`
	Drain    time.Duration `json:"drain"`
}

// Run is one measurement of one transport.
type Run struct {
	Transport string    `json:"transport"` // an adapter's name
	Workload  Workload  `json:"workload"`
	Direction Direction `json:"direction"`
	Link      Link      `json:"link"`
	Seed      uint64    `json:"seed"` // of the link's losses and the messages' sizes
	// CC is TCP's congestion control.
	CC string `json:"cc"`
	// MaxAge bounds how long a datagram over HTTP/2 waits to be sent.
	MaxAge time.Duration `json:"maxAge"`
	// Priorities puts timed messages before bulk where the transport can.
	Priorities bool `json:"priorities"`
	// Realtime asks for SCHED_RR, which needs privileges.
	Realtime bool `json:"realtime"`
	// MaxLateness is how late the router may be at most, and the timed goroutines
	// of the two ends; a run in which one was later is rejected.
	MaxLateness time.Duration `json:"maxLateness"`
}
