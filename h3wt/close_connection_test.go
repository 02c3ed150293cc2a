package h3wt

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// TestCloseBeforeConnectionClose: a peer may close the connection right behind
// the session, as Firefox does.
func TestCloseBeforeConnectionClose(t *testing.T) {
	bubble(t, "H3-064 CONNECTION_CLOSE in the next packet does not take the close away", func(t *testing.T) {
		h, accepted := serveRaw(t, nil, nil)
		defer h.stop()
		for i := range uint32(100) {
			c := h.rawDial(fullQUIC, modernSettings...)
			str := c.accepted()
			s := <-accepted
			time.Sleep(time.Second) // nothing else is on its way
			reason := fmt.Sprintf("reason %d", i)
			c.capsules(str, capsule.CloseSession{ErrorCode: i, Message: reason})
			str.Close()
			synctest.Wait() // these have left, and arrive at the same time as
			c.close()
			wantSessionEnd(t, s, transport.SessionError{Code: transport.SessionErrorCode(i), Reason: reason, Remote: true})
		}
	})
	bubble(t, "H3-064 an end before a lost WT_CLOSE_SESSION holds the connection up for a bounded time", func(t *testing.T) {
		router := &cutRouter{}
		handler, accepted := sessions(t, nil)
		h := serve(t, routed(t, router), &Server{Handler: handler})
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		str := c.accepted()
		s := <-accepted
		time.Sleep(time.Second)
		router.cut.Store(true)
		c.capsules(str, capsule.CloseSession{ErrorCode: 7, Message: "bye"})
		synctest.Wait()
		router.cut.Store(false)
		start := time.Now()
		str.Close()
		wantSessionEnd(t, s, transport.SessionError{Code: 7, Reason: "bye", Remote: true})
		if took := time.Since(start); took < endGrace || took > 10*endGrace {
			t.Errorf("the close arrived after %v", took)
		}
	})
}

// TestCloseBeforeResets: Chromium loses the close if a stream is reset first.
func TestCloseBeforeResets(t *testing.T) {
	bubble(t, "H3-057 the peer is told of the close, and only then of its streams' end", func(t *testing.T) {
		h, accepted := serveRaw(t, nil, nil)
		defer h.stop()
		c := h.rawDial(fullQUIC, modernSettings...)
		defer c.close()
		str := c.accepted()
		s := <-accepted
		theirs := c.request(varints(bidiStreamType, 0), []byte("x"))
		st, err := s.AcceptStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		st.Read(make([]byte, 1))
		reading := make(chan error, 1)
		go func() {
			_, err := st.Read(make([]byte, 1))
			reading <- err
		}()
		synctest.Wait()
		start := time.Now()
		go s.CloseWithError(7, "bye")
		if err := <-reading; err != s.Context().Err() && err != context.Cause(s.Context()) || time.Since(start) != 0 {
			t.Errorf("a Read that waited returned %v after %v", err, time.Since(start))
		}
		c.wantCapsule(str, capsule.CloseSession{ErrorCode: 7, Message: "bye"})
		c.wantEnd(str)
		told := time.Now()
		c.wantAborted(theirs, codeSessionGone)
		if !time.Now().After(told) {
			t.Error("the stream was reset together with the close")
		}
	})
}
