package netns

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Inside runs f in the test's process, on a thread that is in the host's
// namespaces. What f makes itself, not by other goroutines, belongs to the host
// for as long as it lives: a socket that it listens on, a process that it
// starts. So a server's handler can stay in the test, and a program that is not
// this binary can run in a host.
//
// The working directory of f is the root directory, and of a process that it
// starts as well unless exec.Cmd.Dir says otherwise. Such a process must not ask
// for a signal at its parent's death (Pdeathsig), which the kernel sends when
// the thread ends: at the end of f. The test ends it, and closes the sockets.
func (h *Host) Inside(f func() error) error {
	done := make(chan error)
	go func() { // ends with f
		// Never unlocked, so the thread ends with the goroutine and runs no other.
		runtime.LockOSThread()
		done <- h.insideThread(f)
	}()
	return <-done
}

func (h *Host) insideThread(f func() error) error {
	// A thread that shares its working directory may not change mounts.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("netns: entering %s: %w", h.Name, err)
	}
	for _, ns := range []struct {
		name string
		kind int
	}{{"net", unix.CLONE_NEWNET}, {"mnt", unix.CLONE_NEWNS}} {
		if err := h.enter(ns.name, ns.kind); err != nil {
			return fmt.Errorf("netns: entering %s of %s: %w", ns.name, h.Name, err)
		}
	}
	return f()
}

func (h *Host) enter(name string, kind int) error {
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", h.PID, name))
	if err != nil {
		return err
	}
	defer ns.Close()
	return unix.Setns(int(ns.Fd()), kind)
}
