package cork

import (
	"net"

	"golang.org/x/sys/unix"
)

// unsentLimit is TCP_NOTSENT_LOWAT: the kernel takes no more while so many bytes
// wait to be sent for the first time. What is not in the kernel yet can still be
// overtaken by a stream of a higher priority.
const unsentLimit = 32 << 10

// limitUnsent sets unsentLimit on a TCP connection. It is an optimisation: a
// connection that does not know the option works without.
func limitUnsent(nc net.Conn) {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentLimit)
	})
}
