package peers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/towpath-go/towpath/h2wt"
	"github.com/towpath-go/towpath/h3wt"
	"github.com/towpath-go/towpath/internal/testcert"
	"github.com/towpath-go/towpath/negotiate"
	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/wswt"
)

// The rows of this library with itself.
var (
	towpathH3 = &row{name: "towpath h3", section: own, peer: "Towpath", end: "both", transport: "HTTP/3", module: "this library"}
	towpathH2 = &row{name: "towpath h2", section: own, peer: "Towpath, each recognising the other", end: "both", transport: "HTTP/2", module: "this library"}

	towpathH2Draft15 = &row{name: "towpath h2 draft 15", section: own, peer: "Towpath, strictly draft 15", end: "both", transport: "HTTP/2", module: "this library", configure: "`Config.Dialect: DialectDraft15`"}
	towpathH2Legacy  = &row{name: "towpath h2 legacy", section: own, peer: "Towpath, strictly drafts 07 to 14", end: "both", transport: "HTTP/2", module: "this library", configure: "`Config.Dialect: DialectLegacy`"}
)

func TestTowpath(t *testing.T) {
	t.Run("HTTP3", func(t *testing.T) {
		measure(t, towpathH3, newTowpathLink(t, nil, nil, transport.HTTP3), nil)
	})
	for _, c := range []struct {
		r       *row
		dialect transport.Dialect
		heard   [3]string
	}{
		{towpathH2, transport.DialectAuto, [3]string{"draft-15", "recognised", "draft"}},
		{towpathH2Draft15, transport.DialectDraft15, [3]string{"draft-15", "configured", "draft"}},
		{towpathH2Legacy, transport.DialectLegacy, [3]string{"legacy", "configured", "draft"}},
	} {
		t.Run("HTTP2 "+c.dialect.String(), func(t *testing.T) {
			heard := &dialects{}
			measure(t, c.r, newTowpathLink(t, heard.config(c.dialect), heard.config(c.dialect), transport.HTTP2), nil)
			heard.want(t, c.heard[0], c.heard[1], c.heard[2])
		})
	}
}

// TestTowpathDialects: an end that finds the dialect out fits one that is told.
func TestTowpathDialects(t *testing.T) {
	for _, told := range []transport.Dialect{transport.DialectDraft15, transport.DialectLegacy} {
		for _, client := range []transport.Dialect{transport.DialectAuto, told} {
			server := told
			if client == told {
				server = transport.DialectAuto
			}
			t.Run(fmt.Sprintf("%v client, %v server", client, server), func(t *testing.T) {
				l := newTowpathLink(t, &transport.Config{Dialect: client}, &transport.Config{Dialect: server}, transport.HTTP2)
				for c, show := range scenarios {
					t.Run(column(c).String(), func(t *testing.T) { show(t, l) })
				}
			})
		}
	}
}

// A towpathEnd is an end that is this library's.
type towpathEnd struct{ s transport.Session }

func (e towpathEnd) open(ctx context.Context, uni bool) (stream, error) {
	if uni {
		st, err := e.s.OpenUniStream(ctx)
		return towpathStream{send: st}, err
	}
	st, err := e.s.OpenStream(ctx)
	return towpathStream{send: st, recv: st}, err
}

func (e towpathEnd) accept(ctx context.Context, uni bool) (stream, error) {
	if uni {
		st, err := e.s.AcceptUniStream(ctx)
		return towpathStream{recv: st}, err
	}
	st, err := e.s.AcceptStream(ctx)
	return towpathStream{send: st, recv: st}, err
}

func (e towpathEnd) sendDatagram(_ context.Context, p []byte) error { return e.s.SendDatagram(p) }

func (e towpathEnd) receiveDatagram(ctx context.Context) ([]byte, error) {
	return e.s.ReceiveDatagram(ctx)
}

func (e towpathEnd) protocol() string { return e.s.Info().ApplicationProtocol }

func (e towpathEnd) close(_ context.Context, code uint32, reason string) error {
	return e.s.CloseWithError(transport.SessionErrorCode(code), reason)
}

func (e towpathEnd) closed(ctx context.Context) (code uint32, reason string, err error) {
	select {
	case <-e.s.Context().Done():
	case <-ctx.Done():
		return 0, "", context.Cause(ctx)
	}
	err = context.Cause(e.s.Context())
	var end *transport.SessionError
	if !errors.As(err, &end) || !end.Remote || end.Err != nil {
		return 0, "", fmt.Errorf("the session was not closed by the other end: %w", err)
	}
	return uint32(end.Code), end.Reason, nil
}

type towpathStream struct {
	send transport.SendStream
	recv transport.ReceiveStream
}

func (s towpathStream) write(ctx context.Context, p []byte) error {
	if d, ok := ctx.Deadline(); ok {
		s.send.SetWriteDeadline(d)
	}
	_, err := s.send.Write(p)
	return err
}

func (s towpathStream) finish(context.Context) error { return s.send.Close() }

func (s towpathStream) reset(_ context.Context, code uint32) error {
	s.send.CancelWrite(transport.StreamErrorCode(code))
	return nil
}

func (s towpathStream) stop(_ context.Context, code uint32) error {
	s.recv.CancelRead(transport.StreamErrorCode(code))
	return nil
}

func (s towpathStream) wasStopped(ctx context.Context) (uint32, error) {
	for {
		if err := s.write(ctx, make([]byte, 1<<10)); err != nil {
			return abortCode(err)
		}
	}
}

func (s towpathStream) wasReset(ctx context.Context) (uint32, error) {
	_, err := s.readAll(ctx)
	return abortCode(err)
}

// abortCode returns the code with which the other end aborted a stream.
func abortCode(err error) (uint32, error) {
	var aborted *transport.StreamError
	if !errors.As(err, &aborted) || !aborted.Remote || aborted.NoCode {
		return 0, fmt.Errorf("not an abort by the other end: %w", err)
	}
	return uint32(aborted.Code), nil
}

func (s towpathStream) read(ctx context.Context, n int) ([]byte, error) {
	s.bound(ctx)
	p := make([]byte, n)
	_, err := io.ReadFull(s.recv, p)
	return p, err
}

func (s towpathStream) readAll(ctx context.Context) ([]byte, error) {
	s.bound(ctx)
	return io.ReadAll(s.recv)
}

func (s towpathStream) bound(ctx context.Context) {
	if d, ok := ctx.Deadline(); ok {
		s.recv.SetReadDeadline(d)
	}
}

// A towpathServer is a negotiate.Server on loopback that hands its sessions
// over in the order in which they come.
type towpathServer struct {
	addr     string
	cert     *testcert.Cert
	sessions chan transport.Session
}

// newTowpathServer serves by the transports given until the test ends. The
// options are those of every session; nil means the protocol "second" alone.
func newTowpathServer(t *testing.T, opts *transport.UpgradeOptions, config *transport.Config, transports ...transport.Protocol) *towpathServer {
	t.Helper()
	s := &towpathServer{cert: testcert.New(t), sessions: make(chan transport.Session, 16)}
	if opts == nil {
		opts = &transport.UpgradeOptions{Protocols: []string{"second"}}
	}
	ln, pc, err := negotiate.Listen("127.0.0.1:0", transports...)
	must(t, err)
	var addr net.Addr
	if ln != nil {
		addr = ln.Addr()
	} else {
		addr = pc.LocalAddr()
	}
	s.addr = addr.String()
	srv := &negotiate.Server{
		TLSConfig: s.cert.ServerConfig(), Config: config, Transports: transports,
		H2: &h2wt.Config{Session: config}, H3: &h3wt.Config{Session: config}, WS: &wswt.Config{Session: config},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			session, err := negotiate.Upgrade(w, r, opts)
			if err != nil {
				return // the client has been told
			}
			s.sessions <- session
		}),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln, pc) }() // ends when the server is closed
	t.Cleanup(func() {
		srv.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve returned %v", err)
		}
	})
	return s
}

func (s *towpathServer) url(path string) string { return "https://" + s.addr + path }

// accept returns the next session.
func (s *towpathServer) accept(t *testing.T, ctx context.Context) end {
	t.Helper()
	select {
	case session := <-s.sessions:
		t.Cleanup(func() { session.CloseWithError(0, "") })
		return towpathEnd{session}
	case <-ctx.Done():
		t.Fatal("the handler got no session")
		return nil
	}
}

// dialTowpath dials with a Dialer, and closes the session when the test ends.
func dialTowpath(t *testing.T, ctx context.Context, d *negotiate.Dialer, url string, offer []string) end {
	t.Helper()
	s, report, err := d.Dial(ctx, url, &transport.DialOptions{Protocols: offer, Config: d.Config})
	if err != nil {
		t.Fatalf("%v\n%v", err, report)
	}
	t.Cleanup(func() { s.CloseWithError(0, "") })
	return towpathEnd{s}
}

// A towpathLink has this library at both ends.
type towpathLink struct {
	server *towpathServer
	dialer *negotiate.Dialer
}

func newTowpathLink(t *testing.T, client, server *transport.Config, way transport.Protocol) *towpathLink {
	t.Helper()
	l := &towpathLink{server: newTowpathServer(t, nil, server, way)}
	l.dialer = newTowpathDialer(t, l.server.cert, client, way)
	return l
}

// newTowpathDialer returns a Dialer for one way that lives as long as the test.
func newTowpathDialer(t *testing.T, cert *testcert.Cert, config *transport.Config, way transport.Protocol) *negotiate.Dialer {
	t.Helper()
	d := &negotiate.Dialer{
		TLSClientConfig: cert.ClientConfig("127.0.0.1"), Proxy: http.ProxyURL(nil),
		Transports: []transport.Protocol{way}, Config: config,
		H2: &h2wt.Config{Session: config}, H3: &h3wt.Config{Session: config}, WS: &wswt.Config{Session: config},
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func (l *towpathLink) session(t *testing.T, offer ...string) (client, server end) {
	t.Helper()
	ctx := limited(t)
	client = dialTowpath(t, ctx, l.dialer, l.server.url("/"), offer)
	return client, l.server.accept(t, ctx)
}
