package adapter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// http3Streams has one POST per channel on one HTTP/3 connection of quic-go. Both
// ends have its defaults, but for the first packets' size: they fit every path
// that carries QUIC, as those of the sessions do.
var http3Streams = Adapter{
	Name:  "http3-streams",
	Title: "HTTP/3 streams",
	Traits: Traits{
		UDP:         true,
		Connections: 1,
		Ordered:     true,
		Reliable:    true,
		Calls:       true,
		Library:     "quic-go http3",
		Recovery:    "quic",
	},
	Listen: listenHTTP3,
}

// Defaults of quic-go: the streams that an end takes, and http3.Transport's time
// between signs of life.
const (
	defaultQUICStreams = 100
	http3KeepAlive     = 10 * time.Second
)

func listenHTTP3(_ context.Context, env Env) (Server, error) {
	pc, err := env.Server.ListenUDP(env.Port)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := newRequestServer(env)
	s.addr = localAddr(env.Server, pc.LocalAddr())
	qc := &quic.Config{InitialPacketSize: initialPacketSize}
	if n := env.Channels + requestsSpare; n > defaultQUICStreams {
		qc.MaxIncomingStreams = int64(n)
	}
	hs := &http3.Server{
		Handler:    s,
		TLSConfig:  env.ServerTLS("h3"),
		QUICConfig: qc,
		Logger:     logTo(env.Log),
		ConnContext: func(ctx context.Context, c *quic.Conn) context.Context {
			s.connected(func() { _ = c.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "") })
			return ctx
		},
	}
	served := make(chan struct{})
	go func() { // ends by close, which waits for it
		defer close(served)
		if err := hs.Serve(pc); !errors.Is(err, http.ErrServerClosed) {
			logTo(env.Log).Error("the server ended", "err", err)
		}
	}()
	s.close = func() error {
		err := ignoreClosed(hs.Close())
		<-served
		return errors.Join(err, ignoreClosed(pc.Close()))
	}
	s.dial = dialHTTP3
	return s, nil
}

// http3Client is a client's connection on a socket of its own.
type http3Client struct {
	*http3.ClientConn
	transport *quic.Transport
	pc        net.PacketConn
}

func dialHTTP3(ctx context.Context, s *requestServer) (requester, error) {
	pc, err := s.env.Client.ListenUDP(0)
	if err != nil {
		return nil, err
	}
	tr := &quic.Transport{Conn: pc}
	conf := s.env.ClientTLS("h3")
	conf.ServerName = s.addr.Addr().String()
	// As http3.Transport does when it dials itself.
	qc := &quic.Config{MaxIncomingStreams: -1, KeepAlivePeriod: http3KeepAlive, InitialPacketSize: initialPacketSize}
	conn, err := tr.Dial(ctx, net.UDPAddrFromAddrPort(s.addr), conf, qc)
	if err != nil {
		_ = tr.Close()
		_ = pc.Close()
		return nil, err
	}
	return http3Client{(&http3.Transport{}).NewClientConn(conn), tr, pc}, nil
}

func (c http3Client) Close() error {
	err := c.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
	return errors.Join(err, c.transport.Close(), ignoreClosed(c.pc.Close()))
}
