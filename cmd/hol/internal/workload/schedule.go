package workload

import (
	"math/bits"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// A schedule says when each message is to be sent and how large it is. It is a
// function of its fields alone.
type schedule struct {
	channels int
	interval time.Duration
	total    time.Duration // nothing is scheduled at or after it
	min, max int           // sizes, inclusive
	seed     uint64
}

func newSchedule(w lab.Workload, seed uint64) schedule {
	return schedule{
		channels: w.Channels, interval: w.Interval, total: w.Warmup + w.Duration,
		min: w.MinSize, max: w.MaxSize, seed: seed,
	}
}

// at is when a message is to be sent, counted from the first of all: channels are
// staggered evenly within the interval.
func (s schedule) at(channel, sequence int) time.Duration {
	return s.interval*time.Duration(channel)/time.Duration(s.channels) + s.interval*time.Duration(sequence)
}

// count is how many messages a channel has.
func (s schedule) count(channel int) int {
	left := s.total - s.at(channel, 0)
	if left <= 0 {
		return 0
	}
	return int((left + s.interval - 1) / s.interval)
}

// size of a message in bytes, uniform in the range.
func (s schedule) size(channel, sequence int) int {
	x := mix(s.seed ^ mix(uint64(channel)<<32|uint64(sequence)))
	offset, _ := bits.Mul64(x, uint64(s.max-s.min+1))
	return s.min + int(offset)
}

// mix is the output function of SplitMix64: a bijection whose results for
// neighbouring arguments have nothing to do with each other.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
