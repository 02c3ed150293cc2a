package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// udpBuffer is what is asked for the buffers of UDP sockets, in bytes: as much as
// quic-go asks, for all transports alike. The kernel grants up to
// net.core.rmem_max and wmem_max where it must.
const udpBuffer = 7 << 20

// Host is one of the two machines: sockets made by it belong to it. It is safe
// for concurrent use.
type Host struct {
	link *Link
	ns   *namespace
	addr netip.Addr
}

// Addr is the host's only address, of IPv4.
func (h *Host) Addr() netip.Addr { return h.addr }

// ListenTCP listens at the port, 0 for any, of the host's address. The sockets it
// accepts are *net.TCPConn with the link's congestion control.
func (h *Host) ListenTCP(port uint16) (net.Listener, error) {
	var l net.Listener
	err := h.in(func() (err error) {
		config := net.ListenConfig{Control: h.controlTCP}
		config.SetMultipathTCP(false) // listeners have it by default
		l, err = config.Listen(context.Background(), "tcp4", netip.AddrPortFrom(h.addr, port).String())
		return err
	})
	if err != nil {
		return nil, err
	}
	tcp := l.(*net.TCPListener)
	if err := h.readCC(tcp); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return &listener{tcp, h}, nil
}

// DialTCP connects, with the link's congestion control; the connection is a
// *net.TCPConn. It waits until the peer answers, ctx is done or the link closes.
func (h *Host) DialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(h.link.ctx, func() { cancel(ErrClosed) })()
	var c net.Conn
	err := h.in(func() (err error) {
		dialer := net.Dialer{Control: h.controlTCP}
		dialer.SetMultipathTCP(false)
		c, err = dialer.DialContext(ctx, "tcp4", to.String())
		return err
	})
	if err != nil {
		if cause := context.Cause(ctx); cause == ErrClosed {
			err = errors.Join(ErrClosed, err)
		}
		return nil, err
	}
	if err := h.readCC(c.(*net.TCPConn)); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// ListenUDP opens a socket at the port, 0 for any, of the host's address, with
// large buffers.
func (h *Host) ListenUDP(port uint16) (*net.UDPConn, error) {
	var c net.PacketConn
	err := h.in(func() (err error) {
		config := net.ListenConfig{Control: controlUDP}
		c, err = config.ListenPacket(context.Background(), "udp4", netip.AddrPortFrom(h.addr, port).String())
		return err
	})
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

// in runs f on a thread in the host's namespace, unless the link is closed; Close
// waits for it.
func (h *Host) in(f func() error) error {
	if !h.link.enter() {
		return ErrClosed
	}
	defer h.link.uses.Done()
	return h.ns.do(f)
}

func (h *Host) controlTCP(_, _ string, raw syscall.RawConn) error {
	var set error
	if err := raw.Control(func(fd uintptr) { set = setCC(int(fd), h.link.cc) }); err != nil {
		return err
	}
	return set
}

// controlUDP asks for large buffers, beyond the limits if it may. A refusal is
// not an error: the transport asks again and says so.
func controlUDP(_, _ string, raw syscall.RawConn) error {
	return raw.Control(func(fd uintptr) {
		for force, ask := range map[int]int{unix.SO_RCVBUFFORCE: unix.SO_RCVBUF, unix.SO_SNDBUFFORCE: unix.SO_SNDBUF} {
			if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, force, udpBuffer) != nil {
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, ask, udpBuffer)
			}
		}
	})
}

// readCC notes the congestion control that the kernel reports for a socket.
func (h *Host) readCC(c syscall.Conn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var name string
	var get error
	if err := raw.Control(func(fd uintptr) { name, get = getCC(int(fd)) }); err != nil {
		return err
	}
	if get != nil {
		return fmt.Errorf("link: reading the congestion control: %w", get)
	}
	h.link.noteCC(name)
	return nil
}

// listener reads the congestion control of what it accepts.
type listener struct {
	*net.TCPListener
	host *Host
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	if err := l.host.readCC(c); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func getCC(fd int) (string, error) {
	return unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
}

func setCC(fd int, name string) error {
	err := unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, name)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("link: this kernel has no congestion control %q; it offers %s", name, offeredCC())
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("link: the kernel does not allow the congestion control %q here (%w); it offers %s", name, err, offeredCC())
	}
	return fmt.Errorf("link: congestion control %q: %w", name, err)
}

// offeredCC lists what the kernel has.
func offeredCC() string {
	b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
	if err != nil {
		return "what net.ipv4.tcp_available_congestion_control says"
	}
	return strings.Join(strings.Fields(string(b)), ", ")
}

// tryCC says whether the thread's namespace has a congestion control.
func tryCC(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return fmt.Errorf("link: TCP socket: %w", err)
	}
	defer unix.Close(fd)
	return setCC(fd, name)
}
