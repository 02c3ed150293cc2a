package wswt

import (
	"crypto/tls"
	"io"
	"net"
	"testing"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
)

// benchPair connects a client and a server over loopback. With a cork the
// connections gather the records of a write.
func benchPair(b *testing.B, corked bool) (c, s transport.Session, stop func()) {
	b.Helper()
	cert := testcert.New(b)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := NewServer(nil)
	h, upgraded := upgradeHandler(srv, nil)
	under := ln
	if corked {
		under = h2wt.NewListener(ln)
	}
	stopServing := serveHTTP(under, cert.ServerConfig("http/1.1"), h)
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	if corked {
		nc = h2wt.Cork(nc)
	}
	c, err = DialConn(b.Context(), tls.Client(nc, cert.ClientConfig("example.com", "http/1.1")), "https://example.com/", nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	a := <-upgraded
	if a.err != nil {
		b.Fatal(a.err)
	}
	return c, a.s, func() {
		c.CloseWithError(0, "")
		srv.Close()
		stopServing()
	}
}

func BenchmarkEcho(b *testing.B) {
	c, s, stop := benchPair(b, true)
	defer stop()
	go func() {
		x, err := s.AcceptStream(b.Context())
		if err == nil {
			io.Copy(x, x)
		}
	}()
	x, err := c.OpenStream(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := x.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(x, buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBulk(b *testing.B) {
	for _, corked := range []bool{false, true} {
		for _, up := range []bool{false, true} {
			name := map[bool]string{false: "down", true: "up"}[up] + map[bool]string{false: "", true: ", corked"}[corked]
			b.Run(name, func(b *testing.B) {
				c, s, stop := benchPair(b, corked)
				defer stop()
				from, to := s, c
				if up {
					from, to = c, s
				}
				x, err := from.OpenUniStream(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				const size = 1 << 20
				done := make(chan error, 1)
				go func() {
					y, err := to.AcceptUniStream(b.Context())
					if err == nil {
						_, err = io.Copy(io.Discard, y)
					}
					done <- err
				}()
				buf := make([]byte, size)
				b.SetBytes(size)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := x.Write(buf); err != nil {
						b.Fatal(err)
					}
				}
				x.Close()
				if err := <-done; err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}
