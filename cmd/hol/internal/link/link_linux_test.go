package link

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

func contextFor(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

// connect returns the client's and the server's end of a TCP connection.
func connect(t testing.TB, l *Link) (client, server net.Conn) {
	t.Helper()
	ln, err := l.Server().ListenTCP(0)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := contextFor(patience)
	defer cancel()
	client, err = l.Client().DialTCP(ctx, netip.MustParseAddrPort(ln.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

func addrOf(c *net.UDPConn) netip.AddrPort { return netip.MustParseAddrPort(c.LocalAddr().String()) }

func TestTCPTransfer(t *testing.T) {
	l := open(t, clean(), 1, Options{})
	client, server := connect(t, l)
	const size = 4 << 20
	go func() { // ends with the transfer
		server.Write(make([]byte, size))
		server.Close()
	}()
	begin := time.Now()
	if n, err := io.Copy(io.Discard, client); n != size || err != nil {
		t.Fatalf("%d bytes arrived, %v", n, err)
	}
	if took := time.Since(begin); took < 5*time.Millisecond {
		t.Errorf("took %v, less than the delay", took)
	}
	r := l.Report()
	if r.CC != "cubic" {
		t.Errorf("congestion control %q", r.CC)
	}
	// 1,448 bytes of payload fit beside IP, TCP and timestamps.
	if least := int64(size / 1448); r.Down.TCP < least || r.Down.TCP != r.Down.Packets || r.Down.UDP != 0 {
		t.Errorf("down: %+v, want at least %d packets, all of TCP", r.Down, least)
	}
	if r.Down.Bytes > r.Down.Packets*1500 {
		t.Errorf("down: %+v, more than the MTU a packet", r.Down)
	}
	if r.Up.TCP == 0 || r.Up.TCP != r.Up.Packets || r.Overflow != 0 || r.Failed != 0 || r.Down.Realised() != 0 || r.Up.Realised() != 0 {
		t.Errorf("%+v", r)
	}
	if r.Lateness.Max == 0 || r.RouterCPU <= 0 {
		t.Errorf("not measured: %+v", r)
	}
}

// TCP repairs what is lost, and the losses are those that were asked for.
func TestTCPOverLoss(t *testing.T) {
	want := clean()
	want.Loss = 0.05
	l := open(t, want, 3, Options{})
	client, server := connect(t, l)
	const size = 1 << 20
	go func() { // ends with the transfer
		server.Write(make([]byte, size))
		server.Close()
	}()
	if n, err := io.Copy(io.Discard, client); n != size || err != nil {
		t.Fatalf("%d bytes arrived, %v", n, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	r := l.Report()
	for d, p := range map[lab.Direction]lab.Passage{lab.Down: r.Down, lab.Up: r.Up} {
		m, lost := newModel(want, 3, d), int64(0)
		for n := range uint64(p.Packets) {
			if draw(m.seed, m.way, streamLoss, n) < want.Loss {
				lost++
			}
		}
		if p.Lost != lost || p.Tail+p.Burst+p.Blocked+p.Reordered != 0 {
			t.Errorf("%s: %+v, want %d lost", d, p, lost)
		}
	}
	if r.Down.Lost == 0 {
		t.Error("nothing was lost")
	}
}

func TestNothingTravelsByItself(t *testing.T) {
	l := open(t, clean(), 1, Options{})
	// Longer than anything that a host might say when it comes up.
	c, err := l.Client().ListenUDP(0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes came", n)
	}
	if r := l.Report(); r.Up != (lab.Passage{}) || r.Down != (lab.Passage{}) || r.CC != "" {
		t.Errorf("%+v", r)
	}
}

func TestDialEnds(t *testing.T) {
	want := clean()
	want.Loss = 1
	l := open(t, want, 1, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	dial := func(ctx context.Context) {
		_, err := l.Client().DialTCP(ctx, netip.AddrPortFrom(l.Server().Addr(), 1))
		result <- err
	}
	go dial(ctx) // ends with ctx
	await(t, "a packet", func() bool { return l.Report().Up.Packets > 0 })
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) && !strings.Contains(text(err), "canceled") {
		t.Errorf("a cancelled call returns %v", err)
	}
	n := l.Report().Up.Packets
	go dial(t.Context()) // ends with the link
	await(t, "a packet", func() bool { return l.Report().Up.Packets > n })
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-result; !errors.Is(err, ErrClosed) {
		t.Errorf("a call over a closed link returns %v", err)
	}
}

func TestClosed(t *testing.T) {
	l := open(t, clean(), 1, Options{})
	connect(t, l)
	before := l.Report()
	for range 2 {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := l.Server().ListenTCP(0); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := l.Server().ListenUDP(0); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := l.Client().DialTCP(t.Context(), netip.AddrPortFrom(l.Server().Addr(), 1)); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	after := l.Report()
	if after.CC != "cubic" || after.Up.Packets < before.Up.Packets || after.RouterCPU < before.RouterCPU || l.Report() != after {
		t.Errorf("after Close: %+v, before: %+v", after, before)
	}
}

func TestImpossible(t *testing.T) {
	want := clean()
	want.Loss = 2
	var out *RangeError
	if _, err := Open(want, 1, Options{}); !errors.As(err, &out) {
		t.Errorf("%v", err)
	}
}

func TestCongestionControl(t *testing.T) {
	for _, cc := range []string{"", "reno"} {
		l := open(t, clean(), 1, Options{CC: cc})
		want := cc
		if cc == "" {
			want = DefaultCC
		}
		client, server := connect(t, l)
		for name, c := range map[string]net.Conn{"client": client, "server": server} {
			raw, err := c.(*net.TCPConn).SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			raw.Control(func(fd uintptr) {
				if got, err := getCC(int(fd)); got != want || err != nil {
					t.Errorf("%s: %q, %v; want %q", name, got, err, want)
				}
				if protocol, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL); protocol != unix.IPPROTO_TCP {
					t.Errorf("%s: protocol %d, %v; want TCP", name, protocol, err)
				}
			})
		}
		ln, err := l.Server().ListenTCP(0)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		raw, err := ln.(*listener).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			if protocol, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL); protocol != unix.IPPROTO_TCP {
				t.Errorf("listener: protocol %d, %v; want TCP", protocol, err)
			}
		})
		if got := l.Report().CC; got != want {
			t.Errorf("reported %q, want %q", got, want)
		}
	}
	needLink(t)
	for _, cc := range []string{"none-such", strings.Repeat("x", 500)} {
		_, err := Open(clean(), 1, Options{CC: cc})
		if err == nil || !strings.Contains(err.Error(), cc) || !strings.Contains(err.Error(), "it offers ") || !strings.Contains(err.Error(), "reno") {
			t.Errorf("unknown congestion control: %v", err)
		}
	}
}

func TestCheckCC(t *testing.T) {
	for _, cc := range []string{"", "reno"} {
		if err := CheckCC(cc); err != nil {
			t.Errorf("%q: %v", cc, err)
		}
	}
	if err := CheckCC("none-such"); err == nil || !strings.Contains(err.Error(), `no congestion control "none-such"; it offers `) || !strings.Contains(err.Error(), "reno") {
		t.Errorf("unknown congestion control: %v", err)
	}
}

func TestUDPBuffers(t *testing.T) {
	c, err := open(t, clean(), 1, Options{}).Client().ListenUDP(0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	plain, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	size := func(c net.PacketConn, option int) (n int) {
		raw, err := c.(*net.UDPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) { n, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, option) })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, option := range []int{unix.SO_RCVBUF, unix.SO_SNDBUF} {
		if got, usual := size(c, option), size(plain, option); got < usual || privileged() && got < udpBuffer {
			t.Errorf("buffer %d, and without the link %d", got, usual)
		}
	}
}

// Two links in one process have the same addresses and nothing else in common.
func TestTwoLinks(t *testing.T) {
	lossy := clean()
	lossy.Loss = 1
	dead, alive := open(t, lossy, 1, Options{}), open(t, clean(), 1, Options{})
	u, err := dead.Client().ListenUDP(4000)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	v, err := alive.Client().ListenUDP(4000)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for range 10 {
		if _, err := u.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(dead.Server().Addr(), 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := exchange(alive); err != nil {
		t.Error(err)
	}
	await(t, "the packets", func() bool { return dead.Report().Up.Packets == 10 })
	if r := dead.Report(); r.Up.Lost != 10 || r.Down.Packets != 0 || r.Up.TCP != 0 {
		t.Errorf("the lossy link: %+v", r)
	}
	if r := alive.Report(); r.Up.Lost != 0 || r.Up.TCP == 0 || r.Up.UDP != 1 || r.Down.UDP != 1 {
		t.Errorf("the other: %+v", r)
	}
	if err := dead.Close(); err != nil {
		t.Error(err)
	}
	if err := exchange(alive); err != nil {
		t.Error(err)
	}
}
