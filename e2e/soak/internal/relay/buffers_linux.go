package relay

import (
	"net"

	"golang.org/x/sys/unix"
)

// enlarge gives a socket buffers for what comes while the relay waits for a
// processor: what does not fit is lost, of whole connections at a time, and that
// is not the loss that was ordered. Beyond the system's limit where that is
// permitted, as quic-go does it.
func enlarge(c *net.UDPConn, size int) {
	c.SetReadBuffer(size)
	c.SetWriteBuffer(size)
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(fd uintptr) {
		unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size)
		unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, size)
	})
}
