package link

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// enteredEnv marks the process that enter started.
const enteredEnv = "TOWPATH_HOL_ENTERED"

// EnterNamespaces puts the process where Open may work: a worker calls it before
// anything else. With privileges, it returns at once. Without, it runs the same
// program with the same arguments, environment and descriptors as root of a user
// namespace, in which EnterNamespaces returns; it does not return itself, but
// exits as that process did (128 and the number of a signal that ended it). It
// hands on SIGTERM and SIGHUP, and SIGINT and SIGQUIT are left to the new process,
// which has them from the terminal as well. The new process is killed when this
// one ends, however it does.
//
// An error is one line with the remedy.
func EnterNamespaces() error {
	if os.Getenv(enteredEnv) != "" {
		return os.Unsetenv(enteredEnv)
	}
	if privileged() {
		return nil
	}
	return enter()
}

// enter is EnterNamespaces for any process.
func enter() error {
	// Pdeathsig is sent when the thread ends that started the process.
	runtime.LockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), enteredEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	var err error
	if cmd.ExtraFiles, err = inherited(); err != nil {
		return err
	}
	cmd.SysProcAttr = inNamespaces()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT)
	if err := cmd.Start(); err != nil {
		signal.Stop(signals)
		return whyNoUserNamespace(err, sysctlRoot)
	}
	go func() { // ends with this process
		for s := range signals {
			if s == unix.SIGTERM || s == unix.SIGHUP {
				cmd.Process.Signal(s)
			}
		}
	}()
	for _, f := range cmd.ExtraFiles {
		if f != nil {
			f.Close() // the other end is to see the new process's end
		}
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
		os.Exit(0)
	case errors.As(err, &exit):
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			os.Exit(128 + int(status.Signal()))
		}
		os.Exit(exit.ExitCode())
	}
	return fmt.Errorf("link: waiting for the process in the user namespace: %w", err)
}

// inherited are the descriptors from 3 on that the process was started with: its
// own close at exec.
func inherited() ([]*os.File, error) {
	entries, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for _, entry := range entries {
		fd, err := strconv.Atoi(filepath.Base(entry))
		if err != nil || fd < 3 {
			continue
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC != 0 {
			continue
		}
		for len(files) <= fd-3 {
			files = append(files, nil)
		}
		files[fd-3] = os.NewFile(uintptr(fd), entry)
	}
	return files, nil
}
