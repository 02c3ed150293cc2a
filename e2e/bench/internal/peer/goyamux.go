package peer

import (
	"context"
	"crypto/tls"
	"io"
	"net"

	"github.com/libp2p/go-yamux/v5"
)

// goYamux is libp2p's multiplexer.
var goYamux = Peer{
	Name:    "go-yamux",
	Module:  "github.com/libp2p/go-yamux/v5",
	PerConn: 100,
	Lacks:   muxLacks(),
	Note:    "libp2p/go-yamux on crypto/tls; pooled are streams",
	Listen: func(c Config) (Server, error) {
		return listenMux(c, func(nc net.Conn) (muxSession, error) { return newGoYamux(yamux.Server(nc, goYamuxConfig(), nil)) })
	},
	Dial: func(ctx context.Context, addr string, conf *tls.Config) (Conn, error) {
		return dialMux(ctx, addr, conf, func(nc net.Conn) (muxSession, error) { return newGoYamux(yamux.Client(nc, goYamuxConfig(), nil)) })
	},
}

func goYamuxConfig() *yamux.Config {
	conf := yamux.DefaultConfig()
	conf.InitialStreamWindowSize, conf.MaxStreamWindowSize = StreamWindow, StreamWindow
	conf.LogOutput = io.Discard
	return conf
}

type goYamuxSession struct{ *yamux.Session }

func newGoYamux(s *yamux.Session, err error) (muxSession, error) {
	if err != nil {
		return nil, err
	}
	return goYamuxSession{s}, nil
}

func (s goYamuxSession) open(ctx context.Context) (Stream, error) {
	st, err := s.OpenStream(ctx)
	if err != nil {
		return nil, err
	}
	return st, nil
}

func (s goYamuxSession) accept() (Stream, error) {
	st, err := s.AcceptStream()
	if err != nil {
		return nil, err
	}
	return st, nil
}
