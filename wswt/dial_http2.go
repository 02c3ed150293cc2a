package wswt

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"

	"github.com/towpath-go/towpath/transport"
)

// An HTTP2Conn is an HTTP/2 connection whose server takes WebSockets (RFC 8441).
// *h2wt.ClientConn is one.
type HTTP2Conn interface {
	// OpenWebSocket opens a WebSocket with an extended CONNECT: the stream as a
	// net.Conn, and the header of the response. Header is added to the request.
	// A net.Conn with a method ConnectionState() tls.ConnectionState tells of
	// the connection's TLS session, and one with a method StreamID() uint64 which
	// stream it is.
	OpenWebSocket(ctx context.Context, rawURL string, header http.Header) (net.Conn, http.Header, error)
}

// DialHTTP2 opens a session on a WebSocket that is a stream of an HTTP/2
// connection, which may carry others beside it and outlives the session. Ctx
// bounds this call alone. Nil opts and cfg are the zero ones. The errors are those
// of [DialConn], and those of c's OpenWebSocket.
func DialHTTP2(ctx context.Context, c HTTP2Conn, rawURL string, opts *transport.DialOptions, cfg *Config) (transport.Session, error) {
	r, err := newRequest(rawURL, opts)
	if err != nil {
		return nil, err
	}
	cfg = cfg.clone()
	bound, cancel := ctx, context.CancelFunc(func() {})
	if d := cfg.handshakeTimeout(); d > 0 {
		bound, cancel = context.WithTimeoutCause(ctx, d, errHandshakeTimeout)
	}
	defer cancel()
	header := r.header()
	header["Sec-Websocket-Protocol"] = []string{r.subprotocols()}
	nc, answer, err := c.OpenWebSocket(bound, asHTTPS(rawURL), header)
	if err != nil {
		return nil, err
	}
	var state *tls.ConnectionState
	if t, ok := nc.(interface{ ConnectionState() tls.ConnectionState }); ok {
		cs := t.ConnectionState()
		state = &cs
	}
	return r.open(nc, nil, answer, state, cfg)
}

// streamID is the session ID of a connection: that of the HTTP/2 stream which it
// is, 0 if it is one of HTTP/1.1.
func streamID(nc net.Conn) uint64 {
	if s, ok := nc.(interface{ StreamID() uint64 }); ok {
		return s.StreamID()
	}
	return 0
}
