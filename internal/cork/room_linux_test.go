package cork

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath-go/towpath/internal/testcert"
)

func TestRoomFollowsTheRate(t *testing.T) {
	const segment = 1448
	for _, c := range []struct {
		rate uint64 // bytes a second
		want int
	}{
		{1, 2 * segment},
		{625_000, 2 * segment},   // 5 Mbit/s: 4.6 ms
		{1_250_000, 3 * segment}, // 10 Mbit/s
		{12_500_000, 34 * segment},
		{125_000_000, maxRoom},
		{1 << 62, maxRoom},
	} {
		if n := roomAt(c.rate, segment); n != c.want {
			t.Errorf("%d B/s: %d, want %d", c.rate, n, c.want)
		}
	}
	if n := roomAt(1, 65483); n != maxRoom {
		t.Errorf("long segments: %d", n)
	}
	if n := roomAt(1, 536); n != leastRoom {
		t.Errorf("short segments: %d", n)
	}
}

// info reads what the kernel says of a connection.
func info(t *testing.T, nc net.Conn) (unsent uint32, lowat int) {
	t.Helper()
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		i, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			t.Error(err)
			return
		}
		unsent = i.Notsent_bytes
		if lowat, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return unsent, lowat
}

// overTCP returns a TLS connection over loopback whose peer reads nothing yet.
func overTCP(t *testing.T) (c TLSConn, under net.Conn, peer *tls.Conn) {
	cert := testcert.New(t)
	under, b := loopback(t)
	peer = tls.Server(b, cert.ServerConfig())
	shaken := make(chan error, 1)
	go func() { shaken <- peer.Handshake() }()
	client := tls.Client(New(under), cert.ClientConfig("example.com"))
	if err := errors.Join(client.Handshake(), <-shaken); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		under.Close()
		b.Close()
	})
	return NewTLSConn(client), under, peer
}

// fill writes as much as there is room for, and returns how much that was.
func fill(t *testing.T, c TLSConn) int {
	t.Helper()
	sum := 0
	for {
		n := c.Room(maxRoom)
		if n == 0 {
			return sum
		}
		if n < leastRoom/2 || n > maxRoom {
			t.Fatalf("room for %d bytes", n)
		}
		if _, err := c.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		sum += n
	}
}

func TestRoom(t *testing.T) {
	t.Run("the kernel is given no more than it can send soon", func(t *testing.T) {
		c, under, peer := overTCP(t)
		if _, lowat := info(t, under); lowat < leastRoom/2 || lowat > unsentLimit {
			t.Errorf("TCP_NOTSENT_LOWAT = %d", lowat)
		}
		sum := fill(t, c)
		// Each time less than half of the limit waited before.
		unsent, _ := info(t, under)
		if most := unsentLimit/2 + maxRoom + maxRoom/16; unsent > uint32(most) {
			t.Errorf("%d bytes wait to be sent, more than %d", unsent, most)
		}
		go io.Copy(io.Discard, peer) // ends with the connection
		if n, err := c.AwaitRoom(maxRoom); n < leastRoom/2 || err != nil {
			t.Errorf("AwaitRoom = %d, %v after %d bytes", n, err, sum)
		}
	})
	t.Run("waits no longer than the write deadline", func(t *testing.T) {
		c, _, _ := overTCP(t)
		fill(t, c)
		c.SetWriteDeadline(time.Now().Add(-time.Second))
		if _, err := c.AwaitRoom(maxRoom); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("AwaitRoom: %v", err)
		}
	})
	t.Run("a close ends the wait", func(t *testing.T) {
		c, under, _ := overTCP(t)
		fill(t, c)
		waited := make(chan error, 1)
		go func() {
			_, err := c.AwaitRoom(maxRoom)
			waited <- err
		}()
		under.Close()
		if err := <-waited; err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("AwaitRoom: %v", err)
		}
		if _, err := c.Write([]byte("x")); err == nil {
			t.Error("Write to a closed connection")
		}
	})
	t.Run("what is not TCP always has room", func(t *testing.T) {
		a, b := net.Pipe()
		defer a.Close()
		defer b.Close()
		c := NewTLSConn(tls.Client(New(a), &tls.Config{}))
		if n := c.Room(100_000); n != 100_000 {
			t.Errorf("Room = %d", n)
		}
		if n, err := c.AwaitRoom(100_000); n != 100_000 || err != nil {
			t.Errorf("AwaitRoom = %d, %v", n, err)
		}
	})
	t.Run("asking allocates nothing", func(t *testing.T) {
		c, _, peer := overTCP(t)
		go io.Copy(io.Discard, peer) // ends with the connection
		if n := testing.AllocsPerRun(100, func() {
			c.room.left = 0
			c.Room(maxRoom)
		}); n > 0 {
			t.Errorf("%v allocations", n)
		}
	})
}
