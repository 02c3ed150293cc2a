package h2wt

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/internal/handshake"
	"github.com/towpath-go/towpath/transport"
)

// OpenWebSocket opens a WebSocket on the connection (RFC 8441) and returns its
// stream: the bytes of RFC 6455 frames go over it in both directions. rawURL is an
// https or wss URL. header is added to the request, with Origin and
// Sec-WebSocket-Protocol if they are wanted; Sec-WebSocket-Version is set, and
// fields of the HTTP/1.1 handshake are refused. It returns the header of the
// response, whose choice of subprotocol and extensions the caller checks. It waits
// while the server's limit on streams is reached, and for the answer; ctx bounds
// only this call.
//
// The net.Conn has CloseWrite, StreamID, ConnectionState and RTT besides. Its Read and Write
// may each be called by one goroutine at a time. It holds at most 64 KiB written
// and not sent, then Write waits for the server's credit; and one stream window
// received and not read, then the server waits. Close sends what was written and
// ends the stream, and resets it if the server does not end its side within
// Config.LingerTimeout. A stream that ended abruptly has Read and Write return a
// [*transport.ResetError] or the connection's error. The stream needs no goroutine
// of its own. It does not count against Config.MaxSessions.
//
// Every server that NewClientConn accepts has announced extended CONNECT. Errors:
// [*transport.RejectedError] if the server answered with another status than 2xx,
// or with 2xx and the end of the stream; [*transport.NotProcessedError] if it did
// nothing with the request; [*transport.ResetError] or the connection's error; the
// context's cause; and an error for a URL or header that is not valid.
func (c *ClientConn) OpenWebSocket(ctx context.Context, rawURL string, header http.Header) (net.Conn, http.Header, error) {
	target, err := handshake.ParseURL(httpsURL(rawURL))
	if err == nil {
		err = handshake.CheckWebSocketHeader(header)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("h2wt: WebSocket: %w", err)
	}
	ws := newWebSocketConn(c)
	st, err := c.h2.OpenStream(ctx, &h2conn.Open{
		Fields:   websocketRequest(target, header),
		Receiver: ws,
		OnWrite: func(st *h2conn.Stream, _ h2conn.Settings) error {
			ws.mu.Lock()
			ws.st = st
			ws.mu.Unlock()
			ws.response.written <- nil
			return nil
		},
	})
	if err != nil {
		return nil, nil, dialError(err)
	}
	resp, err := ws.response.wait(ctx, ws.ended, ws.cause)
	if err == nil && (resp.status > 299 || resp.endStream) {
		err = ws.rejected(ctx, resp)
	}
	if err != nil {
		st.Reset(http2.ErrCodeCancel)
		return nil, nil, err
	}
	st.SetSource(ws.send)
	return ws, resp.header, nil
}

// httpsURL is a wss URL as the https URL of the same resource.
func httpsURL(raw string) string {
	if scheme, rest, ok := strings.Cut(raw, ":"); ok && strings.EqualFold(scheme, "wss") {
		return "https:" + rest
	}
	return raw
}

// websocketRequest are the fields of the request: RFC 8441 section 5. Connection,
// Upgrade and Sec-WebSocket-Key have no place in it.
func websocketRequest(target handshake.Target, header http.Header) []hpack.HeaderField {
	fields := []hpack.HeaderField{
		{Name: ":method", Value: http.MethodConnect},
		{Name: ":protocol", Value: "websocket"},
		{Name: ":scheme", Value: "https"},
		{Name: ":authority", Value: target.Authority},
		{Name: ":path", Value: target.Path},
		{Name: "sec-websocket-version", Value: "13"},
	}
	return appendFields(fields, header, "")
}

// websocketConn is a client's WebSocket.
type websocketConn struct {
	streamConn
	response *connectAnswer
	ended    chan struct{} // closed when the stream has ended abruptly

	err error // why, once ended is closed
}

func newWebSocketConn(c *ClientConn) *websocketConn {
	ws := &websocketConn{response: newConnectAnswer(), ended: make(chan struct{})}
	ws.streamConn = streamConn{
		tc:     c.tc,
		linger: c.cfg.lingerTimeout(),
		recv:   newRecvBuffer(func(n int) { ws.stream().Consume(n) }),
		send:   newSendBuffer(func() { ws.stream().Wake() }),
		lostBy: ws.fail,
		onOver: func() {},
		live:   true,
	}
	ws.send.onEnd = ws.sent
	return ws
}

// Headers implements h2conn.Receiver.
func (ws *websocketConn) Headers(h *h2conn.Header) { ws.response.received(h) }

// fail ends both directions. The stream may end while Close waits for it, so
// there may be a second call, which changes nothing.
func (ws *websocketConn) fail(err error) {
	ws.recv.end(lostError(err))
	ws.send.fail(lostError(err))
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.err == nil {
		ws.err = err
		close(ws.ended)
	}
}

// cause returns why the stream ended, as the connection says it.
func (ws *websocketConn) cause() error {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.err
}

// rejected makes the error of a response that does not accept, with the first
// bytes of its content if they come in time.
func (ws *websocketConn) rejected(ctx context.Context, resp *connectResponse) error {
	ws.recv.deadline.Set(time.Now().Add(rejectBodyWait))
	stop := context.AfterFunc(ctx, func() { ws.recv.deadline.Set(time.Now()) })
	defer stop()
	defer ws.recv.deadline.Stop()
	body := make([]byte, 0, maxRejectBody)
	for len(body) < cap(body) && !resp.endStream {
		n, err := ws.recv.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if err != nil {
			break
		}
	}
	return &transport.RejectedError{StatusCode: resp.status, Header: resp.header, Body: body}
}
