package wswt

import (
	"crypto/tls"
	"net"
	"runtime"
	"testing"

	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
)

// TestIdleMemory bounds what one side holds for a session that is idle after it
// has moved data both ways, TLS and both goroutines included. Most of it is the
// buffer that crypto/tls keeps once it has received a record of full size.
func TestIdleMemory(t *testing.T) {
	for _, tt := range []struct {
		name        string
		data, bound int
	}{
		{"after a few bytes", 100, 40 << 10},
		{"after large records", 60_000, 72 << 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			each := idleMemory(t, tt.data)
			t.Logf("%d bytes for each end", each)
			if each > tt.bound {
				t.Errorf("more than %d", tt.bound)
			}
		})
	}
}

// idleMemory returns the bytes held for each end of a session that has sent a
// message of so many bytes in both directions.
func idleMemory(t *testing.T, data int) (each int) {
	t.Helper()
	const sessions = 200
	cert := testcert.New(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := NewServer(nil)
	h, upgraded := upgradeHandler(srv, nil)
	stop := serveHTTP(ln, cert.ServerConfig("http/1.1"), h)
	defer stop()
	defer srv.Close()
	conf := cert.ClientConfig("example.com", "http/1.1")
	open := func() (c, s transport.Session) {
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c, err = DialConn(t.Context(), tls.Client(nc, conf), "https://example.com/", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		a := <-upgraded
		if a.err != nil {
			t.Fatal(a.err)
		}
		for _, way := range [][2]transport.Session{{c, a.s}, {a.s, c}} {
			if err := transport.SendMessage(t.Context(), way[0], make([]byte, data)); err != nil {
				t.Fatal(err)
			}
			if _, err := transport.ReceiveMessage(t.Context(), way[1], data); err != nil {
				t.Fatal(err)
			}
		}
		return c, a.s
	}
	used := func() int {
		runtime.GC()
		runtime.GC() // what pools hold goes with the second one
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapInuse + m.StackInuse)
	}
	keep := make([]transport.Session, 0, 2*sessions+20)
	for range 10 {
		c, s := open()
		keep = append(keep, c, s)
	}
	before := used()
	for range sessions {
		c, s := open()
		keep = append(keep, c, s)
	}
	each = (used() - before) / (2 * sessions) // both ends are in this process
	runtime.KeepAlive(keep)
	return each
}
