package link

import "time"

const (
	maxFlight      = 1 << 16   // packets
	maxFlightBytes = 256 << 20 // of slots
	chunkSlots     = 64
)

// flight holds the packets of one direction that are under way, ordered by their
// departure, and in the order of their numbers where that is equal. Slots are
// allocated by the chunk as they are needed, and used again. It is not safe for
// concurrent use.
type flight struct {
	mtu   int
	limit int      // slots
	made  int      // slots
	empty [][]byte // free slots, each of mtu bytes
	heap  []parcel
	// highest is the greatest number that was taken, plus 1.
	highest   uint64
	reordered int64
}

// parcel is a packet and its time.
type parcel struct {
	at     time.Duration
	number uint64
	bytes  []byte // of a slot
}

func (p parcel) before(q parcel) bool {
	return p.at < q.at || p.at == q.at && p.number < q.number
}

func newFlight(mtu int) *flight {
	return &flight{mtu: mtu, limit: min(maxFlight, maxFlightBytes/mtu)}
}

// room returns a free slot to read a packet into, or nil if all are taken. It is
// the same one until send.
func (f *flight) room() []byte {
	if len(f.empty) == 0 {
		n := min(chunkSlots, f.limit-f.made)
		if n == 0 {
			return nil
		}
		chunk := make([]byte, n*f.mtu)
		for ; len(chunk) > 0; chunk = chunk[f.mtu:] {
			f.empty = append(f.empty, chunk[:f.mtu:f.mtu])
		}
		f.made += n
	}
	return f.empty[len(f.empty)-1]
}

// send puts the first size bytes of the slot that room returned under way.
func (f *flight) send(at time.Duration, number uint64, size int) {
	last := len(f.empty) - 1
	slot := f.empty[last]
	f.empty = f.empty[:last]
	f.heap = append(f.heap, parcel{at, number, slot[:size]})
	for i := len(f.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !f.heap[i].before(f.heap[up]) {
			break
		}
		f.heap[i], f.heap[up] = f.heap[up], f.heap[i]
		i = up
	}
}

// next returns the time of the packet that departs first.
func (f *flight) next() (time.Duration, bool) {
	if len(f.heap) == 0 {
		return 0, false
	}
	return f.heap[0].at, true
}

// take returns the packet that departs first, and counts it as reordered if one
// with a greater number was taken before. The bytes are valid until the next
// call of room.
func (f *flight) take() parcel {
	p := f.heap[0]
	last := len(f.heap) - 1
	f.heap[0], f.heap[last] = f.heap[last], parcel{}
	f.heap = f.heap[:last]
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < last; c++ {
			if f.heap[c].before(f.heap[least]) {
				least = c
			}
		}
		if least == i {
			break
		}
		f.heap[i], f.heap[least] = f.heap[least], f.heap[i]
		i = least
	}
	f.empty = append(f.empty, p.bytes[:f.mtu:f.mtu])
	if p.number < f.highest {
		f.reordered++
	} else {
		f.highest = p.number + 1
	}
	return p
}
