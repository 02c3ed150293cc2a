package h2conn_test

import (
	"net"
	"testing"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/internal/h2conn"
)

// counter is an owner that counts what comes, and a source of zeros.
type counter struct {
	got  int
	want int
	left int
	done chan struct{}
}

func (c *counter) Headers(*h2conn.Header) {}
func (c *counter) Data(p []byte) int {
	if c.got += len(p); c.got == c.want {
		close(c.done)
	}
	return len(p)
}
func (c *counter) Trailers(*h2conn.Header)          {}
func (c *counter) End()                             {}
func (c *counter) Reset(http2.ErrCode, bool, error) {}
func (c *counter) Fill(dst []byte) (int, bool) {
	n := min(len(dst), c.left)
	c.left -= n
	return n, c.left == 0
}

// BenchmarkTransfer moves MiBs through one stream over loopback TCP.
func BenchmarkTransfer(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	const chunk = 1 << 20
	r := &counter{want: b.N * chunk, done: make(chan struct{})}
	served := make(chan struct{})
	go func() { // ends when the client closes
		defer close(served)
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		h2conn.Server(nc, nil, handlerFunc(func(st *h2conn.Stream, h *h2conn.Header) h2conn.Receiver { return r })).Serve()
	}()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	c := h2conn.Client(nc, nil)
	b.SetBytes(chunk)
	b.ReportAllocs()
	b.ResetTimer()
	if _, err := c.OpenStream(b.Context(), &h2conn.Open{Fields: fields(post...), Receiver: &counter{}, Source: &counter{left: b.N * chunk}}); err != nil {
		b.Fatal(err)
	}
	<-r.done
	b.StopTimer()
	c.Close()
	<-served
}
