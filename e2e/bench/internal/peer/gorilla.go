package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

// websocketLacks is what WebSockets do not do.
func websocketLacks() map[Feature]string {
	const one = "a WebSocket is one stream"
	return map[Feature]string{Streams: one, Uni: one, Pool: one, Datagrams: "WebSockets have no datagrams", HalfClose: "a WebSocket ends in both directions"}
}

// gorilla has a stream be a WebSocket, a message for each write.
var gorilla = Peer{
	Name:   "gorilla",
	Module: "github.com/gorilla/websocket",
	Lacks:  websocketLacks(),
	Note:   "gorilla/websocket, a message for each write",
	Listen: func(c Config) (Server, error) {
		handler := func(w http.ResponseWriter, r *http.Request) {
			ws, err := new(websocket.Upgrader).Upgrade(w, r, nil)
			if err != nil {
				return
			}
			s := &gorillaStream{ws: ws}
			c.Handler.Stream(s)
			_ = s.Close()
		}
		s, err := listenHTTP(c.TLS, handler, http1, nil)
		if err != nil {
			return nil, err
		}
		return s, nil
	},
	Dial: func(ctx context.Context, addr string, conf *tls.Config) (Conn, error) {
		d := websocket.Dialer{TLSClientConfig: conf.Clone()}
		ws, _, err := d.DialContext(ctx, "wss://"+addr+path, nil)
		if err != nil {
			return nil, err
		}
		return &websocketConn{s: &gorillaStream{ws: ws}, close: ws.Close}, nil
	},
}

// websocketConn is a connection whose one stream is the WebSocket.
type websocketConn struct {
	noUni
	noDatagrams
	s     Stream
	close func() error // without a word to the peer
}

func (c *websocketConn) Open(context.Context) (Stream, error) { return c.s, nil }
func (c *websocketConn) OpenPooled(context.Context) error     { return errLacking }

func (c *websocketConn) Close() error {
	_ = c.close() // also closed as a stream
	return nil
}

// closeTimeout bounds the wait for the peer's Close frame.
const closeTimeout = 5 * time.Second

// gorillaStream is the bytes of a WebSocket's messages.
type gorillaStream struct {
	ws      *websocket.Conn
	message io.Reader // the rest of a message, nil if none
}

func (s *gorillaStream) Read(p []byte) (int, error) {
	for {
		if s.message == nil {
			_, r, err := s.ws.NextReader()
			if websocket.IsCloseError(err, websocket.CloseNormalClosure) {
				return 0, io.EOF
			}
			if err != nil {
				return 0, err
			}
			s.message = r
		}
		n, err := s.message.Read(p)
		if err == io.EOF {
			s.message = nil
			if n == 0 {
				continue
			}
			err = nil
		}
		return n, err
	}
}

func (s *gorillaStream) Write(p []byte) (int, error) {
	if err := s.ws.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *gorillaStream) CloseWrite() error { return errors.New("a WebSocket cannot") }

// Close sends a Close frame, unless one has come and so been answered, and waits
// for the peer's.
func (s *gorillaStream) Close() error {
	deadline := time.Now().Add(closeTimeout)
	_ = s.ws.SetReadDeadline(deadline)
	err := s.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), deadline)
	for err == nil {
		_, _, err = s.ws.NextReader()
	}
	_ = s.ws.Close()
	if websocket.IsCloseError(err, websocket.CloseNormalClosure) || errors.Is(err, websocket.ErrCloseSent) {
		return nil
	}
	return err
}
