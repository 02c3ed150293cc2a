package link

import (
	"context"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// connect returns the client's and the server's end of a TCP connection.
func connect(t testing.TB, l *Link) (client, server net.Conn) {
	t.Helper()
	ln, err := l.Server().ListenTCP(0)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err = l.Client().DialTCP(t.Context(), ln.Addr().(*net.TCPAddr).AddrPort())
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

// sockets returns a UDP socket of each end, closed at the test's end.
func sockets(t testing.TB, l *Link) (client, server *net.UDPConn) {
	t.Helper()
	for _, s := range []struct {
		at   *Host
		conn **net.UDPConn
	}{{l.Client(), &client}, {l.Server(), &server}} {
		c, err := s.at.ListenUDP(0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		*s.conn = c
	}
	return client, server
}

func addrOf(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

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
	if took := time.Since(begin); took < 10*time.Millisecond {
		t.Errorf("took %v, less than a round trip", took)
	}
	r := l.Report()
	if r.CC != "cubic" {
		t.Errorf("congestion control %q", r.CC)
	}
	// 1,448 bytes of payload fit beside IP, TCP and timestamps.
	if least := int64(size / 1448); r.Down.TCP < least || r.Down.TCP != r.Down.Packets || r.Down.UDP != 0 {
		t.Errorf("down: %+v, want at least %d packets, all of TCP", r.Down, least)
	}
	if r.Up.TCP == 0 || r.Up.TCP != r.Up.Packets || r.Overflow != 0 || r.Failed != 0 || r.Down.Realised() != 0 || r.Up.Realised() != 0 {
		t.Errorf("%+v", r)
	}
	if r.Lateness.Max == 0 || r.RouterCPU <= 0 {
		t.Errorf("not measured: %+v", r)
	}
}

func TestDialEnds(t *testing.T) {
	l := open(t, lab.Link{Loss: 1, MTU: 1500}, 1, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	dial := func(ctx context.Context) {
		_, err := l.Client().DialTCP(ctx, netip.AddrPortFrom(l.Server().Addr(), 1))
		result <- err
	}
	go dial(ctx)
	for l.Report().Up.Packets == 0 { // until it dials
	}
	cancel()
	if err := <-result; err == nil {
		t.Error("connected")
	}
	n := l.Report().Up.Packets
	go dial(t.Context())
	for l.Report().Up.Packets == n {
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := <-result; err == nil {
		t.Error("connected")
	}
}
