package peers

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/quic-go/webtransport-go"

	"github.com/towpath-go/towpath/e2e/clients"
)

// A wtgoEnd is an end that is webtransport-go's.
type wtgoEnd struct{ s *webtransport.Session }

func (e wtgoEnd) Open(ctx context.Context, uni bool) (clients.Stream, error) {
	if uni {
		st, err := e.s.OpenUniStreamSync(ctx)
		return wtgoStream{send: st}, err
	}
	st, err := e.s.OpenStreamSync(ctx)
	return wtgoStream{send: st, recv: st}, err
}

func (e wtgoEnd) Accept(ctx context.Context, uni bool) (clients.Stream, error) {
	if uni {
		st, err := e.s.AcceptUniStream(ctx)
		return wtgoStream{recv: st}, err
	}
	st, err := e.s.AcceptStream(ctx)
	return wtgoStream{send: st, recv: st}, err
}

func (e wtgoEnd) SendDatagram(_ context.Context, p []byte) error { return e.s.SendDatagram(p) }

func (e wtgoEnd) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	return e.s.ReceiveDatagram(ctx)
}

func (e wtgoEnd) Protocol() string { return e.s.SessionState().ApplicationProtocol }

func (e wtgoEnd) Close(_ context.Context, code uint32, reason string) error {
	return e.s.CloseWithError(webtransport.SessionErrorCode(code), reason)
}

// closed has the error from AcceptStream: the session's context has no cause.
func (e wtgoEnd) Closed(ctx context.Context) (code uint32, reason string, err error) {
	select {
	case <-e.s.Context().Done():
	case <-ctx.Done():
		return 0, "", context.Cause(ctx)
	}
	_, err = e.s.AcceptStream(ctx)
	end, ok := errors.AsType[*webtransport.SessionError](err)
	if !ok || !end.Remote {
		return 0, "", fmt.Errorf("the session was not closed by the other end: %w", err)
	}
	return uint32(end.ErrorCode), end.Message, nil
}

type wtgoStream struct {
	send interface {
		io.WriteCloser
		CancelWrite(webtransport.StreamErrorCode)
	}
	recv interface {
		io.Reader
		CancelRead(webtransport.StreamErrorCode)
	}
}

// bounded runs f, which ends with the session at the latest, for as long as
// ctx allows: a stream's deadline would change what it does afterwards.
func bounded[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

func (s wtgoStream) Write(ctx context.Context, p []byte) error {
	_, err := bounded(ctx, func() (int, error) { return s.send.Write(p) })
	return err
}

func (s wtgoStream) Finish(context.Context) error { return s.send.Close() }

func (s wtgoStream) Reset(_ context.Context, code uint32) error {
	s.send.CancelWrite(webtransport.StreamErrorCode(code))
	return nil
}

func (s wtgoStream) Stop(_ context.Context, code uint32) error {
	s.recv.CancelRead(webtransport.StreamErrorCode(code))
	return nil
}

func (s wtgoStream) WasStopped(ctx context.Context) (uint32, error) {
	for {
		if err := s.Write(ctx, make([]byte, 1<<10)); err != nil {
			return wtgoAbort(err)
		}
	}
}

func (s wtgoStream) WasReset(ctx context.Context) (uint32, error) {
	_, err := s.ReadAll(ctx)
	return wtgoAbort(err)
}

// wtgoAbort returns the code with which the other end aborted a stream.
func wtgoAbort(err error) (uint32, error) {
	aborted, ok := errors.AsType[*webtransport.StreamError](err)
	if !ok || !aborted.Remote {
		return 0, fmt.Errorf("not an abort by the other end: %w", err)
	}
	return uint32(aborted.ErrorCode), nil
}

func (s wtgoStream) Read(ctx context.Context, n int) ([]byte, error) {
	return bounded(ctx, func() ([]byte, error) {
		p := make([]byte, n)
		_, err := io.ReadFull(s.recv, p)
		return p, err
	})
}

func (s wtgoStream) ReadAll(ctx context.Context) ([]byte, error) {
	return bounded(ctx, func() ([]byte, error) { return io.ReadAll(s.recv) })
}
