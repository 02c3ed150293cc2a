//lint:file-ignore SA1019 deprecated or not, x/net/http2 is what is compared

package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	_ "github.com/towpath-go/towpath/cmd/hol/internal/xconnect" // the server's RFC 8441

	"github.com/gorilla/websocket"
	"golang.org/x/net/http2"
)

var otherWays = []way{
	{name: "gorilla/websocket", note: "one WebSocket; bulk in messages of 1 MiB, between two of which all messages that wait go", open: openGorilla(1 << 20)},
	{name: "gorilla/websocket, 16 KiB", note: "the same, with bulk cut into messages of 16 KiB", open: openGorilla(16 << 10)},
	{name: "x/net/http2", note: "two streams of extended CONNECT", open: openHTTP2},
}

// serve serves a handler over TLS.
func (s *scene) serve(ln net.Listener, h http.HandlerFunc, protocols func(*http.Protocols)) {
	hs := &http.Server{Handler: h, TLSConfig: s.certificate.ServerTLS(), Protocols: new(http.Protocols)}
	protocols(hs.Protocols)
	served := make(chan struct{})
	go func() { // ends by hs.Close, which is followed by a wait for it
		defer close(served)
		_ = hs.ServeTLS(ln, "", "")
	}()
	s.end(func() {
		_ = hs.Close()
		<-served
	})
}

func openGorilla(size int) func(context.Context, *scene) (*carried, error) {
	return func(ctx context.Context, s *scene) (*carried, error) {
		ln, addr, err := s.listen()
		if err != nil {
			return nil, err
		}
		upgraded := make(chan *websocket.Conn, 1)
		s.serve(ln, func(w http.ResponseWriter, r *http.Request) {
			if ws, err := new(websocket.Upgrader).Upgrade(w, r, nil); err == nil {
				upgraded <- ws
			}
		}, func(p *http.Protocols) { p.SetHTTP1(true) })
		tc, err := s.dial(ctx, addr, "http/1.1", nil) // so that the URL is of ws
		if err != nil {
			return nil, err
		}
		ws, _, err := websocket.NewClient(tc, &url.URL{Scheme: "ws", Host: addr.String(), Path: "/priority"}, nil, 4096, 4096)
		if err != nil {
			return nil, err
		}
		s.end(func() { _ = ws.Close() })
		remote, err := await(ctx, upgraded, 1)
		if err != nil {
			return nil, err
		}
		s.end(func() { _ = remote[0].Close() })
		w := &shared{w: gorillaWriter{ws}}
		if _, err := w.Write(hello); err != nil {
			return nil, err
		}
		return &carried{bulk: &gathered{w: w, size: size}, messages: messages{w}, received: []io.Reader{&gorillaReader{ws: remote[0]}}}, nil
	}
}

// gathered makes writes of one size out of many.
type gathered struct {
	w    io.Writer
	size int
	buf  []byte
}

func (g *gathered) Write(p []byte) (int, error) {
	g.buf = append(g.buf, p...)
	for len(g.buf) >= g.size {
		if _, err := g.w.Write(g.buf[:g.size]); err != nil {
			return 0, err
		}
		g.buf = append(g.buf[:0], g.buf[g.size:]...)
	}
	return len(p), nil
}

// gorillaWriter sends a message for each Write.
type gorillaWriter struct{ ws *websocket.Conn }

func (w gorillaWriter) Write(p []byte) (int, error) {
	return len(p), w.ws.WriteMessage(websocket.BinaryMessage, p)
}

// gorillaReader is the bytes of a WebSocket's messages.
type gorillaReader struct {
	ws      *websocket.Conn
	message io.Reader // the rest of one, nil if none
}

func (r *gorillaReader) Read(p []byte) (int, error) {
	for {
		if r.message == nil {
			_, m, err := r.ws.NextReader()
			if err != nil {
				return 0, err
			}
			r.message = m
		}
		n, err := r.message.Read(p)
		if err == io.EOF {
			r.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func openHTTP2(ctx context.Context, s *scene) (*carried, error) {
	ln, addr, err := s.listen()
	if err != nil {
		return nil, err
	}
	bodies := make(chan io.Reader, 2)
	s.serve(ln, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		if http.NewResponseController(w).Flush() == nil {
			bodies <- r.Body
			<-r.Context().Done()
		}
	}, func(p *http.Protocols) { p.SetHTTP2(true) })
	tc, err := s.dial(ctx, addr, "h2", nil)
	if err != nil {
		return nil, err
	}
	cc, err := new(http2.Transport).NewClientConn(tc)
	if err != nil {
		return nil, err
	}
	s.end(func() { _ = cc.Close() })
	c := new(carried)
	for _, w := range []*io.Writer{&c.bulk, &c.messages} {
		pr, pw := io.Pipe()
		s.end(func() { _ = pw.Close() })
		// A context of the request would end the stream with it.
		resp, err := cc.RoundTrip(&http.Request{
			Method: http.MethodConnect, URL: &url.URL{Scheme: "https", Host: addr.String(), Path: "/priority"}, Host: addr.String(),
			Header: http.Header{":protocol": {"priority"}}, Body: pr,
		})
		if err != nil {
			return nil, err
		}
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("the server answered %s", resp.Status)
		}
		body, err := await(ctx, bodies, 1)
		if err != nil {
			return nil, err
		}
		if _, err := pw.Write(hello); err != nil {
			return nil, err
		}
		*w, c.received = pw, append(c.received, body[0])
	}
	return c, nil
}
