package h3wt

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/capsule"
)

func TestSessionEndOnStreams(t *testing.T) {
	bubble(t, "H3-057 FW-12 the end resets and stops every stream", func(t *testing.T) {
		h, accepted := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		c.accepted()
		s := <-accepted
		own, _ := s.OpenStream(context.Background())
		own.Write([]byte("x"))
		ownUni, _ := s.OpenUniStream(context.Background())
		ownUni.Write([]byte("x"))
		unopened, _ := s.OpenUniStream(context.Background()) // never wrote: stays unknown
		theirs := c.request(varints(bidiStreamType, 0), []byte("x"))
		unaccepted := c.request(varints(bidiStreamType, 0), []byte("x"))
		theirUni := c.uniStream(varints(uniStreamType, 0), []byte("x"))
		if _, err := s.AcceptStream(context.Background()); err != nil {
			t.Fatal(err)
		}
		str, err := c.AcceptStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		in := c.acceptUni()
		time.Sleep(time.Second)
		go s.CloseWithError(0, "")
		c.wantAborted(str, codeSessionGone)
		c.wantReset(in, codeSessionGone)
		c.wantAborted(theirs, codeSessionGone)
		c.wantAborted(unaccepted, codeSessionGone)
		c.wantStopped(theirUni, codeSessionGone)
		// What never began is reset without a header, so that QUIC has no gap.
		late := c.acceptUni()
		if _, err := late.Read(make([]byte, 1)); err == nil || late.StreamID() != quic.StreamID(unopened.StreamID()) {
			t.Errorf("a stream began after the end: %v", err)
		}
		// New streams of the ended session.
		c.wantStopped(c.uniStream(varints(uniStreamType, 0)), codeSessionGone)
	})
	bubble(t, "H3-057 a finished stream that a lost packet delays past the close", func(t *testing.T) {
		h, accepted := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		str := c.accepted()
		s := <-accepted
		u := c.uniStream(varints(uniStreamType, 0), []byte("first "))
		v, err := s.AcceptUniStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		mustRead(t, v, make([]byte, 6))
		c.capsules(str, capsule.CloseSession{ErrorCode: 1})
		str.Close()
		<-s.Context().Done()
		// The end of the stream arrives a moment after the close.
		time.Sleep(5 * time.Millisecond)
		u.Write([]byte("last"))
		u.Close()
		if got, err := io.ReadAll(v); err != nil || string(got) != "last" {
			t.Errorf("read %q, %v", got, err)
		}
	})
	bubble(t, "a stream that is not finished in time gets the session's error", func(t *testing.T) {
		h, accepted := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		str := c.accepted()
		s := <-accepted
		u := c.uniStream(varints(uniStreamType, 0), []byte("first"))
		v, err := s.AcceptUniStream(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		c.capsules(str, capsule.CloseSession{ErrorCode: 1})
		str.Close()
		<-s.Context().Done()
		if n, err := v.Read(make([]byte, 10)); n != 0 || !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read: %d, %v", n, err)
		}
		c.wantStopped(u, codeSessionGone)
	})
}
