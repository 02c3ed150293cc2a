//lint:file-ignore SA1019 deprecated or not, x/net/http2 is the client that can ask for a WebSocket

package adapter

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"time"

	_ "github.com/towpath-go/towpath/cmd/hol/internal/xconnect" // the server's RFC 8441
	"golang.org/x/net/http2"
)

// listenWebSocketsH2 serves WebSockets over one HTTP/2 connection (RFC 8441).
//
// The client is x/net/http2's Transport, which waits for the server's
// SETTINGS_ENABLE_CONNECT_PROTOCOL before the first request; the server is
// net/http's. Both send a DATA frame for each frame of a WebSocket of up to
// 16 KiB and flush it. gobwas/ws frames both ends.
func listenWebSocketsH2(_ context.Context, env Env) (Server, error) {
	end := newWebSocketServer(env)
	l, err := listenH2(env, end)
	if err != nil {
		return nil, err
	}
	l.serve(end)
	return l, nil
}

func listenH2(env Env, to acceptor) (*webSocketListener, error) {
	ln, err := env.Server.ListenTCP(env.Port)
	if err != nil {
		return nil, err
	}
	h := &h2WebSockets{to: to}
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	server := &http.Server{
		Handler:           h,
		TLSConfig:         env.ServerTLS("h2"),
		Protocols:         &protocols,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams(env.Channels)},
		ReadHeaderTimeout: handshakeTimeout,
		ErrorLog:          standardLog(env.Log),
	}
	served := make(chan struct{})
	go func() { // ends with server.Close, which is followed by a wait for it
		defer close(served)
		_ = server.ServeTLS(ln, "", "")
	}()
	addr := localAddr(env.Server, ln.Addr())
	return &webSocketListener{
		addr: addr,
		dial: func(ctx context.Context) (Conn, error) { return dialWebSocketsH2(ctx, env, addr) },
		close: func() error {
			err := server.Close()
			<-served
			h.handlers.close()
			return err
		},
	}, nil
}

// handshakeTimeout bounds what a server waits for a client's request.
const handshakeTimeout = 10 * time.Second

// maxStreams is how many streams a server allows at once: what the libraries'
// servers do, or as many as the channels and their calls need.
func maxStreams(channels int) int { return max(250, 2*channels+10) }

// h2WebSockets is the server's handler.
type h2WebSockets struct {
	to       acceptor
	handlers handlers
}

func (h *h2WebSockets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.handlers.enter() {
		http.Error(w, "the server closes", http.StatusServiceUnavailable)
		return
	}
	defer h.handlers.done()
	// RFC 8441 section 5; net/http has the pseudo-header field among the others.
	if r.Method != http.MethodConnect || r.Header.Get(":protocol") != "websocket" {
		http.Error(w, "WebSockets only", http.StatusBadRequest)
		return
	}
	if status := webSocketStatus(h.to, r); status != http.StatusOK {
		http.Error(w, http.StatusText(status), status)
		return
	}
	s := &h2ServerStream{
		ResponseController: http.NewResponseController(w),
		body:               r.Body,
		w:                  w,
		aborted:            make(chan struct{}),
		finished:           make(chan struct{}),
	}
	w.WriteHeader(http.StatusOK)
	if err := s.Flush(); err != nil {
		return
	}
	h.to.accepted(r.URL.Path, newFramed(s, false, MaxMessage))
	if !s.serve() {
		panic(http.ErrAbortHandler) // resets the stream
	}
}

// webSocketStatus is the answer to a request for a WebSocket by extended CONNECT,
// 200 if it is granted.
func webSocketStatus(to acceptor, r *http.Request) int {
	if r.Header.Get("Sec-WebSocket-Version") != "13" {
		return http.StatusBadRequest
	}
	return to.room(r.URL.Path)
}

// h2ServerStream is the server's end of a stream. The handler has to stay until
// nobody uses it any more.
type h2ServerStream struct {
	*http.ResponseController
	body     io.Reader
	w        io.Writer
	aborted  chan struct{}
	once     sync.Once
	finished chan struct{}
	clean    bool // set before finished is closed
}

func (s *h2ServerStream) Read(p []byte) (int, error) { return s.body.Read(p) }

func (s *h2ServerStream) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err == nil {
		err = s.Flush()
	}
	return n, err
}

// CloseWrite leaves it to serve, whose return ends the stream.
func (s *h2ServerStream) CloseWrite() error { return nil }

func (s *h2ServerStream) Finished(clean bool) {
	s.clean = clean
	close(s.finished)
}

func (s *h2ServerStream) Abort() { s.once.Do(func() { close(s.aborted) }) }

// serve returns when the stream is not used any more, and whether it ended in
// order.
func (s *h2ServerStream) serve() bool {
	select {
	case <-s.finished:
	case <-s.aborted:
		// Deadlines are the only way to end calls without leaving the handler.
		past := time.Unix(1, 0)
		_ = s.SetReadDeadline(past)
		_ = s.SetWriteDeadline(past)
		<-s.finished
	}
	return s.clean
}

func dialWebSocketsH2(ctx context.Context, env Env, to netip.AddrPort) (Conn, error) {
	raw, err := env.Client.DialTCP(ctx, to)
	if err != nil {
		return nil, err
	}
	config := env.ClientTLS("h2")
	config.ServerName = to.Addr().String()
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, err
	}
	cc, err := (&http2.Transport{}).NewClientConn(conn)
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	dial := func(ctx context.Context, path string) (socket, error) {
		s, err := openH2Stream(ctx, cc, "https://"+to.String()+path)
		if err != nil {
			return nil, err
		}
		return newFramed(s, true, MaxMessage), nil
	}
	return newWebSocketClient(env.Channels, dial, cc.Close), nil
}

// h2ClientStream is the client's end of a stream: the body of the request, and
// that of the response.
type h2ClientStream struct {
	request  *io.PipeWriter
	response io.ReadCloser
	cancel   context.CancelFunc
}

// openH2Stream asks for a WebSocket (RFC 8441 section 5).
func openH2Stream(ctx context.Context, cc *http2.ClientConn, url string) (frameStream, error) {
	r, w := io.Pipe()
	// The request lives as long as the WebSocket; ctx bounds its opening.
	life, cancel := context.WithCancel(context.Background())
	request, err := http.NewRequestWithContext(life, http.MethodConnect, url, r)
	if err != nil {
		cancel()
		return nil, err
	}
	request.Header[":protocol"] = []string{"websocket"}
	request.Header.Set("Sec-WebSocket-Version", "13")
	opened := context.AfterFunc(ctx, cancel)
	response, err := cc.RoundTrip(request)
	if !opened() && err == nil {
		_ = response.Body.Close()
		err = context.Cause(ctx)
	}
	if err == nil && response.StatusCode != http.StatusOK {
		_ = response.Body.Close()
		err = fmt.Errorf("the server answered %s", response.Status)
	}
	if err != nil {
		cancel()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return &h2ClientStream{request: w, response: response.Body, cancel: cancel}, nil
}

func (s *h2ClientStream) Read(p []byte) (int, error)  { return s.response.Read(p) }
func (s *h2ClientStream) Write(p []byte) (int, error) { return s.request.Write(p) }
func (s *h2ClientStream) CloseWrite() error           { return s.request.Close() }

func (s *h2ClientStream) Abort() {
	s.cancel()
	_ = s.request.CloseWithError(errors.New("the WebSocket was aborted"))
}

// Finished has nothing to do: the transport ends a stream that both ends have
// ended, and Abort has reset one that was not clean.
func (s *h2ClientStream) Finished(bool) {}
