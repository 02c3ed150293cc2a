package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A closed terminal ends who reads the standard output, and can send SIGHUP more
// than once. The files are written all the same.
func TestHangup(t *testing.T) {
	csv := filepath.Join(t.TempDir(), "hol.csv")
	cmd := command(t, short+"--cc hangs --csv "+csv)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	write.Close()
	read.Close()
	reading(t, stderr, "^hol: 4 of 12 runs")
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	reading(t, stderr, `^hol: wrote .*\.csv$`)
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	exit, ok := errors.AsType[*exec.ExitError](cmd.Wait())
	if !ok || exit.ExitCode() != exitInvalid {
		t.Errorf("%v", exit)
	}
}

// The second signal ends the command while it still writes: here to a pipe that
// nobody reads.
func TestSecondSignal(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "hol.csv")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := command(t, short+"--cc hangs --html "+strings.TrimSuffix(fifo, "csv")+"html --csv "+fifo)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	reading(t, stderr, "^hol: 4 of 12 runs")
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	reading(t, stderr, `^hol: wrote .*\.html$`)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	exit, ok := errors.AsType[*exec.ExitError](cmd.Wait())
	if !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGINT {
		t.Errorf("it did not end by the second signal: %v", exit)
	}
}
