package sessionstate

import (
	"time"

	"github.com/towpath-go/towpath/transport"
)

// A DatagramQueue is a queue of datagrams that loses some rather than wait: it
// is bounded in number, and those that waited too long are dropped. It bounds
// bytes only together with a bound on each datagram's size. The nil DatagramQueue
// is empty, and may be asked and cleared.
type DatagramQueue struct {
	capacity int
	policy   transport.DropPolicy
	maxAge   time.Duration

	// A ring: count entries from head on. It grows up to capacity as it is
	// needed.
	ring  []queuedDatagram
	head  int
	count int
	bytes int
}

type queuedDatagram struct {
	payload []byte
	since   time.Time
}

// A Drop is a datagram that a [DatagramQueue] dropped.
type Drop struct {
	Size    int           // of the payload, in bytes
	Age     time.Duration // how long it waited
	Expired bool          // older than the maximum age, rather than one too many
}

// NewDatagramQueue returns an empty queue for capacity datagrams; 0 drops all.
// A maxAge of 0 or less is no limit of age.
func NewDatagramQueue(capacity int, policy transport.DropPolicy, maxAge time.Duration) *DatagramQueue {
	return &DatagramQueue{capacity: max(capacity, 0), policy: policy, maxAge: max(maxAge, 0)}
}

// Push appends a datagram and keeps payload. What it drops for that, first the
// too old and then one for want of room, is appended to drops: that may be the
// new datagram itself. Now must not go back between calls.
func (q *DatagramQueue) Push(now time.Time, payload []byte, drops []Drop) []Drop {
	drops = q.expire(now, drops)
	if q.count == q.capacity {
		if q.capacity == 0 || q.policy == transport.DropNewest {
			return append(drops, Drop{Size: len(payload)})
		}
		d := q.remove()
		drops = append(drops, Drop{Size: len(d.payload), Age: now.Sub(d.since)})
	}
	if q.count == len(q.ring) {
		q.grow()
	}
	q.ring[(q.head+q.count)%len(q.ring)] = queuedDatagram{payload, now}
	q.count++
	q.bytes += len(payload)
	return drops
}

// Pop removes and returns the oldest datagram that is not too old; ok is false
// if there is none. What was too old is appended to drops.
func (q *DatagramQueue) Pop(now time.Time, drops []Drop) (payload []byte, ok bool, _ []Drop) {
	if q == nil {
		return nil, false, drops
	}
	drops = q.expire(now, drops)
	if q.count == 0 {
		return nil, false, drops
	}
	return q.remove().payload, true, drops
}

// Peek returns what Pop would, without removing it.
func (q *DatagramQueue) Peek(now time.Time, drops []Drop) (payload []byte, ok bool, _ []Drop) {
	if q == nil {
		return nil, false, drops
	}
	drops = q.expire(now, drops)
	if q.count == 0 {
		return nil, false, drops
	}
	return q.ring[q.head].payload, true, drops
}

// Clear drops everything, unreported, and frees the queue's memory. It returns
// how many bytes of payload that were.
func (q *DatagramQueue) Clear() int {
	if q == nil {
		return 0
	}
	n := q.bytes
	q.ring, q.head, q.count, q.bytes = nil, 0, 0, 0
	return n
}

// Full reports whether the next Push drops something, unless what waits gets too old
// before. A queue of no capacity is not full.
func (q *DatagramQueue) Full() bool { return q.capacity > 0 && q.count == q.capacity }

// Len returns how many datagrams wait, those that are too old by now included.
func (q *DatagramQueue) Len() int {
	if q == nil {
		return 0
	}
	return q.count
}

// Bytes returns how many bytes of payload those hold.
func (q *DatagramQueue) Bytes() int {
	if q == nil {
		return 0
	}
	return q.bytes
}

// expire removes what is older than maxAge. The oldest stand first, since time
// does not go back.
func (q *DatagramQueue) expire(now time.Time, drops []Drop) []Drop {
	for q.maxAge > 0 && q.count > 0 {
		age := now.Sub(q.ring[q.head].since)
		if age <= q.maxAge {
			break
		}
		drops = append(drops, Drop{Size: len(q.remove().payload), Age: age, Expired: true})
	}
	return drops
}

func (q *DatagramQueue) remove() queuedDatagram {
	d := q.ring[q.head]
	q.ring[q.head] = queuedDatagram{}
	q.head = (q.head + 1) % len(q.ring)
	q.count--
	q.bytes -= len(d.payload)
	return d
}

func (q *DatagramQueue) grow() {
	ring := make([]queuedDatagram, min(max(2*len(q.ring), 4), q.capacity))
	n := copy(ring, q.ring[q.head:])
	copy(ring[n:], q.ring[:q.head])
	q.ring, q.head = ring, 0
}
