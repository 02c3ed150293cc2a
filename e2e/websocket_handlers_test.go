package e2e_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	gorilla "github.com/gorilla/websocket"
	xnet "golang.org/x/net/websocket"
)

// A wsLibrary is an http.Handler that echoes WebSocket messages, written as its
// library's users write it, without a thought of HTTP/2.
type wsLibrary struct {
	name    string
	handler http.HandlerFunc

	// What the libraries do differently, whichever way the request came.
	closeReply      uint16 // the status of the answer to Close(4000)
	wrongOrigin     int    // the answer to a foreign Origin
	eachFragment    bool   // a fragment is a message of its own
	findsUnwrap     bool   // it finds the Hijacker behind a wrapper's Unwrap
	noVersionAnswer int    // the answer to Sec-WebSocket-Version: 12
}

var wsLibraries = []wsLibrary{
	{
		name: "gorilla", handler: echoGorilla,
		closeReply: 4000, wrongOrigin: http.StatusForbidden, noVersionAnswer: http.StatusBadRequest,
	},
	{
		name: "coder", handler: echoCoder,
		closeReply: 4000, wrongOrigin: http.StatusForbidden, noVersionAnswer: http.StatusBadRequest, findsUnwrap: true,
	},
	{
		name: "gobwas", handler: echoGobwas,
		closeReply: 4000, wrongOrigin: http.StatusForbidden, noVersionAnswer: http.StatusUpgradeRequired,
	},
	{
		// Its refusals are written to the hijacked connection, not by the
		// ResponseWriter.
		name: "x-net", handler: echoXNet.ServeHTTP,
		closeReply: 1000, wrongOrigin: http.StatusForbidden, noVersionAnswer: http.StatusBadRequest, eachFragment: true,
	},
}

func echoGorilla(w http.ResponseWriter, r *http.Request) {
	u := gorilla.Upgrader{Subprotocols: []string{"chat"}, EnableCompression: true}
	conn, err := u.Upgrade(w, r, http.Header{"X-Library": {"gorilla"}})
	if err != nil {
		return // Upgrade has answered
	}
	defer conn.Close()
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil {
			return
		}
		if err := conn.WriteMessage(kind, message); err != nil {
			return
		}
	}
}

func echoCoder(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Library", "coder")
	conn, err := coder.Accept(w, r, &coder.AcceptOptions{Subprotocols: []string{"chat"}})
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	conn.SetReadLimit(8 << 20)
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		if err := conn.Write(r.Context(), kind, message); err != nil {
			return
		}
	}
}

func echoGobwas(w http.ResponseWriter, r *http.Request) {
	// The library leaves the check of the Origin to its user.
	if o := r.Header.Get("Origin"); o != "" {
		if u, err := url.Parse(o); err != nil || u.Host != r.Host {
			http.Error(w, "foreign origin", http.StatusForbidden)
			return
		}
	}
	u := ws.HTTPUpgrader{
		Protocol: func(p string) bool { return p == "chat" },
		Header:   http.Header{"X-Library": {"gobwas"}},
	}
	conn, _, _, err := u.Upgrade(r, w)
	if err != nil {
		return // Upgrade has answered
	}
	defer conn.Close()
	for {
		message, op, err := wsutil.ReadClientData(conn)
		if err != nil {
			return
		}
		if err := wsutil.WriteServerMessage(conn, op, message); err != nil {
			return
		}
	}
}

var echoXNet = xnet.Server{
	Handshake: func(c *xnet.Config, r *http.Request) error {
		c.Header = http.Header{"X-Library": {"x-net"}}
		if o := r.Header.Get("Origin"); o != "" {
			if u, err := url.Parse(o); err != nil || u.Host != r.Host {
				return errors.New("foreign origin")
			}
		}
		if slices.Contains(c.Protocol, "chat") {
			c.Protocol = []string{"chat"}
		} else {
			c.Protocol = nil
		}
		return nil
	},
	Handler: func(conn *xnet.Conn) {
		defer conn.Close()
		var f xnetMessage
		for xnetCodec.Receive(conn, &f) == nil && xnetCodec.Send(conn, &f) == nil {
		}
	},
}

// An xnetMessage is a message and its opcode.
type xnetMessage struct {
	opcode byte
	data   []byte
}

var xnetCodec = xnet.Codec{
	Marshal: func(v any) ([]byte, byte, error) {
		m := v.(*xnetMessage)
		return m.data, m.opcode, nil
	},
	Unmarshal: func(data []byte, opcode byte, v any) error {
		*v.(*xnetMessage) = xnetMessage{opcode, data}
		return nil
	},
}

// logged is a middleware as many are: it wraps the ResponseWriter to see the
// status, and hands the connection through.
func logged(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(&loggedWriter{ResponseWriter: w}, r)
	})
}

type loggedWriter struct {
	http.ResponseWriter
	status int
}

func (w *loggedWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *loggedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// unwrapped is a middleware whose ResponseWriter has nothing but Unwrap, as
// http.ResponseController wants it.
func unwrapped(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(unwrapWriter{w}, r)
	})
}

type unwrapWriter struct{ w http.ResponseWriter }

func (u unwrapWriter) Header() http.Header         { return u.w.Header() }
func (u unwrapWriter) Write(p []byte) (int, error) { return u.w.Write(p) }
func (u unwrapWriter) WriteHeader(status int)      { u.w.WriteHeader(status) }
func (u unwrapWriter) Unwrap() http.ResponseWriter { return u.w }

var _ io.Writer = unwrapWriter{}
