package main

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// look reads what the kernel says of a TCP socket: the bytes that it has not
// sent yet, and the smoothed round trip time in milliseconds.
func look(nc net.Conn) (unsent, rtt float64, ok bool) {
	tcp, isTCP := nc.(syscall.Conn)
	if !isTCP {
		return 0, 0, false
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, 0, false
	}
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			unsent, rtt, ok = float64(info.Notsent_bytes), float64(info.Rtt)/1000, true
		}
	})
	return unsent, rtt, ok && err == nil
}
