package link

import "math"

// A stream is what a random number is for; each is independent of the others.
type stream uint64

const (
	streamLoss stream = iota
	streamBurstLoss
	streamJitter
	streamPeriods // of good and bad, the same in both directions
	streams       // how many there are
)

// draw is the n-th number of a stream, uniform in [0, 1), as a pure function: the
// same for every transport that is given the seed. way is 0 or 1, for the
// direction.
func draw(seed uint64, way int, s stream, n uint64) float64 {
	key := mix(seed + (uint64(way)*uint64(streams)+uint64(s)+1)*0x9e3779b97f4a7c15)
	return float64(mix(key+n*0x9e3779b97f4a7c15)>>11) / (1 << 53)
}

// mix is a bijection of 64 bits in which each bit of the result depends on every
// bit of x (the finalizer of MurmurHash3 with Stafford's constants).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// exponential turns a uniform number into one that is exponentially distributed
// with mean 1.
func exponential(u float64) float64 { return -math.Log1p(-u) }

// cutNormal turns a uniform number into one that is standard normally
// distributed under the condition that it lies between low and high.
func cutNormal(u, low, high float64) float64 {
	from, to := normalShare(low), normalShare(high)
	x := math.Sqrt2 * math.Erfinv(2*(from+u*(to-from))-1)
	return min(max(x, low), high) // rounding could cross a bound
}

// normalShare is the share of the standard normal distribution below x.
func normalShare(x float64) float64 { return 0.5 * math.Erfc(-x/math.Sqrt2) }
