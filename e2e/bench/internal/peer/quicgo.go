package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"sync"

	"github.com/quic-go/quic-go"
)

// quicProtocol is the ALPN protocol of QUIC without HTTP/3.
const quicProtocol = "towpath-bench"

// quicGo is QUIC without anything on it.
var quicGo = Peer{
	Name:    "quic-go",
	Module:  "github.com/quic-go/quic-go",
	PerConn: 100,
	Note:    "QUIC's own streams; pooled are streams",
	Listen:  listenQUIC,
	Dial:    dialQUIC,
}

// quicWindows are those of every QUIC connection.
func quicWindows() *quic.Config {
	return &quic.Config{
		InitialStreamReceiveWindow: StreamWindow, MaxStreamReceiveWindow: StreamWindow,
		InitialConnectionReceiveWindow: ConnWindow, MaxConnectionReceiveWindow: ConnWindow,
		EnableDatagrams: true,
	}
}

type quicServer struct {
	ln *quic.Listener
	wg sync.WaitGroup
}

func listenQUIC(c Config) (Server, error) {
	ln, err := quic.ListenAddr(host+":0", withALPN(c.TLS, quicProtocol), quicWindows())
	if err != nil {
		return nil, err
	}
	s := &quicServer{ln: ln}
	s.wg.Go(func() { // ends with the listener; Close waits for it
		for {
			qc, err := ln.Accept(context.Background())
			if err != nil {
				return
			}
			s.serve(qc, c.Handler)
		}
	})
	return s, nil
}

// serve serves a connection until it ends, without waiting.
func (s *quicServer) serve(qc *quic.Conn, h Handler) {
	ctx := context.Background() // the connection's end ends the calls
	if h.Stream != nil {
		s.wg.Go(func() { // ends with the connection, as the next two do
			for {
				st, err := qc.AcceptStream(ctx)
				if err != nil {
					return
				}
				s.wg.Go(func() { // ends with the handler
					h.Stream(quicStream{st})
					_ = st.Close()
					st.CancelRead(0)
				})
			}
		})
	}
	if h.Uni != nil {
		s.wg.Go(func() {
			for {
				st, err := qc.AcceptUniStream(ctx)
				if err != nil {
					return
				}
				h.Uni(st)
			}
		})
	}
	if h.Datagram != nil {
		s.wg.Go(func() {
			for {
				p, err := qc.ReceiveDatagram(ctx)
				if err != nil {
					return
				}
				h.Datagram(p)
			}
		})
	}
}

func (s *quicServer) Addr() string { return s.ln.Addr().String() }

func (s *quicServer) Close() error {
	err := s.ln.Close()
	s.wg.Wait()
	if errors.Is(err, quic.ErrServerClosed) {
		err = nil
	}
	return err
}

// quicStream is a stream whose Close is that of both directions.
type quicStream struct{ *quic.Stream }

func (s quicStream) CloseWrite() error { return s.Stream.Close() }

func (s quicStream) Close() error {
	s.CancelWrite(0) // nothing after CloseWrite
	s.CancelRead(0)  // nothing after the end
	return nil
}

type quicConn struct{ qc *quic.Conn }

func dialQUIC(ctx context.Context, addr string, conf *tls.Config) (Conn, error) {
	qc, err := quic.DialAddr(ctx, addr, withALPN(conf, quicProtocol), quicWindows())
	if err != nil {
		return nil, err
	}
	return &quicConn{qc}, nil
}

func (c *quicConn) Open(ctx context.Context) (Stream, error) {
	st, err := c.qc.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	return quicStream{st}, nil
}

func (c *quicConn) OpenUni(ctx context.Context) (io.WriteCloser, error) {
	return c.qc.OpenUniStreamSync(ctx)
}

func (c *quicConn) SendDatagram(p []byte) error { return c.qc.SendDatagram(p) }

func (c *quicConn) OpenPooled(ctx context.Context) error { return pooledStream(ctx, c) }

func (c *quicConn) Close() error { return c.qc.CloseWithError(0, "") }
