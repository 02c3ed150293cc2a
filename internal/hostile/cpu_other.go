//go:build !unix

package hostile

import "time"

var began = time.Now()

// cpuTime returns the time that has passed, where the CPU time is not known.
func cpuTime() time.Duration { return time.Since(began) }
