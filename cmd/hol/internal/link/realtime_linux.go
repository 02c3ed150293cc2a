package link

import (
	"fmt"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Priorities of SCHED_RR. The router goes before everything, or it waits for a
// busy thread's time slice, which is 100 ms.
const (
	hostPriority   = 1 // all other threads
	routerPriority = 2
)

// realtime counts the links that want SCHED_RR, which is the whole process's.
var realtime struct {
	mu    sync.Mutex // guards the following
	links int
}

// acquireRealtime gives every thread of the process SCHED_RR, and thereby those
// that they start. It reports false if that is not permitted.
func acquireRealtime() bool {
	realtime.mu.Lock()
	defer realtime.mu.Unlock()
	if realtime.links == 0 {
		if setAll(unix.SCHED_RR, hostPriority) != nil {
			setAll(unix.SCHED_NORMAL, 0) // those that had been changed
			return false
		}
	}
	realtime.links++
	return true
}

func releaseRealtime() error {
	realtime.mu.Lock()
	defer realtime.mu.Unlock()
	if realtime.links--; realtime.links > 0 {
		return nil
	}
	return setAll(unix.SCHED_NORMAL, 0)
}

// setAll changes the scheduling of every thread. Threads that a changed one
// starts have it too, so it is complete once a pass finds none to change.
func setAll(policy, priority uint32) error {
	for range 16 {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return fmt.Errorf("link: threads: %w", err)
		}
		changed := false
		for _, task := range tasks {
			tid, err := strconv.Atoi(task.Name())
			if err != nil {
				return fmt.Errorf("link: threads: %w", err)
			}
			if now, err := unix.SchedGetAttr(tid, 0); err == nil && now.Policy == policy && now.Priority >= priority {
				continue
			}
			if err := setPolicy(tid, policy, priority); err == nil {
				changed = true
			} else if err != unix.ESRCH { // it ended
				return fmt.Errorf("link: scheduling of a thread: %w", err)
			}
		}
		if !changed {
			return nil
		}
	}
	return fmt.Errorf("link: scheduling: the process starts threads without end")
}

func setPolicy(tid int, policy, priority uint32) error {
	return unix.SchedSetAttr(tid, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: policy, Priority: priority}, 0)
}
