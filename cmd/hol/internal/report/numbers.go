package report

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// absent stands where there is no number.
const absent = "–"

// A unit turns numbers into text. Decimals are chosen by the mean, so that an
// interval has as many as its mean.
type unit func(v, mean float64) string

func inMilliseconds(v, mean float64) string {
	if math.Abs(mean) < 99.95 {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

// inPercent takes a share. Almost all is never rounded to all.
func inPercent(v, mean float64) string {
	v, mean = v*100, mean*100
	if v == 0 {
		return "0"
	}
	decimals := 1
	if math.Abs(mean) < 9.995 || mean > 99.95 && mean < 100 {
		decimals = 2
	}
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	switch {
	case v == mean && v < 100 && (s == "100.0" || s == "100.00"):
		return "99.99"
	case s == "100.0" || s == "100.00":
		return "100"
	case s == "0.00" && v > 0:
		return "<.01"
	}
	return s
}

func inShare(v, _ float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }
func inTimes(v, _ float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }

func inKilobits(v, _ float64) string { return strconv.FormatFloat(v/1e3, 'f', 0, 64) }
func inMegabits(v, _ float64) string { return strconv.FormatFloat(v/1e6, 'f', 2, 64) }

// mean is the estimate without its interval.
func (u unit) mean(e lab.Estimate) string {
	if e.N == 0 {
		return absent
	}
	return u(e.Mean, e.Mean)
}

// interval is the estimate with the larger half of its interval, where there is
// one. What was nothing in every run, or everything, has none.
func (u unit) interval(e lab.Estimate) string {
	if e.N < 2 || halfWidth(e) == 0 && (e.Mean == 0 || e.Mean == 1) {
		return u.mean(e)
	}
	return u.mean(e) + "±" + u(halfWidth(e), e.Mean)
}

func halfWidth(e lab.Estimate) float64 { return math.Max(e.High-e.Mean, e.Mean-e.Low) }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// duration is d in a unit that people would say.
func duration(d time.Duration) string {
	switch {
	case d != 0 && d < time.Millisecond:
		return plain(float64(d)/float64(time.Microsecond)) + " µs"
	case d < time.Second:
		return plain(milliseconds(d)) + " ms"
	case d < 2*time.Minute:
		return plain(d.Seconds()) + " s"
	default:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
}

// plain is v with at most three significant decimals and no zeros at the end.
func plain(v float64) string {
	return strconv.FormatFloat(math.Round(v*1000)/1000, 'f', -1, 64)
}

// finite returns the study with nothing in it that JSON or a plot cannot have.
// What had to be left out is told among the problems.
func finite(s lab.Study) lab.Study {
	cells := make([]lab.Cell, len(s.Cells))
	for i, c := range s.Cells {
		for name, e := range estimates(&c) {
			if !(isFinite(e.Mean) && isFinite(e.Low) && isFinite(e.High)) {
				s.Problems = append(s.Problems[:len(s.Problems):len(s.Problems)], fmt.Sprintf("%s has no finite %s", c.Transport, name))
				*e = lab.Estimate{}
			}
		}
		for n, v := range c.CDF {
			if !isFinite(v) {
				c.CDF = c.CDF[:n]
				break
			}
		}
		cells[i] = c
	}
	s.Cells = cells
	return s
}

func isFinite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
