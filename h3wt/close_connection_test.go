package h3wt

import (
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
