package h3wt

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/transport"
)

func TestEarlyStreams(t *testing.T) {
	bubble(t, "H3-035 a header that is late is not waited for longer than the shortest EarlyTimeout", func(t *testing.T) {
		h, _ := serveRaw(t, &Config{EarlyTimeout: inlineWait}, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		c.accepted()
		c.wantStopped(c.uniStream([]byte{0x40}), codeBufferedStreamRejected)
	})
	bubble(t, "streams that may be QPACK's stay silent for as long as they like", func(t *testing.T) {
		h, _ := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		c.accepted()
		var silent []*quic.SendStream
		for len(silent) == 0 || int64(silent[len(silent)-1].StreamID())/4 < criticalStreams {
			str, err := c.OpenUniStream()
			if err != nil {
				t.Fatal(err)
			}
			silent = append(silent, str)
		}
		start := time.Now()
		c.uniStream(varints(uniStreamType, 0)) // with it the server has all below
		last := silent[len(silent)-1]
		c.wantStopped(last, codeBufferedStreamRejected)
		if d := time.Since(start); d < DefaultEarlyTimeout || d > DefaultEarlyTimeout+time.Second {
			t.Errorf("the first that may not be silent was given up after %v", d)
		}
		time.Sleep(3 * DefaultEarlyTimeout)
		for _, str := range silent[:len(silent)-1] {
			if err := context.Cause(str.Context()); err != nil {
				t.Errorf("stream %d: %v", str.StreamID(), err)
			}
		}
		// A beginning must go on.
		silent[0].Write([]byte{0x40})
		c.wantStopped(silent[0], codeBufferedStreamRejected)
		c.wantOpen()
	})
	bubble(t, "H3-034 streams before the CONNECT wait for it", func(t *testing.T) {
		h, accepted := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		req, err := c.OpenStream() // its ID is the session's
		if err != nil {
			t.Fatal(err)
		}
		for i := range 10 {
			c.uniStream(varints(uniStreamType, 0), []byte{byte('0' + i)}).Close()
		}
		bidi := c.request(varints(bidiStreamType, 0), []byte("bidi"))
		time.Sleep(4 * time.Second)
		req.Write(connectHeaders(protocolH3))
		s := <-accepted
		for i := range 10 {
			v, err := s.AcceptUniStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(v); err != nil || string(got) != string(rune('0'+i)) {
				t.Errorf("stream %d carries %q, %v", i, got, err)
			}
		}
		y, err := s.AcceptStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		mustRead(t, y, make([]byte, 4))
		y.Write([]byte("answer"))
		if got := mustRead(t, bidi, make([]byte, 6)); got != "answer" {
			t.Errorf("read %q", got)
		}
	})
	bubble(t, "H3-035 H3-036 as many as MaxEarlyStreams", func(t *testing.T) {
		h, accepted := serveRaw(t, &Config{MaxEarlyStreams: 5}, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		req, err := c.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			c.uniStream(varints(uniStreamType, 0), []byte("x"))
		}
		c.wantStopped(c.uniStream(varints(uniStreamType, 0)), codeBufferedStreamRejected)
		c.wantAborted(c.request(varints(bidiStreamType, 0)), codeBufferedStreamRejected)
		// Of whatever session: the bound is the connection's.
		c.wantStopped(c.uniStream(varints(uniStreamType, 400)), codeBufferedStreamRejected)
		req.Write(connectHeaders(protocolH3))
		s := <-accepted
		for range 5 {
			if _, err := s.AcceptUniStream(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		// The places are free again.
		var kept []*quic.SendStream
		for range 5 {
			kept = append(kept, c.uniStream(varints(uniStreamType, 400), []byte("x")))
		}
		c.wantStopped(c.uniStream(varints(uniStreamType, 400)), codeBufferedStreamRejected)
		for i, u := range kept {
			if u.Context().Err() != nil {
				t.Errorf("stream %d was rejected", i)
			}
		}
	})
	bubble(t, "H3-036 for no longer than EarlyTimeout", func(t *testing.T) {
		h, _ := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		start := time.Now()
		var early []*quic.SendStream
		for range 3 {
			early = append(early, c.uniStream(varints(uniStreamType, 400), []byte("x")))
			time.Sleep(time.Second)
		}
		for i, u := range early {
			c.wantStopped(u, codeBufferedStreamRejected)
			if d := time.Since(start) - time.Duration(i)*time.Second; d < DefaultEarlyTimeout || d > DefaultEarlyTimeout+100*time.Millisecond {
				t.Errorf("stream %d was rejected after %v", i, d)
			}
		}
		c.wantOpen()
	})
	bubble(t, "H3-034 H3-036 streams of a request that is refused", func(t *testing.T) {
		h, _ := serveRaw(t, nil, &transport.UpgradeOptions{RequireProtocol: true})
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		req, err := c.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		u := c.uniStream(varints(uniStreamType, 0), []byte("x"))
		req.Write(connectHeaders(protocolH3))
		c.wantStopped(u, codeSessionGone)
	})
	bubble(t, "H3-034 a client keeps streams and datagrams that come before the answer", func(t *testing.T) {
		srv := rawListen(t, fullQUIC)
		defer srv.stop()
		cc, c := srv.client(nil, serverSettings...)
		done := dialing(cc, nil)
		str, _ := c.acceptRequest()
		for i := range 3 {
			c.uniStream(varints(uniStreamType, 0), []byte{byte('0' + i)}).Close()
		}
		c.SendDatagram([]byte("\x00early"))
		time.Sleep(time.Second)
		c.answer(str)
		s := (<-done).s
		for i := range 3 {
			v, err := s.AcceptUniStream(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(v); err != nil || string(got) != string(rune('0'+i)) {
				t.Errorf("stream %d carries %q, %v", i, got, err)
			}
		}
		if p, err := s.ReceiveDatagram(context.Background()); err != nil || string(p) != "early" {
			t.Errorf("ReceiveDatagram: %q, %v", p, err)
		}
		cc.Close()
	})
	bubble(t, "H3-036 a client rejects the early streams of a refused session", func(t *testing.T) {
		srv := rawListen(t, fullQUIC)
		defer srv.stop()
		cc, c := srv.client(nil, serverSettings...)
		done := dialing(cc, nil)
		str, _ := c.acceptRequest()
		u := c.uniStream(varints(uniStreamType, 0), []byte("x"))
		time.Sleep(time.Second)
		c.answer(str, ":status", "404")
		str.Close()
		<-done
		c.wantStopped(u, codeSessionGone)
		cc.Close()
	})
}
