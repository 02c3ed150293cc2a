package session

import (
	"testing"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// Peers of older drafts do not all answer WT_STOP_SENDING. A stream that was
// stopped counts as ended, and what still comes for it is discarded.
func TestUnansweredStop(t *testing.T) {
	legacy := func(p *Params) { p.Dialect = transport.DialectLegacy }
	one := withConfig(transport.Config{MaxIncomingUniStreams: 1, InitialSessionWindow: 1000, MaxSessionWindow: 1000, InitialStreamWindow: 1000})
	stopped := func(t *tester) {
		t.writeCapsule(wtStream{id: 2, data: "data"})
		t.acceptUni().CancelRead(7)
		t.wantCapsule("the application stops", capsule.StopSending{StreamID: 2, ErrorCode: 7})
	}
	again := capsule.MaxStreams{Uni: true, MaximumStreams: 2}

	t.Run("the peer may open another stream", func(t *testing.T) {
		bubble(t, func(t *tester) {
			stopped(t)
			t.wantCapsule("without an answer", again)
			t.writeCapsule(wtStream{id: 6, data: "next"}, wtStream{id: 6, fin: true})
			t.acceptUni()
		}, legacy, one)
	})
	t.Run("not by draft 15", func(t *testing.T) {
		bubble(t, func(t *tester) {
			stopped(t)
			t.wantIdle("the peer has to answer")
			t.writeCapsule(capsule.ResetStream{StreamID: 2, ErrorCode: 7, ReliableSize: 4})
			t.wantCapsule("and did", again)
		}, one)
	})
	for name, end := range map[string]any{
		"WT_RESET_STREAM": capsule.ResetStream{StreamID: 2, ErrorCode: 7, SizeAbsent: true},
		"FIN":             wtStream{id: 2, fin: true},
		"FIN with data":   wtStream{id: 2, fin: true, data: "end"},
	} {
		t.Run("what still comes, and then "+name, func(t *testing.T) {
			bubble(t, func(t *tester) {
				stopped(t)
				t.wantCapsule("without an answer", again)
				t.writeCapsule(wtStream{id: 2, data: "more"}, capsule.StreamDataBlocked{StreamID: 2, MaximumStreamData: 1000}, end)
				t.wantAlive("late, but no error")
				t.writeCapsule(wtStream{id: 2, data: "too late"})
				t.wantViolation("it has ended", transport.ViolationStreamState)
			}, legacy, one)
		})
	}
	t.Run("a second end", func(t *testing.T) {
		bubble(t, func(t *tester) {
			stopped(t)
			t.wantCapsule("without an answer", again)
			end := capsule.ResetStream{StreamID: 2, ErrorCode: 7, SizeAbsent: true}
			t.writeCapsule(end, end)
			t.wantViolation("it has ended", transport.ViolationStreamState)
		}, legacy, one)
	})
	t.Run("a stream stopped before the peer's dialect was learned", func(t *testing.T) {
		for _, evidence := range []any{wtStream{id: 2, data: "more"}, capsule.StreamDataBlocked{StreamID: 2}, wtStream{id: 2, fin: true},
			capsule.ResetStream{StreamID: 2, ErrorCode: 7, ReliableSize: 4}} {
			learning(t, capsule.Legacy, func(p *pupil) {
				stopped(p.tester)
				p.wantIdle("draft 15 would answer")
				p.writeCapsule(evidence)
				p.wantLearned("two capsules", transport.DialectLegacy)
				p.wantCapsule("without an answer", again)
				if p.knows(2) {
					p.Fatal("not forgotten")
				}
				p.writeCapsule(wtStream{id: 6, data: "next"}, wtStream{id: 6, fin: true})
				p.acceptUni()
				p.wantAlive("the next stream")
			}, one)
		}
	})
	t.Run("a capsule that is stopped within", func(t *testing.T) {
		bubble(t, func(t *tester) {
			b := t.encode(wtStream{id: 2, data: "data", fin: true})
			t.s.Data(b[:len(b)-1])
			t.acceptUni().CancelRead(7)
			t.wantCapsule("the application stops", capsule.StopSending{StreamID: 2, ErrorCode: 7})
			t.wantCapsule("without an answer", again)
			t.s.Data(b[len(b)-1:])
			t.wantAlive("the end of the capsule")
			t.writeCapsule(wtStream{id: 2, data: "too late"})
			t.wantViolation("it has ended", transport.ViolationStreamState)
		}, legacy, one)
	})
	t.Run("its data counts for the session", func(t *testing.T) {
		bubble(t, func(t *tester) {
			stopped(t)
			t.wantCapsule("without an answer", again)
			t.writeCapsule(wtStream{id: 2, data: string(make([]byte, 600))})
			t.wantCapsule("what is discarded is given back", capsule.MaxData{MaximumData: 1604})
			t.writeCapsule(wtStream{id: 2, data: string(make([]byte, 1001))})
			t.wantViolation("more than the window", transport.ViolationFlowControl)
		}, legacy, one)
	})
	t.Run("empty ones are bounded", func(t *testing.T) {
		bubble(t, func(t *tester) {
			stopped(t)
			t.wantCapsule("without an answer", again)
			for range 1000 {
				t.writeCapsule(wtStream{id: 2})
			}
			t.wantAlive("so many glitches")
			t.writeCapsule(wtStream{id: 2})
			t.wantViolation("one more", transport.ViolationGeneric)
		}, legacy, one)
	})
	t.Run("a stream of this side", func(t *testing.T) {
		bubble(t, func(t *tester) {
			st := t.open()
			t.send(st, "hi")
			t.wantCapsule("legacy opening", wtStream{id: 1})
			t.wantCapsule("data", wtStream{id: 1, data: "hi"})
			st.CancelRead(7)
			t.wantCapsule("the application stops", capsule.StopSending{StreamID: 1, ErrorCode: 7})
			t.writeCapsule(wtStream{id: 1, data: "more"})
			t.ok(st.Close())
			t.wantCapsule("FIN", wtStream{id: 1, fin: true})
			t.writeCapsule(wtStream{id: 1, data: "late"}, wtStream{id: 1, fin: true})
			t.wantAlive("late, but no error")
			t.writeCapsule(wtStream{id: 1, data: "too late"})
			t.wantViolation("it has ended", transport.ViolationStreamState)
		}, legacy)
	})
}
