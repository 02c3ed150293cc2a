package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"

	"github.com/coder/websocket"
)

// coder has a stream be a WebSocket, a message for each write.
var coder = Peer{
	Name:   "coder",
	Module: "github.com/coder/websocket",
	Lacks:  websocketLacks(),
	Note:   "coder/websocket, a message for each write; its limit of 32 KiB a message is off, since writes are longer",
	Listen: func(c Config) (Server, error) {
		handler := func(w http.ResponseWriter, r *http.Request) {
			ws, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			s := newCoderStream(ws)
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
		t := &http.Transport{TLSClientConfig: withALPN(conf, "http/1.1")}
		ws, _, err := websocket.Dial(ctx, "wss://"+addr+path, &websocket.DialOptions{HTTPClient: &http.Client{Transport: t}})
		if err != nil {
			t.CloseIdleConnections()
			return nil, err
		}
		return &websocketConn{s: newCoderStream(ws), close: ws.CloseNow}, nil
	},
}

// coderStream is the bytes of a WebSocket's messages.
type coderStream struct {
	ws      *websocket.Conn
	message io.Reader // the rest of a message, nil if none
}

func newCoderStream(ws *websocket.Conn) *coderStream {
	ws.SetReadLimit(-1)
	return &coderStream{ws: ws}
}

func (s *coderStream) Read(p []byte) (int, error) {
	for {
		if s.message == nil {
			_, r, err := s.ws.Reader(context.Background())
			if websocket.CloseStatus(err) == websocket.StatusNormalClosure {
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

func (s *coderStream) Write(p []byte) (int, error) {
	if err := s.ws.Write(context.Background(), websocket.MessageBinary, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *coderStream) CloseWrite() error { return errors.New("a WebSocket cannot") }

// Close sends a Close frame, unless one has come and so been answered, and waits
// for the peer's.
func (s *coderStream) Close() error { return s.ws.Close(websocket.StatusNormalClosure, "") }
