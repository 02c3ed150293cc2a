package h3wt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// onSession runs a test against a session of our server whose client is raw,
// and again against one of our client whose server is raw.
func onSession(t *testing.T, name string, flowControl bool, test func(t *testing.T, c *rawConn, str rawStream, s transport.Session)) {
	t.Helper()
	bubble(t, name+", at a server", func(t *testing.T) {
		h, accepted := serveRaw(t, nil, nil)
		defer h.stop()
		settings := modernSettings
		if flowControl {
			settings = pooledSettings
		}
		c := h.rawDial(fullQUIC, settings...)
		defer c.close()
		str := c.accepted()
		test(t, c, rawStream{c, str}, <-accepted)
	})
	bubble(t, name+", at a client", func(t *testing.T) {
		srv := rawListen(t, fullQUIC)
		defer srv.stop()
		settings := serverSettings
		if flowControl {
			settings = pooledServerSettings
		}
		cc, c := srv.client(nil, settings...)
		s, str := c.established(cc, nil)
		test(t, c, rawStream{c, str}, s)
		cc.Close()
	})
}

// rawStream is the raw end of a CONNECT stream.
type rawStream struct {
	c   *rawConn
	str interface {
		io.ReadWriteCloser
		Context() context.Context
	}
}

func (r rawStream) send(list ...capsule.Capsule) { r.c.Helper(); r.c.capsules(r.str, list...) }

func (r rawStream) raw(p []byte) { r.str.Write(dataFrame(p)) }

func (r rawStream) wantAborted(code uint64) {
	r.c.Helper()
	r.c.wantStopped(r.str, code)
	r.c.wantReset(r.str, code)
}

func TestCapsules(t *testing.T) {
	onSession(t, "H3-058 H3-061 a close is the capsule and the end, at once, without STOP_SENDING", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			closed := make(chan error, 1)
			go func() { closed <- s.CloseWithError(77, strings.Repeat("é", 600)) }()
			c.wantCapsule(str.str, capsule.CloseSession{ErrorCode: 77, Message: strings.Repeat("é", 512)})
			c.wantEnd(str.str)
			synctest.Wait()
			if err := context.Cause(str.str.Context()); err != nil {
				t.Errorf("the CONNECT stream was stopped: %v", err)
			}
			select {
			case <-closed:
				t.Error("CloseWithError did not wait for the answer")
			default:
			}
			str.str.Close()
			if err := <-closed; err != nil {
				t.Errorf("CloseWithError: %v", err)
			}
		})
	onSession(t, "H3-058 a close waits for the answer no longer than CloseTimeout", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			start := time.Now()
			if err := s.CloseWithError(1, "x"); err != nil {
				t.Errorf("CloseWithError: %v", err)
			}
			if d := time.Since(start); d != transport.DefaultCloseTimeout {
				t.Errorf("CloseWithError took %v", d)
			}
			c.wantStopped(str.str, codeSessionGone)
			wantSessionEnd(t, s, transport.SessionError{Code: 1, Reason: "x"})
		})
	onSession(t, "H3-059 FW-15 the receiver of a close ends its half", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			str.send(capsule.CloseSession{ErrorCode: 0xffffffff, Message: "größe"})
			wantSessionEnd(t, s, transport.SessionError{Code: 0xffffffff, Reason: "größe", Remote: true})
			c.wantEnd(str.str)
			str.str.Close()
			c.wantOpen()
		})
	onSession(t, "H3-059 a peer that does not end its half is given up", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			str.send(capsule.CloseSession{})
			c.wantEnd(str.str)
			start := time.Now()
			c.wantStopped(str.str, codeSessionGone)
			if d := time.Since(start); d > transport.DefaultCloseTimeout+100*time.Millisecond {
				t.Errorf("given up after %v", d)
			}
			c.wantOpen()
		})
	onSession(t, "H3-060 more data behind a close, in one frame", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			str.raw(append(capsule.CloseSession{ErrorCode: 3}.Append(nil), 0))
			wantSessionEnd(t, s, transport.SessionError{Code: 3, Remote: true})
			str.wantAborted(0x10e)
			c.wantOpen()
		})
	onSession(t, "H3-060 more data after a close", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			str.send(capsule.CloseSession{ErrorCode: 3})
			wantSessionEnd(t, s, transport.SessionError{Code: 3, Remote: true})
			str.send(capsule.DrainSession{})
			c.wantStopped(str.str, 0x10e)
			c.wantOpen()
		})
	for _, bad := range []struct {
		name    string
		capsule []byte
	}{
		{"a message of 1025 bytes", append(append(varints(uint64(capsule.TypeCloseSession), 4+1025), 0, 0, 0, 0), make([]byte, 1025)...)},
		{"the header alone of a longer one", varints(uint64(capsule.TypeCloseSession), 1<<40)},
		{"a message that is not UTF-8", capsule.CloseSession{Message: "\xff"}.Append(nil)},
		{"a message that ends inside a rune", capsule.CloseSession{Message: "\xe2\x82"}.Append(nil)},
		{"no room for the code", append(varints(uint64(capsule.TypeCloseSession), 3), 0, 0, 0)},
	} {
		onSession(t, "H3-062 H3-065 a close with "+bad.name, false,
			func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
				str.raw(bad.capsule)
				str.wantAborted(0x10e)
				wantViolation(t, s, transport.ViolationMalformed)
				c.wantOpen()
			})
	}
	onSession(t, "H3-062 a close with a message of 1024 bytes", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			str.send(capsule.CloseSession{Message: strings.Repeat("x", 1024)})
			wantSessionEnd(t, s, transport.SessionError{Reason: strings.Repeat("x", 1024), Remote: true})
			str.str.Close()
		})
	onSession(t, "H3-063 the end without a capsule is code 0", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			str.str.Close()
			wantSessionEnd(t, s, transport.SessionError{Remote: true})
			c.wantEnd(str.str)
			c.wantOpen()
		})
	onSession(t, "a reset of the CONNECT stream", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			str.str.(interface{ CancelWrite(quic.StreamErrorCode) }).CancelWrite(0x107)
			<-s.Context().Done()
			e, ok := errors.AsType[*transport.ResetError](context.Cause(s.Context()))
			if !ok || e.Code != 0x107 || e.Name != "H3_EXCESSIVE_LOAD" || e.Connection || e.Protocol != transport.HTTP3 {
				t.Errorf("the session ended with %v", context.Cause(s.Context()))
			}
			c.wantReset(str.str, 0x10c)
			c.wantOpen()
		})
	onSession(t, "the CONNECT stream is stopped, and no end comes", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			str.str.(interface{ CancelRead(quic.StreamErrorCode) }).CancelRead(0x10c)
			<-s.Context().Done()
			if e, ok := errors.AsType[*transport.ResetError](context.Cause(s.Context())); !ok || e.Code != 0x10c {
				t.Errorf("the session ended with %v", context.Cause(s.Context()))
			}
			c.wantStopped(str.str, 0x10c)
		})
	onSession(t, "the connection is closed", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			x, err := s.OpenStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			x.Write([]byte("x"))
			c.CloseWithError(0x107, "why")
			<-s.Context().Done()
			cause := context.Cause(s.Context())
			e, ok := errors.AsType[*transport.ResetError](cause)
			if !ok || e.Code != 0x107 || !e.Connection || e.Reason != "why" {
				t.Errorf("the session ended with %v", cause)
			}
			for _, call := range []func([]byte) (int, error){x.Read, x.Write} {
				if _, err := call(make([]byte, 1)); err != cause {
					t.Errorf("%v, want the session's error", err)
				}
			}
			if err := s.CloseWithError(1, ""); err != nil {
				t.Errorf("CloseWithError: %v", err)
			}
		})

	onSession(t, "H3-065 unknown capsules are skipped", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			str.raw(append(varints(0x123456, 5), "hello"...))
			str.raw(append(varints(uint64(capsule.TypeStream), 2), 0, 'x')) // HTTP/2's
			str.raw(varints(0x2a, 0))
			big := append(varints(0x17, 1<<20), make([]byte, 1<<20)...)
			for len(big) > 0 { // in frames that split it anywhere
				n := min(len(big), 7777)
				str.raw(big[:n])
				big = big[n:]
			}
			str.send(capsule.DrainSession{})
			<-s.Draining()
		})
	onSession(t, "H3-040 FW-13 drain, both ways and more than once", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			for range 2 {
				if err := s.Drain(); err != nil {
					t.Fatal(err)
				}
			}
			c.wantCapsule(str.str, capsule.DrainSession{})
			str.send(capsule.DrainSession{}, capsule.DrainSession{})
			<-s.Draining()
			synctest.Wait()
			if s.Context().Err() != nil {
				t.Error("the session ended")
			}
		})
	for _, bad := range []struct {
		name  string
		bytes []byte
	}{
		{"drain with a value", append(varints(uint64(capsule.TypeDrainSession), 1), 0)},
		{"max data of two integers", append(varints(uint64(capsule.TypeMaxData), 2), 1, 1)},
		{"max streams without a value", varints(uint64(capsule.TypeMaxStreamsUni), 0)},
		{"max data of 9 bytes", varints(uint64(capsule.TypeMaxData), 9)},
	} {
		onSession(t, "H3-065 malformed: "+bad.name, true,
			func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
				str.raw(bad.bytes)
				str.wantAborted(0x10e)
				wantViolation(t, s, transport.ViolationMalformed)
				c.wantOpen()
			})
	}
	for _, part := range [][]byte{{0x80}, varints(0x17), varints(0x17, 5), {0x68, 0x43, 4, 0}} {
		onSession(t, "H3-065 the stream ends inside a capsule", false,
			func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
				str.raw(part)
				str.str.Close()
				wantViolation(t, s, transport.ViolationMalformed)
				c.wantReset(str.str, 0x10e)
			})
	}
	onSession(t, "H3-065 trailers on the CONNECT stream", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			str.str.Write(headersFrame("x", "y"))
			wantViolation(t, s, transport.ViolationMalformed)
			str.wantAborted(0x10e)
			c.wantOpen()
		})
	onSession(t, "empty DATA frames mean nothing", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			for range 100 {
				str.raw(nil)
			}
			str.send(capsule.DrainSession{})
			<-s.Draining()
		})
	onSession(t, "H3-068 a flood of capsules", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			go func() {
				flood := bytes.Repeat(varints(0x17, 0), 1000)
				for range 2 { // twice the burst
					str.raw(flood)
				}
			}()
			wantViolation(t, s, transport.ViolationGeneric)
			wantLimit(t, s, transport.LimitCapsules)
			str.wantAborted(0x101)
			c.wantOpen()
		})
	onSession(t, "H3-032 a datagram in a capsule", false,
		func(t *testing.T, c *rawConn, str rawStream, s transport.Session) {
			str.raw(append(varints(0, 5), "hello"...))
			if p, err := s.ReceiveDatagram(context.Background()); err != nil || string(p) != "hello" {
				t.Errorf("ReceiveDatagram: %q, %v", p, err)
			}
			str.raw(varints(0, 0))
			if p, err := s.ReceiveDatagram(context.Background()); err != nil || len(p) != 0 {
				t.Errorf("ReceiveDatagram: %q, %v", p, err)
			}
			big := append(varints(0, transport.DefaultMaxDatagramSize+1), make([]byte, transport.DefaultMaxDatagramSize+1)...)
			str.raw(big)
			str.raw(append(varints(0, 4), "next"...))
			if p, err := s.ReceiveDatagram(context.Background()); err != nil || string(p) != "next" {
				t.Errorf("ReceiveDatagram: %d bytes, %v", len(p), err)
			}
			if st := s.Stats(); st.DatagramsReceived != 4 || st.DatagramsDroppedIncoming != 1 {
				t.Errorf("%+v", st)
			}
		})
}
