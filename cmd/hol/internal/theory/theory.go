package theory

import (
	"math"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// Losses are the shares of packets that were lost, 0 to 1.
type Losses struct {
	Forward float64 // in the direction of the payload; of the requests (rpc)
	Back    float64 // in the other one; of the responses (rpc)
}

// Prediction has the predicted shares of all messages sent, as in lab.Cell.
type Prediction struct {
	Late     float64 // by more than half a round trip
	VeryLate float64 // by more than one and a half
}

// Late predicts the share of messages that come later than half a round trip
// when the share realised of the packets is lost in both directions. It returns
// false where there is no prediction: see Predict.
func Late(run lab.Run, traits adapter.Traits, realised float64) (share float64, ok bool) {
	p, ok := Predict(run, traits, Losses{Forward: realised, Back: realised})
	return p.Late, ok
}

// Predict predicts the shares of late messages under the losses that a run had.
// It returns false where the link and the rhythm alone do not tell:
//
//   - mixed and page, where messages and objects wait for others' bytes
//   - a limited rate, where they wait in the queue
//   - bursts, whose losses are not independent
//   - reordering, or a jitter of more than an eighth of the round trip, which make
//     packets late or seem lost by themselves
//   - a link without delay, which has no round trip to be late by
//   - a blocked protocol
//   - a load that congestion control limits at these losses
func Predict(run lab.Run, traits adapter.Traits, losses Losses) (Prediction, bool) {
	f, ok := newFlow(run, traits)
	if !ok {
		return Prediction{}, false
	}
	switch run.Workload.Kind {
	case lab.Updates:
		if f.limited(losses.Forward) {
			return Prediction{}, false
		}
		return Prediction{
			Late:     f.share(losses.Forward, f.rtt/2),
			VeryLate: f.share(losses.Forward, 3*f.rtt/2),
		}, true
	case lab.RPC:
		// A call is late if its request or its response is.
		if f.limited(losses.Forward) || f.limited(losses.Back) {
			return Prediction{}, false
		}
		either := func(threshold time.Duration) float64 {
			return 1 - (1-f.share(losses.Forward, threshold))*(1-f.share(losses.Back, threshold))
		}
		return Prediction{Late: either(f.rtt / 2), VeryLate: either(3 * f.rtt / 2)}, true
	}
	return Prediction{}, false
}

// flow is how the packets of one transport connection follow each other, in one
// direction, and which messages wait for which.
type flow struct {
	rtt      time.Duration
	recovery recovery
	// spacing is the time between two messages of the connection.
	spacing time.Duration
	// waits is the time between two messages of which the later waits for the
	// earlier one's packets. 0 means that a message waits for its own alone.
	waits time.Duration
	// packets is how many a message has on average, at least 1.
	packets float64
	bytes   float64 // of a message's IP packets, on average
	payload float64 // of a full packet: the bytes of messages that fit
	// pending is the share of lost packets before which there is one whose
	// acknowledgement the receiver keeps back until the next packet (tcp).
	pending float64
	// unreliable messages are not sent again.
	unreliable bool
	// lossBased says whether the congestion control takes losses for congestion.
	lossBased bool
}

func newFlow(run lab.Run, traits adapter.Traits) (flow, bool) {
	link, work := run.Link, run.Workload
	rtt := link.RTT()
	switch {
	case link.Rate != 0, link.Burst != lab.Burst{}, link.Reorder, link.Jitter > rtt/8, rtt <= 0,
		link.BlockUDP && traits.UDP, work.Channels < 1, work.Interval <= 0:
		return flow{}, false
	}
	recovery, ok := recoveries[traits.Recovery]
	if !ok {
		return flow{}, false
	}
	f := flow{
		rtt:        rtt,
		recovery:   recovery,
		spacing:    work.Interval,
		unreliable: !traits.Reliable && !traits.Shared,
		lossBased:  traits.Recovery != "tcp" || run.CC != "bbr",
	}
	if traits.Connections > 0 {
		f.spacing = max(work.Interval*time.Duration(traits.Connections)/time.Duration(work.Channels), 1)
	}
	if 2*f.spacing <= tcpKept {
		f.pending = 1. / 2
	}
	ordered := traits.Ordered
	if work.Kind == lab.RPC {
		ordered = traits.CallsOrdered
	}
	switch {
	case traits.Shared:
		f.waits = f.spacing
	case ordered:
		f.waits = work.Interval
	}
	f.payload = float64(max(min(link.MTU, recovery.maxPacket)-recovery.overhead, 1))
	f.packets = meanPackets(work.MinSize, work.MaxSize, f.payload)
	f.bytes = float64(work.MinSize+work.MaxSize)/2 + f.packets*float64(recovery.overhead)
	return f, true
}

// meanPackets is how many packets a message has on average if its size is
// uniform between smallest and largest and payload bytes fit into one.
func meanPackets(smallest, largest int, payload float64) float64 {
	if largest < smallest || smallest < 0 {
		return 1
	}
	// The sum of ceil(size/payload): every packet after the first is there for
	// the sizes beyond what those before it hold.
	sizes := float64(largest - smallest + 1)
	mean := 1.0
	for first := payload; first < float64(largest); first += payload {
		mean += min(float64(largest)-math.Floor(first), sizes) / sizes
	}
	return mean
}

// limited says whether the window that a loss-based congestion control has at a
// loss of p leaves less than twice the bytes of the messages, so that even those
// that share packets wait for it. The window, in full packets, is that of a flow
// that halves its rate as TCP does: sqrt(1.5/p) (RFC 9438 Section 4.3 shows that
// CUBIC is not below it, and at these round trips it is not above it either). Where
// it counts packets of any size, as Linux's does, messages that have one each
// wait earlier: that is left out, see the package's comment.
func (f flow) limited(p float64) bool {
	if p <= 0 || !f.lossBased {
		return false
	}
	window := math.Sqrt(1.5/p) * f.payload
	perRTT := f.bytes * float64(f.rtt) / float64(f.spacing)
	return perRTT > window/2
}

// share predicts the share of messages that come later than the threshold at a
// loss of p.
func (f flow) share(p float64, threshold time.Duration) float64 {
	if p <= 0 || f.unreliable {
		return 0
	}
	p = min(p, 1)
	cases := f.recovery.cases(f, p)
	timely := 1.0
	for back := range maxBack {
		// blame is the probability that a packet sent that many messages earlier
		// makes this one late.
		blame := 0.0
		for _, c := range cases {
			for k, e := range c.delays {
				if e-time.Duration(back)*f.waits >= threshold {
					blame += c.share * math.Pow(p, float64(k+1))
					break
				}
			}
		}
		if blame == 0 {
			break
		}
		timely *= math.Pow(1-min(blame, 1), f.packets)
		if f.waits == 0 {
			break
		}
	}
	return 1 - timely
}

// maxBack bounds how many earlier messages are looked at. The longest delay is a
// few seconds: this is enough for a message every half millisecond, and what is
// further back was lost three times.
const maxBack = 10_000
