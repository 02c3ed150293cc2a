package wswt

import (
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"testing"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/internal/memconn"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/transport/transporttest"
)

func TestMain(m *testing.M) {
	transporttest.SetParallel()
	os.Exit(m.Run())
}

// makePair connects a client and a server of this package over HTTP/1.1, over
// memory or over loopback.
func makePair(t testing.TB, ln net.Listener, dial func() (net.Conn, error), client, server *transport.Config) (c, s transport.Session, stop func()) {
	t.Helper()
	cert := testcert.New(t)
	limits := &initialLimits{client: limitsOf(client), server: limitsOf(server)}
	srv := NewServer(&Config{Session: server, initial: limits})
	h, upgraded := upgradeHandler(srv, nil)
	stopServing := serveHTTP(ln, cert.ServerConfig("http/1.1"), h)
	nc, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	c, err = DialConn(t.Context(), tls.Client(nc, cert.ClientConfig("example.com", "http/1.1")), "https://example.com/", nil,
		&Config{Session: client, initial: limits})
	if err != nil {
		t.Fatal(err)
	}
	a := <-upgraded
	if a.err != nil {
		t.Fatal(a.err)
	}
	return c, a.s, func() {
		c.CloseWithError(0, "")
		srv.Close()
		stopServing()
	}
}

// makeHTTP2Pair connects a client and a server of this package over a WebSocket
// on an HTTP/2 connection in memory (RFC 8441).
func makeHTTP2Pair(t testing.TB, client, server *transport.Config) (c, s transport.Session, stop func()) {
	t.Helper()
	cert := testcert.New(t)
	ln := memconn.Listen(nil)
	limits := &initialLimits{client: limitsOf(client), server: limitsOf(server)}
	srv := NewServer(&Config{Session: server, initial: limits})
	h, upgraded := upgradeHandler(srv, nil)
	hs := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: cert.ServerConfig()}
	if err := h2wt.ConfigureServer(hs, nil); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- hs.Serve(tls.NewListener(ln, hs.TLSConfig)) }()
	nc, err := ln.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cc, err := h2wt.NewClientConn(t.Context(), tls.Client(nc, cert.ClientConfig("example.com", "h2")), nil)
	if err != nil {
		t.Fatal(err)
	}
	c, err = DialHTTP2(t.Context(), cc, "https://example.com/", nil, &Config{Session: client, initial: limits})
	if err != nil {
		t.Fatal(err)
	}
	a := <-upgraded
	if a.err != nil {
		t.Fatal(a.err)
	}
	return c, a.s, func() {
		c.CloseWithError(0, "")
		srv.Close()
		cc.Close()
		hs.Close()
		<-served
	}
}

func TestConformanceHTTP2(t *testing.T) {
	transporttest.TestSession(t, makeHTTP2Pair, transporttest.Caps{
		Bubble:                 true,
		ExactPriority:          true,
		ReliableDatagrams:      true,
		ConfiguredDatagramSize: true,
		SendBuffer:             true,
		DenseStreamIDs:         true,
		TLS:                    true,
	})
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
