//go:build !linux

package relay

import "net"

// enlarge gives a socket buffers for what comes while the relay waits for a
// processor; the system may give less.
func enlarge(c *net.UDPConn, size int) {
	c.SetReadBuffer(size)
	c.SetWriteBuffer(size)
}
