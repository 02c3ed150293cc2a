package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/h3wt"
	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/wswt"
)

// what is how a session's bulk and messages are told apart.
type what uint8

const (
	urgent    what = iota // two streams, the messages' of a higher SendOrder
	equal                 // two streams of equal SendOrder
	oneStream             // one for both
	datagrams             // messages are datagrams
)

var towpathWays = []way{
	{name: "h2wt, higher order", note: "two streams, `SendOrder` 1 for the messages", open: session(transport.HTTP2, urgent, h2wt.Cork)},
	{name: "h2wt, equal orders", note: "two streams that take turns", open: session(transport.HTTP2, equal, h2wt.Cork)},
	{name: "h2wt, one stream", note: "one stream: all messages that wait go between two writes of bulk of 16 KiB", open: session(transport.HTTP2, oneStream, h2wt.Cork)},
	{name: "h2wt, higher order, blind", note: "as the first, over a connection that does not tell what it is: no bound on what the kernel has unsent, and no cork", open: session(transport.HTTP2, urgent, hide)},
	{name: "h2wt, datagrams", note: "messages are datagrams with a maximum age", open: session(transport.HTTP2, datagrams, h2wt.Cork)},
	{name: "wswt, higher order", note: "two streams in a WebSocket over HTTP/1.1", open: session(transport.WebSocket, urgent, h2wt.Cork)},
	{name: "h3wt, higher order", note: "two streams over QUIC (quic-go's own Cubic)", udp: true, open: session(transport.HTTP3, urgent, nil)},
	{name: "h3wt, equal orders", note: "the same with equal orders", udp: true, open: session(transport.HTTP3, equal, nil)},
	{name: "h3wt, datagrams", note: "datagrams over QUIC with a maximum age", udp: true, open: session(transport.HTTP3, datagrams, nil)},
}

// hidden is a connection that is no *net.TCPConn to who looks.
type hidden struct{ net.Conn }

func hide(nc net.Conn) net.Conn { return hidden{nc} }

// session returns how to open one: with all defaults, but for the datagrams' age.
func session(protocol transport.Protocol, kind what, wrap func(net.Conn) net.Conn) func(context.Context, *scene) (*carried, error) {
	return func(ctx context.Context, s *scene) (*carried, error) {
		conf := &transport.Config{Logger: silent}
		if kind == datagrams {
			conf.OutgoingMaxAge = s.maxAge
		}
		upgraded, addr, err := s.serveSessions(protocol, conf)
		if err != nil {
			return nil, err
		}
		client, err := s.dialSession(ctx, protocol, addr, conf, wrap)
		if err != nil {
			return nil, err
		}
		s.end(func() { _ = client.CloseWithError(0, "") })
		remote, err := await(ctx, upgraded, 1)
		if err != nil {
			return nil, err
		}
		return carry(ctx, client, remote[0], kind)
	}
}

// carry opens the streams of a session.
func carry(ctx context.Context, client, server transport.Session, kind what) (*carried, error) {
	c := new(carried)
	streams := 1
	if kind == urgent || kind == equal {
		streams = 2
	}
	var opened []transport.SendStream
	for range streams {
		st, err := client.OpenUniStream(ctx)
		if err == nil {
			_, err = st.Write(hello)
		}
		if err != nil {
			return nil, err
		}
		r, err := server.AcceptUniStream(ctx)
		if err != nil {
			return nil, err
		}
		opened, c.received = append(opened, st), append(c.received, r)
	}
	c.bulk = opened[0]
	switch kind {
	case urgent:
		opened[1].SetPriority(transport.Priority{Order: 1})
		c.messages = opened[1]
	case equal:
		c.messages = opened[1]
	case oneStream:
		one := &shared{w: opened[0]}
		c.bulk, c.messages = one, messages{one}
	case datagrams:
		c.sendDatagram, c.receiveDatagram = client.SendDatagram, server.ReceiveDatagram
	}
	return c, nil
}

// serveSessions serves at the server's host.
func (s *scene) serveSessions(protocol transport.Protocol, conf *transport.Config) (<-chan transport.Session, netip.AddrPort, error) {
	upgraded := make(chan transport.Session, 1)
	server := &negotiate.Server{
		TLSConfig:  s.certificate.ServerTLS(),
		Config:     conf,
		Transports: []transport.Protocol{protocol},
		Logger:     silent,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if session, err := negotiate.Upgrade(w, r, nil); err == nil {
				upgraded <- session
			}
		}),
	}
	var ln net.Listener
	var pc net.PacketConn
	var addr netip.AddrPort
	if protocol == transport.HTTP3 {
		u, err := s.server.ListenUDP(0)
		if err != nil {
			return nil, addr, err
		}
		pc, addr = u, netip.AddrPortFrom(s.server.Addr(), uint16(u.LocalAddr().(*net.UDPAddr).Port))
	} else {
		var err error
		if ln, addr, err = s.listen(); err != nil {
			return nil, addr, err
		}
	}
	served := make(chan struct{})
	go func() { // ends by server.Close, which is followed by a wait for it
		defer close(served)
		_ = server.Serve(ln, pc)
	}()
	s.end(func() {
		_ = server.Close()
		<-served
	})
	return upgraded, addr, nil
}

func (s *scene) dialSession(ctx context.Context, protocol transport.Protocol, to netip.AddrPort, conf *transport.Config, wrap func(net.Conn) net.Conn) (transport.Session, error) {
	url := "https://" + to.String() + "/priority"
	opts := &transport.DialOptions{Config: conf}
	switch protocol {
	case transport.HTTP3:
		pc, err := s.client.ListenUDP(0)
		if err != nil {
			return nil, err
		}
		tr := &quic.Transport{Conn: pc}
		s.end(func() {
			_ = tr.Close()
			_ = pc.Close()
		})
		cfg := &h3wt.Config{Session: conf, Logger: silent}
		qc, err := tr.Dial(ctx, net.UDPAddrFromAddrPort(to), s.clientTLS(to, "h3"), cfg.QUIC(&quic.Config{InitialPacketSize: 1200}))
		if err != nil {
			return nil, err
		}
		cc, err := h3wt.NewClientConn(ctx, qc, cfg)
		if err != nil {
			return nil, err
		}
		s.end(func() { _ = cc.Close() })
		return cc.Dial(ctx, url, opts)
	case transport.HTTP2:
		tc, err := s.dial(ctx, to, "h2", wrap)
		if err != nil {
			return nil, err
		}
		cc, err := h2wt.NewClientConn(ctx, tc, &h2wt.Config{Session: conf, Logger: silent})
		if err != nil {
			return nil, err
		}
		s.end(func() { _ = cc.Close() })
		return cc.Dial(ctx, url, opts)
	case transport.WebSocket:
		tc, err := s.dial(ctx, to, "http/1.1", wrap)
		if err != nil {
			return nil, err
		}
		return wswt.DialConn(ctx, tc, url, opts, &wswt.Config{Session: conf, Logger: silent})
	}
	return nil, errors.ErrUnsupported
}
