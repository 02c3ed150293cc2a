package peer

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/transport"
)

// path is that of every session's URL.
const path = "/bench"

var h2wtPeer = Peer{
	Name:     "h2wt",
	Module:   "github.com/towpath-go/towpath",
	PerConn:  h2wt.DefaultMaxSessions,
	Sessions: true,
	Note:     "WebTransport over HTTP/2; pooled are sessions",
	Listen:   listenH2WT,
	Dial:     dialH2WT,
}

func listenH2WT(c Config) (Server, error) {
	var s *httpServer
	handler := func(w http.ResponseWriter, r *http.Request) {
		if session, err := h2wt.Upgrade(w, r, nil); err == nil {
			serveSession(session, c.Handler, &s.wg)
		}
	}
	configure := func(hs *http.Server) error {
		return h2wt.ConfigureServer(hs, &h2wt.Config{Session: sessionConfig()})
	}
	s, err := listenHTTP(c.TLS, handler, configure, func(ln net.Listener) net.Listener { return h2wt.NewListener(ln) })
	if err != nil {
		return nil, err
	}
	return s, nil
}

func dialH2WT(ctx context.Context, addr string, conf *tls.Config) (Conn, error) {
	tc, err := dialTLS(ctx, addr, withALPN(conf, "h2"), h2wt.Cork)
	if err != nil {
		return nil, err
	}
	cc, err := h2wt.NewClientConn(ctx, tc, &h2wt.Config{Session: sessionConfig()})
	if err != nil {
		return nil, err
	}
	dial := func(ctx context.Context) (transport.Session, error) {
		return cc.Dial(ctx, "https://"+addr+path, dialOptions())
	}
	session, err := dial(ctx)
	if err != nil {
		_ = cc.Close()
		return nil, err
	}
	return &sessionConn{s: session, more: dial, close: cc.Close}, nil
}
