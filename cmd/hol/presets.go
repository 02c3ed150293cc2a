package main

import (
	"slices"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// A preset has a value for every flag that has one.
type preset struct {
	workloads  []string
	directions []lab.Direction
	losses     []float64
	seeds      int
	controls   int
	warmup     time.Duration
	duration   time.Duration
	drain      time.Duration
	// remark is said before the study begins.
	remark string
}

var (
	usual = preset{
		workloads:  []string{string(lab.Updates)},
		directions: []lab.Direction{lab.Down},
		losses:     []float64{0.01, 0.02},
		seeds:      5,
		controls:   2,
		warmup:     time.Second,
		duration:   10 * time.Second,
		drain:      2 * time.Second,
	}
	quick = preset{
		workloads:  []string{string(lab.Updates)},
		directions: []lab.Direction{lab.Down},
		losses:     []float64{0.02},
		seeds:      5,
		controls:   1,
		warmup:     500 * time.Millisecond,
		duration:   3 * time.Second,
		drain:      time.Second,
		remark: "--quick measures 3 s a run, in which a transport loses only some 10 to 30 packets: " +
			"its shares of late messages are rough, and its p99 and max are those of few messages.",
	}
	full = preset{
		workloads:  []string{"all"},
		directions: []lab.Direction{lab.Down, lab.Up},
		losses:     []float64{0.005, 0.01, 0.02, 0.05},
		seeds:      10,
		controls:   2,
		warmup:     time.Second,
		duration:   20 * time.Second,
		drain:      3 * time.Second,
	}
)

// preset is the one that the flags ask for.
func (c *cli) preset() preset {
	switch {
	case c.Quick:
		return quick
	case c.Full:
		return full
	}
	return usual
}

// loads are the sizes of messages in bytes: of small state updates, and of
// packets that are nearly full. The largest still fits into a datagram.
var loads = map[string][2]int{"light": {150, 250}, "full": {200, 1100}}

// usualObjects is a page of 40 objects, 528,000 bytes.
var usualObjects = slices.Concat(
	slices.Repeat([]int{4_000}, 24), slices.Repeat([]int{16_000}, 12), slices.Repeat([]int{60_000}, 4))
