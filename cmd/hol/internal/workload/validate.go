package workload

import (
	"fmt"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// Bounds of a workload.
const (
	MaxChannels = 256
	MaxObjects  = 256
	MinInterval = time.Millisecond
	MaxInterval = time.Minute
	MaxWarmup   = 10 * time.Minute
	MinDuration = 10 * time.Millisecond
	MaxDuration = time.Hour
	MaxDrain    = 10 * time.Minute
	// MaxMessages bounds the messages or calls of one run, of all channels, and
	// the objects of all pages.
	MaxMessages = 1_000_000
)

// Validate refuses a workload that is out of bounds; the error names the field,
// its value and the range.
func Validate(w lab.Workload) error {
	within := func(field string, value, low, high int) error {
		if value < low || value > high {
			return fmt.Errorf("%s: %d is not within %d to %d", field, value, low, high)
		}
		return nil
	}
	lasting := func(field string, value, low, high time.Duration) error {
		if value < low || value > high {
			return fmt.Errorf("%s: %v is not within %v to %v", field, value, low, high)
		}
		return nil
	}
	var checks []error
	switch w.Kind {
	case lab.Updates, lab.Mixed, lab.RPC:
		checks = append(checks,
			lasting("interval", w.Interval, MinInterval, MaxInterval),
			within("smallest size", w.MinSize, HeaderSize, adapter.MaxMessage),
			within("largest size", w.MaxSize, w.MinSize, adapter.MaxMessage))
	case lab.Page:
		checks = append(checks, within("objects of a page", len(w.Objects), 1, MaxObjects))
		for i, size := range w.Objects {
			checks = append(checks, within(fmt.Sprintf("size of object %d", i+1), size, HeaderSize, adapter.MaxCall))
		}
	default:
		return fmt.Errorf("workload: %q is none of %s, %s, %s, %s", w.Kind, lab.Updates, lab.Mixed, lab.Page, lab.RPC)
	}
	checks = append(checks,
		within("channels", w.Channels, 1, MaxChannels),
		lasting("warm-up", w.Warmup, 0, MaxWarmup),
		lasting("duration", w.Duration, MinDuration, MaxDuration),
		lasting("drain", w.Drain, 0, MaxDrain))
	for _, err := range checks {
		if err != nil {
			return err
		}
	}
	if w.Kind != lab.Page {
		if n := messages(w); n > MaxMessages {
			return fmt.Errorf("messages of all channels: %d is not within 1 to %d: lengthen the interval or shorten the duration", n, MaxMessages)
		}
	}
	return nil
}

// messages is how many are scheduled, the warm-up's included.
func messages(w lab.Workload) int {
	s, n := newSchedule(w, 0), 0
	for c := range w.Channels {
		n += s.count(c)
	}
	return n
}

// Fits refuses a workload that a transport cannot carry, although it is within
// bounds for others.
func Fits(a adapter.Adapter, w lab.Workload) error {
	switch w.Kind {
	case lab.Page, lab.RPC:
		if !a.Calls {
			return fmt.Errorf("%s: %s needs an answer to every call, which %s does not promise", a.Name, w.Kind, a.Title)
		}
	case lab.Updates, lab.Mixed:
		if !a.Reliable && w.MaxSize > adapter.MaxDatagram {
			return fmt.Errorf("%s: largest size: %d is not within %d to %d, which fits into a datagram",
				a.Name, w.MaxSize, HeaderSize, adapter.MaxDatagram)
		}
	}
	return nil
}

// Bounds of what comes before and after a workload.
const (
	// setupTime is how long dialling and opening all channels may take, besides
	// setupTrips round trips and channelTrips more for each channel.
	setupTime    = 20 * time.Second
	setupTrips   = 20
	channelTrips = 6
	// lead is the time from the end of the set-up to the first scheduled message.
	lead = 20 * time.Millisecond
	// closeTime is how long a transport may take to end.
	closeTime = 10 * time.Second
)

// setupBound is how long the set-up of a run may take.
func setupBound(run lab.Run) time.Duration {
	return setupTime + time.Duration(setupTrips+channelTrips*run.Workload.Channels)*run.Link.RTT()
}

// Total is the longest that Run takes, whatever the transport does.
func Total(run lab.Run) time.Duration {
	w := run.Workload
	return setupBound(run) + lead + w.Warmup + w.Duration + w.Drain + closeTime
}
