package h2wt

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"net"
	"net/http"
	"strconv"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/towpath-go/towpath/internal/h2conn"
)

// bridge shows a WebSocket over HTTP/2 (RFC 8441) to handlers that only know
// HTTP/1.1. Announcing extended CONNECT makes browsers open every WebSocket to
// this origin that way, so the handlers that were there before must go on
// working.
//
//	CONNECT, :protocol websocket   -> GET, HTTP/1.1, Upgrade: websocket
//	101 by WriteHeader             -> 200
//	101 as bytes on the hijacked   -> 200
//	connection
//	any other status               -> the same status
//	hijacked connection            -> DATA frames of the stream
//
// It is the ResponseWriter that the handler gets, the ordinary one with Hijack.
type bridge struct {
	*response
	conn *bridgeConn
}

// startBridge starts the handler of a WebSocket request.
func (c *serverConn) startBridge(x *exchange, h *h2conn.Header) h2conn.Receiver {
	if h.EndStream {
		return c.decline(x, http.StatusBadRequest)
	}
	x.memory = x.openAccount()
	x.recv = newRecvBuffer(x.st.Consume)
	x.recv.account = x.memory
	conn := newBridgeConn(x)
	x.bridge = &bridge{response: x.w, conn: conn}
	x.w.send.onEnd = func() {
		x.sent()
		conn.sent()
	}
	asUpgrade(x.req)
	c.remember(x)
	x.expectDecision()
	go x.run() // ends with the handler; see run
	return conn
}

// asUpgrade turns an extended CONNECT into the request that RFC 6455 section
// 4.1 describes. The key is ours, since RFC 8441 has none; nobody on the way
// looks at the answer to it.
func asUpgrade(r *http.Request) {
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails
	r.Method, r.Proto, r.ProtoMajor, r.ProtoMinor = http.MethodGet, "HTTP/1.1", 1, 1
	r.ContentLength = 0
	for _, name := range []string{":protocol", "Content-Length", "Transfer-Encoding"} {
		delete(r.Header, name)
	}
	r.Header["Upgrade"] = []string{"websocket"}
	r.Header["Connection"] = []string{"Upgrade"}
	r.Header["Sec-Websocket-Key"] = []string{base64.StdEncoding.EncodeToString(key[:])}
	if r.Header.Get("Sec-Websocket-Version") == "" {
		r.Header["Sec-Websocket-Version"] = []string{"13"}
	}
}

// WriteHeader implements http.ResponseWriter. 101 accepts the WebSocket.
func (b *bridge) WriteHeader(code int) {
	if code != http.StatusSwitchingProtocols {
		b.response.WriteHeader(code)
		return
	}
	if b.status != 0 || b.done || b.x.taken() {
		return
	}
	if b.take() == nil {
		b.conn.mu.Lock()
		b.conn.started = true
		b.conn.mu.Unlock()
		b.conn.switched(b.header)
	}
}

// Hijack implements http.Hijacker. The handler then writes an HTTP/1.1
// response on the connection, unless WriteHeader(101) did.
func (b *bridge) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if b.status != 0 || b.done {
		return nil, nil, errHijackLate
	}
	if !b.x.taken() {
		if err := b.take(); err != nil {
			return nil, nil, err
		}
	}
	if !b.conn.hand() {
		return nil, nil, http.ErrHijacked
	}
	return b.conn, bufio.NewReadWriter(bufio.NewReader(b.conn), bufio.NewWriter(b.conn)), nil
}

// take makes the stream the connection's for good.
func (b *bridge) take() error {
	b.x.hold()
	if !b.x.decide(takenOver) {
		b.x.release()
		return errUndecided
	}
	b.conn.opened()
	return nil
}

// Flush implements http.Flusher.
func (b *bridge) Flush() { _ = b.FlushError() }

// FlushError is Flush for http.ResponseController. After 101 there is nothing
// left to flush.
func (b *bridge) FlushError() error {
	if b.x.taken() {
		return nil
	}
	return b.response.FlushError()
}

// switched sends the acceptance: RFC 8441 section 5 has 200 where RFC 6455 has
// 101, and neither Upgrade, Connection nor Sec-WebSocket-Accept.
func (c *bridgeConn) switched(h http.Header) {
	fields := []hpack.HeaderField{{Name: ":status", Value: "200"}}
	if _, ok := h["Date"]; !ok {
		fields = append(fields, hpack.HeaderField{Name: "date", Value: httpDate()})
	}
	h = h.Clone()
	for _, name := range []string{"Content-Length", "Content-Type", "Trailer"} {
		h.Del(name)
	}
	fields = appendFields(fields, h, "Sec-Websocket-Accept")
	c.begin(fields)
}

// refused sends the response of a handler that wrote another status than 101 on
// the hijacked connection.
func (c *bridgeConn) refused(status int, h http.Header, length int) {
	fields := []hpack.HeaderField{{Name: ":status", Value: strconv.Itoa(status)}}
	fields = append(fields, hpack.HeaderField{Name: "content-length", Value: strconv.Itoa(length)})
	c.begin(appendFields(fields, h, "Content-Length"))
}

// begin gives the response's header to the connection, and the bytes that follow.
func (c *bridgeConn) begin(fields []hpack.HeaderField) {
	if err := c.x.st.WriteHeaders(fields, false, nil); err != nil {
		c.x.st.Reset(http2.ErrCodeInternal) // if it has not ended, nothing can be sent on it
		c.over(err)
		return
	}
	c.x.st.SetSource(c.send)
}

// broken ends a WebSocket whose handler did not speak HTTP/1.1 on it.
func (c *bridgeConn) broken(err error) {
	c.x.conn.logf("h2wt: WebSocket handler for %q: %v", c.x.req.URL.Path, err)
	c.x.st.Reset(http2.ErrCodeInternal)
	c.over(err)
}
