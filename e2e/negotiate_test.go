package e2e_test

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
)

// A negotiatedServer is a negotiate.Server on loopback.
type negotiatedServer struct {
	addr string
	cert *testcert.Cert
	stop func()
}

// serveNegotiated serves by the transports given, or all.
func serveNegotiated(t testing.TB, h http.Handler, config *transport.Config, transports ...transport.Protocol) *negotiatedServer {
	t.Helper()
	ln, pc, err := negotiate.Listen("127.0.0.1:0", transports...)
	if err != nil {
		t.Fatal(err)
	}
	s := &negotiatedServer{cert: testcert.New(t)}
	var addr net.Addr
	if ln != nil {
		addr = ln.Addr()
	} else {
		addr = pc.LocalAddr()
	}
	s.addr = addr.String()
	srv := &negotiate.Server{TLSConfig: s.cert.ServerConfig(), Handler: h, Config: config, Transports: transports}
	s.stop = background(t, func() error { return srv.Serve(ln, pc) }, func() { srv.Close() }, http.ErrServerClosed)
	return s
}

func (s *negotiatedServer) addrPort() netip.AddrPort { return netip.MustParseAddrPort(s.addr) }
func (s *negotiatedServer) url(path string) string   { return "https://" + s.addr + path }
func (s *negotiatedServer) dialer() *negotiate.Dialer {
	return &negotiate.Dialer{TLSClientConfig: s.cert.ClientConfig("127.0.0.1"), Proxy: http.ProxyURL(nil)}
}

// pairNegotiated makes pairs with a Dialer and a Server. The server always
// serves by both ways; the dialer uses those given.
func pairNegotiated(ways ...transport.Protocol) func(t testing.TB, client, server *transport.Config) (c, s transport.Session, stop func()) {
	return func(t testing.TB, client, server *transport.Config) (transport.Session, transport.Session, func()) {
		a := newAcceptor(negotiate.Upgrade, server)
		srv := serveNegotiated(t, a, server)
		d := srv.dialer()
		d.Transports = ways
		d.Config = client
		stop := func() {
			d.Close()
			srv.stop()
		}
		return dialled(t, a, stop, func(ctx context.Context) (transport.Session, error) {
			s, report, err := d.Dial(ctx, srv.url("/"), nil)
			if err != nil {
				t.Log(report)
			}
			return s, err
		})
	}
}
