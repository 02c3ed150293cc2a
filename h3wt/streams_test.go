package h3wt

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/transport"
)

func TestStreamHeaders(t *testing.T) {
	for _, id := range []uint64{1, 2, 3, 1<<62 - 1} {
		bubble(t, "H3-024 a session ID that no session can have, on a unidirectional stream", func(t *testing.T) {
			h, _ := serveRaw(t, nil, nil)
			defer h.stop()
			c := h.rawDial(fullQUIC, modernSettings...)
			c.accepted()
			c.uniStream(varints(uniStreamType, id))
			c.wantClosed(0x108)
		})
		bubble(t, "H3-024 a session ID that no session can have, on a bidirectional stream", func(t *testing.T) {
			h, _ := serveRaw(t, nil, nil)
			defer h.stop()
			c := h.rawDial(fullQUIC, modernSettings...)
			c.request(varints(bidiStreamType, id))
			c.wantClosed(0x108)
		})
		bubble(t, "H3-024 a client closes for such an ID too", func(t *testing.T) {
			srv := rawListen(t, fullQUIC)
			defer srv.stop()
			cc, c := srv.client(nil, serverSettings...)
			c.established(cc, nil)
			c.uniStream(varints(uniStreamType, id))
			c.wantClosed(0x108)
			cc.Close()
		})
	}
	bubble(t, "H3-024 the ID of a closed session is fine", func(t *testing.T) {
		h, accepted := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		str := c.accepted()
		str.Close()
		wantSessionEnd(t, <-accepted, transport.SessionError{Remote: true})
		c.wantStopped(c.uniStream(varints(uniStreamType, 0), []byte("late")), codeSessionGone)
		c.wantAborted(c.request(varints(bidiStreamType, 0), []byte("late")), codeSessionGone)
		c.wantOpen()
	})
	bubble(t, "H3-024 H3-036 a client rejects streams of sessions that it never had", func(t *testing.T) {
		srv := rawListen(t, fullQUIC)
		defer srv.stop()
		cc, c := srv.client(nil, serverSettings...)
		c.established(cc, nil)
		c.wantStopped(c.uniStream(varints(uniStreamType, 4), []byte("x")), codeBufferedStreamRejected)
		c.wantOpen()
		cc.Close()
	})
	bubble(t, "H3-025 H3-026 the bytes that streams begin with, from a server", func(t *testing.T) {
		h, accepted := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, pooledSettings...)
		defer c.close()
		c.accepted()
		<-accepted
		c.accepted()
		s := <-accepted // session 4
		u, _ := s.OpenUniStream(context.Background())
		u.Write([]byte("uni"))
		b, _ := s.OpenStream(context.Background())
		b.Write([]byte("bidi"))
		in := c.acceptUni()
		if got := mustRead(t, in, make([]byte, 6)); got != "\x40\x54\x04uni" {
			t.Errorf("unidirectional stream begins with %q", got)
		}
		str, err := c.AcceptStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if got := mustRead(t, str, make([]byte, 7)); got != "\x40\x41\x04bidi" {
			t.Errorf("bidirectional stream begins with %q", got)
		}
		if in.StreamID() != quic.StreamID(u.StreamID()) || str.StreamID() != quic.StreamID(b.StreamID()) {
			t.Error("StreamID is not QUIC's")
		}
	})
	bubble(t, "H3-025 H3-026 headers in longer integers and in pieces", func(t *testing.T) {
		h, accepted := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		c.accepted()
		s := <-accepted
		header := []byte{0x80, 0, 0, 0x54, 0xc0, 0, 0, 0, 0, 0, 0, 0, 'x'}
		u, err := c.OpenUniStream()
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range header {
			u.Write([]byte{b})
			time.Sleep(100 * time.Millisecond)
		}
		u.Close()
		v, err := s.AcceptUniStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(v); string(got) != "x" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
	})
	bubble(t, "streams that end or are reset inside their header", func(t *testing.T) {
		h, accepted := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		c.accepted()
		s := <-accepted
		for _, part := range [][]byte{{0x40}, {0x40, 0x54}, {0x40, 0x54, 0xc0}} {
			c.uniStream(part).Close()
			c.uniStream(part).CancelWrite(1)
		}
		for _, part := range [][]byte{{0x40}, {0x40, 0x41}, {0x40, 0x41, 0xc0}} {
			c.request(part).Close()
			str := c.request(part)
			str.CancelWrite(1)
		}
		time.Sleep(time.Second)
		// No stream reached the session, and all places are free again.
		if _, err := s.AcceptUniStream(canceled); !errors.Is(err, context.Canceled) {
			t.Errorf("AcceptUniStream: %v", err)
		}
		for range 300 {
			str := c.request([]byte{0x40})
			str.Close()
			io.Copy(io.Discard, str)
		}
		c.wantOpen()
	})
	bubble(t, "a stream that stays silent in its header", func(t *testing.T) {
		h, _ := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		start := time.Now()
		c.wantStopped(c.uniStream([]byte{0x40}), codeBufferedStreamRejected)
		if d := time.Since(start); d < DefaultEarlyTimeout || d > DefaultEarlyTimeout+time.Second {
			t.Errorf("given up after %v", d)
		}
		c.wantOpen()
	})
	bubble(t, "a server's bidirectional stream that is not WebTransport's", func(t *testing.T) {
		srv := rawListen(t, fullQUIC)
		defer srv.stop()
		cc, c := srv.client(nil, serverSettings...)
		c.established(cc, nil)
		c.request(headersFrame(":status", "200"))
		<-c.Conn.Context().Done() // RFC 9114 section 6.1: H3_STREAM_CREATION_ERROR
		if e, ok := errors.AsType[*quic.ApplicationError](context.Cause(c.Conn.Context())); !ok || e.ErrorCode != 0x103 {
			t.Errorf("the connection ended with %v", context.Cause(c.Conn.Context()))
		}
		cc.Close()
	})
}

func TestResets(t *testing.T) {
	bubble(t, "H3-028 H3-029 a reset right after opening delivers the header", func(t *testing.T) {
		h, accepted := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		c.accepted()
		s := <-accepted
		u, _ := s.OpenUniStream(context.Background())
		u.CancelWrite(30)
		in := c.acceptUni()
		if got := mustRead(t, in, make([]byte, 3)); got != "\x40\x54\x00" {
			t.Errorf("read %q", got)
		}
		c.wantReset(in, 0x52e4a40fa8fa)

		b, _ := s.OpenStream(context.Background())
		b.Write(bytes.Repeat([]byte("x"), 10_000))
		b.CancelWrite(0)
		b.CancelRead(0xffffffff)
		str, err := c.AcceptStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		mustRead(t, str, make([]byte, 3))
		c.wantReset(str, 0x52e4a40fa8db)
		c.wantStopped(str, 0x52e5ac983162)
	})
	bubble(t, "H3-030 H3-031 codes from the peer", func(t *testing.T) {
		h, accepted := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		c.accepted()
		s := <-accepted
		for _, code := range []struct {
			wire   quic.StreamErrorCode
			code   transport.StreamErrorCode
			noCode bool
		}{
			{0x52e4a40fa8db, 0, false}, {0x52e4a40fa919, 60, false}, {0x52e5ac983162, 0xffffffff, false},
			{0x52e4a40fa8f9, 0, true}, {0x10c, 0, true}, {codeBufferedStreamRejected, 0, true},
		} {
			u, err := c.OpenUniStream()
			if err != nil {
				t.Fatal(err)
			}
			u.Write(varints(uniStreamType, 0))
			u.SetReliableBoundary()
			u.CancelWrite(code.wire)
			v, err := s.AcceptUniStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			want := transport.StreamError{StreamID: v.StreamID(), Code: code.code, NoCode: code.noCode, Remote: true}
			for range 2 {
				_, err := v.Read(make([]byte, 1))
				if e, ok := errors.AsType[*transport.StreamError](err); !ok || *e != want {
					t.Errorf("Read after reset with %#x: %v, want %v", code.wire, err, &want)
				}
			}
			x, err := s.OpenUniStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			x.Write([]byte("x"))
			c.acceptUni().CancelRead(code.wire)
			synctest.Wait()
			time.Sleep(time.Second)
			want.StreamID = x.StreamID()
			for range 2 {
				_, err := x.Write([]byte("y"))
				if e, ok := errors.AsType[*transport.StreamError](err); !ok || *e != want {
					t.Errorf("Write after stop with %#x: %v, want %v", code.wire, err, &want)
				}
			}
		}
	})
	bubble(t, "FW-19 a stop request makes the sender reset", func(t *testing.T) {
		h, accepted := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		c.accepted()
		s := <-accepted
		x, _ := s.OpenUniStream(context.Background())
		x.Write([]byte("x"))
		in := c.acceptUni()
		final := make(chan int64, 1)
		in.SetReceiveFinalSizeCallback(func(n int64) { final <- n })
		in.CancelRead(streamCode(5))
		<-final // without anything that our application does
	})
	bubble(t, "H3-031 WT_SESSION_GONE on a stream of a session that goes on", func(t *testing.T) {
		h, accepted := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		c.accepted()
		s := <-accepted
		u, err := c.OpenUniStream()
		if err != nil {
			t.Fatal(err)
		}
		u.Write(varints(uniStreamType, 0))
		u.SetReliableBoundary()
		u.CancelWrite(codeSessionGone)
		v, err := s.AcceptUniStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err = v.Read(make([]byte, 1))
		if e, ok := errors.AsType[*transport.StreamError](err); !ok || !e.NoCode || !e.Remote {
			t.Errorf("Read: %v", err)
		}
		if d := time.Since(start); d != transport.DefaultCloseTimeout {
			t.Errorf("waited %v for the session's end", d)
		}
	})
}
