package theory

import (
	"math"
	"time"
)

// recovery is how a protocol finds out that a packet was lost.
type recovery struct {
	// maxPacket is the largest IP packet it sends, and overhead what of a packet
	// is not a message: headers of IP, transport, encryption and framing, in bytes.
	maxPacket int
	overhead  int
	// cases are the circumstances a lost packet can be in.
	cases func(f flow, p float64) []lossCase
}

// lossCase is a circumstance that a share of lost packets is in.
type lossCase struct {
	share float64
	// delays[k] is by how much a packet comes late that was lost k+1 times:
	// the time from its first sending to that which arrives.
	delays [maxLosses]time.Duration
}

// maxLosses bounds how often one packet is lost.
const maxLosses = 4

var recoveries = map[string]recovery{
	"tcp":  {maxPacket: math.MaxInt, overhead: 52 + 22 + 10, cases: tcp},
	"quic": {maxPacket: 1452 + 28, overhead: 28 + 40, cases: quic},
	"sctp": {maxPacket: 1228 + 28, overhead: 28 + 37 + 28, cases: sctp},
}

const (
	// tcpMinRTO is what Linux adds to the RTT at least.
	tcpMinRTO = 200 * time.Millisecond
	// tcpKept is how long Linux keeps an acknowledgement back, for another segment
	// to acknowledge with it.
	tcpKept = 40 * time.Millisecond
	// sctpMinRTO is RTO.Min of RFC 9260 Section 16.
	sctpMinRTO = time.Second
	// quicAckDelay is how long a receiver may wait with an acknowledgement (RFC
	// 9000 Section 18.2).
	quicAckDelay = 25 * time.Millisecond
	// granularity is the least variation that QUIC adds to a probe's timer.
	granularity = time.Millisecond
	// threshold is after how many later packets each of them takes one for lost.
	threshold = 3
)

// after is how long after a packet the n-th following one is sent. Those of one
// message leave together.
func (f flow) after(n int) time.Duration {
	return time.Duration(math.Ceil(float64(n)/f.packets)) * f.spacing
}

// segments is how long after a lost packet the one is sent that gives it away
// where three later packets do, or one of those from a given message on by the
// reordering window of RACK, a quarter of the round trip, later.
func (f flow) segments(from time.Duration) time.Duration {
	n := (f.rtt/4 + f.spacing - 1) / f.spacing
	return min(f.after(threshold), max(n, from)*f.spacing)
}

// recovering is the probability that at a time at which a sender learns of a
// loss it recovers from another one already: that one of the packets of a round
// trip was lost.
func (f flow) recovering(p float64) float64 {
	return 1 - math.Pow(1-p, f.packets*float64(f.rtt)/float64(f.spacing))
}

func tcp(f flow, p float64) []lossCase {
	already := f.recovering(p) // and a receiver that misses a segment waits with nothing
	return []lossCase{
		{share: (1 - already) * (1 - f.pending), delays: tcpDelays(f, f.segments(1))},
		{share: (1 - already) * f.pending, delays: tcpDelays(f, f.segments(2))},
		{share: already, delays: tcpDelays(f, f.spacing)},
	}
}

func tcpDelays(f flow, detection time.Duration) (delays [maxLosses]time.Duration) {
	timeout := f.rtt + tcpMinRTO
	delays[0] = min(f.rtt+detection, timeout)
	for k := 1; k < maxLosses; k++ {
		// The segment behind the retransmission gives it away; the timeout doubles.
		timeout *= 2
		delays[k] = delays[k-1] + min(f.rtt+f.spacing, timeout)
	}
	return delays
}

func quic(f flow, _ float64) []lossCase {
	c := lossCase{share: 1}
	detection := min(max(f.spacing, f.rtt/8), f.after(threshold))
	for k := range c.delays {
		c.delays[k] = time.Duration(k+1) * (f.rtt + detection)
	}
	// A probe carries what was lost. Every packet sent meanwhile puts it off, and
	// each one doubles the time to the next.
	if probe := f.rtt + quicAckDelay + granularity; f.spacing >= probe {
		for k := range c.delays {
			c.delays[k] = (2<<k - 1) * probe
		}
	}
	return []lossCase{c}
}

func sctp(f flow, _ float64) []lossCase {
	c := lossCase{share: 1}
	timeout := sctpMinRTO
	c.delays[0] = min(f.rtt+f.spacing, timeout)
	for k := 1; k < maxLosses; k++ {
		// The timer runs from the last acknowledgement that let the window
		// advance, a round trip after the packet before the lost one.
		if k == 1 {
			c.delays[k] = max(f.rtt+timeout, c.delays[0])
		} else {
			c.delays[k] = c.delays[k-1] + timeout
		}
		timeout *= 2
	}
	return []lossCase{c}
}
