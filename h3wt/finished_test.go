package h3wt

import (
	"context"
	"io"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/transport"
)

func TestFinishedStreams(t *testing.T) {
	bubble(t, "a session does not keep the streams that it has had", func(t *testing.T) {
		handler, accepted := sessions(t, nil)
		h := serve(t, simulated(t), &Server{Handler: handler})
		defer h.stop()
		cc := h.client(nil)
		defer cc.Close()
		s, err := cc.Dial(context.Background(), testURL, nil)
		if err != nil {
			t.Fatal(err)
		}
		served := (<-accepted).(*Session)
		const n = maxFinished + 10
		var had []weak.Pointer[quic.Stream]
		for range n {
			had = append(had, echoOnce(t, s, served))
		}
		time.Sleep(2 * restAfter)
		remembered := func() (kept, rested int) {
			served.mu.Lock()
			defer served.mu.Unlock()
			return len(served.finished), len(served.rested)
		}
		if kept, rested := remembered(); kept > 0 || rested == 0 || rested > maxFinished {
			t.Errorf("%d streams are kept and %d remembered, want 0 and up to %d", kept, rested, maxFinished)
		}
		echoOnce(t, s, served)
		time.Sleep(2 * restAfter)
		runtime.GC()
		kept := 0
		for _, w := range had {
			if w.Value() != nil {
				kept++
			}
		}
		// A few are in what quic-go has for further use.
		if kept > n/4 {
			t.Errorf("%d of %d streams are kept", kept, n)
		}
		served.restFinished()
		if _, rested := remembered(); rested > n/4 {
			t.Errorf("%d streams are remembered that are gone", rested)
		}
	})
}

// echoOnce has a stream come and go. It returns what the server had of it.
func echoOnce(t *testing.T, client transport.Session, served *Session) weak.Pointer[quic.Stream] {
	t.Helper()
	c, err := client.OpenStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("x"))
	c.Close()
	s, err := served.AcceptStream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(s, s); err != nil {
		t.Fatal(err)
	}
	q := weak.Make(s.(*bidiStream).sendPart.q.(*quic.Stream))
	s.Close()
	if b, err := io.ReadAll(c); err != nil || string(b) != "x" {
		t.Fatalf("%q, %v", b, err)
	}
	return q
}
