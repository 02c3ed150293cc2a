//lint:file-ignore SA1019 deprecated or not, x/net/http2 is what is compared

package peer

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"golang.org/x/net/http2"

	_ "github.com/towpath-go/towpath/e2e/bench/internal/xconnect" // the server's RFC 8441
)

// xnet has a stream be an extended CONNECT request.
var xnet = Peer{
	Name:    "x/net/http2",
	Module:  "golang.org/x/net",
	PerConn: 100,
	Lacks:   muxLacks(),
	Note:    "extended CONNECT, the server's writes flushed one by one; pooled are streams",
	Listen: func(c Config) (Server, error) {
		handler := func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusOK)
			control := http.NewResponseController(w)
			if control.Flush() == nil {
				c.Handler.Stream(&xnetServerStream{w: w, body: r.Body, flush: control.Flush})
			}
		}
		s, err := listenHTTP(c.TLS, handler, func(hs *http.Server) error {
			return http2.ConfigureServer(hs, &http2.Server{MaxUploadBufferPerConnection: ConnWindow, MaxUploadBufferPerStream: StreamWindow})
		}, nil)
		if err != nil {
			return nil, err
		}
		return s, nil
	},
	Dial: func(ctx context.Context, addr string, conf *tls.Config) (Conn, error) {
		tc, err := dialTLS(ctx, addr, withALPN(conf, "h2"), nil)
		if err != nil {
			return nil, err
		}
		t, err := http2.ConfigureTransports(&http.Transport{HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerConnection: ConnWindow, MaxReceiveBufferPerStream: StreamWindow}})
		if err != nil {
			tc.Close()
			return nil, err
		}
		cc, err := t.NewClientConn(tc)
		if err != nil {
			tc.Close()
			return nil, err
		}
		return &xnetConn{tc: tc, cc: cc, addr: addr}, nil
	},
}

// xnetServerStream is a request and its response. What is written must not wait
// for more, so each write is flushed.
type xnetServerStream struct {
	w     io.Writer
	body  io.ReadCloser
	flush func() error
}

func (s *xnetServerStream) Read(p []byte) (int, error) { return s.body.Read(p) }

func (s *xnetServerStream) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err == nil {
		err = s.flush()
	}
	return n, err
}

// CloseWrite is the handler's return.
func (s *xnetServerStream) CloseWrite() error { return nil }
func (s *xnetServerStream) Close() error      { return s.body.Close() }

type xnetConn struct {
	noUni
	noDatagrams
	tc   *tls.Conn
	cc   *http2.ClientConn
	addr string
}

func (c *xnetConn) Open(context.Context) (Stream, error) {
	pr, pw := io.Pipe()
	r := &http.Request{
		Method: http.MethodConnect, URL: &url.URL{Scheme: "https", Host: c.addr, Path: path}, Host: c.addr,
		Header: http.Header{":protocol": {"bench"}}, Body: pr,
	}
	// A context of the request would end the stream with it, so there is none: the
	// connection's end ends the wait.
	resp, err := c.cc.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("the server answered %s", resp.Status)
	}
	return &xnetStream{body: resp.Body, pw: pw}, nil
}

func (c *xnetConn) OpenPooled(ctx context.Context) error { return pooledStream(ctx, c) }

func (c *xnetConn) Close() error {
	err := c.cc.Close()
	_ = c.tc.Close() // closed by the former
	return err
}

// xnetStream is a client's request: its body is the pipe's.
type xnetStream struct {
	body io.ReadCloser
	pw   *io.PipeWriter
}

func (s *xnetStream) Read(p []byte) (int, error)  { return s.body.Read(p) }
func (s *xnetStream) Write(p []byte) (int, error) { return s.pw.Write(p) }
func (s *xnetStream) CloseWrite() error           { return s.pw.Close() }

func (s *xnetStream) Close() error {
	_ = s.pw.Close()
	return s.body.Close()
}
