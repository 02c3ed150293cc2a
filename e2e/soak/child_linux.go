package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// apart keeps a process from the terminal's signals, which the command hands on
// in its own way, and has the kernel end it with the command.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// startProcess starts a process from a thread that stays: the kernel ends it with
// the thread that has started it.
func startProcess(cmd *exec.Cmd) error {
	started := make(chan error, 1)
	go func() { // stays as long as the command
		runtime.LockOSThread()
		started <- cmd.Start()
		select {}
	}()
	return <-started
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
