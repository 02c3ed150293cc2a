package h2wt

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/towpath-go/towpath/transport"
)

// The peers here send what implementations in the field were seen to send, byte
// for byte. Types: 3b and 3c are WT_STREAM, in the older drafts' reading without
// and with FIN.

// accept accepts a scripted client's session with DialectAuto.
func accept(t *testing.T, cfg *Config, opts *transport.UpgradeOptions, settings []http2.Setting, id uint32, fields ...string) (*testServer, *wire, transport.Session) {
	t.Helper()
	h, up := upgradeHandler(opts)
	srv := newServerAsIs(t, h, cfg)
	p, _ := srv.peer(settings...)
	p.WriteHeaders(id, false, fields...)
	wantStatus(t, p, id, "200", false)
	a := <-up
	if a.err != nil {
		t.Fatal(a.err)
	}
	return srv, &wire{t, p, id}, a.s
}

// dialed is a client's session with a scripted server.
func dialed(t *testing.T, cfg *Config, opts *transport.DialOptions, settings []http2.Setting, answer ...string) (*ClientConn, *wire, transport.Session) {
	t.Helper()
	p, c := greetedAsIs(t, cfg, settings)
	dial := dialAsync(t.Context(), c, opts)
	p.WantHeaders("CONNECT", 1)
	p.WriteHeaders(1, false, append([]string{":status", "200"}, answer...)...)
	s, err := dial.Result()
	if err != nil {
		t.Fatal(err)
	}
	return c, &wire{t, p, 1}, s
}

// wantRead reads a stream to its end.
func wantRead(t *testing.T, r io.Reader, want string) {
	t.Helper()
	if b, err := io.ReadAll(r); string(b) != want || err != nil {
		t.Errorf("ReadAll = %q, %v, want %q", b, err, want)
	}
}

// wantPart reads what is there of a stream that has not ended.
func wantPart(t *testing.T, r interface {
	io.Reader
	SetReadDeadline(time.Time) error
}, want string) {
	t.Helper()
	r.SetReadDeadline(time.Now().Add(time.Second))
	if b, err := io.ReadAll(r); string(b) != want || !isTimeout(err) {
		t.Errorf("ReadAll = %q, %v, want %q and no end", b, err, want)
	}
	r.SetReadDeadline(time.Time{})
}

func must[T any](t *testing.T) func(v T, err error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// wantEnd wants a session that the peer has closed.
func wantEnd(t *testing.T, s transport.Session, code transport.SessionErrorCode, reason string) {
	t.Helper()
	<-s.Context().Done()
	se, ok := errors.AsType[*transport.SessionError](context.Cause(s.Context()))
	if !ok || se.Code != code || se.Reason != reason || !se.Remote || se.Err != nil {
		t.Errorf("session ended with %#v, want %d %q by the peer", context.Cause(s.Context()), code, reason)
	}
}

func isStreamError(err error, code transport.StreamErrorCode) bool {
	se, ok := errors.AsType[*transport.StreamError](err)
	return ok && se.Code == code && se.Remote
}
