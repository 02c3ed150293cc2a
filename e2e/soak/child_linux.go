package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// apart keeps a process from the terminal's signals, which the command hands on
// in its own way, and has the kernel end it with the command.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// startProcess starts a process from a thread that stays: the kernel ends it with
// the thread that has started it. It inherits where that thread runs.
func startProcess(cmd *exec.Cmd, place placed) error {
	started := make(chan error, 1)
	go func() { // stays as long as the command
		runtime.LockOSThread()
		err := enter(place)
		if err == nil {
			err = cmd.Start()
		}
		started <- err
		select {}
	}()
	return <-started
}

// enter moves the calling thread to its place, if the machine has such places.
func enter(place placed) error {
	if place == anywhere || placement() == "" {
		return nil
	}
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return err
	}
	first := 0
	for !set.IsSet(first) {
		first++
	}
	if place == alone {
		set.Zero()
		set.Set(first)
	} else {
		set.Clear(first)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return err
	}
	if place != behind {
		// Before what else the machine does, where that is permitted.
		unix.Setpriority(unix.PRIO_PROCESS, 0, -15)
		return nil
	}
	return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}, 0)
}

// placement says how the processes of an attack share the processors, "" if there
// is one only.
func placement() string {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil || set.Count() < 2 {
		return ""
	}
	return fmt.Sprintf("the victim alone on one processor; bystander and attacker on the other %d, the attacker with SCHED_IDLE", set.Count()-1)
}

// endWithGoRun ends the command when go run, which has started it, is killed:
// that cannot hand the signal on. The other processes end with this one.
func endWithGoRun() {
	exe, err := os.Executable()
	if err != nil || !strings.Contains(exe, "go-build") {
		return
	}
	parent := os.Getppid()
	go func() { // ends with the command
		for range time.Tick(time.Second) {
			if os.Getppid() != parent {
				os.Exit(exitViolated)
			}
		}
	}()
}

// checkFiles says what to raise if the limit on open files is too low for a run.
func checkFiles(connections int) error {
	need := uint64(2*connections + 200)
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil || limit.Max >= need {
		return nil // package os has raised what may be used to that
	}
	return usageError{fmt.Errorf("%s connections need %s open files, and the limit is %s: run ulimit -n %d first, or give --connections %d",
		thousands(connections), thousands(need), thousands(limit.Max), need, max((int(limit.Max)-200)/2, 1))}
}
