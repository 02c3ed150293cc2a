package main

import (
	"bytes"
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// A goneSession is one that its peer closes after a second.
type goneSession struct {
	transport.Session
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func newGoneSession() *goneSession {
	s := &goneSession{}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	time.AfterFunc(time.Second, func() { s.cancel(&transport.SessionError{Code: 7, Remote: true}) })
	return s
}

func (s *goneSession) Context() context.Context  { return s.ctx }
func (s *goneSession) SendDatagram([]byte) error { return context.Cause(s.ctx) }
func (s *goneSession) Stats() transport.Stats    { return transport.Stats{} }
func (s *goneSession) OpenUniStream(context.Context) (transport.SendStream, error) {
	return blackHole{}, nil
}

func (s *goneSession) AcceptUniStream(context.Context) (transport.ReceiveStream, error) {
	<-s.ctx.Done()
	return nil, context.Cause(s.ctx)
}

func (s *goneSession) ReceiveDatagram(context.Context) ([]byte, error) {
	<-s.ctx.Done()
	return nil, context.Cause(s.ctx)
}

type blackHole struct{ transport.SendStream }

func (blackHole) Write(p []byte) (int, error)           { return len(p), nil }
func (blackHole) Close() error                          { return nil }
func (blackHole) CancelWrite(transport.StreamErrorCode) {}

// A terminal that nobody types on does not keep a session's end from showing.
func TestConnectEndsWithTheSession(t *testing.T) {
	for name, mode := range map[string]func(*connectCmd, transport.Session, streams) error{
		"uni":       (*connectCmd).uni,
		"datagrams": (*connectCmd).datagrams,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in, typing := io.Pipe()
				defer typing.Close()
				start := time.Now()
				err := mode(&connectCmd{Wait: time.Second}, newGoneSession(), streams{in, io.Discard, io.Discard})
				if se, ok := err.(*transport.SessionError); !ok || se.Code != 7 || time.Since(start) != time.Second {
					t.Errorf("%v after %v", err, time.Since(start))
				}
			})
		})
	}
}

// Only kong's own way out is no crash.
func TestPanicsAreNotSwallowed(t *testing.T) {
	defer func() {
		if r := recover(); r != "broken terminal" {
			t.Errorf("recovered %v", r)
		}
	}()
	status := run(t.Context(), []string{"--help"}, streams{nil, panicWriter{}, &bytes.Buffer{}})
	t.Errorf("status %d", status)
}

type panicWriter struct{}

func (panicWriter) Write([]byte) (int, error) { panic("broken terminal") }
