package link

import (
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// IP protocol numbers.
const (
	protocolTCP = 6
	protocolUDP = 17
)

// model is one direction of a link as a pure function: of the times, sizes and
// protocols of the packets that come, of lab.Link and of the seed. Times count
// from the link's beginning. It is not safe for concurrent use.
type model struct {
	link    lab.Link
	seed    uint64
	way     int // 0 up, 1 down
	periods *periods

	// The queue for the rate: what waits has not begun to be transmitted.
	waiting ring
	bytes   int           // that wait
	free    time.Duration // when the last bit of all that was accepted is sent
	rest    int64         // the part of a nanosecond beyond free, in 1/Rate of it

	last    time.Duration // the latest departure
	passage lab.Passage
}

func newModel(l lab.Link, seed uint64, d lab.Direction) *model {
	m := &model{link: l, seed: seed, periods: newPeriods(l.Burst, seed)}
	if d == lab.Down {
		m.way = 1
	}
	return m
}

// offer brings a packet of size bytes to the link. It returns the time at which
// the other end is to receive it, or why it is dropped. now must not go back.
func (m *model) offer(now time.Duration, size int, protocol byte) (time.Duration, Cause) {
	n := uint64(m.passage.Packets)
	m.passage.Packets++
	m.passage.Bytes += int64(size)
	switch protocol {
	case protocolTCP:
		m.passage.TCP++
	case protocolUDP:
		m.passage.UDP++
		if m.link.BlockUDP {
			m.passage.Blocked++
			return 0, Blocked
		}
	}
	out, ok := m.transmit(now, size)
	if !ok {
		m.passage.Tail++
		return 0, Tail
	}
	if draw(m.seed, m.way, streamLoss, n) < m.link.Loss {
		m.passage.Lost++
		return 0, Lost
	}
	// The period is that in which the packet is on the wire.
	if m.periods.bad(out) && draw(m.seed, m.way, streamBurstLoss, n) < m.link.Burst.Loss {
		m.passage.Burst++
		return 0, Burst
	}
	at := out + m.delay(n)
	if !m.link.Reorder {
		at = max(at, m.last)
		m.last = at
	}
	return at, Sent
}

// transmit returns when the packet's last bit is sent, or false if it finds no
// room to wait.
func (m *model) transmit(now time.Duration, size int) (time.Duration, bool) {
	if m.link.Rate == 0 {
		return now, true
	}
	for {
		begins, bytes, ok := m.waiting.first()
		if !ok || begins > now {
			break
		}
		m.waiting.drop()
		m.bytes -= bytes
	}
	if m.free <= now {
		m.free, m.rest = now, 0
	} else if m.bytes+size > m.link.Queue {
		return 0, false
	} else {
		m.waiting.add(m.free, size)
		m.bytes += size
	}
	// In whole nanoseconds and a rest, so that a busy link has exactly its rate.
	work := int64(size)*8*int64(time.Second) + m.rest
	m.free += time.Duration(work / m.link.Rate)
	m.rest = work % m.link.Rate
	return m.free, true
}

// delay is that of the n-th packet.
func (m *model) delay(n uint64) time.Duration {
	if m.link.Jitter == 0 {
		return m.link.Delay
	}
	least := max(-3, -float64(m.link.Delay)/float64(m.link.Jitter))
	x := cutNormal(draw(m.seed, m.way, streamJitter, n), least, 3)
	return max(0, m.link.Delay+time.Duration(x*float64(m.link.Jitter)))
}

// ring is a queue of packets that wait for the rate: when each begins to be
// transmitted, and its size. Its length is bounded by the bytes of lab.Link.Queue.
type ring struct {
	slots []struct {
		begins time.Duration
		size   int
	}
	head, n int
}

func (r *ring) first() (begins time.Duration, size int, ok bool) {
	if r.n == 0 {
		return 0, 0, false
	}
	s := r.slots[r.head]
	return s.begins, s.size, true
}

func (r *ring) drop() {
	r.head = (r.head + 1) % len(r.slots)
	r.n--
}

func (r *ring) add(begins time.Duration, size int) {
	if r.n == len(r.slots) {
		old := *r
		r.slots = append(old.slots[old.head:len(old.slots):len(old.slots)], old.slots[:old.head]...)
		r.slots = append(r.slots, make([]struct {
			begins time.Duration
			size   int
		}, max(64, len(r.slots)))...)
		r.head = 0
	}
	s := &r.slots[(r.head+r.n)%len(r.slots)]
	s.begins, s.size = begins, size
	r.n++
}
