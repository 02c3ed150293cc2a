package cork

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/towpath-go/towpath/internal/testcert"
)

// countConn counts and keeps what is written to it.
type countConn struct {
	net.Conn
	mu     sync.Mutex // guards the following
	writes []int
	data   bytes.Buffer
	err    error
}

func (c *countConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	c.writes = append(c.writes, len(p))
	return c.data.Write(p)
}

func TestCork(t *testing.T) {
	data := make([]byte, 300<<10)
	for i := range data {
		data[i] = byte(i * 7)
	}
	t.Run("passes writes on while not corked", func(t *testing.T) {
		under := &countConn{}
		c := newCorkConn(under)
		for _, n := range []int{1, 100, 100_000} {
			if m, err := c.Write(data[:n]); m != n || err != nil {
				t.Errorf("Write = %d, %v", m, err)
			}
		}
		if len(under.writes) != 3 || c.buf != nil {
			t.Errorf("writes %v", under.writes)
		}
	})
	t.Run("gathers while corked, in order, and leaves nothing behind", func(t *testing.T) {
		under := &countConn{}
		c := newCorkConn(under)
		c.cork()
		sent := 0
		for _, n := range []int{1, 16_000, 40_000, 20_000, 5, corkSize, corkSize + 1, 3, 0, 16_000} {
			if m, err := c.Write(data[sent : sent+n]); m != n || err != nil {
				t.Errorf("Write = %d, %v", m, err)
			}
			sent += n
		}
		if under.data.Len() == sent {
			t.Error("nothing was gathered")
		}
		if err := c.uncork(); err != nil {
			t.Error(err)
		}
		if !bytes.Equal(under.data.Bytes(), data[:sent]) {
			t.Error("the bytes differ")
		}
		if len(under.writes) > 7 {
			t.Errorf("writes %v", under.writes)
		}
		if c.buf != nil {
			t.Error("the buffer was kept")
		}
		c.Write([]byte("x"))
		if under.data.Len() != sent+1 {
			t.Error("a write after uncork waits")
		}
	})
	t.Run("reports an error of bytes that were gathered, for ever", func(t *testing.T) {
		under := &countConn{err: errors.New("broken")}
		c := newCorkConn(under)
		c.cork()
		if _, err := c.Write(data[:100]); err != nil {
			t.Error(err)
		}
		if err := c.uncork(); !errors.Is(err, under.err) {
			t.Errorf("uncork: %v", err)
		}
		under.err = nil
		if _, err := c.Write(data[:100]); err == nil {
			t.Error("Write after lost bytes succeeded")
		}
		c.cork()
		if err := c.uncork(); err == nil {
			t.Error("uncork after lost bytes succeeded")
		}
	})
	t.Run("one write of the connection is one system call", func(t *testing.T) {
		for _, corked := range []bool{true, false} {
			cert := testcert.New(t)
			a, b := loopback(t)
			under := &teeConn{Conn: a}
			var nc net.Conn = under
			if corked {
				nc = New(under)
			}
			server := tls.Server(b, cert.ServerConfig())
			got := make(chan []byte)
			go func() {
				all, _ := io.ReadAll(server)
				got <- all
				server.Close()
			}()
			client := tls.Client(nc, cert.ClientConfig("example.com"))
			if err := client.Handshake(); err != nil {
				t.Fatal(err)
			}
			rc := NewTLSConn(client)
			// The first records are short; later ones are full.
			rc.Write(make([]byte, 1<<20))
			under.reset()
			rc.Write(data[:64<<10])
			if n := under.count(); corked && n != 1 || !corked && n < 4 {
				t.Errorf("corked %v: 64 KiB in %d writes", corked, n)
			}
			client.CloseWrite()
			if all := <-got; len(all) != 1<<20+64<<10 || !bytes.Equal(all[1<<20:], data[:64<<10]) {
				t.Errorf("corked %v: %d bytes arrived", corked, len(all))
			}
			client.Close()
		}
	})
	t.Run("a write that could not be handed over is an error", func(t *testing.T) {
		cert := testcert.New(t)
		a, b := loopback(t)
		server := tls.Server(b, cert.ServerConfig())
		go server.Handshake()
		under := &breakConn{Conn: a}
		client := tls.Client(New(under), cert.ClientConfig("example.com"))
		if err := client.Handshake(); err != nil {
			t.Fatal(err)
		}
		under.broken.Store(true)
		rc := NewTLSConn(client)
		for range 2 {
			if n, err := rc.Write(data[:1000]); n != 0 || !errors.Is(err, errBroken) {
				t.Errorf("Write = %d, %v", n, err)
			}
		}
		client.Close()
		server.Close()
	})
	t.Run("Close does not wait for a write that is stuck", func(t *testing.T) {
		cert := testcert.New(t)
		a, b := loopback(t)
		server := tls.Server(b, cert.ServerConfig())
		go server.Handshake()
		client := tls.Client(New(a), cert.ClientConfig("example.com"))
		if err := client.Handshake(); err != nil {
			t.Fatal(err)
		}
		rc := NewTLSConn(client)
		stuck := make(chan error)
		go func() {
			for {
				if _, err := rc.Write(data); err != nil {
					stuck <- err
					return
				}
			}
		}()
		client.NetConn().Close()
		<-stuck
		client.Close()
		server.Close()
	})
	t.Run("CloseWrite reaches the connection underneath", func(t *testing.T) {
		a, b := loopback(t)
		defer a.Close()
		defer b.Close()
		if err := newCorkConn(a).CloseWrite(); err != nil {
			t.Error(err)
		}
		if _, err := b.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("Read: %v", err)
		}
		if c := newCorkConn(a); c.NetConn() != a {
			t.Error("NetConn")
		}
	})
}

// teeConn counts the writes that pass.
type teeConn struct {
	net.Conn
	mu sync.Mutex // guards n
	n  int
}

func (c *teeConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	return c.Conn.Write(p)
}

func (c *teeConn) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n = 0
}

func (c *teeConn) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

var errBroken = errors.New("broken")

// breakConn fails writes once it is broken.
type breakConn struct {
	net.Conn
	broken atomic.Bool
}

func (c *breakConn) Write(p []byte) (int, error) {
	if c.broken.Load() {
		return 0, errBroken
	}
	return c.Conn.Write(p)
}

// loopback returns the two ends of a TCP connection.
func loopback(t testing.TB) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	a, err = net.DialTimeout("tcp", ln.Addr().String(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	b, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

// A counted connection lies over or under the cork.
type counted struct{ net.Conn }

func (c counted) NetConn() net.Conn { return c.Conn }

func TestCorkIsFoundAmongOthers(t *testing.T) {
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"alone":     newCork,
		"under one": func(nc net.Conn) net.Conn { return counted{newCork(nc)} },
		"over one":  func(nc net.Conn) net.Conn { return newCork(counted{nc}) },
		"between":   func(nc net.Conn) net.Conn { return counted{newCork(counted{nc})} },
		"not there": func(nc net.Conn) net.Conn { return counted{nc} },
	} {
		a, b := net.Pipe()
		c := NewTLSConn(tls.Server(wrap(a), &tls.Config{}))
		if (c.cork != nil) != (name != "not there") {
			t.Errorf("%s: found %v", name, c.cork != nil)
		}
		a.Close()
		b.Close()
	}
}

func newCork(nc net.Conn) net.Conn { return newCorkConn(nc) }
