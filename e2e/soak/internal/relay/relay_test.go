package relay

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
)

// echoServer answers TCP with what comes, and UDP too.
func echoServer(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: ln.Addr().(*net.TCPAddr).Port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close(); pc.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	go func() {
		buf := make([]byte, 2000)
		for {
			n, from, err := pc.ReadFromUDP(buf)
			if err != nil {
				return
			}
			pc.WriteToUDP(append(buf[:n:n], from.String()...), from)
		}
	}()
	return ln.Addr().String()
}

func newRelay(t *testing.T) *Relay {
	t.Helper()
	r, err := New(echoServer(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func dialTCP(t *testing.T, r *Relay) (net.Conn, int) {
	t.Helper()
	c, err := net.Dial("tcp", r.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	echoTCP(t, c, 10) // the relay knows it
	return c, c.LocalAddr().(*net.TCPAddr).Port
}

func echoTCP(t *testing.T, c net.Conn, n int) {
	t.Helper()
	p := bytes.Repeat([]byte("towpath "), n)
	go c.Write(p)
	q := make([]byte, len(p))
	if _, err := io.ReadFull(c, q); err != nil || !bytes.Equal(p, q) {
		t.Fatalf("%d bytes did not come back: %v", len(p), err)
	}
}

func TestTCP(t *testing.T) {
	r := newRelay(t)
	t.Run("whole", func(t *testing.T) {
		c, _ := dialTCP(t, r)
		echoTCP(t, c, 100_000)
		c.(*net.TCPConn).CloseWrite()
		if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("the end did not come back: %d, %v", n, err)
		}
	})
	t.Run("dribble and stall change nothing", func(t *testing.T) {
		c, port := dialTCP(t, r)
		r.Do(ledger.Fault{Kind: ledger.Dribble, Port: port, For: time.Second})
		r.Do(ledger.Fault{Kind: ledger.Stall, Port: port, ToServer: true, For: 100 * time.Millisecond})
		echoTCP(t, c, 2000)
	})
	t.Run("rst", func(t *testing.T) {
		c, port := dialTCP(t, r)
		r.Do(ledger.Fault{Kind: ledger.CutRST, Port: port})
		if _, err := c.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("got %v, want a reset", err)
		}
	})
	t.Run("fin", func(t *testing.T) {
		c, port := dialTCP(t, r)
		r.Do(ledger.Fault{Kind: ledger.CutFIN, Port: port})
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("got %v, want the end", err)
		}
	})
	t.Run("silence", func(t *testing.T) {
		c, port := dialTCP(t, r)
		r.Do(ledger.Fault{Kind: ledger.CutSilence, Port: port})
		c.Write([]byte("into nothing"))
		c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		var timeout net.Error
		if _, err := c.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("got %v, want nothing", err)
		}
	})
	if done := r.Done(); done[ledger.CutRST] != 1 || done[ledger.Stall] != 1 {
		t.Errorf("counted %v", done)
	}
}

func TestUDP(t *testing.T) {
	r := newRelay(t)
	c, err := net.Dial("udp", r.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	port := c.LocalAddr().(*net.UDPAddr).Port
	buf := make([]byte, 2000)
	// ask sends until an answer comes: some packets are lost.
	ask := func(tries int) string {
		for range tries {
			c.Write([]byte("?"))
			c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if n, err := c.Read(buf); err == nil {
				return string(buf[:n])
			}
		}
		return ""
	}
	first := ask(20)
	if first == "" {
		t.Fatal("no packet came back")
	}
	// One after the other, so that no socket's buffer is the reason. What is
	// held back or doubled comes as the answer to a later one.
	sent, answers := 1, 1
	for ; sent < 3000 && sent-answers < 3; sent++ {
		c.Write([]byte("?"))
		c.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := c.Read(buf); err == nil {
			answers++
		}
	}
	if sent-answers < 3 {
		t.Errorf("all but %d of %d packets came back: want a few lost", sent-answers, sent)
	}
	r.Do(ledger.Fault{Kind: ledger.Rebind, UDP: true, Port: port})
	moved := ""
	for range 20 { // what was under way may come first
		if moved = ask(20); moved != first {
			break
		}
	}
	if moved == first || moved == "" {
		t.Errorf("the server sees %q, and saw %q", moved, first)
	}
	r.Do(ledger.Fault{Kind: ledger.CutSilence, UDP: true, Port: port})
	for c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); ; {
		if _, err := c.Read(buf); err != nil {
			break
		}
	}
	if s := ask(3); s != "" {
		t.Errorf("%q came through silence", s)
	}
	// The port's next connection is another one.
	first = ""
	for range 20 {
		c.Write(append([]byte{0xc3}, make([]byte, 1199)...))
		c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if n, err := c.Read(buf); err == nil {
			first = string(buf[1200:n])
			break
		}
	}
	if first == "" || ask(20) == "" {
		t.Error("silence lasts on for a connection that begins on the same port")
	}
}
