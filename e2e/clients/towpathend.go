package clients

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

// A TowpathEnd is an end that is this library's.
type TowpathEnd struct{ S transport.Session }

func (e TowpathEnd) Open(ctx context.Context, uni bool) (Stream, error) {
	if uni {
		st, err := e.S.OpenUniStream(ctx)
		return TowpathStream{Send: st}, err
	}
	st, err := e.S.OpenStream(ctx)
	return TowpathStream{Send: st, Recv: st}, err
}

func (e TowpathEnd) Accept(ctx context.Context, uni bool) (Stream, error) {
	if uni {
		st, err := e.S.AcceptUniStream(ctx)
		return TowpathStream{Recv: st}, err
	}
	st, err := e.S.AcceptStream(ctx)
	return TowpathStream{Send: st, Recv: st}, err
}

func (e TowpathEnd) SendDatagram(_ context.Context, p []byte) error { return e.S.SendDatagram(p) }

func (e TowpathEnd) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	return e.S.ReceiveDatagram(ctx)
}

func (e TowpathEnd) Protocol() string { return e.S.Info().ApplicationProtocol }

func (e TowpathEnd) Close(_ context.Context, code uint32, reason string) error {
	return e.S.CloseWithError(transport.SessionErrorCode(code), reason)
}

func (e TowpathEnd) Closed(ctx context.Context) (code uint32, reason string, err error) {
	select {
	case <-e.S.Context().Done():
	case <-ctx.Done():
		return 0, "", context.Cause(ctx)
	}
	err = context.Cause(e.S.Context())
	var end *transport.SessionError
	if !errors.As(err, &end) || !end.Remote || end.Err != nil {
		return 0, "", fmt.Errorf("the session was not closed by the other end: %w", err)
	}
	return uint32(end.Code), end.Reason, nil
}

type TowpathStream struct {
	Send transport.SendStream
	Recv transport.ReceiveStream
}

func (s TowpathStream) Write(ctx context.Context, p []byte) error {
	if d, ok := ctx.Deadline(); ok {
		s.Send.SetWriteDeadline(d)
	}
	_, err := s.Send.Write(p)
	return err
}

func (s TowpathStream) Finish(context.Context) error { return s.Send.Close() }

func (s TowpathStream) Reset(_ context.Context, code uint32) error {
	s.Send.CancelWrite(transport.StreamErrorCode(code))
	return nil
}

func (s TowpathStream) Stop(_ context.Context, code uint32) error {
	s.Recv.CancelRead(transport.StreamErrorCode(code))
	return nil
}

func (s TowpathStream) WasStopped(ctx context.Context) (uint32, error) {
	for {
		if err := s.Write(ctx, make([]byte, 1<<10)); err != nil {
			return abortCode(err)
		}
	}
}

func (s TowpathStream) WasReset(ctx context.Context) (uint32, error) {
	_, err := s.ReadAll(ctx)
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

func (s TowpathStream) Read(ctx context.Context, n int) ([]byte, error) {
	s.bound(ctx)
	p := make([]byte, n)
	_, err := io.ReadFull(s.Recv, p)
	return p, err
}

func (s TowpathStream) ReadAll(ctx context.Context) ([]byte, error) {
	s.bound(ctx)
	return io.ReadAll(s.Recv)
}

func (s TowpathStream) bound(ctx context.Context) {
	if d, ok := ctx.Deadline(); ok {
		s.Recv.SetReadDeadline(d)
	}
}

// A TowpathServer is a negotiate.Server on loopback that hands its sessions
// over in the order in which they come.
type TowpathServer struct {
	Addr     string
	Cert     *testcert.Cert
	Sessions chan transport.Session
}

// NewTowpathServer serves by the transports given until the test ends. The
// options are those of every session; nil means the protocol "second" alone.
func NewTowpathServer(t *testing.T, opts *transport.UpgradeOptions, config *transport.Config, transports ...transport.Protocol) *TowpathServer {
	t.Helper()
	s := &TowpathServer{Cert: testcert.New(t), Sessions: make(chan transport.Session, 16)}
	if opts == nil {
		opts = &transport.UpgradeOptions{Protocols: []string{"second"}}
	}
	ln, pc, err := negotiate.Listen("127.0.0.1:0", transports...)
	Must(t, err)
	var addr net.Addr
	if ln != nil {
		addr = ln.Addr()
	} else {
		addr = pc.LocalAddr()
	}
	s.Addr = addr.String()
	srv := &negotiate.Server{
		TLSConfig: s.Cert.ServerConfig(), Config: config, Transports: transports,
		H2: &h2wt.Config{Session: config}, H3: &h3wt.Config{Session: config}, WS: &wswt.Config{Session: config},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			session, err := negotiate.Upgrade(w, r, opts)
			if err != nil {
				return // the client has been told
			}
			s.Sessions <- session
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

func (s *TowpathServer) URL(path string) string { return "https://" + s.Addr + path }

// Accept returns the next session.
func (s *TowpathServer) Accept(t *testing.T, ctx context.Context) End {
	t.Helper()
	select {
	case session := <-s.Sessions:
		t.Cleanup(func() { session.CloseWithError(0, "") })
		return TowpathEnd{S: session}
	case <-ctx.Done():
		t.Fatal("the handler got no session")
		return nil
	}
}
