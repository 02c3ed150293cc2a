package adapter

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"time"

	"github.com/coder/websocket"
)

// A coderSocket is a WebSocket of coder/websocket, over TLS and TCP.
type coderSocket struct {
	conn *websocket.Conn
	raw  net.Conn // the TCP connection
}

// newCoderSocket receives messages of at most limit bytes.
func newCoderSocket(conn *websocket.Conn, raw net.Conn, limit int) *coderSocket {
	if t, ok := raw.(*tls.Conn); ok {
		raw = t.NetConn()
	}
	conn.SetReadLimit(int64(limit))
	return &coderSocket{conn: conn, raw: raw}
}

// Contexts are not used below: when one ends, this library ends the connection.

func (s *coderSocket) write(message []byte) error {
	return s.conn.Write(context.Background(), websocket.MessageBinary, message)
}

func (s *coderSocket) read(buf []byte) ([]byte, error) {
	kind, r, err := s.conn.Reader(context.Background())
	switch {
	case websocket.CloseStatus(err) == websocket.StatusNormalClosure,
		websocket.CloseStatus(err) == websocket.StatusGoingAway,
		websocket.CloseStatus(err) == websocket.StatusNoStatusRcvd:
		return nil, io.EOF
	case err != nil:
		return nil, unexpected(err)
	case kind != websocket.MessageBinary:
		return nil, errors.New("WebSocket: a text message")
	}
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)] // grows with what has come
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return nil, unexpected(err)
		}
	}
}

// close waits for the peer's Close, for at most the library's 5 s.
func (s *coderSocket) close() { _ = s.conn.Close(websocket.StatusNormalClosure, "") }

func (s *coderSocket) finish(bool) { _ = s.conn.CloseNow() }

// abort closes the TCP connection: CloseNow would wait for a Close under way.
func (s *coderSocket) abort() { _ = s.raw.Close() }

// An http1Server is net/http's server, whose every connection becomes a
// WebSocket.
type http1Server struct {
	server   http.Server
	to       acceptor
	limit    int // of a message
	handlers handlers
	served   chan struct{}
	addr     netip.AddrPort
}

// listenHTTP1 serves WebSockets over HTTP/1.1 and TLS. Messages of at most limit
// bytes are received.
func listenHTTP1(env Env, to acceptor, limit int) (*http1Server, error) {
	ln, err := env.Server.ListenTCP(env.Port)
	if err != nil {
		return nil, err
	}
	s := &http1Server{to: to, limit: limit, served: make(chan struct{}), addr: localAddr(env.Server, ln.Addr())}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	s.server = http.Server{
		Handler:           s,
		TLSConfig:         env.ServerTLS("http/1.1"),
		Protocols:         &protocols,
		ReadHeaderTimeout: handshakeTimeout,
		ErrorLog:          standardLog(env.Log),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, rawConn{}, c)
		},
	}
	go func() { // ends with Close, which waits for it
		defer close(s.served)
		_ = s.server.ServeTLS(ln, "", "")
	}()
	return s, nil
}

// rawConn is the key of a request's connection in its context.
type rawConn struct{}

func (s *http1Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.handlers.enter() {
		http.Error(w, "the server closes", http.StatusServiceUnavailable)
		return
	}
	defer s.handlers.done()
	if status := s.to.room(r.URL.Path); status != http.StatusOK {
		http.Error(w, http.StatusText(status), status)
		return
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return // Accept has answered
	}
	s.to.accepted(r.URL.Path, newCoderSocket(conn, r.Context().Value(rawConn{}).(net.Conn), s.limit))
}

// Close ends what is not yet a WebSocket, too.
func (s *http1Server) Close() error {
	err := s.server.Close()
	<-s.served
	s.handlers.close()
	return err
}

// An http1Client dials WebSockets.
//
// It is an http.Client as a user would configure it: every WebSocket has a TCP
// connection of its own, since HTTP/1.1 gives one up to it, and a whole TLS
// handshake, since Go's clients resume no session unless they are given a
// ClientSessionCache. (A browser would resume. With TLS 1.3 and no early data
// that saves the certificate's bytes, but no round trip.)
type http1Client struct {
	client    http.Client
	transport *http.Transport
	to        netip.AddrPort
	limit     int // of a message
}

func newHTTP1Client(env Env, to netip.AddrPort, limit int) *http1Client {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return env.Client.DialTCP(ctx, to)
		},
		TLSClientConfig:    env.ClientTLS("http/1.1"),
		Protocols:          &protocols,
		IdleConnTimeout:    time.Minute,
		DisableCompression: true,
	}
	return &http1Client{client: http.Client{Transport: transport}, transport: transport, to: to, limit: limit}
}

func (c *http1Client) dial(ctx context.Context, path string) (socket, error) {
	var raw net.Conn
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { raw = info.Conn },
	})
	conn, _, err := websocket.Dial(ctx, fmt.Sprintf("wss://%s%s", c.to, path), &websocket.DialOptions{
		HTTPClient:      &c.client,
		CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, err
	}
	return newCoderSocket(conn, raw, c.limit), nil
}

func (c *http1Client) hangUp() error {
	c.transport.CloseIdleConnections()
	return nil
}

// listenWebSocketPerChannel serves WebSockets of which each has its own TCP
// connection.
func listenWebSocketPerChannel(_ context.Context, env Env) (Server, error) {
	end := newWebSocketServer(env)
	server, err := listenHTTP1(env, end, MaxMessage)
	if err != nil {
		return nil, err
	}
	dial := func(context.Context) (Conn, error) {
		c := newHTTP1Client(env, server.addr, MaxMessage)
		return newWebSocketClient(env.Channels, c.dial, c.hangUp), nil
	}
	l := &webSocketListener{addr: server.addr, dial: dial, close: server.Close}
	l.serve(end)
	return l, nil
}
