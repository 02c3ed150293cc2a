package peer

import (
	"context"
	"crypto/tls"
	"io"
	"net"

	"github.com/hashicorp/yamux"
)

// hashicorpYamux is HashiCorp's multiplexer.
var hashicorpYamux = Peer{
	Name:    "yamux",
	Module:  "github.com/hashicorp/yamux",
	PerConn: 100,
	Lacks:   muxLacks(),
	Note:    "hashicorp/yamux on crypto/tls; pooled are streams",
	Listen: func(c Config) (Server, error) {
		return listenMux(c, func(nc net.Conn) (muxSession, error) { return newYamux(yamux.Server(nc, yamuxConfig())) })
	},
	Dial: func(ctx context.Context, addr string, conf *tls.Config) (Conn, error) {
		return dialMux(ctx, addr, conf, func(nc net.Conn) (muxSession, error) { return newYamux(yamux.Client(nc, yamuxConfig())) })
	},
}

// yamuxConfig has the window of a stream; a connection has none.
func yamuxConfig() *yamux.Config {
	conf := yamux.DefaultConfig()
	conf.MaxStreamWindowSize = StreamWindow
	conf.LogOutput = io.Discard
	return conf
}

type yamuxSession struct{ *yamux.Session }

func newYamux(s *yamux.Session, err error) (muxSession, error) {
	if err != nil {
		return nil, err
	}
	return yamuxSession{s}, nil
}

func (s yamuxSession) open(context.Context) (Stream, error) {
	st, err := s.OpenStream()
	if err != nil {
		return nil, err
	}
	return yamuxStream{st}, nil
}

func (s yamuxSession) accept() (Stream, error) {
	st, err := s.AcceptStream()
	if err != nil {
		return nil, err
	}
	return yamuxStream{st}, nil
}

// yamuxStream is a stream whose Close ends what is written, and which is gone when
// both ends have done so.
type yamuxStream struct{ *yamux.Stream }

func (s yamuxStream) CloseWrite() error { return s.Stream.Close() }
