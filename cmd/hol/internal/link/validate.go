package link

import (
	"fmt"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// Bounds of what a link can be asked to be, inclusive.
const (
	MaxDelay  = 10 * time.Second // of Delay and Jitter
	MinRate   = 8_000            // bits per second
	MaxRate   = 100_000_000_000
	MaxQueue  = 64 << 20 // bytes; the least is the MTU
	MinPeriod = time.Millisecond
	MaxPeriod = time.Hour // of a burst's good and bad periods
	MinMTU    = 1280
	MaxMTU    = 65_535
)

// A RangeError says that a field of lab.Link cannot be what it is.
type RangeError struct {
	Field string // as in JSON: "burst.loss"
	Value string
	Range string // "from 0 to 1"
}

func (e *RangeError) Error() string {
	return fmt.Sprintf("%s is %s, and must be %s", e.Field, e.Value, e.Range)
}

// Validate says whether there can be such a link. The error is a *RangeError.
func Validate(l lab.Link) error {
	within := func(field string, v, low, high time.Duration) error {
		if v < low || v > high {
			return &RangeError{field, v.String(), fmt.Sprintf("from %v to %v", low, high)}
		}
		return nil
	}
	share := func(field string, v float64) error {
		if !(v >= 0 && v <= 1) { // NaN is neither
			return &RangeError{field, fmt.Sprint(v), "from 0 to 1"}
		}
		return nil
	}
	if err := within("delay", l.Delay, 0, MaxDelay); err != nil {
		return err
	}
	if err := within("jitter", l.Jitter, 0, MaxDelay); err != nil {
		return err
	}
	if err := share("loss", l.Loss); err != nil {
		return err
	}
	if l.MTU < MinMTU || l.MTU > MaxMTU {
		return &RangeError{"mtu", fmt.Sprint(l.MTU), fmt.Sprintf("from %d to %d bytes", MinMTU, MaxMTU)}
	}
	if l.Rate != 0 && (l.Rate < MinRate || l.Rate > MaxRate) {
		return &RangeError{"rate", fmt.Sprint(l.Rate), fmt.Sprintf("0 (no limit) or from %d to %d bit/s", MinRate, int64(MaxRate))}
	}
	if l.Rate != 0 && (l.Queue < l.MTU || l.Queue > MaxQueue) {
		return &RangeError{"queue", fmt.Sprint(l.Queue), fmt.Sprintf("from %d (the MTU) to %d bytes if there is a rate", l.MTU, MaxQueue)}
	}
	if l.Queue < 0 {
		return &RangeError{"queue", fmt.Sprint(l.Queue), fmt.Sprintf("from 0 to %d bytes", MaxQueue)}
	}
	if err := share("burst.loss", l.Burst.Loss); err != nil {
		return err
	}
	if l.Burst.Good == 0 { // no bursts, whatever a bad period would be
		return within("burst.bad", l.Burst.Bad, 0, MaxPeriod)
	}
	if err := within("burst.good", l.Burst.Good, MinPeriod, MaxPeriod); err != nil {
		return err
	}
	return within("burst.bad", l.Burst.Bad, MinPeriod, MaxPeriod)
}
