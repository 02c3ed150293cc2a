package h3wt

import (
	"context"
	"io"
	"net"
	"testing"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
)

// rawServer listens for connections of our client.
type rawServer struct {
	testing.TB
	net    *network
	cert   *testcert.Cert
	pc     net.PacketConn
	tr     *quic.Transport
	ln     *quic.Listener
	socket net.PacketConn
	ctr    *quic.Transport
}

func rawListen(t testing.TB, conf *quic.Config) *rawServer {
	t.Helper()
	s := &rawServer{TB: t, net: simulated(t), cert: testcert.New(t)}
	s.pc = s.net.listen(t)
	s.tr = &quic.Transport{Conn: s.pc}
	ln, err := s.tr.Listen(s.cert.ServerConfig("h3"), conf)
	if err != nil {
		t.Fatal(err)
	}
	s.ln = ln
	s.socket = s.net.listen(t)
	s.ctr = &quic.Transport{Conn: s.socket}
	return s
}

func (s *rawServer) stop() {
	s.tr.Close()
	s.ctr.Close()
	s.pc.Close()
	s.socket.Close()
	s.net.stop()
}

// connect makes a QUIC connection and returns both ends.
func (s *rawServer) connect(cfg *Config) (client *quic.Conn, server *rawConn) {
	s.Helper()
	client, err := s.ctr.Dial(context.Background(), s.pc.LocalAddr(), s.cert.ClientConfig("example.com", "h3"), cfg.QUIC(nil))
	if err != nil {
		s.Fatal(err)
	}
	qc, err := s.ln.Accept(context.Background())
	if err != nil {
		s.Fatal(err)
	}
	return client, &rawConn{s.TB, qc}
}

// client makes a ClientConn to a raw server that sends these settings.
func (s *rawServer) client(cfg *Config, settings ...uint64) (*ClientConn, *rawConn) {
	s.Helper()
	client, server := s.connect(cfg)
	server.control(settings...)
	cc, err := NewClientConn(context.Background(), client, cfg)
	if err != nil {
		s.Fatalf("NewClientConn: %v", err)
	}
	return cc, server
}

// dialing starts a Dial.
func dialing(cc *ClientConn, opts *transport.DialOptions) <-chan dialed {
	done := make(chan dialed, 1)
	go func() {
		s, err := cc.Dial(context.Background(), testURL, opts)
		done <- dialed{s, err}
	}()
	return done
}

type dialed struct {
	s   transport.Session
	err error
}

// acceptRequest takes the CONNECT request at a raw server and returns its stream
// and header block.
func (c *rawConn) acceptRequest() (*quic.Stream, []byte) {
	c.Helper()
	str, err := c.AcceptStream(context.Background())
	if err != nil {
		c.Fatal(err)
	}
	typ, block := c.readFrame(str)
	if typ != 1 {
		c.Fatalf("the request begins with a frame of type %#x", typ)
	}
	return str, block
}

// answer answers a request; without fields it accepts.
func (c *rawConn) answer(str io.Writer, fields ...string) {
	c.Helper()
	if len(fields) == 0 {
		fields = []string{":status", "200"}
	}
	if _, err := str.Write(headersFrame(fields...)); err != nil {
		c.Fatal(err)
	}
}

// established dials a session from a client to its raw server.
func (c *rawConn) established(cc *ClientConn, opts *transport.DialOptions) (transport.Session, *quic.Stream) {
	c.Helper()
	done := dialing(cc, opts)
	str, _ := c.acceptRequest()
	c.answer(str)
	d := <-done
	if d.err != nil {
		c.Fatalf("Dial: %v", d.err)
	}
	return d.s, str
}
