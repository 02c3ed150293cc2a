package wswt

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"testing"

	"github.com/gobwas/ws"

	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/transport/transporttest"
)

// The package has no client for fails-components' subprotocols; for the suite
// one is made of the server's parts.
func TestConformanceKDraft(t *testing.T) {
	transporttest.TestSession(t, func(t testing.TB, client, server *transport.Config) (c, s transport.Session, stop func()) {
		limits := &initialLimits{client: limitsOf(client), server: limitsOf(server)}
		cc, sc := tlsPipe(t)
		theirs := start(params{nc: maskingConn{cc}, client: true, kdraft: true, cfg: &Config{Session: client, initial: limits}, info: infoOf(cc)})
		ours := start(params{nc: sc, kdraft: true, cfg: &Config{Session: server, initial: limits}, info: infoOf(sc)})
		return theirs.sess, ours.sess, func() {
			theirs.sess.CloseWithError(0, "")
			theirs.shut()
			ours.shut()
			<-theirs.done
			<-ours.done
		}
	}, transporttest.Caps{
		Bubble:                 true,
		ExactPriority:          true,
		ReliableDatagrams:      true,
		ConfiguredDatagramSize: true,
		SendBuffer:             true,
		DenseStreamIDs:         true,
		SwappedStreamIDs:       true,
		TLS:                    true,
	})
}

// tlsPipe returns both ends of a TLS connection in memory.
func tlsPipe(t testing.TB) (client, server *tls.Conn) {
	cert := testcert.New(t)
	cc, sc := memconn.Pipe(nil)
	client, server = tls.Client(cc, cert.ClientConfig("example.com")), tls.Server(sc, cert.ServerConfig())
	shaken := make(chan error, 1)
	go func() { shaken <- server.HandshakeContext(t.Context()) }() // ends with the client's
	if err := errors.Join(client.HandshakeContext(t.Context()), <-shaken); err != nil {
		t.Fatal(err)
	}
	return client, server
}

func infoOf(c *tls.Conn) transport.Info {
	state := c.ConnectionState()
	return transport.Info{TLS: &state}
}

// maskingConn masks those of a client's frames that a server would send as they
// are. Each Write is of whole frames.
type maskingConn struct{ net.Conn }

func (c maskingConn) Write(p []byte) (int, error) {
	var masked bytes.Buffer
	for r := bytes.NewReader(p); r.Len() > 0; {
		f, err := readFrame(r)
		if err != nil {
			return 0, err
		}
		if err := ws.WriteFrame(&masked, ws.MaskFrameInPlace(ws.NewFrame(f.OpCode, f.Fin, f.payload))); err != nil {
			return 0, err
		}
	}
	if _, err := c.Conn.Write(masked.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}
