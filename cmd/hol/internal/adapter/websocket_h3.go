package adapter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// listenWebSocketsH3 serves WebSockets over one HTTP/3 connection (RFC 9220),
// with quic-go's http3 at both ends. The server always announces
// SETTINGS_ENABLE_CONNECT_PROTOCOL. gobwas/ws frames both ends. The first packets
// fit every path that carries QUIC: quic-go's own 1,280 bytes of payload do not
// fit a path of 1,280 bytes.
func listenWebSocketsH3(_ context.Context, env Env) (Server, error) {
	end := newWebSocketServer(env)
	l, err := listenH3(env, end)
	if err != nil {
		return nil, err
	}
	l.serve(end)
	return l, nil
}

func listenH3(env Env, to acceptor) (*webSocketListener, error) {
	udp, err := env.Server.ListenUDP(env.Port)
	if err != nil {
		return nil, err
	}
	h := &h3WebSockets{to: to}
	server := &http3.Server{
		Handler:    h,
		TLSConfig:  http3.ConfigureTLSConfig(env.ServerTLS()),
		QUICConfig: &quic.Config{MaxIncomingStreams: int64(maxStreams(env.Channels)), InitialPacketSize: initialPacketSize},
		Logger:     env.Log,
	}
	served := make(chan struct{})
	go func() { // ends with server.Close, which is followed by a wait for it
		defer close(served)
		_ = server.Serve(udp)
	}()
	addr := localAddr(env.Server, udp.LocalAddr())
	return &webSocketListener{
		addr: addr,
		dial: func(ctx context.Context) (Conn, error) { return dialWebSocketsH3(ctx, env, addr) },
		close: func() error {
			err := server.Close()
			<-served
			h.handlers.close()
			return errors.Join(err, ignoreClosed(udp.Close()))
		},
	}, nil
}

// h3WebSockets is the server's handler.
type h3WebSockets struct {
	to       acceptor
	handlers handlers
}

func (h *h3WebSockets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.handlers.enter() {
		http.Error(w, "the server closes", http.StatusServiceUnavailable)
		return
	}
	defer h.handlers.done()
	// RFC 9220 section 3: as over HTTP/2. quic-go has :protocol in Proto.
	if r.Method != http.MethodConnect || r.Proto != "websocket" {
		http.Error(w, "WebSockets only", http.StatusBadRequest)
		return
	}
	if status := webSocketStatus(h.to, r); status != http.StatusOK {
		http.Error(w, http.StatusText(status), status)
		return
	}
	w.WriteHeader(http.StatusOK)
	s := w.(http3.HTTPStreamer).HTTPStream() // flushes
	h.to.accepted(r.URL.Path, newFramed(&h3Stream{s}, false, MaxMessage))
}

// cancelStream is what the ends of a stream have, which http3 gives two types.
type cancelStream interface {
	io.ReadWriteCloser
	CancelRead(quic.StreamErrorCode)
	CancelWrite(quic.StreamErrorCode)
}

// h3Stream is one end of a stream.
type h3Stream struct{ cancelStream }

// CloseWrite ends the sending direction: that is what Close does in quic-go.
func (s *h3Stream) CloseWrite() error { return s.Close() }

func (s *h3Stream) Abort() {
	s.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
	s.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
}

// Finished stops what the peer might still send: after its Close frame there is
// nothing to come, but its end of the stream may.
func (s *h3Stream) Finished(bool) { s.CancelRead(quic.StreamErrorCode(http3.ErrCodeNoError)) }

func dialWebSocketsH3(ctx context.Context, env Env, to netip.AddrPort) (Conn, error) {
	udp, err := env.Client.ListenUDP(0)
	if err != nil {
		return nil, err
	}
	transport := &quic.Transport{Conn: udp}
	hangUp := func() error { return errors.Join(transport.Close(), ignoreClosed(udp.Close())) }
	config := env.ClientTLS(http3.NextProtoH3)
	config.ServerName = to.Addr().String()
	conn, err := transport.Dial(ctx, net.UDPAddrFromAddrPort(to), config, &quic.Config{MaxIncomingStreams: -1, InitialPacketSize: initialPacketSize})
	if err != nil {
		return nil, errors.Join(err, hangUp())
	}
	// The server's settings come with the end of the handshake; without them no
	// WebSocket can be asked for (RFC 8441 section 3).
	cc := (&http3.Transport{}).NewClientConn(conn)
	dial := func(ctx context.Context, path string) (socket, error) {
		s, err := openH3Stream(ctx, cc, "https://"+to.String()+path)
		if err != nil {
			return nil, err
		}
		return newFramed(&h3Stream{s}, true, MaxMessage), nil
	}
	return newWebSocketClient(env.Channels, dial, func() error {
		err := cc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
		return errors.Join(err, hangUp())
	}), nil
}

// openH3Stream asks for a WebSocket (RFC 9220).
func openH3Stream(ctx context.Context, cc *http3.ClientConn, to string) (*http3.RequestStream, error) {
	select {
	case <-cc.ReceivedSettings():
	case <-cc.Context().Done():
		return nil, context.Cause(cc.Context())
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if !cc.Settings().EnableExtendedConnect {
		return nil, errors.New("the server does not take extended CONNECT")
	}
	u, err := url.Parse(to)
	if err != nil {
		return nil, err
	}
	stream, err := cc.OpenRequestStream(ctx)
	if err != nil {
		return nil, err
	}
	opened := context.AfterFunc(ctx, (&h3Stream{stream}).Abort)
	response, err := func() (*http.Response, error) {
		err := stream.SendRequestHeader(&http.Request{
			Method: http.MethodConnect,
			Proto:  "websocket",
			Host:   u.Host,
			URL:    u,
			Header: http.Header{"Sec-WebSocket-Version": {"13"}},
		})
		if err != nil {
			return nil, err
		}
		return stream.ReadResponse()
	}()
	switch {
	case !opened():
		err = context.Cause(ctx)
	case err == nil && response.StatusCode != http.StatusOK:
		err = fmt.Errorf("the server answered %s", response.Status)
	}
	if err != nil {
		(&h3Stream{stream}).Abort()
		return nil, err
	}
	return stream, nil
}
