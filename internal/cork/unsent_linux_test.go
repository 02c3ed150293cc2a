package cork

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUnsentLimit(t *testing.T) {
	a, b := loopback(t)
	defer a.Close()
	defer b.Close()
	limitUnsent(a)
	raw, err := a.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		n, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT)
		if n != unsentLimit || err != nil {
			t.Errorf("TCP_NOTSENT_LOWAT = %d, %v, want %d", n, err, unsentLimit)
		}
	}); err != nil {
		t.Fatal(err)
	}
}
