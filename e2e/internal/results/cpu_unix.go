//go:build unix

package results

import (
	"syscall"
	"time"
)

// ProcessorTime is what this process has used, by itself and in the system, 0
// where that is not known.
func ProcessorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
