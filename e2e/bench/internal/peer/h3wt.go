package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"

	"github.com/towpath-go/towpath/h3wt"
	"github.com/towpath-go/towpath/transport"
)

var h3wtPeer = Peer{
	Name:     "h3wt",
	Module:   "github.com/towpath-go/towpath",
	PerConn:  h3wt.DefaultMaxSessions,
	Sessions: true,
	Note:     "WebTransport over HTTP/3, on quic-go; pooled are sessions",
	Listen:   listenH3WT,
	Dial:     dialH3WT,
}

func listenH3WT(c Config) (Server, error) {
	var s *udpServer
	server := &h3wt.Server{TLSConfig: c.TLS, Config: &h3wt.Config{Session: sessionConfig()}}
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if session, err := h3wt.Upgrade(w, r, nil); err == nil {
			serveSession(session, c.Handler, &s.wg)
		}
	})
	s, err := listenUDP(server.Close)
	if err != nil {
		return nil, err
	}
	s.serve(server.Serve)
	return s, nil
}

func dialH3WT(ctx context.Context, addr string, conf *tls.Config) (Conn, error) {
	cfg := &h3wt.Config{Session: sessionConfig()}
	qc, end, err := dialUDP(ctx, addr, withALPN(conf, "h3"), cfg.QUIC(nil), h3wt.ClientTransport)
	if err != nil {
		return nil, err
	}
	cc, err := h3wt.NewClientConn(ctx, qc, cfg)
	if err != nil {
		return nil, errors.Join(err, end())
	}
	dial := func(ctx context.Context) (transport.Session, error) {
		return cc.Dial(ctx, "https://"+addr+path, dialOptions())
	}
	closeAll := func() error { return errors.Join(cc.Close(), end()) }
	session, err := dial(ctx)
	if err != nil {
		return nil, errors.Join(err, closeAll())
	}
	return &sessionConn{s: session, more: dial, close: closeAll}, nil
}
