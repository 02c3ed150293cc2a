package link

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

const (
	// requireEnv set to 1 turns the skips of tests that need the kernel into
	// failures.
	requireEnv = "TOWPATH_E2E_REQUIRE"

	// roleEnv makes the test binary one of the programs in roles.
	roleEnv = "TOWPATH_HOL_TEST_ROLE"
)

// patience bounds the waits for something that does happen; how long it takes is
// not tested.
const patience = 60 * time.Second

// roles are programs that tests start. Each writes one line of JSON at its end.
var roles = map[string]func() any{
	"check":  func() any { return said{Error: text(Check())} },
	"worker": func() any { return work(EnterNamespaces()) },
	// As worker, but in a user namespace even if it is not needed.
	"forced": func() any {
		if os.Getenv(enteredEnv) == "" {
			return work(enter())
		}
		return work(EnterNamespaces())
	},
	// In a user namespace, whose own limits do not touch the machine's.
	"limited": func() any {
		if os.Getenv(enteredEnv) == "" {
			return said{Error: text(enter())}
		}
		if err := os.WriteFile(sysctlRoot+"/user/max_net_namespaces", []byte("0"), 0); err != nil {
			return said{Error: err.Error()}
		}
		return said{Error: text(Check())}
	},
	"private": privateTUN,
	"stalled": func() any {
		l, err := Open(clean(), 1, Options{})
		if err != nil {
			return said{Error: err.Error()}
		}
		fmt.Println("ready")
		io.ReadAll(os.Stdin)
		if err := l.Close(); err != nil { // the router has noted its lateness then
			return said{Error: err.Error()}
		}
		return said{Report: l.Report()}
	},
}

// said is what a role writes.
type said struct {
	Error   string
	PID     int
	UIDs    string // uid_map
	Stdin   string
	Extra   string // what was read from descriptor 5
	Argv    string
	Report  Report
	Network string // the inode of a host's namespace
}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		json.NewEncoder(os.Stdout).Encode(roles[role]())
		if os.Getenv("HANG") != "" {
			select {}
		}
		os.Exit(7)
	}
	// Without privileges, tests run in a user namespace if they can.
	if Check() == nil {
		if err := EnterNamespaces(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func text(err error) string {
	if err != nil {
		return err.Error()
	}
	return ""
}

// work makes a link and uses it.
func work(err error) said {
	s := said{Error: text(err), PID: os.Getpid(), Argv: strings.Join(os.Args[1:], " ")}
	uids, _ := os.ReadFile("/proc/self/uid_map")
	s.UIDs = strings.Join(strings.Fields(string(uids)), " ")
	if os.Getenv("HANG") == "" {
		in, _ := io.ReadAll(os.Stdin)
		extra, _ := io.ReadAll(os.NewFile(5, "extra"))
		s.Stdin, s.Extra = string(in), string(extra)
	}
	if err != nil {
		return s
	}
	l, err := Open(clean(), 1, Options{Realtime: true})
	if err != nil {
		s.Error = err.Error()
		return s
	}
	err = l.client.ns.do(func() (err error) {
		s.Network, err = os.Readlink("/proc/thread-self/ns/net")
		return err
	})
	s.Error = text(errors.Join(err, exchange(l)))
	if os.Getenv("HANG") == "" {
		s.Error += text(l.Close())
	}
	s.Report = l.Report()
	return s
}

// exchange sends a message by TCP and one by UDP, both ways.
func exchange(l *Link) error {
	ln, err := l.Server().ListenTCP(0)
	if err != nil {
		return err
	}
	defer ln.Close()
	ctx, cancel := contextFor(patience)
	defer cancel()
	c, err := l.Client().DialTCP(ctx, netip.MustParseAddrPort(ln.Addr().String()))
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := ln.Accept()
	if err != nil {
		return err
	}
	defer s.Close()
	u, err := l.Client().ListenUDP(0)
	if err != nil {
		return err
	}
	defer u.Close()
	v, err := l.Server().ListenUDP(0)
	if err != nil {
		return err
	}
	defer v.Close()
	buf := make([]byte, 100)
	for _, deadline := range []interface{ SetDeadline(time.Time) error }{c, s, u, v} {
		deadline.SetDeadline(time.Now().Add(patience))
	}
	if _, err := c.Write([]byte("tcp")); err != nil {
		return err
	}
	if _, err := io.ReadFull(s, buf[:3]); err != nil {
		return err
	}
	if _, err := u.WriteToUDPAddrPort([]byte("udp"), addrOf(v)); err != nil {
		return err
	}
	n, from, err := v.ReadFromUDPAddrPort(buf)
	if err != nil {
		return err
	}
	if _, err := v.WriteToUDPAddrPort(buf[:n], from); err != nil {
		return err
	}
	if n, err = u.Read(buf); err == nil && string(buf[:n]) != "udp" {
		return fmt.Errorf("%q came back", buf[:n])
	}
	return err
}

// privateTUN runs the role in NEXT as nobody, with a mount namespace of its own
// in which everybody may open /dev/net/tun. The machine's device stays as it is.
func privateTUN() any {
	runtime.LockOSThread() // and never unlock: mounts are the thread's
	dir, err := os.MkdirTemp("", "tun")
	if err != nil {
		return said{Error: err.Error()}
	}
	defer os.Remove(dir)
	node := dir + "/tun"
	for _, step := range []func() error{
		func() error { return unix.Unshare(unix.CLONE_NEWNS) },
		func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
		func() error { return unix.Mount("none", dir, "tmpfs", 0, "") },
		func() error { return unix.Mknod(node, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))) },
		func() error { return os.Chmod(node, 0o666) }, // whatever the umask
		func() error { return unix.Mount(node, tunPath, "", unix.MS_BIND, "") },
		func() error { return unix.Unmount(dir, unix.MNT_DETACH) },
	} {
		if err := step(); err != nil {
			return said{Error: "private /dev/net/tun: " + err.Error()}
		}
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleEnv+"="+os.Getenv("NEXT"))
	cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr
	cmd.ExtraFiles = []*os.File{nil, nil, os.NewFile(5, "extra")}
	cmd.SysProcAttr = asNobody()
	out, err := cmd.Output()
	var s said
	if jsonErr := json.Unmarshal(out, &s); jsonErr != nil {
		return said{Error: fmt.Sprintf("%v: %v: %q", err, jsonErr, out)}
	}
	return s
}

func asNobody() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, Pdeathsig: syscall.SIGKILL}
}

// needLink skips the test where the machine cannot have a link, or fails it.
func needLink(t testing.TB) {
	t.Helper()
	if err := Check(); err != nil {
		unavailable(t, err.Error())
	}
}

func unavailable(t testing.TB, what string) {
	t.Helper()
	if os.Getenv(requireEnv) == "1" {
		t.Fatalf("%s is set, and %s", requireEnv, what)
	}
	t.Skip(what)
}

// open makes a link that ends with the test.
func open(t testing.TB, want lab.Link, seed uint64, o Options) *Link {
	t.Helper()
	needLink(t)
	l, err := Open(want, seed, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// await waits until something is so.
func await(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited %v for: %s", patience, what)
		}
	}
}
