package report

import "math"

// An axis maps numbers to coordinates.
type axis struct {
	from, to float64 // numbers at its ends
	a, b     float64 // coordinates of its ends
	bend     func(float64) float64
}

func linear(v float64) float64 { return v }

// root gives small shares room without losing 0, which a logarithm would.
func root(v float64) float64 { return math.Sqrt(max(v, 0)) }

// at is where v is. What is outside is put at the end.
func (x axis) at(v float64) float64 {
	v = min(max(v, x.from), x.to)
	low, high := x.bend(x.from), x.bend(x.to)
	if high == low {
		return x.a
	}
	return x.a + (x.b-x.a)*(x.bend(v)-low)/(high-low)
}

// nice are 1, 2 and 5 times powers of ten from low to high, which are greater
// than 0.
func nice(low, high float64) []float64 {
	var all []float64
	for e := math.Floor(math.Log10(low)); e <= math.Ceil(math.Log10(high)); e++ {
		for _, m := range []float64{1, 2, 5} {
			if v := m * math.Pow(10, e); v >= low*0.999 && v <= high*1.001 {
				all = append(all, v)
			}
		}
	}
	return all
}

// even are multiples of a nice step, from 0 to high, at most n and at least two.
func even(high float64, n int) []float64 {
	if high <= 0 {
		return []float64{0, 1}
	}
	step := math.Pow(10, math.Floor(math.Log10(high/float64(n))))
	for _, m := range []float64{1, 2, 5, 10} {
		if high/(step*m) <= float64(n) {
			step *= m
			break
		}
	}
	var all []float64
	for i := 0; float64(i)*step <= high*1.0001; i++ {
		all = append(all, float64(i)*step)
	}
	return all
}

// spread moves the places of labels apart so that each has so much room, as
// little as it can, between low and high. They are in ascending order.
func spread(at []float64, room, low, high float64) []float64 {
	out := append([]float64(nil), at...)
	for i := range out {
		out[i] = max(out[i], low+float64(i)*room)
		if i > 0 {
			out[i] = max(out[i], out[i-1]+room)
		}
	}
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = min(out[i], high-float64(len(out)-1-i)*room)
	}
	return out
}
