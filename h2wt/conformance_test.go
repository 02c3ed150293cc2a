package h2wt

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"testing"

	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/transport/transporttest"
)

func TestMain(m *testing.M) {
	transporttest.SetParallel()
	os.Exit(m.Run())
}

// makePair connects a client and a server of this package, over memory or over
// loopback.
func makePair(t testing.TB, ln net.Listener, dial func() (net.Conn, error), client, server *transport.Config) (c, s transport.Session, stop func()) {
	t.Helper()
	cert := testcert.New(t)
	h, upgraded := upgradeHandler(nil)
	hs := &http.Server{
		Handler:   h,
		ErrorLog:  log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert.TLS}},
	}
	if err := ConfigureServer(hs, &Config{Session: server}); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- hs.Serve(tls.NewListener(NewListener(ln), hs.TLSConfig)) }()
	nc, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	cc, err := NewClientConn(t.Context(), tls.Client(Cork(nc), cert.ClientConfig("example.com", "h2")), &Config{Session: client})
	if err != nil {
		t.Fatal(err)
	}
	c, err = cc.Dial(t.Context(), "https://example.com/", nil)
	if err != nil {
		t.Fatal(err)
	}
	a := <-upgraded
	if a.err != nil {
		t.Fatal(a.err)
	}
	return c, a.s, func() {
		c.CloseWithError(0, "")
		cc.Close()
		hs.Close()
		<-served
	}
}

func TestConformanceInMemory(t *testing.T) {
	transporttest.TestSession(t, func(t testing.TB, client, server *transport.Config) (c, s transport.Session, stop func()) {
		ln := memconn.Listen(nil)
		return makePair(t, ln, func() (net.Conn, error) { return ln.Dial(t.Context()) }, client, server)
	}, transporttest.Caps{
		Bubble:                 true,
		ExactPriority:          true,
		ReliableDatagrams:      true,
		ConfiguredDatagramSize: true,
		SendBuffer:             true,
		DenseStreamIDs:         true,
		TLS:                    true,
	})
}

func TestConformanceLoopback(t *testing.T) {
	transporttest.TestSession(t, func(t testing.TB, client, server *transport.Config) (c, s transport.Session, stop func()) {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return makePair(t, ln, func() (net.Conn, error) { return net.Dial("tcp", ln.Addr().String()) }, client, server)
	}, transporttest.Caps{
		ReliableDatagrams:      true,
		ConfiguredDatagramSize: true,
		SendBuffer:             true,
		DenseStreamIDs:         true,
		TLS:                    true,
		Parallel:               true,
	})
}
