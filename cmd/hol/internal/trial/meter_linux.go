package trial

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// processTime is the processor time of all threads of the process, user and
// system.
func processTime() (time.Duration, error) {
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		return 0, fmt.Errorf("processor time: %w", err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}
