package negotiate

import (
	"net"

	"golang.org/x/sys/unix"
)

// reportICMP asks the kernel for every ICMP error. Without it a connected
// socket learns of a closed port, but not of a network or host that cannot be
// reached. Switching it off empties the socket's error queue.
func reportICMP(c *net.UDPConn, on bool) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	v := 0
	if on {
		v = 1
	}
	level, option := unix.IPPROTO_IPV6, unix.IPV6_RECVERR
	if a, ok := c.LocalAddr().(*net.UDPAddr); ok && a.IP.To4() != nil {
		level, option = unix.IPPROTO_IP, unix.IP_RECVERR
	}
	var serr error
	if err := raw.Control(func(fd uintptr) { serr = unix.SetsockoptInt(int(fd), level, option, v) }); err != nil {
		return err
	}
	return serr
}
