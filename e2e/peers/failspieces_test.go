package peers

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/clients"
	"github.com/towpath-go/towpath/transport"
)

// TestFailsComponentsInPieces: on a network the bytes come in segments, and
// fails-components loses what comes late of a capsule on stream 0, the first that
// a server opens. Towpath's capsules there are so short that it waits for all of
// each. Loopback shows nothing of it, so a proxy cuts what the server sends.
func TestFailsComponentsInPieces(t *testing.T) {
	opts := &transport.UpgradeOptions{AllowOriginWithoutScheme: true}
	server := clients.NewTowpathServer(t, opts, nil, transport.HTTP2)
	ctx := clients.Limited(t)
	client := failsDial(t, ctx, clients.Node(t, "fails-components.mjs"), "https://"+pieces(t, server.Addr)+"/", server.Cert.Hash(), 0, nil)
	s := server.Accept(t, ctx)
	for _, name := range []string{"stream 0", "stream 4"} {
		st, err := s.Open(ctx, false)
		clients.Must(t, err)
		data := clients.Pattern(64 << 10)
		sent := make(chan error, 1)
		go func() {
			err := st.Write(ctx, data)
			if err == nil {
				err = st.Finish(ctx)
			}
			sent <- err
		}()
		in, err := client.Accept(ctx, false)
		clients.Must(t, err)
		if got, err := in.ReadAll(ctx); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes arrived of %d, %v", name, len(got), len(data), err)
		}
		clients.Must(t, <-sent)
	}
}

// pieces returns the address of a proxy that passes on what comes from an address
// 1400 bytes at a time, and waits after each so that the reader rarely gets two
// at once. If it does, the test shows less, not something else.
func pieces(t *testing.T, addr string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	clients.Must(t, err)
	t.Cleanup(func() { ln.Close() })
	go func() { // ends when ln is closed
		for {
			down, err := ln.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", addr)
			if err != nil {
				down.Close()
				continue
			}
			go func() { // ends with the connection
				io.Copy(up, down)
				up.Close()
			}()
			go func() { // ends with the connection
				defer down.Close()
				b := make([]byte, 1400)
				for {
					n, err := up.Read(b)
					if _, werr := down.Write(b[:n]); werr != nil || err != nil {
						return
					}
					<-time.After(time.Millisecond)
				}
			}()
		}
	}()
	return ln.Addr().String()
}
