package measure

import "slices"

// Median returns the value in the middle, of an even number the mean of the two, 0
// of none.
func Median(v []float64) float64 { return Quantile(v, .5) }

// Quantile returns the value below which the share p of v lies, between two values
// on the line through them, 0 of none.
func Quantile(v []float64, p float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	at := p * float64(len(v)-1)
	i := int(at)
	if i+1 >= len(v) {
		return v[len(v)-1]
	}
	return v[i] + (at-float64(i))*(v[i+1]-v[i])
}
