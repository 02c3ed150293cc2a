package peer

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/wswt"
)

var wswtPeer = Peer{
	Name:   "wswt",
	Module: "github.com/towpath-go/towpath",
	Lacks:  map[Feature]string{Pool: "over HTTP/1.1 a session has the connection for itself"},
	Note:   "WebTransport over a WebSocket over HTTP/1.1",
	Listen: func(c Config) (Server, error) {
		accept := wswt.NewServer(&wswt.Config{Session: sessionConfig()})
		var s *httpServer
		handler := func(w http.ResponseWriter, r *http.Request) {
			if session, err := accept.Upgrade(w, r, nil); err == nil {
				serveSession(session, c.Handler, &s.wg)
			}
		}
		var err error
		s, err = listenHTTP(c.TLS, handler, http1, func(ln net.Listener) net.Listener { return h2wt.NewListener(ln) })
		if err != nil {
			return nil, err
		}
		s.end = accept.Close
		return s, nil
	},
	Dial: func(ctx context.Context, addr string, conf *tls.Config) (Conn, error) {
		tc, err := dialTLS(ctx, addr, withALPN(conf, "http/1.1"), h2wt.Cork)
		if err != nil {
			return nil, err
		}
		session, err := wswt.DialConn(ctx, tc, "https://"+addr+path, dialOptions(), nil)
		if err != nil {
			return nil, err
		}
		return &sessionConn{s: session}, nil
	},
}

// http1 has a server speak HTTP/1.1 alone.
func http1(hs *http.Server) error {
	hs.Protocols = new(http.Protocols)
	hs.Protocols.SetHTTP1(true)
	return nil
}
