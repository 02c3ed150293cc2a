package stats

import (
	"math"
	"slices"
	"time"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// milliseconds is d in milliseconds.
func milliseconds(d time.Duration) float64 {
	return float64(d) / float64(time.Millisecond)
}

// percentile is the smallest of the sorted values that at least a share q of
// them does not exceed (the nearest rank): always one that was measured. There
// must be a value.
func percentile(sorted []time.Duration, q float64) time.Duration {
	return sorted[rank(len(sorted), q)-1]
}

// rank is the least number of n values that are a share q of them, at least 1.
func rank(n int, q float64) int {
	// The product of n and a decimal share may come out above a whole number that
	// it is in truth.
	return min(max(int(math.Ceil(float64(n)*q-1e-9)), 1), n)
}

// cdf has the latencies, in milliseconds to two decimals, which is what clocks
// and plots are good for, within which each step's share of sent messages arrived,
// up to the last share that did. The arrived are sorted.
func cdf(arrived []time.Duration, sent int) []float64 {
	points := make([]float64, 0, lab.CDFSteps+1)
	for i := range lab.CDFSteps + 1 {
		if sent == 0 {
			break
		}
		r := rank(sent, float64(i)/lab.CDFSteps)
		if r > len(arrived) {
			break
		}
		points = append(points, math.Round(100*milliseconds(arrived[r-1]))/100)
	}
	return points
}

// estimate is the mean of what the runs found, with Student's 95 % interval cut
// at zero and at most. What is not a number was not found.
func estimate(values []float64, most float64) lab.Estimate {
	values = slices.DeleteFunc(slices.Clone(values), func(v float64) bool {
		return math.IsNaN(v) || math.IsInf(v, 0)
	})
	n := len(values)
	if n == 0 {
		return lab.Estimate{}
	}
	sum := 0.0
	for _, v := range slices.Sorted(slices.Values(values)) { // the order of runs must not matter
		sum += v
	}
	mean := sum / float64(n)
	e := lab.Estimate{Mean: mean, Low: mean, High: mean, N: n}
	if n < 2 {
		return e
	}
	squares := 0.0
	for _, v := range slices.Sorted(slices.Values(values)) {
		squares += (v - mean) * (v - mean)
	}
	student := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(n - 1)}
	half := student.Quantile(.975) * math.Sqrt(squares/float64(n-1)/float64(n))
	e.Low = max(mean-half, min(mean, 0))
	e.High = min(mean+half, max(mean, most))
	return e
}
