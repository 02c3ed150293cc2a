package link

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// networks are the network namespaces of a process's threads, or of all
// processes' ("*"), each once, sorted.
func networks(process string) []string {
	links, _ := filepath.Glob("/proc/" + process + "/task/*/ns/net")
	var list []string
	for _, link := range links {
		if ns, err := os.Readlink(link); err == nil { // it may have ended
			list = append(list, ns)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// descriptors are what the process's descriptors are open on; those of the Go
// runtime's own are opened once, as they are needed, and left out.
func descriptors() []string {
	entries, _ := filepath.Glob("/proc/self/fd/*")
	var list []string
	for _, e := range entries {
		if to, err := os.Readlink(e); err == nil && !strings.Contains(to, "eventpoll") && to != "anon_inode:[eventfd]" {
			list = append(list, to)
		}
	}
	slices.Sort(list)
	return list
}

func TestCloseLeavesNothing(t *testing.T) {
	needLink(t)
	run := func() {
		l, err := Open(clean(), 1, Options{Realtime: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := exchange(l); err != nil {
			t.Error(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	run() // what is made once for a process
	eventfds := func() (n int) {
		entries, _ := filepath.Glob("/proc/self/fd/*")
		for _, e := range entries {
			if to, _ := os.Readlink(e); to == "anon_inode:[eventfd]" {
				n++
			}
		}
		return n
	}
	before, eventfdsBefore, goroutines := descriptors(), eventfds(), runtime.NumGoroutine()
	for range 5 {
		run()
	}
	if after := descriptors(); !slices.Equal(before, after) {
		t.Errorf("descriptors before: %v, after: %v", before, after)
	}
	if n := eventfds(); n != eventfdsBefore {
		t.Errorf("%d eventfds before, %d after", eventfdsBefore, n)
	}
	await(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines })
	await(t, "threads to leave the namespaces", func() bool { return len(networks("self")) == 1 })
	if err := onThread(func() error {
		_, err := netlink.LinkByName(device)
		return err
	}); !errors.As(err, new(netlink.LinkNotFoundError)) {
		t.Errorf("a device in the process's own namespace: %v", err)
	}
	// Threads keep the scheduling that they had.
	tasks, _ := filepath.Glob("/proc/self/task/*")
	for _, task := range tasks {
		if stat, err := os.ReadFile(task + "/stat"); err == nil {
			fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
			if policy := fields[41-3]; policy != "0" {
				t.Errorf("%s has scheduling policy %s", task, policy)
			}
		}
	}
}

// A socket that is still open keeps the namespace, but the device is gone.
func TestCloseRemovesDevice(t *testing.T) {
	l := open(t, clean(), 1, Options{})
	fd, err := unix.Dup(int(l.client.ns.file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	kept := &namespace{file: os.NewFile(uintptr(fd), "namespace"), tun: -1}
	defer kept.close()
	names := func() (list []string) {
		if err := kept.do(func() error {
			all, err := net.Interfaces()
			for _, i := range all {
				list = append(list, i.Name)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return list
	}
	if got := names(); !slices.Equal(got, []string{"lo", device}) {
		t.Errorf("interfaces %v", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := names(); !slices.Equal(got, []string{"lo"}) {
		t.Errorf("interfaces after Close: %v", got)
	}
}

// start runs the test binary in a role. The program gets "in" on stdin, and what
// is in extra as descriptor 5.
func start(t *testing.T, role, extra string, attr *syscall.SysProcAttr, env ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-first", "second argument")
	cmd.Env = append(os.Environ(), append(env, roleEnv+"="+role)...)
	cmd.Stdin = strings.NewReader("in")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	cmd.WaitDelay = patience // if a process that it left behind holds stderr
	cmd.SysProcAttr = attr
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{nil, nil, r}
	if _, err := w.WriteString(extra); err != nil {
		t.Fatal(err)
	}
	w.Close()
	t.Cleanup(func() { r.Close() })
	return cmd, &stderr
}

// result runs such a program to its end.
func result(t *testing.T, cmd *exec.Cmd, stderr *bytes.Buffer) said {
	t.Helper()
	out, err := cmd.Output()
	var s said
	var exit *exec.ExitError
	if jsonErr := json.Unmarshal(out, &s); jsonErr != nil || !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Fatalf("%v, %v: %q, %q", err, jsonErr, out, stderr)
	}
	return s
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 || !privileged() {
		unavailable(t, "this needs root")
	}
	if ids, _ := os.ReadFile("/proc/self/uid_map"); !strings.Contains(string(ids), "4294967295") {
		unavailable(t, "this needs another user, and a user namespace has one")
	}
}

func TestCheckAsNobody(t *testing.T) {
	needRoot(t)
	needLink(t)
	cmd, stderr := start(t, "check", "", asNobody())
	s := result(t, cmd, stderr)
	info, err := os.Stat(tunPath)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode()&0o006 == 0o006 {
		if s.Error != "" {
			t.Errorf("everybody may open %s, and it says %s", tunPath, s.Error)
		}
		return
	}
	const want = "link: /dev/net/tun: permission denied; this user may not open it: run as root, or let root run \"chmod 0666 /dev/net/tun\""
	if !strings.HasPrefix(s.Error, want) || strings.Contains(s.Error, "\n") {
		t.Errorf("it says %q", s.Error)
	}
}

// As nobody, in a mount namespace in which everybody may open the device.
func TestWithoutPrivileges(t *testing.T) {
	needRoot(t)
	needLink(t)
	cmd, stderr := start(t, "private", "", nil, "NEXT=check")
	if s := result(t, cmd, stderr); s.Error != "" {
		unavailable(t, s.Error)
	}
	cmd, stderr = start(t, "private", "more", nil, "NEXT=worker")
	checkWorker(t, result(t, cmd, stderr), "0 65534 1", "")
}

// As root, forced into a user namespace.
func TestUserNamespace(t *testing.T) {
	needLink(t)
	if err := tryUserNamespace(); err != nil {
		unavailable(t, err.Error())
	}
	cmd, stderr := start(t, "forced", "more", nil)
	checkWorker(t, result(t, cmd, stderr), "0 0 1", "-first second argument")
}

// With privileges EnterNamespaces does nothing.
func TestPrivileged(t *testing.T) {
	needRoot(t)
	needLink(t)
	cmd, stderr := start(t, "worker", "more", nil)
	checkWorker(t, result(t, cmd, stderr), "0 0 4294967295", "-first second argument")
}

func checkWorker(t *testing.T, s said, uids, argv string) {
	t.Helper()
	if s.Error != "" || s.UIDs != uids || s.Stdin != "in" || s.Extra != "more" || s.Argv != argv {
		t.Errorf("%+v; want the user ids %s", s, uids)
	}
	if s.Report.CC != DefaultCC || s.Report.Up.TCP == 0 || s.Report.Down.UDP != 1 {
		t.Errorf("%+v", s.Report)
	}
}

// A worker that is killed, and one whose starter is, leave nothing.
func TestKilled(t *testing.T) {
	needLink(t)
	for _, role := range []string{"worker", "forced"} {
		if err := tryUserNamespace(); err != nil && role == "forced" {
			unavailable(t, err.Error())
		}
		cmd, _ := start(t, role, "", nil, "HANG=1")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, _ := bufio.NewReader(out).ReadBytes('\n')
		var s said
		if err := json.Unmarshal(line, &s); err != nil || s.Error != "" {
			t.Fatalf("%q: %v", line, err)
		}
		if (s.PID == cmd.Process.Pid) != (role == "worker") {
			t.Errorf("%s: process %d, started %d", role, s.PID, cmd.Process.Pid)
		}
		if unix.Kill(s.PID, 0) != nil {
			t.Errorf("%s: process %d is not there", role, s.PID)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Error("it was not killed")
		}
		await(t, "the process to end", func() bool { return unix.Kill(s.PID, 0) == unix.ESRCH })
		if slices.Contains(networks("*"), s.Network) {
			t.Errorf("%s: a thread is still in %s", role, s.Network)
		}
	}
}

// The kernel's own refusal, where namespaces are forbidden.
func TestForbidden(t *testing.T) {
	needLink(t)
	if err := tryUserNamespace(); err != nil {
		unavailable(t, err.Error())
	}
	cmd, stderr := start(t, "limited", "", nil)
	const want = "link: the kernel refuses a network namespace: no space left on device; let root run \"sysctl -w user.max_net_namespaces=15000\""
	if s := result(t, cmd, stderr); s.Error != want {
		t.Errorf("it says %q", s.Error)
	}
}

// Each refusal of the kernel has its remedy, in one line.
func TestRemedies(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{whyNoTUN(unix.ENOENT), "modprobe tun"},
		{whyNoTUN(unix.ENODEV), "modprobe tun"},
		{whyNoTUN(unix.EACCES), "chmod 0666 /dev/net/tun"},
		{whyNoTUN(unix.EPERM), "--device=/dev/net/tun"},
		{whyNoTUN(unix.EMFILE), "too many open files"},
		{whyNoNamespace(unix.EPERM, t.TempDir()), "run as root with CAP_SYS_ADMIN and CAP_NET_ADMIN"},
		{whyNoNamespace(unix.ENOSPC, t.TempDir()), "let root raise user.max_user_namespaces and user.max_net_namespaces"},
		{whyNoNamespace(unix.ENOSPC, sysctlDir(t, "user/max_net_namespaces", "0")), "sysctl -w user.max_net_namespaces=15000"},
		{whyNoUserNamespace(unix.EPERM, sysctlDir(t, "kernel/unprivileged_userns_clone", "1")), "run as root (in a container"},
		{whyNoUserNamespace(unix.EPERM, t.TempDir()), "run as root (in a container, with --privileged"},
		{whyNoUserNamespace(unix.ENOSPC, sysctlDir(t, "user/max_user_namespaces", "0")), "sysctl -w user.max_user_namespaces=15000"},
		{whyNoUserNamespace(unix.EPERM, sysctlDir(t, "kernel/unprivileged_userns_clone", "0")), "sysctl -w kernel.unprivileged_userns_clone=1"},
		{whyNoUserNamespace(unix.EACCES, sysctlDir(t, "kernel/apparmor_restrict_unprivileged_userns", "1")), "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"},
	} {
		if text := c.err.Error(); !strings.Contains(text, c.want) || strings.Contains(text, "\n") {
			t.Errorf("%q does not say %q in one line", text, c.want)
		}
	}
}

// sysctlDir is a directory like /proc/sys with one file.
func sysctlDir(t *testing.T, name, value string) string {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(value+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A signal reaches the process in the user namespace, and its end is told.
func TestSignal(t *testing.T) {
	needLink(t)
	if err := tryUserNamespace(); err != nil {
		unavailable(t, err.Error())
	}
	cmd, _ := start(t, "forced", "", nil, "HANG=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, _ := bufio.NewReader(out).ReadBytes('\n'); len(line) == 0 {
		t.Fatal("it said nothing")
	}
	if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 128+int(unix.SIGTERM) {
		t.Errorf("it ended with %v", err)
	}
}

// A router that did not run shows it, although no packet was late.
func TestStall(t *testing.T) {
	needLink(t)
	cmd, stderr := start(t, "stalled", "", nil)
	cmd.Stdin = nil
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if line, _ := lines.ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %s", line, stderr)
	}
	if err := cmd.Process.Signal(unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	await(t, "the process to stop", func() bool {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
		return bytes.Contains(stat, []byte(") T "))
	})
	stopped := time.Now()
	await(t, "a while to pass", func() bool { return time.Since(stopped) > 100*time.Millisecond })
	lasted := time.Since(stopped)
	if err := cmd.Process.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	stdin.Close()
	line, _ := lines.ReadBytes('\n')
	cmd.Wait()
	var s said
	if err := json.Unmarshal(line, &s); err != nil || s.Error != "" {
		t.Fatalf("%q: %v", line, err)
	}
	if got := s.Report.Lateness; got.Max < lasted-heartbeat || got.Mean != 0 || s.Report.Up.Packets != 0 {
		t.Errorf("stopped for %v, and reports %+v", lasted, got)
	}
}
