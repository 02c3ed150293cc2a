package netns

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

const (
	// RequireEnv set to 1 turns the skips of this package into failures.
	RequireEnv = "TOWPATH_E2E_REQUIRE"

	hostEnv   = "TOWPATH_E2E_HOST"   // in a host: its name
	hostsEnv  = "TOWPATH_E2E_HOSTS"  // in a host: the file to see as /etc/hosts
	nestedEnv = "TOWPATH_E2E_NESTED" // in the second run of the binary, as root of a user namespace
)

// Main runs the tests of a binary that uses this package, and returns the exit
// status; TestMain calls it. In a process that is a host it serves the test
// that started it and does not return. Started by a user other than root it
// runs the binary once more as root of a user namespace, if the kernel allows.
func Main(m interface{ Run() int }) int {
	if name := os.Getenv(hostEnv); name != "" {
		serveHost(name)
	}
	if os.Geteuid() != 0 && os.Getenv(nestedEnv) == "" {
		if code, ok := runNested(); ok {
			return code
		}
	}
	return m.Run()
}

// runNested runs this binary with the same arguments in a user namespace. It
// reports false if there can be none.
func runNested() (int, bool) {
	exe, err := os.Executable()
	if err != nil {
		return 0, false
	}
	cmd := exec.Command(exe, os.Args[1:]...)
	cmd.Env = append(os.Environ(), nestedEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if cmd.Start() != nil {
		return 0, false
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), true
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "netns:", err)
		return 1, true
	}
	return 0, true
}

// missing says what this machine lacks, "" if nothing.
func missing() string {
	if os.Geteuid() != 0 {
		return "network namespaces need root, or a kernel that allows user namespaces"
	}
	if _, err := exec.LookPath("nft"); err != nil {
		return "the nft command is not installed (Debian package nftables)"
	}
	return ""
}

// hostEnviron is the environment of a host: the test's own, without proxy
// settings, which would lead out of the lab.
func hostEnviron(name, hostsFile string) []string {
	var env []string
	for _, kv := range os.Environ() {
		key, _, _ := strings.Cut(kv, "=")
		if strings.HasSuffix(strings.ToLower(key), "_proxy") {
			continue
		}
		env = append(env, kv)
	}
	// A host ends in the middle of things; it need not wait for races that may
	// still come, as a race-enabled process does for a second.
	env = append(env, "GORACE="+strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"))
	return append(env, hostEnv+"="+name, hostsEnv+"="+hostsFile)
}
