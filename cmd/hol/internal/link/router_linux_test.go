package link

import (
	"errors"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// host makes a host that ends with the test.
func host(t *testing.T) *namespace {
	t.Helper()
	needLink(t)
	ns, err := newNamespace(clientAddr, 1500)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.close(); err != nil {
			t.Error(err)
		}
	})
	return ns
}

// say sends n datagrams from the host to its peer.
func say(t *testing.T, ns *namespace, n int) {
	t.Helper()
	err := ns.do(func() error {
		c, err := net.Dial("udp4", net.JoinHostPort(serverAddr.Addr().String(), "9"))
		if err != nil {
			return err
		}
		defer c.Close()
		for range n {
			if _, err := c.Write([]byte("x")); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// pipe is closed at the test's end, but for what is -1 then.
func pipe(t *testing.T) *[2]int {
	t.Helper()
	p := new([2]int)
	if err := unix.Pipe2(p[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, fd := range p {
			if fd >= 0 {
				unix.Close(fd)
			}
		}
	})
	return p
}

// What the kernel drops because the router does not read is counted.
func TestDeviceOverflow(t *testing.T) {
	ns := host(t)
	for _, want := range []int64{0, 123} {
		say(t, ns, queueLength-int(min(want, 1))*(queueLength-123))
		var got int64
		err := ns.do(func() (err error) {
			got, err = ns.dropped()
			return err
		})
		if got != want || err != nil {
			t.Errorf("%d dropped, %v; want %d", got, err, want)
		}
	}
}

// A router that stands still while it is awake, as here before a lock, is late as
// one that oversleeps, also without packets.
func TestRouterHeldUpAwake(t *testing.T) {
	r, err := startRouter(pipe(t)[0], pipe(t)[0], clean(), 1, false)
	if err != nil {
		t.Fatal(err)
	}
	// It has slept, and so it is in its loop.
	await(t, "the first wake", func() bool { return r.snapshot().Lateness.Max > 0 })
	const held = 200 * time.Millisecond
	r.mu.Lock()
	begun := time.Now()
	await(t, "the time", func() bool { return time.Since(begun) > held })
	r.mu.Unlock()
	if err := r.halt(); err != nil {
		t.Error(err)
	}
	// It may have overslept for a part of the time, and have been awake for the
	// rest: the longer one is half of both at least.
	if got, least := r.snapshot().Lateness, (held-heartbeat)/2; got.Max < least {
		t.Errorf("%+v, not %v at least", got, least)
	}
}

// A device that takes no packet is counted, and does not end the router.
func TestRouterCannotWrite(t *testing.T) {
	ns := host(t)
	r, err := startRouter(ns.tun, pipe(t)[0], clean(), 1, false)
	if err != nil {
		t.Fatal(err)
	}
	say(t, ns, 3)
	await(t, "the refusals", func() bool { return r.snapshot().Failed == 3 })
	if err := r.halt(); err != nil {
		t.Error(err)
	}
	if got := r.snapshot(); got.Up.Packets != 3 || got.Failed != 3 {
		t.Errorf("%+v", got)
	}
}

// A device that cannot be read ends the router, which says so.
func TestRouterCannotRead(t *testing.T) {
	ns, p := host(t), pipe(t)
	unix.Close(p[0])
	p[0] = -1
	r, err := startRouter(ns.tun, p[1], clean(), 1, false)
	if err != nil {
		t.Fatal(err)
	}
	<-r.done
	if got := r.snapshot(); got.Failed != 1 {
		t.Errorf("%+v", got)
	}
	if err := r.halt(); !errors.Is(err, unix.EBADF) {
		t.Errorf("halt returns %v", err)
	}
}

func TestSysctls(t *testing.T) {
	err := host(t).do(func() error {
		for _, s := range sysctls {
			got, err := os.ReadFile("/proc/sys/net/" + s.name)
			if err != nil && s.optional {
				continue
			}
			if strings.TrimSpace(string(got)) != s.value || err != nil {
				t.Errorf("%s is %q, %v; want %s", s.name, got, err, s.value)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Nothing but the router's own queue delays, paces or marks packets.
func TestQueueingDiscipline(t *testing.T) {
	err := host(t).do(func() error {
		dev, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		list, err := netlink.QdiscList(dev)
		if len(list) != 1 || list[0].Type() != "noqueue" {
			t.Errorf("%v", list)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestScheduling(t *testing.T) {
	usual := runtime.GOMAXPROCS(0)
	first, second := open(t, clean(), 1, Options{Realtime: true}), open(t, clean(), 1, Options{Realtime: true})
	if n := runtime.GOMAXPROCS(0); n != usual+2*spareProcessors {
		t.Errorf("GOMAXPROCS is %d, and was %d", n, usual)
	}
	in := func(want uint32) {
		t.Helper()
		if got, err := unix.SchedGetAttr(0, 0); err != nil || got.Policy != want {
			t.Errorf("policy %+v, %v; want %d", got, err, want)
		}
	}
	if first.Report().Realtime != second.Report().Realtime {
		t.Error("one of two links has SCHED_RR")
	}
	if first.Report().Realtime {
		in(unix.SCHED_RR)
		first.router.mu.Lock()
		tid := first.router.tid
		first.router.mu.Unlock()
		if got, err := unix.SchedGetAttr(tid, 0); err != nil || got.Policy != unix.SCHED_RR || got.Priority != routerPriority {
			t.Errorf("router: %+v, %v", got, err)
		}
	} else if privileged() {
		t.Log("this process may make namespaces, but not use SCHED_RR")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if second.Report().Realtime {
		in(unix.SCHED_RR)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	in(unix.SCHED_NORMAL)
	if n := runtime.GOMAXPROCS(0); n != usual {
		t.Errorf("GOMAXPROCS is %d, and was %d", n, usual)
	}
	if third := open(t, clean(), 1, Options{}); third.Report().Realtime {
		t.Error("SCHED_RR was not asked for")
	}
}

// BenchmarkRouter passes datagrams of 1,200 bytes over a link as fast as it can:
// at most 500 are under way, so that none overflows.
func BenchmarkRouter(b *testing.B) {
	l := open(b, lab.Link{MTU: 1500}, 1, Options{Realtime: true})
	from, err := l.Server().ListenUDP(0)
	if err != nil {
		b.Fatal(err)
	}
	defer from.Close()
	to, err := l.Client().ListenUDP(0)
	if err != nil {
		b.Fatal(err)
	}
	defer to.Close()
	slots := make(chan struct{}, 500)
	go func() { // ends with the socket
		buf := make([]byte, 2000)
		for {
			if _, err := to.Read(buf); err != nil {
				return
			}
			<-slots
		}
	}()
	payload, target := make([]byte, 1200), addrOf(to)
	for b.Loop() {
		slots <- struct{}{}
		if _, err := from.WriteToUDPAddrPort(payload, target); err != nil {
			b.Fatal(err)
		}
	}
	r := l.Report()
	if r.Overflow+r.Failed != 0 {
		b.Errorf("%+v", r)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
	b.ReportMetric(float64(r.RouterCPU.Nanoseconds())/float64(r.Down.Packets), "cpu-ns/packet")
}
