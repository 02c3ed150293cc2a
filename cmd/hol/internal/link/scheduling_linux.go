package link

import (
	"fmt"
	"os"
	"runtime"
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

// spareProcessors is by how much a link raises GOMAXPROCS: for the router and for
// a sender that waits on a thread of its own. A goroutine that comes back from
// the kernel otherwise waits until another one gives way.
const spareProcessors = 2

// process is what links change for the whole process.
var process struct {
	mu       sync.Mutex // guards GOMAXPROCS, every thread's scheduling, and the following
	realtime int        // links that want SCHED_RR
}

func acquireProcessors() {
	process.mu.Lock()
	defer process.mu.Unlock()
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spareProcessors)
}

func releaseProcessors() {
	process.mu.Lock()
	defer process.mu.Unlock()
	runtime.GOMAXPROCS(max(1, runtime.GOMAXPROCS(0)-spareProcessors))
}

// acquireRealtime gives every thread of the process SCHED_RR, and thereby those
// that they start. It reports false if that is not permitted.
func acquireRealtime() bool {
	process.mu.Lock()
	defer process.mu.Unlock()
	if process.realtime == 0 {
		if setAll(unix.SCHED_RR, hostPriority) != nil {
			setAll(unix.SCHED_NORMAL, 0) // those that had been changed
			return false
		}
	}
	process.realtime++
	return true
}

func releaseRealtime() error {
	process.mu.Lock()
	defer process.mu.Unlock()
	if process.realtime--; process.realtime > 0 {
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
