package link

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	tunPath = "/dev/net/tun"
	device  = "hol0" // in each host's namespace
	// queueLength is how many packets wait in the kernel for the router to read.
	queueLength = 2000
)

// sysctls of a host, below /proc/sys/net. IPv6 must be off before the device is
// there: its own messages would shift the numbers of packets, on which the losses
// depend.
var sysctls = []struct {
	name, value string
	optional    bool // a kernel may lack it
}{
	{"ipv6/conf/all/disable_ipv6", "1", true},
	{"ipv6/conf/default/disable_ipv6", "1", true},
	{"ipv4/conf/all/rp_filter", "0", false},
	{"ipv4/conf/default/rp_filter", "0", false},
	// No connection learns from those before it.
	{"ipv4/tcp_no_metrics_save", "1", false},
	// A flow of timed messages is idle between any two of them.
	{"ipv4/tcp_slow_start_after_idle", "0", false},
}

// namespace is a host's network namespace with its TUN device.
type namespace struct {
	file *os.File // of the namespace; safe to use while it is closed
	tun  int      // non-blocking descriptor of the device
}

// newNamespace makes a host with the address in a network in which its peer is
// too.
func newNamespace(addr netip.Prefix, mtu int) (*namespace, error) {
	ns := &namespace{tun: -1}
	err := onThread(func() error {
		handle, err := netns.New()
		if err != nil {
			return whyNoNamespace(err, sysctlRoot)
		}
		ns.file = os.NewFile(uintptr(handle), "network namespace")
		return ns.setUp(addr, mtu)
	})
	if err != nil {
		return nil, errors.Join(err, ns.close())
	}
	return ns, nil
}

// setUp is called on a thread in the namespace.
func (ns *namespace) setUp(addr netip.Prefix, mtu int) (err error) {
	for _, s := range sysctls {
		err := os.WriteFile("/proc/sys/net/"+s.name, []byte(s.value), 0)
		if err != nil && !(s.optional && errors.Is(err, os.ErrNotExist)) {
			return fmt.Errorf("link: setting up a network namespace: %w", err)
		}
	}
	if ns.tun, err = openTUN(); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("link: loopback: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("link: loopback: %w", err)
	}
	dev, err := netlink.LinkByName(device)
	if err != nil {
		return fmt.Errorf("link: device: %w", err)
	}
	if err := netlink.LinkSetMTU(dev, mtu); err != nil {
		return fmt.Errorf("link: MTU %d: %w", mtu, err)
	}
	if err := netlink.LinkSetTxQLen(dev, queueLength); err != nil {
		return fmt.Errorf("link: queue length: %w", err)
	}
	// What the machine has by default could pace TCP, mark or drop.
	qdisc := &netlink.GenericQdisc{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: dev.Attrs().Index, Parent: netlink.HANDLE_ROOT},
		QdiscType:  "noqueue",
	}
	if err := netlink.QdiscReplace(qdisc); err != nil {
		return fmt.Errorf("link: queueing discipline: %w", err)
	}
	network := netlink.NewIPNet(addr.Addr().AsSlice())
	network.Mask = maskOf(addr)
	if err := netlink.AddrAdd(dev, &netlink.Addr{IPNet: network}); err != nil {
		return fmt.Errorf("link: address %v: %w", addr, err)
	}
	if err := netlink.LinkSetUp(dev); err != nil {
		return fmt.Errorf("link: device: %w", err)
	}
	return nil
}

// openTUN makes the device in the thread's namespace. It carries bare IP packets
// without offloads: what the router reads is what would be on a wire.
func openTUN() (int, error) {
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, whyNoTUN(err)
	}
	req, err := unix.NewIfreq(device)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("link: making a TUN device: %w", err)
	}
	return fd, nil
}

// dropped is how many packets the device dropped because the router did not read
// them in time. It is called on a thread in the namespace.
func (ns *namespace) dropped() (int64, error) {
	dev, err := netlink.LinkByName(device)
	if err != nil {
		return 0, fmt.Errorf("link: device: %w", err)
	}
	if s := dev.Attrs().Statistics; s != nil {
		return int64(s.TxDropped), nil
	}
	return 0, nil
}

// do runs f on a thread in the namespace. Sockets that f makes, not another
// goroutine, belong to the namespace for as long as they live.
func (ns *namespace) do(f func() error) error {
	return onThread(func() error {
		conn, err := ns.file.SyscallConn()
		if err != nil {
			return err
		}
		var entered error
		if err := conn.Control(func(fd uintptr) { entered = unix.Setns(int(fd), unix.CLONE_NEWNET) }); err != nil {
			return err
		}
		if entered != nil {
			return fmt.Errorf("link: entering a network namespace: %w", entered)
		}
		return f()
	})
}

// close removes the device, and the namespace once no socket is left in it.
func (ns *namespace) close() error {
	var errs []error
	if ns.tun >= 0 {
		errs = append(errs, unix.Close(ns.tun))
	}
	if ns.file != nil {
		errs = append(errs, ns.file.Close())
	}
	return errors.Join(errs...)
}

// onThread runs f on a thread of its own, which may change its network namespace,
// and waits.
func onThread(f func() error) error {
	done := make(chan error)
	go func() { // ends with f
		runtime.LockOSThread()
		before, err := netns.Get()
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("link: network namespace of this process: %w", err)
			return
		}
		result := f()
		back := netns.Set(before)
		before.Close()
		if back == nil {
			runtime.UnlockOSThread()
		} // else the thread ends with the goroutine and runs no other
		done <- result
	}()
	return <-done
}
