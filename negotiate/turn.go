package negotiate

import (
	"runtime"
	"time"
)

// A path is judged by what came within seconds. In a process with more to do than
// it has processors for, what came waits that long too: for the goroutine that
// reads packets, then for the connection's. Nothing is found out about a path then.

// turns is how many goroutines one after another handle what came.
const turns = 3

// busyPart is the part of a path's time that waiting for so many turns takes in a
// process that is too busy to judge it.
const busyPart = 16

// busy reports whether this process is too busy to judge a path that has that much
// time. It may take as long as it finds that others wait.
func (j *job) busy(within time.Duration) bool {
	measure := j.d.hooks.turnTime
	if measure == nil {
		measure = turnTime
	}
	return measure() >= within/busyPart
}

// turnTime measures how long as many goroutines wait for their turn. When a timer
// fires tells less: its goroutine goes before the others.
func turnTime() time.Duration {
	start := time.Now()
	for range turns {
		runtime.Gosched()
	}
	return time.Since(start)
}
