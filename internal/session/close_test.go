package session

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// wantClosed expects how the session ended for the application.
func (t *tester) wantClosed(code uint32, reason string, remote bool) {
	t.Helper()
	got, ok := errors.AsType[*transport.SessionError](context.Cause(t.s.Context()))
	if !ok {
		t.Fatalf("ended with %v", context.Cause(t.s.Context()))
	}
	if want := (transport.SessionError{Code: transport.SessionErrorCode(code), Reason: reason, Remote: remote}); *got != want {
		t.Fatalf("ended with %+v, want %+v", *got, want)
	}
}

func TestClosing(t *testing.T) {
	t.Run("H2-174 END_STREAM goes with WT_CLOSE_SESSION and nothing between", func(t *testing.T) {
		bubble(t, func(t *tester) {
			st := open0(t)
			t.send(st, "never finished, so not flushed")
			t.ok(t.s.Drain())
			t.ok(t.s.SendDatagram([]byte("late")))
			closing := runAsync(t, func() error { return t.s.CloseWithError(1, "bye") })
			closing.wantWaiting("the peer has not answered")
			n, end := t.s.Fill(t.dst)
			if want := "\x68\x43\x07\x00\x00\x00\x01bye"; string(t.dst[:n]) != want || !end {
				t.Fatalf("sent % x, END_STREAM %t", t.dst[:n], end)
			}
			closing.wantWaiting("the peer has not answered")
			t.s.End()
			t.ok(closing.result())
			t.wantClosed(1, "bye", false)
			if n, end := t.s.Fill(t.dst); n != 0 || end {
				t.Fatal("something was sent behind the end")
			}
		})
	})
	t.Run("H2-174 END_STREAM comes behind the last piece of a close that does not fit", func(t *testing.T) {
		bubble(t, func(t *tester) {
			if !t.s.StartClose(2, strings.Repeat("x", 500)) {
				t.Fatal("not closed")
			}
			t.dst = t.dst[:100]
			for !t.ended {
				if n := t.fill(); n != min(100, 508-t.sent+n) {
					t.Fatalf("%d bytes", n)
				}
			}
			if got := t.heard[0]; got != (capsule.CloseSession{ErrorCode: 2, Message: strings.Repeat("x", 500)}) || t.decoder.Partial() {
				t.Fatalf("sent %v", got)
			}
		})
	})
	t.Run("finished streams are flushed before the close", func(t *testing.T) {
		bubble(t, func(t *tester) {
			a, b, c := t.openUni(), t.openUni(), t.openUni()
			t.send(a, "aaa")
			t.ok(a.Close())
			t.send(b, "bbb") // not finished
			c.CancelWrite(4)
			closing := runAsync(t, func() error { return t.s.CloseWithError(9, "") })
			t.wantCapsule("a reset that was due", wtStream{id: 11})
			t.wantCapsule("a reset that was due", capsule.ResetStream{StreamID: 11, ErrorCode: 4})
			t.wantCapsule("a finished stream", wtStream{id: 3, fin: true, data: "aaa"})
			t.wantCapsule("then the close", capsule.CloseSession{ErrorCode: 9})
			t.wantEndStream("and nothing else")
			t.s.End()
			t.ok(closing.result())
		})
	})
	t.Run("flushing goes on with the credit that the peer gives", func(t *testing.T) {
		bubble(t, func(t *tester) {
			a := t.openUni()
			t.send(a, strings.Repeat("a", 30))
			t.ok(a.Close())
			t.wantCapsule("up to the limit", wtStream{id: 3, data: strings.Repeat("a", 10)})
			t.wantCapsule("blocked", capsule.StreamDataBlocked{StreamID: 3, MaximumStreamData: 10})
			closing := runAsync(t, func() error { return t.s.CloseWithError(9, "") })
			t.wantIdleClosing("no credit")
			t.writeCapsule(wtStream{id: 0, data: "ignored"}, capsule.ResetStream{StreamID: 77}, datagram("x"),
				capsule.MaxStreamData{StreamID: 3, MaximumStreamData: 20})
			t.wantCapsule("more", wtStream{id: 3, data: strings.Repeat("a", 10)})
			t.wantCapsule("blocked", capsule.StreamDataBlocked{StreamID: 3, MaximumStreamData: 20})
			t.writeCapsule(capsule.MaxStreamData{StreamID: 3, MaximumStreamData: 1000})
			t.wantCapsule("the rest", wtStream{id: 3, fin: true, data: strings.Repeat("a", 10)})
			t.wantCapsule("close", capsule.CloseSession{ErrorCode: 9})
			t.s.End()
			t.ok(closing.result())
		}, peerAllows(InitialLimits{MaxData: 100, MaxStreamDataUni: 10, MaxStreamsUni: 1}))
	})
	t.Run("a stream that the peer stops is not waited for", func(t *testing.T) {
		bubble(t, func(t *tester) {
			a := t.openUni()
			t.send(a, strings.Repeat("a", 30))
			t.ok(a.Close())
			t.hear()
			t.hear()
			closing := runAsync(t, func() error { return t.s.CloseWithError(9, "") })
			t.wantIdleClosing("no credit")
			t.writeCapsule(capsule.StopSending{StreamID: 3, ErrorCode: 5})
			t.wantCapsule("answer", capsule.ResetStream{StreamID: 3, ErrorCode: 5, ReliableSize: 10})
			t.wantCapsule("close", capsule.CloseSession{ErrorCode: 9})
			t.s.End()
			t.ok(closing.result())
		}, peerAllows(InitialLimits{MaxData: 100, MaxStreamDataUni: 10, MaxStreamsUni: 1}))
	})
	t.Run("what cannot be flushed within CloseTimeout is reported", func(t *testing.T) {
		bubble(t, func(t *tester) {
			a, b := t.openUni(), t.openUni()
			t.send(a, strings.Repeat("a", 30))
			t.ok(a.Close())
			t.send(b, strings.Repeat("b", 500)) // not finished, so not counted
			start := time.Now()
			closing := runAsync(t, func() error { return t.s.CloseWithError(9, "") })
			t.wantCapsule("up to the limit", wtStream{id: 3, data: strings.Repeat("a", 10)})
			t.wantCapsule("blocked", capsule.StreamDataBlocked{StreamID: 3, MaximumStreamData: 10})
			t.wantIdleClosing("no credit")
			time.Sleep(300*time.Millisecond - time.Nanosecond)
			t.wantIdleClosing("the timeout has not passed")
			time.Sleep(time.Nanosecond)
			t.wantCapsule("the close all the same", capsule.CloseSession{ErrorCode: 9})
			t.wantEndStream("and the end")
			t.s.End()
			err := closing.result()
			if unsent, ok := errors.AsType[*transport.UnsentError](err); !ok || unsent.Bytes != 20 {
				t.Fatalf("CloseWithError: %v, want 20 bytes unsent", err)
			}
			if got := time.Since(start); got != 300*time.Millisecond {
				t.Fatalf("it took %v", got)
			}
		}, peerAllows(InitialLimits{MaxData: 100, MaxStreamDataUni: 10, MaxStreamsUni: 2}),
			withConfig(transport.Config{CloseTimeout: 300 * time.Millisecond}))
	})
	t.Run("H2-182 a peer that does not answer is cancelled", func(t *testing.T) {
		bubble(t, func(t *tester) {
			start := time.Now()
			closing := runAsync(t, func() error { return t.s.CloseWithError(1, "") })
			t.wantCapsule("close", capsule.CloseSession{ErrorCode: 1})
			t.ok(closing.result())
			if got := time.Since(start); got != transport.DefaultCloseTimeout || t.cancels() != 1 {
				t.Fatalf("after %v cancelled %d times", got, t.cancels())
			}
			t.wantClosed(1, "", false)
		})
	})
	t.Run("H2-182 a peer that gives no window is cancelled", func(t *testing.T) {
		bubble(t, func(t *tester) {
			st := t.openUni()
			t.send(st, "0123456789")
			t.ok(st.Close())
			start := time.Now()
			err := t.s.CloseWithError(1, "") // Fill is never called
			if unsent, ok := errors.AsType[*transport.UnsentError](err); !ok || unsent.Bytes != 10 {
				t.Fatalf("CloseWithError: %v", err)
			}
			if got := time.Since(start); got != 2*transport.DefaultCloseTimeout || t.cancels() != 1 {
				t.Fatalf("after %v cancelled %d times", got, t.cancels())
			}
		})
	})
	t.Run("H2-182 a peer that closes and does not end is cancelled", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(capsule.CloseSession{})
			t.wantEndStream("answer")
			time.Sleep(transport.DefaultCloseTimeout + time.Millisecond)
			if t.cancels() != 1 {
				t.Fatalf("cancelled %d times", t.cancels())
			}
		})
	})
	t.Run("a CloseTimeout of none does not wait", func(t *testing.T) {
		bubble(t, func(t *tester) {
			st := t.openUni()
			t.send(st, "0123456789")
			t.ok(st.Close())
			start := time.Now()
			err := t.s.CloseWithError(1, "now")
			if unsent, ok := errors.AsType[*transport.UnsentError](err); !ok || unsent.Bytes != 10 || time.Since(start) != 0 {
				t.Fatalf("CloseWithError: %v after %v", err, time.Since(start))
			}
			t.wantCapsule("the close goes out afterwards", capsule.CloseSession{ErrorCode: 1, Message: "now"})
			t.wantEndStream("and the end")
		}, withConfig(transport.Config{CloseTimeout: -1}))
	})
	t.Run("both sides close at once, each keeps its reason", func(t *testing.T) {
		bubble(t, func(t *tester) {
			closing := runAsync(t, func() error { return t.s.CloseWithError(1, "mine") })
			t.wantCapsule("own", capsule.CloseSession{ErrorCode: 1, Message: "mine"})
			t.writeCapsule(wtStream{id: 0, data: "in flight"}, capsule.CloseSession{ErrorCode: 2, Message: "theirs"})
			t.s.End()
			t.ok(closing.result())
			t.wantClosed(1, "mine", false)
			if len(t.carrier.resets)+t.cancels() > 0 {
				t.Fatal("the carrier was told to reset")
			}
		})
	})
	t.Run("the peer closes while streams are flushed", func(t *testing.T) {
		bubble(t, func(t *tester) {
			st := t.openUni()
			t.send(st, "1234567")
			t.ok(st.Close())
			closing := runAsync(t, func() error { return t.s.CloseWithError(1, "mine") })
			closing.wantWaiting("flushing")
			t.writeCapsule(capsule.CloseSession{ErrorCode: 2})
			t.wantEndStream("nobody reads what would be flushed")
			t.s.End()
			if unsent, ok := errors.AsType[*transport.UnsentError](closing.result()); !ok || unsent.Bytes != 7 {
				t.Fatal("the loss was not reported")
			}
			t.wantClosed(1, "mine", false)
		})
	})
	t.Run("a violation while closing is one", func(t *testing.T) {
		bubble(t, func(t *tester) {
			st := t.openUni()
			t.send(st, "1234567")
			t.ok(st.Close())
			closing := runAsync(t, func() error { return t.s.CloseWithError(1, "mine") })
			closing.wantWaiting("flushing")
			t.writeCapsule(header(capsule.TypeMaxData, 9))
			if unsent, ok := errors.AsType[*transport.UnsentError](closing.result()); !ok || unsent.Bytes != 7 {
				t.Fatal("the loss was not reported")
			}
			t.wantClosed(1, "mine", false)
			if len(t.carrier.resets) != 1 || t.carrier.resets[0] != transport.ViolationMalformed {
				t.Fatal(t.carrier.resets)
			}
		})
	})
	t.Run("only the first close counts", func(t *testing.T) {
		bubble(t, func(t *tester) {
			closing := runAsync(t, func() error { return t.s.CloseWithError(1, "first") })
			closing.wantWaiting("no answer")
			t.ok(t.s.CloseWithError(2, "second"))
			t.wantCapsule("the first", capsule.CloseSession{ErrorCode: 1, Message: "first"})
			t.s.End()
			t.ok(closing.result())
			t.ok(t.s.CloseWithError(3, "third"))
			t.wantClosed(1, "first", false)
		})
	})
	t.Run("a session can be closed from the carrier's goroutine", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.carrier.onWake = func() { t.s.StartClose(7, "from Wake") }
			t.wantIdle("idle")
			t.send(t.openUni(), "x") // wakes the carrier
			t.wantClosed(7, "from Wake", false)
			t.wantCapsule("close", capsule.CloseSession{ErrorCode: 7, Message: "from Wake"})
		})
	})
	t.Run("H2-173 drain is told once and ends nothing", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(capsule.DrainSession{}, capsule.DrainSession{})
			t.s.PeerDraining()
			<-t.s.Draining()
			open0(t)
			t.send(t.open(), "x")
			t.wantCapsule("streams go on", wtStream{id: 1, data: "x"})
			t.ok(t.s.SendDatagram([]byte("d")))
			t.wantCapsule("datagrams go on", datagram("d"))
			t.ok(t.s.Drain())
			t.ok(t.s.Drain())
			t.wantCapsule("the own drain", capsule.DrainSession{})
			t.wantIdle("once")
		})
	})
	t.Run("H2-173 GOAWAY is a drain", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.s.PeerDraining()
			<-t.s.Draining()
			t.wantIdle("nothing is sent for it")
		})
	})
}

// cancels is how often the carrier was told to cancel, by whatever goroutine.
func (t *tester) cancels() int {
	synctest.Wait()
	return int(t.carrier.cancels.Load())
}

// wantIdleClosing is wantIdle for a session that is being closed.
func (t *tester) wantIdleClosing(why string) {
	t.Helper()
	if got := t.hear(); got != nil || t.ended {
		t.Fatalf("%s: sent %v, END_STREAM %t", why, got, t.ended)
	}
}

// TestBubbleIsEmpty shows that a session leaves no goroutine and no timer.
func TestBubbleIsEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipe(nil, nil, nil)
		st, err := p.ends[0].s.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		st.Write([]byte("x"))
		p.close()
	})
}
