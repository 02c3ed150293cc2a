package netns_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath-go/towpath/e2e/netns"
)

func TestMain(m *testing.M) { os.Exit(netns.Main(m)) }

// hangEnv makes TestHang build a lab, print its hosts and wait to be killed.
const hangEnv = "TOWPATH_E2E_HANG"

const port = "4433"

// patience bounds the waits for something that does happen; how long it takes
// is not tested.
const patience = 30 * time.Second

// silence is how long an answer is waited for that does not come.
const silence = 500 * time.Millisecond

var (
	serveEcho = netns.Register("echo", func(ctx context.Context, _ struct{}) (struct{}, error) {
		pc, err := net.ListenPacket("udp", ":"+port)
		if err != nil {
			return struct{}{}, err
		}
		ln, err := net.Listen("tcp", ":"+port)
		if err != nil {
			return struct{}{}, err
		}
		// Both end with the host.
		go func() {
			b := make([]byte, 64<<10)
			for {
				n, from, err := pc.ReadFrom(b)
				if err != nil {
					return
				}
				pc.WriteTo(b[:n], from)
			}
		}()
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				go func() {
					io.Copy(c, c)
					c.Close()
				}()
			}
		}()
		return struct{}{}, nil
	})

	// probe sends Size bytes and says "echo", "silence" or the error's name.
	probe = netns.Register("probe", func(ctx context.Context, a probeArgs) (string, error) {
		c, err := net.DialTimeout(a.Network, net.JoinHostPort(a.Host, port), patience)
		if err != nil {
			return name(err), nil
		}
		defer c.Close()
		if uc, ok := c.(*net.UDPConn); ok {
			if err := forbidFragments(uc); err != nil {
				return "", err
			}
		}
		wait := patience
		if a.Silent {
			wait = silence
		}
		c.SetDeadline(time.Now().Add(wait))
		if _, err := c.Write(make([]byte, a.Size)); err != nil {
			return name(err), nil
		}
		if _, err := io.ReadFull(c, make([]byte, a.Size)); err != nil {
			return name(err), nil
		}
		return "echo", nil
	})

	interfaces = netns.Register("interfaces", func(context.Context, struct{}) ([]string, error) {
		ifs, err := net.Interfaces()
		var names []string
		for _, i := range ifs {
			names = append(names, i.Name)
		}
		return names, err
	})

	lookUp = netns.Register("lookup", func(ctx context.Context, host string) ([]string, error) {
		return net.DefaultResolver.LookupHost(ctx, host)
	})

	fail = netns.Register("fail", func(context.Context, struct{}) (struct{}, error) {
		return struct{}{}, errors.New("as it should")
	})

	die = netns.Register("die", func(context.Context, struct{}) (struct{}, error) {
		os.Exit(0)
		return struct{}{}, nil
	})
)

type probeArgs struct {
	Network, Host string
	Size          int
	Silent        bool // no answer is expected
}

func name(err error) string {
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return map[syscall.Errno]string{
			syscall.ECONNREFUSED: "refused", syscall.EHOSTUNREACH: "unreachable", syscall.EACCES: "prohibited",
			syscall.EMSGSIZE: "too big",
		}[errno] + " (" + errno.Error() + ")"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "silence"
	}
	return err.Error()
}

func forbidFragments(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var sockErr error
	err = raw.Control(func(fd uintptr) {
		sockErr = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_MTU_DISCOVER, syscall.IP_PMTUDISC_DO)
	})
	return errors.Join(err, sockErr)
}

func TestNetworks(t *testing.T) {
	udp4 := probeArgs{Network: "udp", Host: netns.ServerV4, Size: 1200}
	udp6 := probeArgs{Network: "udp", Host: netns.ServerV6, Size: 1200}
	tcp4 := probeArgs{Network: "tcp", Host: netns.ServerV4, Size: 1 << 20}
	tcp6 := probeArgs{Network: "tcp", Host: netns.ServerV6, Size: 1 << 20}
	silent := func(a probeArgs) probeArgs { a.Silent = true; return a }
	sized := func(a probeArgs, size int) probeArgs { a.Size = size; return a }
	type step struct {
		probe probeArgs
		want  string // its beginning
	}
	for _, tt := range []struct {
		name     string
		topology netns.Topology
		filter   string
		steps    []step
		drops    bool
	}{
		{name: "open", steps: []step{{udp4, "echo"}, {udp6, "echo"}, {tcp4, "echo"}, {tcp6, "echo"}, {sized(udp4, 1472), "echo"}}},
		{
			name: "UDP dropped", filter: "meta l4proto udp counter name dropped drop", drops: true,
			steps: []step{{silent(udp4), "silence"}, {silent(udp6), "silence"}, {tcp4, "echo"}, {tcp6, "echo"}},
		},
		{
			name: "UDP prohibited", filter: "meta l4proto udp counter name dropped reject with icmpx type admin-prohibited", drops: true,
			steps: []step{{udp4, "unreachable"}, {udp6, "prohibited"}, {tcp4, "echo"}},
		},
		{
			name: "UDP port unreachable", filter: "meta l4proto udp counter name dropped reject with icmpx type port-unreachable", drops: true,
			steps: []step{{udp4, "refused"}, {udp6, "refused"}, {tcp4, "echo"}},
		},
		{
			name: "IPv6 UDP dropped", filter: "meta nfproto ipv6 meta l4proto udp counter name dropped drop", drops: true,
			steps: []step{{silent(udp6), "silence"}, {udp4, "echo"}, {tcp6, "echo"}},
		},
		{
			name: "own link of 1280", topology: netns.Topology{ClientMTU: 1280},
			steps: []step{{sized(udp4, 1252), "echo"}, {sized(udp4, 1253), "too big"}, {tcp4, "echo"}},
		},
		{
			// The router says it by ICMP; the second packet meets what it said.
			name: "link of 1280 further on", topology: netns.Topology{ServerMTU: 1280},
			steps: []step{{sized(udp4, 1252), "echo"}, {sized(udp4, 1253), "too big"}, {tcp4, "echo"}, {tcp6, "echo"}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			lab := netns.New(t, tt.topology)
			serveEcho.Call(t, lab.Server, struct{}{})
			lab.Filter(t, tt.filter)
			for _, s := range tt.steps {
				if got := probe.Call(t, lab.Client, s.probe); !strings.HasPrefix(got, s.want) {
					t.Errorf("%+v: %s, want %s", s.probe, got, s.want)
				}
			}
			if dropped := lab.Dropped(t); (dropped > 0) != tt.drops {
				t.Errorf("the filter met %d packets, expected some: %v", dropped, tt.drops)
			}
			// The rules change under way.
			lab.Filter(t, "")
			if got := probe.Call(t, lab.Client, udp4sized(1200)); got != "echo" {
				t.Errorf("after the filter was removed: %s", got)
			}
			lab.Filter(t, "meta l4proto udp counter name dropped drop")
			if got := probe.Call(t, lab.Client, silent(udp4)); got != "silence" {
				t.Errorf("after UDP was cut: %s", got)
			}
		})
	}
}

func udp4sized(size int) probeArgs {
	return probeArgs{Network: "udp", Host: netns.ServerV4, Size: size}
}

func TestHost(t *testing.T) {
	lab := netns.New(t, netns.Topology{})
	t.Run("sees only its own links", func(t *testing.T) {
		got := interfaces.Call(t, lab.Client, struct{}{})
		if fmt.Sprint(got) != "[lo eth0]" {
			t.Errorf("interfaces %v", got)
		}
		own, err := net.Interfaces()
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range own {
			if i.Name == "client" || i.Name == "server" {
				t.Errorf("interface %s in the machine's own namespace", i.Name)
			}
		}
	})
	t.Run("resolves the lab's names", func(t *testing.T) {
		for host, want := range map[string]string{
			netns.ServerName: "fd77:2::2 10.77.2.2", netns.ServerName4: "10.77.2.2", netns.ServerName6: "fd77:2::2",
			netns.ProxyName: "10.77.1.1",
		} {
			got := lookUp.Call(t, lab.Client, host)
			if len(got) != len(strings.Fields(want)) {
				t.Errorf("%s: %v, want %s", host, got, want)
			}
			for _, addr := range strings.Fields(want) {
				if !strings.Contains(" "+strings.Join(got, " ")+" ", " "+addr+" ") {
					t.Errorf("%s: %v, want %s", host, got, want)
				}
			}
		}
		if _, err := net.LookupHost(netns.ServerName); err == nil {
			t.Error("the machine resolves the lab's names too")
		}
	})
	t.Run("returns errors", func(t *testing.T) {
		if _, err := fail.Try(lab.Client, struct{}{}); err == nil || err.Error() != "as it should" {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a host that ends fails the call", func(t *testing.T) {
		if _, err := die.Try(lab.Client, struct{}{}); err == nil || !strings.Contains(err.Error(), "ended") {
			t.Errorf("error %v", err)
		}
		if _, err := fail.Try(lab.Client, struct{}{}); err == nil || err.Error() == "as it should" {
			t.Errorf("error of a call to a host that ended: %v", err)
		}
	})
}

// TestHang is the process that TestKilled kills.
func TestHang(t *testing.T) {
	if os.Getenv(hangEnv) == "" {
		return // runs within TestKilled only
	}
	lab := netns.New(t, netns.Topology{})
	fmt.Printf("hosts %d %d %d\n", lab.Client.PID, lab.Router.PID, lab.Server.PID)
	select {}
}

func TestKilled(t *testing.T) {
	netns.New(t, netns.Topology{}) // skips where there can be none
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestHang$")
	// It has no time to remove its files.
	cmd.Env = append(os.Environ(), hangEnv+"=1", "TMPDIR="+t.TempDir())
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var pids []int
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "hosts "); ok {
			for _, f := range strings.Fields(rest) {
				pid, err := strconv.Atoi(f)
				if err != nil {
					t.Fatal(err)
				}
				pids = append(pids, pid)
			}
			break
		}
	}
	if len(pids) != 3 {
		cmd.Process.Kill()
		cmd.Wait()
		t.Fatalf("hosts %v", pids)
	}
	// A pidfd becomes readable when its process has ended.
	var ends []unix.PollFd
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatalf("host %d: %v", pid, err)
		}
		defer unix.Close(fd)
		ends = append(ends, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	cmd.Process.Kill() // SIGKILL: no cleanup of its own
	cmd.Wait()
	for i := range ends {
		if n, err := unix.Poll(ends[i:i+1], int(patience.Milliseconds())); n != 1 {
			t.Errorf("host %d outlives its killed test (poll: %v)", pids[i], err)
		}
	}
}
