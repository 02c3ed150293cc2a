package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"

	"github.com/quic-go/quic-go"
)

// udpServer serves QUIC on a socket of its own.
type udpServer struct {
	pc     net.PacketConn
	stop   func() error
	served sync.WaitGroup
	wg     sync.WaitGroup // of what handlers leave
}

// listenUDP starts serve, which ends when stop is called.
func listenUDP(stop func() error) (*udpServer, error) {
	pc, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, err
	}
	return &udpServer{pc: pc, stop: stop}, nil
}

func (s *udpServer) serve(serve func(net.PacketConn) error) {
	s.served.Go(func() { _ = serve(s.pc) }) // ends by Close, which waits for it
}

func (s *udpServer) Addr() string { return s.pc.LocalAddr().String() }

func (s *udpServer) Close() error {
	err := s.stop()
	err = errors.Join(err, s.pc.Close())
	s.served.Wait()
	s.wg.Wait()
	return err
}

// dialUDP makes a QUIC connection on a transport of a socket of its own.
func dialUDP(ctx context.Context, addr string, conf *tls.Config, cfg *quic.Config, transport func(net.PacketConn) *quic.Transport) (*quic.Conn, func() error, error) {
	remote, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, nil, err
	}
	pc, err := net.ListenUDP("udp", nil)
	if err != nil {
		return nil, nil, err
	}
	tr := transport(pc)
	end := func() error { return errors.Join(tr.Close(), pc.Close()) }
	qc, err := tr.Dial(ctx, remote, conf, cfg)
	if err != nil {
		return nil, nil, errors.Join(err, end())
	}
	return qc, end, nil
}
