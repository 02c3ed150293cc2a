package main

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// realtimePermitted says why SCHED_RR is not permitted, nil if it is.
func realtimePermitted() error {
	result := make(chan error)
	// Ends at once. Its thread ends with it, whatever its scheduling.
	go func() {
		runtime.LockOSThread()
		result <- unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}, 0)
	}()
	return <-result
}
