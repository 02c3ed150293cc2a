package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"

	"github.com/xtaci/smux"
)

// xtaciSmux is xtaci's multiplexer.
var xtaciSmux = Peer{
	Name:    "smux",
	Module:  "github.com/xtaci/smux",
	PerConn: 100,
	Lacks:   muxLacks(),
	Note:    "xtaci/smux, version 2 of its protocol, on crypto/tls; pooled are streams",
	Listen: func(c Config) (Server, error) {
		return listenMux(c, func(nc net.Conn) (muxSession, error) { return newSmux(smux.Server(nc, smuxConfig())) })
	},
	Dial: func(ctx context.Context, addr string, conf *tls.Config) (Conn, error) {
		return dialMux(ctx, addr, conf, func(nc net.Conn) (muxSession, error) { return newSmux(smux.Client(nc, smuxConfig())) })
	},
}

// smuxConfig has the windows; version 1, the default, has none for a stream.
func smuxConfig() *smux.Config {
	conf := smux.DefaultConfig()
	conf.Version = 2
	conf.MaxReceiveBuffer, conf.MaxStreamBuffer = ConnWindow, StreamWindow
	return conf
}

type smuxSession struct{ *smux.Session }

func newSmux(s *smux.Session, err error) (muxSession, error) {
	if err != nil {
		return nil, err
	}
	return smuxSession{s}, nil
}

func (s smuxSession) open(context.Context) (Stream, error) {
	st, err := s.OpenStream()
	if err != nil {
		return nil, err
	}
	return smuxStream{st}, nil
}

func (s smuxSession) accept() (Stream, error) {
	st, err := s.AcceptStream()
	if err != nil {
		return nil, err
	}
	return smuxStream{st}, nil
}

type smuxStream struct{ *smux.Stream }

// Close is no error where both directions have ended.
func (s smuxStream) Close() error {
	if err := s.Stream.Close(); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	return nil
}
