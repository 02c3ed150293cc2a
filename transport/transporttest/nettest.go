package transporttest

import (
	"net"
	"sync"
	"testing"

	"golang.org/x/net/nettest"

	"github.com/towpath-go/towpath/transport"
)

// testNetConn runs the tests that any net.Conn has to pass on the two ends of a
// bidirectional stream. They run in real time.
func testNetConn(t *testing.T, mk MakePair) {
	for _, fromClient := range []bool{true, false} {
		name := "FW-18 stream from the client"
		if !fromClient {
			name = "FW-18 stream from the server"
		}
		t.Run(name, func(t *testing.T) {
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				c, s, stop := mk(t, nil, nil)
				if !fromClient {
					c, s = s, c
				}
				x, err := c.OpenStream(t.Context())
				if err != nil {
					return nil, nil, stop, err
				}
				if _, err := x.Write([]byte("h")); err != nil {
					return nil, nil, stop, err
				}
				y, err := s.AcceptStream(t.Context())
				if err != nil {
					return nil, nil, stop, err
				}
				if _, err := y.Read(make([]byte, 1)); err != nil {
					return nil, nil, stop, err
				}
				return &streamConn{Stream: x, session: c}, &streamConn{Stream: y, session: s}, stop, nil
			})
		})
	}
}

// A streamConn is a stream as a net.Conn: it has addresses, its Close ends both
// directions, and several goroutines may Read and Write.
type streamConn struct {
	transport.Stream
	session     transport.Session
	read, write sync.Mutex
}

func (c *streamConn) Read(p []byte) (int, error) {
	c.read.Lock()
	defer c.read.Unlock()
	return c.Stream.Read(p)
}

func (c *streamConn) Write(p []byte) (int, error) {
	c.write.Lock()
	defer c.write.Unlock()
	return c.Stream.Write(p)
}

// Close finishes the sending direction and stops the receiving one.
func (c *streamConn) Close() error {
	err := c.Stream.Close()
	c.Stream.CancelRead(0)
	return err
}

func (c *streamConn) LocalAddr() net.Addr  { return c.session.Info().LocalAddr }
func (c *streamConn) RemoteAddr() net.Addr { return c.session.Info().RemoteAddr }
