package session

import (
	"errors"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// due counts the streams that have control capsules to send.
func (t *tester) due() int {
	n := 0
	for st := t.s.outgoing.dirtyHead; st != nil; st = st.next {
		n++
	}
	return n
}

func TestForgottenStreams(t *testing.T) {
	t.Run("DS-18 a peer that takes nothing leaves no state of streams that are over", func(t *testing.T) {
		bubble(t, func(t *tester) {
			for i := range uint64(10_000) {
				id := 4*i + 2
				t.writeCapsule(wtStream{id: id})
				t.acceptUni().CancelRead(1)
				t.writeCapsule(wtStream{id: id, fin: true}) // WT_STOP_SENDING is needless now
			}
			t.wantAlive("each stream ended by FIN")
			if n, m := len(t.s.streams), t.due(); n != 0 || m != 0 {
				t.Fatalf("%d streams are known, %d have capsules due", n, m)
			}
		})
	})
	t.Run("the capsules of the others stay due", func(t *testing.T) {
		bubble(t, func(t *tester) {
			for i := range uint64(5) {
				t.writeCapsule(wtStream{id: 4*i + 2})
				t.acceptUni().CancelRead(transport.StreamErrorCode(i))
			}
			for _, i := range []uint64{0, 2, 4} { // the first, one between, the last
				t.writeCapsule(wtStream{id: 4*i + 2, fin: true})
			}
			t.writeCapsule(wtStream{id: 22})
			t.acceptUni().CancelRead(5)
			t.wantCapsule("second stream", capsule.StopSending{StreamID: 6, ErrorCode: 1})
			t.wantCapsule("fourth stream", capsule.StopSending{StreamID: 14, ErrorCode: 3})
			t.wantCapsule("a later one", capsule.StopSending{StreamID: 22, ErrorCode: 5})
			t.wantIdle("nothing else is due")
		})
	})

	// A deadline's timer keeps its stream alive, so it must not outlast it.
	gone := func(t *tester, p weak.Pointer[stream]) {
		t.Helper()
		for i := 0; p.Value() != nil; i++ {
			if i == 100 {
				t.Fatal("the timers of its deadlines keep a stream that is over")
			}
			runtime.GC()
			time.Sleep(time.Millisecond) // the runtime frees stopped timers as it looks for due ones
		}
	}
	t.Run("deadlines in the future do not keep a stream that is over", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(wtStream{id: 0, data: "x", fin: true})
			p := func() weak.Pointer[stream] {
				st := t.accept()
				t.ok(st.SetDeadline(time.Now().Add(time.Hour)))
				t.wantRead(st, "x")
				t.ok(st.Close())
				t.wantCapsule("end", wtStream{id: 0, fin: true})
				return weak.Make(st.(bidiStream).st)
			}()
			gone(t, p)
		})
	})
	t.Run("deadlines in the future do not keep the streams of a session that is over", func(t *testing.T) {
		bubble(t, func(t *tester) {
			p := func() weak.Pointer[stream] {
				st := t.open()
				t.ok(st.SetDeadline(time.Now().Add(time.Hour)))
				return weak.Make(st.(bidiStream).st)
			}()
			t.s.Lost(errors.New("lost"))
			gone(t, p)
		})
	})
	t.Run("nor those of one that is being closed", func(t *testing.T) {
		bubble(t, func(t *tester) {
			p := func() weak.Pointer[stream] {
				st := t.open()
				t.ok(st.SetDeadline(time.Now().Add(time.Hour)))
				return weak.Make(st.(bidiStream).st)
			}()
			t.s.StartClose(0, "")
			gone(t, p)
		})
	})
}
