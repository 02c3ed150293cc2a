package link

import (
	"math"
	"slices"
	"testing"
)

// farthest is the Kolmogorov-Smirnov distance of samples, which it sorts, from a
// distribution, times the square root of their number. It is beyond 2.3 with
// probability 5e-5.
func farthest(samples []float64, share func(float64) float64) float64 {
	slices.Sort(samples)
	n := float64(len(samples))
	var d float64
	for i, x := range samples {
		p := share(x)
		d = max(d, p-float64(i)/n, float64(i+1)/n-p)
	}
	return d * math.Sqrt(n)
}

const farthestAllowed = 2.3

func uniformShare(x float64) float64 { return min(max(x, 0), 1) }

func TestDrawUniform(t *testing.T) {
	const n = 20_000
	for s := range streams {
		for _, seed := range []uint64{0, 1, 2, math.MaxUint64} {
			for way := range 2 {
				samples := make([]float64, n)
				for i := range samples {
					samples[i] = draw(seed, way, s, uint64(i))
					if samples[i] < 0 || samples[i] >= 1 {
						t.Fatalf("%v is outside", samples[i])
					}
				}
				if d := farthest(samples, uniformShare); d > farthestAllowed {
					t.Errorf("seed %d, way %d, stream %d: distance %v", seed, way, s, d)
				}
			}
		}
	}
}

// Numbers that differ in one thing must not know of each other: the correlation
// of n independent pairs lies within 5/sqrt(n).
func TestDrawIndependent(t *testing.T) {
	const n = 100_000
	base := func(i uint64) float64 { return draw(7, 0, streamLoss, i) }
	for name, other := range map[string]func(i uint64) float64{
		"next number":    func(i uint64) float64 { return draw(7, 0, streamLoss, i+1) },
		"next seed":      func(i uint64) float64 { return draw(8, 0, streamLoss, i) },
		"other way":      func(i uint64) float64 { return draw(7, 1, streamLoss, i) },
		"other stream":   func(i uint64) float64 { return draw(7, 0, streamBurstLoss, i) },
		"distant number": func(i uint64) float64 { return draw(7, 0, streamLoss, i<<32) },
	} {
		var sum float64
		same := 0
		for i := range uint64(n) {
			a, b := base(i+1), other(i+1)
			sum += (a - 0.5) * (b - 0.5) * 12
			if a == b {
				same++
			}
		}
		if r := sum / n; math.Abs(r) > 5/math.Sqrt(n) || same > 0 {
			t.Errorf("%s: correlation %v, %d equal", name, r, same)
		}
	}
}

func TestExponential(t *testing.T) {
	samples := make([]float64, 100_000)
	for i := range samples {
		samples[i] = exponential(draw(3, 0, streamPeriods, uint64(i)))
	}
	if d := farthest(samples, func(x float64) float64 { return 1 - math.Exp(-x) }); d > farthestAllowed {
		t.Errorf("distance %v", d)
	}
	if exponential(0) != 0 {
		t.Error("of 0 is not 0")
	}
}

func TestCutNormal(t *testing.T) {
	for _, c := range []struct{ low, high float64 }{{-3, 3}, {-1, 3}, {0, 3}, {-0.001, 0.001}} {
		samples := make([]float64, 100_000)
		for i := range samples {
			samples[i] = cutNormal(draw(3, 0, streamJitter, uint64(i)), c.low, c.high)
		}
		from, to := normalShare(c.low), normalShare(c.high)
		share := func(x float64) float64 { return (normalShare(x) - from) / (to - from) }
		if d := farthest(samples, share); d > farthestAllowed {
			t.Errorf("%v: distance %v", c, d)
		}
		if samples[0] < c.low || samples[len(samples)-1] > c.high {
			t.Errorf("%v: from %v to %v", c, samples[0], samples[len(samples)-1])
		}
	}
	// Known values of the standard normal distribution.
	for x, want := range map[float64]float64{0: 0.5, 1: 0.8413447460685429, -1.96: 0.024997895148220435} {
		if got := normalShare(x); math.Abs(got-want) > 1e-12 {
			t.Errorf("share below %v is %v, want %v", x, got, want)
		}
	}
}
