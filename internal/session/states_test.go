package session

import (
	"testing"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// A situation brings a stream into some state and returns its ID. The session
// under test is a server's.
type situation struct {
	name  string
	setup func(t *tester) uint64
}

// open0 has the peer open stream 0 with "data", and accepts it.
func open0(t *tester) transport.Stream {
	t.Helper()
	t.writeCapsule(wtStream{id: 0, data: "data"})
	return t.accept()
}

// The situations of a receiving part.
var (
	ownUnopened    = situation{"own, not opened", func(t *tester) uint64 { return 1 }}
	ownUniUnopened = situation{"own unidirectional, not opened", func(t *tester) uint64 { return 3 }}
	ownUni         = situation{"own unidirectional, opened", func(t *tester) uint64 {
		t.send(t.openUni(), "x")
		t.wantCapsule("opening", wtStream{id: 3, data: "x"})
		return 3
	}}
	notOpenYet    = situation{"the peer's, not open yet", func(t *tester) uint64 { return 0 }}
	notOpenYetUni = situation{"the peer's unidirectional, not open yet", func(t *tester) uint64 { return 2 }}
	openByHigher  = situation{"the peer's, opened by a higher one", func(t *tester) uint64 {
		t.writeCapsule(wtStream{id: 8, data: "x"})
		return 4
	}}
	recvIsOpen = situation{"receive part open", func(t *tester) uint64 { open0(t); return 0 }}
	recvIsStop = situation{"receive part open, stopped", func(t *tester) uint64 {
		open0(t).CancelRead(9)
		t.wantCapsule("stop", capsule.StopSending{StreamID: 0, ErrorCode: 9})
		return 0
	}}
	recvIsFin = situation{"receive part finished, unread", func(t *tester) uint64 {
		t.writeCapsule(wtStream{id: 0, fin: true, data: "data"})
		return 0
	}}
	recvIsDone = situation{"receive part finished and read", func(t *tester) uint64 {
		t.writeCapsule(wtStream{id: 0, fin: true, data: "data"})
		t.wantRead(t.accept(), "data")
		return 0
	}}
	recvIsReset = situation{"receive part reset", func(t *tester) uint64 {
		open0(t)
		t.writeCapsule(capsule.ResetStream{StreamID: 0, ErrorCode: 5, ReliableSize: 4})
		return 0
	}}
	recvIsResetRead = situation{"receive part reset and read", func(t *tester) uint64 {
		st := open0(t)
		t.writeCapsule(capsule.ResetStream{StreamID: 0, ErrorCode: 5, ReliableSize: 4})
		t.wantReadError(st, streamError(0, 5, true))
		return 0
	}}
	isForgotten = situation{"forgotten", func(t *tester) uint64 {
		t.writeCapsule(wtStream{id: 0, fin: true, data: "data"})
		st := t.accept()
		t.wantRead(st, "data")
		t.ok(st.Close())
		t.wantCapsule("end", wtStream{id: 0, fin: true})
		if t.s.streams[0] != nil {
			t.Fatal("the stream is still known")
		}
		return 0
	}}
)

// size is how much the peer has sent on a stream, by the scripts above.
func (t *tester) size(id uint64) uint64 {
	if st := t.s.streams[id]; st != nil {
		return st.recv.win.Received()
	}
	if p := &t.s.accepted[kindOf(id)]; id>>2 < p.next {
		return 4 // forgotten
	}
	return 0
}

func TestReceivePartTable(t *testing.T) {
	const (
		fine  = transport.Violation(255)
		state = transport.ViolationStreamState
	)
	received := []struct {
		name string
		c    func(t *tester, id uint64) any
	}{
		{"H2-116 WT_STREAM", func(t *tester, id uint64) any { return wtStream{id: id, data: "more"} }},
		{"H2-116 WT_STREAM FIN", func(t *tester, id uint64) any { return wtStream{id: id, fin: true, data: "more"} }},
		{"H2-120 WT_RESET_STREAM", func(t *tester, id uint64) any {
			return capsule.ResetStream{StreamID: id, ErrorCode: 5, ReliableSize: t.size(id)}
		}},
		{"H2-150 WT_STREAM_DATA_BLOCKED", func(t *tester, id uint64) any {
			return capsule.StreamDataBlocked{StreamID: id, MaximumStreamData: 4}
		}},
	}
	for _, r := range received {
		for _, cell := range []struct {
			on   situation
			want transport.Violation
		}{
			{ownUnopened, state}, {ownUniUnopened, state}, {ownUni, state},
			{notOpenYet, fine}, {notOpenYetUni, fine}, {openByHigher, fine},
			{recvIsOpen, fine}, {recvIsStop, fine},
			{recvIsFin, state}, {recvIsDone, state}, {recvIsReset, state}, {recvIsResetRead, state},
			{isForgotten, state},
		} {
			t.Run(r.name+" on a stream that is "+cell.on.name, func(t *testing.T) {
				bubble(t, func(t *tester) {
					id := cell.on.setup(t)
					t.writeCapsule(r.c(t, id))
					if cell.want == fine {
						t.wantIdle("allowed")
						return
					}
					t.wantViolation("not allowed", cell.want)
				})
			})
		}
	}
}

// The situations of a sending part.
var (
	peerUniUnopened = situation{"the peer's unidirectional, not open yet", func(t *tester) uint64 { return 2 }}
	peerUni         = situation{"the peer's unidirectional, open", func(t *tester) uint64 {
		t.writeCapsule(wtStream{id: 2, data: "x"})
		return 2
	}}
	sendIsOpen = situation{"send part open", func(t *tester) uint64 { open0(t); return 0 }}
	sendIsFin  = situation{"send part finished", func(t *tester) uint64 {
		t.ok(open0(t).Close())
		t.wantCapsule("end", wtStream{id: 0, fin: true})
		return 0
	}}
	sendIsReset = situation{"send part reset", func(t *tester) uint64 {
		open0(t).CancelWrite(6)
		t.wantCapsule("reset", capsule.ResetStream{StreamID: 0, ErrorCode: 6})
		return 0
	}}
	sendIsStopped = situation{"send part stopped by the peer", func(t *tester) uint64 {
		open0(t)
		t.writeCapsule(capsule.StopSending{StreamID: 0, ErrorCode: 3})
		t.wantCapsule("answer", capsule.ResetStream{StreamID: 0, ErrorCode: 3})
		return 0
	}}
	finStopped = situation{"send part finished, then stopped", func(t *tester) uint64 {
		t.ok(open0(t).Close())
		t.wantCapsule("end", wtStream{id: 0, fin: true})
		t.writeCapsule(capsule.StopSending{StreamID: 0, ErrorCode: 3})
		t.wantIdle("H2-122: too late to reset")
		return 0
	}}
)

func TestSendPartTable(t *testing.T) {
	const (
		quiet = transport.Violation(254) // no answer
		reset = transport.Violation(255) // answered by WT_RESET_STREAM
		state = transport.ViolationStreamState
		flow  = transport.ViolationFlowControl
	)
	stop := func(id uint64) any { return capsule.StopSending{StreamID: id, ErrorCode: 8} }
	limit := func(max uint64) func(id uint64) any {
		return func(id uint64) any { return capsule.MaxStreamData{StreamID: id, MaximumStreamData: max} }
	}
	high, low := limit(1<<30), limit(1)
	for _, cell := range []struct {
		ids  string
		name string
		c    func(id uint64) any
		on   situation
		want transport.Violation
	}{
		{"H2-125", "WT_STOP_SENDING", stop, ownUnopened, state},
		{"H2-125", "WT_STOP_SENDING", stop, ownUniUnopened, state},
		{"H2-125", "WT_STOP_SENDING", stop, peerUniUnopened, state},
		{"H2-125", "WT_STOP_SENDING", stop, peerUni, state},
		{"H2-121", "WT_STOP_SENDING", stop, notOpenYet, reset},
		{"H2-121", "WT_STOP_SENDING", stop, openByHigher, reset},
		{"H2-121", "WT_STOP_SENDING", stop, sendIsOpen, reset},
		{"H2-122", "WT_STOP_SENDING", stop, sendIsFin, quiet},
		{"H2-122", "WT_STOP_SENDING", stop, sendIsReset, quiet},
		{"H2-122", "WT_STOP_SENDING", stop, isForgotten, quiet},
		{"H2-124", "a second WT_STOP_SENDING", stop, sendIsStopped, state},
		{"H2-124", "a second WT_STOP_SENDING", stop, finStopped, state},

		{"H2-125", "WT_MAX_STREAM_DATA", high, ownUnopened, state},
		{"H2-125", "WT_MAX_STREAM_DATA", high, ownUniUnopened, state},
		{"H2-125", "WT_MAX_STREAM_DATA", high, peerUniUnopened, state},
		{"H2-125", "WT_MAX_STREAM_DATA", high, peerUni, state},
		{"H2-140", "WT_MAX_STREAM_DATA", high, notOpenYet, quiet},
		{"H2-140", "WT_MAX_STREAM_DATA", high, sendIsOpen, quiet},
		{"H2-140", "WT_MAX_STREAM_DATA", high, sendIsFin, quiet},
		{"H2-140", "WT_MAX_STREAM_DATA", high, sendIsReset, quiet},
		{"H2-140", "WT_MAX_STREAM_DATA", high, isForgotten, quiet},
		{"H2-144", "a lower WT_MAX_STREAM_DATA", low, sendIsOpen, flow},
		{"H2-144", "a lower WT_MAX_STREAM_DATA", low, notOpenYet, flow},
		{"H2-148", "WT_MAX_STREAM_DATA", high, sendIsStopped, state},
		{"H2-148", "WT_MAX_STREAM_DATA", high, finStopped, state},
	} {
		t.Run(cell.ids+" "+cell.name+" on a stream that is "+cell.on.name, func(t *testing.T) {
			bubble(t, func(t *tester) {
				id := cell.on.setup(t)
				t.writeCapsule(cell.c(id))
				switch cell.want {
				case quiet:
					t.wantIdle("allowed, and nothing to say")
				case reset:
					t.wantCapsule("answer", capsule.ResetStream{StreamID: id, ErrorCode: 8})
					t.wantIdle("one answer")
				default:
					t.wantViolation("not allowed", cell.want)
				}
			})
		})
	}
}
