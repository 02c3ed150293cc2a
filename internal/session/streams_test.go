package session

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
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

func TestStreams(t *testing.T) {
	for _, d := range []struct {
		dialect    capsule.Dialect
		plain, fin byte
	}{{capsule.Draft15, 0x3c, 0x3b}, {capsule.Legacy, 0x3b, 0x3c}} {
		t.Run(fmt.Sprintf("H2-110 the FIN type in %v", d.dialect), func(t *testing.T) {
			bubble(t, func(t *tester) {
				t.s.Data([]byte{0x99, 0x0b, 0x4d, d.plain, 3, 0, 'h', 'i'})
				st := t.accept()
				t.wantRead(st, "hi")
				t.s.Data([]byte{0x99, 0x0b, 0x4d, d.fin, 2, 0, '!'})
				t.wantRead(st, "!")
				t.wantReadError(st, io.EOF)
				t.send(st, "yo")
				n, _ := t.s.Fill(t.dst)
				if want := []byte{0x99, 0x0b, 0x4d, d.plain, 3, 0, 'y', 'o'}; string(t.dst[:n]) != string(want) {
					t.Fatalf("sent % x, want % x", t.dst[:n], want)
				}
				t.ok(st.Close())
				n, _ = t.s.Fill(t.dst)
				if want := []byte{0x99, 0x0b, 0x4d, d.fin, 1, 0}; string(t.dst[:n]) != string(want) {
					t.Fatalf("sent % x, want % x", t.dst[:n], want)
				}
			}, func(p *Params) { p.Dialect = d.dialect })
		})
	}
	for _, side := range []struct {
		name        string
		change      func(*Params)
		bidi0, uni0 uint64
	}{{"client", asClient, 0, 2}, {"server", func(*Params) {}, 1, 3}} {
		t.Run("H2-111 a "+side.name+"'s stream IDs are sequential in each class", func(t *testing.T) {
			bubble(t, func(t *tester) {
				for i := range uint64(5) {
					b, u := t.open(), t.openUni()
					t.send(b, "b")
					t.wantCapsule("bidirectional", wtStream{id: side.bidi0 + 4*i, data: "b"})
					t.send(u, "u")
					t.wantCapsule("unidirectional", wtStream{id: side.uni0 + 4*i, data: "u"})
					if b.StreamID() != transport.StreamID(side.bidi0+4*i) || b.StreamID().Uni() || !u.StreamID().Uni() {
						t.Fatalf("IDs %d and %d", b.StreamID(), u.StreamID())
					}
				}
			}, side.change)
		})
	}
	t.Run("H2-112 a stream opens the lower ones, accepted in order of ID", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(wtStream{id: 12, data: "fourth"})
			if got := t.s.Stats().StreamsAccepted; got != 4 {
				t.Fatalf("%d streams were opened, want 4", got)
			}
			for i := range uint64(4) {
				st := t.accept()
				if st.StreamID() != transport.StreamID(4*i) {
					t.Fatalf("stream %d accepted as number %d", st.StreamID(), i)
				}
				if i == 3 {
					t.wantRead(st, "fourth")
				}
			}
			t.writeCapsule(wtStream{id: 4, data: "late"})
			if st := t.s.streams[4]; st == nil || st.recv.buf.n != 4 {
				t.Fatal("a lower stream does not take data")
			}
			if _, err := t.s.AcceptStream(done()); err == nil {
				t.Fatal("a fifth stream was accepted")
			}
		})
	})
	t.Run("H2-114 empty capsules that open or end nothing are counted", func(t *testing.T) {
		bubble(t, func(t *tester) {
			open0(t)
			for range 1000 {
				t.writeCapsule(wtStream{id: 0})
			}
			t.wantIdle("as many as the limit")
			t.writeCapsule(wtStream{id: 0})
			t.wantViolation("one more", transport.ViolationGeneric)
		})
	})
	t.Run("H2-114 an empty capsule that opens a stream is honest", func(t *testing.T) {
		bubble(t, func(t *tester) {
			for i := range uint64(3000) {
				t.writeCapsule(wtStream{id: 4 * i}, wtStream{id: 4 * i, fin: true})
				st := t.accept()
				t.wantReadError(st, io.EOF)
				t.ok(st.Close())
				for t.hear() != nil {
				}
			}
			t.wantAlive("every stream was opened by an empty capsule")
		})
	})
	t.Run("H2-117 Reliable Size is what was sent", func(t *testing.T) {
		bubble(t, func(t *tester) {
			w := t.openUni()
			t.send(w, strings.Repeat("x", 1000))
			for n := 0; n < 1000; { // short capsules, so that it is sent in parts
				t.dst = t.dst[:300]
				n += len(t.hear().(wtStream).data)
				if n > 500 {
					break
				}
			}
			t.dst = t.dst[:cap(t.dst)]
			sent := t.s.Stats().BytesSent
			w.CancelWrite(0xffffffff)
			t.wantCapsule("reset", capsule.ResetStream{StreamID: 3, ErrorCode: 0xffffffff, ReliableSize: sent})
			if sent == 0 || sent == 1000 {
				t.Fatalf("%d bytes were sent before the reset", sent)
			}
		})
	})
	for _, c := range []struct {
		size uint64
		want string
	}{{3, "less"}, {5, "more"}, {0, "nothing"}, {1 << 61, "absurdly more"}} {
		t.Run("H2-118 Reliable Size claims "+c.want+" than was received", func(t *testing.T) {
			bubble(t, func(t *tester) {
				open0(t)
				t.writeCapsule(capsule.ResetStream{StreamID: 0, ReliableSize: c.size})
				t.wantViolation("4 bytes came", transport.ViolationStreamState)
			})
		})
	}
	t.Run("H2-119 a reset with a code of more than 32 bits", func(t *testing.T) {
		bubble(t, func(t *tester) {
			open0(t)
			t.writeCapsule(capsule.ResetStream{StreamID: 0, ErrorCode: 1 << 32, ReliableSize: 4})
			t.wantViolation("code", transport.ViolationGeneric)
		})
	})
	t.Run("H2-119 a stop request with a code of more than 32 bits", func(t *testing.T) {
		bubble(t, func(t *tester) {
			open0(t)
			t.writeCapsule(capsule.StopSending{StreamID: 0, ErrorCode: 1 << 32})
			t.wantViolation("code", transport.ViolationGeneric)
		})
	})
	t.Run("H2-120 a second reset", func(t *testing.T) {
		bubble(t, func(t *tester) {
			open0(t)
			c := capsule.ResetStream{StreamID: 0, ErrorCode: 5, ReliableSize: 4}
			t.writeCapsule(c)
			t.wantIdle("the first")
			t.writeCapsule(c)
			t.wantViolation("the second", transport.ViolationStreamState)
		})
	})
	t.Run("H2-121 a stop request is answered and fails Write", func(t *testing.T) {
		bubble(t, func(t *tester) {
			st := open0(t)
			t.send(st, "unsent")
			waiting := runAsync(t, func() error { _, err := st.Write(make([]byte, 1<<20)); return err })
			waiting.wantWaiting("the buffer is full")
			t.writeCapsule(capsule.StopSending{StreamID: 0, ErrorCode: 77})
			if err := waiting.result(); !sameError(err, streamError(0, 77, true)) {
				t.Fatal(err)
			}
			t.wantCapsule("answer", capsule.ResetStream{StreamID: 0, ErrorCode: 77})
			t.wantWriteError(st, streamError(0, 77, true))
			t.wantIdle("nothing else")
			t.wantRead(st, "data") // the other direction goes on
		})
	})
	t.Run("H2-121 the application's own code goes before the peer's", func(t *testing.T) {
		bubble(t, func(t *tester) {
			st := open0(t)
			st.CancelWrite(1)
			t.writeCapsule(capsule.StopSending{StreamID: 0, ErrorCode: 2})
			t.wantCapsule("one reset", capsule.ResetStream{StreamID: 0, ErrorCode: 1})
			t.wantIdle("and only one")
		})
	})
	t.Run("H2-121 a stop request takes back the end that was not sent", func(t *testing.T) {
		bubble(t, func(t *tester) {
			st := open0(t)
			t.send(st, "unsent")
			t.ok(st.Close())
			t.writeCapsule(capsule.StopSending{StreamID: 0, ErrorCode: 2})
			t.wantCapsule("a reset instead of data and end", capsule.ResetStream{StreamID: 0, ErrorCode: 2})
			t.wantIdle("nothing more")
		})
	})
	t.Run("H2-123 at most one stop request, and none after the end", func(t *testing.T) {
		bubble(t, func(t *tester) {
			st := open0(t)
			st.CancelRead(1)
			st.CancelRead(2)
			t.wantCapsule("the first", capsule.StopSending{StreamID: 0, ErrorCode: 1})
			st.CancelRead(3)
			t.wantIdle("no second")

			t.writeCapsule(wtStream{id: 4, data: "x"})
			st = t.accept()
			st.CancelRead(4)
			t.writeCapsule(wtStream{id: 4, fin: true}) // crosses what was not sent
			t.wantIdle("the stream has ended")
			t.wantReadError(st, streamError(4, 4, false))
		})
	})
	t.Run("H2-126 H2-147 data after the own stop request returns the session's credit", func(t *testing.T) {
		bubble(t, func(t *tester) {
			const window = 64 << 10
			open0(t).CancelRead(1)
			t.wantCapsule("stop", capsule.StopSending{StreamID: 0, ErrorCode: 1})
			limit, sent := uint64(window), uint64(4)
			chunk := strings.Repeat("x", 8<<10)
			for sent < 10<<20 {
				for sent+uint64(len(chunk)) <= limit {
					t.writeCapsule(wtStream{id: 0, data: chunk})
					sent += uint64(len(chunk))
				}
				switch c := t.hear().(type) {
				case capsule.MaxData:
					limit = c.MaximumData
				default:
					t.Fatalf("%T %v sent, want only WT_MAX_DATA", c, c)
				}
			}
			if t.s.held != 0 {
				t.Fatalf("%d bytes held of what is discarded", t.s.held)
			}
			if got := t.s.Stats(); got.BytesReceived != sent || got.BytesRead != 0 {
				t.Fatalf("%+v", got)
			}
		}, withConfig(transport.Config{
			InitialSessionWindow: 64 << 10, MaxSessionWindow: 64 << 10,
			InitialStreamWindow: 64 << 20, MaxStreamWindow: 64 << 20,
		}))
	})
	t.Run("H2-127 bytes in order, the end after all of them", func(t *testing.T) {
		bubble(t, func(t *tester) {
			b := t.encode(wtStream{id: 0, fin: true, data: "abc"})
			t.s.Data(b[:len(b)-1])
			st := t.accept()
			t.wantRead(st, "ab")
			read := runAsync(t, func() string {
				p := make([]byte, 8)
				n, err := st.Read(p)
				return fmt.Sprint(string(p[:n]), err)
			})
			read.wantWaiting("the last byte is missing")
			t.s.Data(b[len(b)-1:])
			if got := read.result(); got != "c<nil>" {
				t.Fatal(got)
			}
			t.wantReadError(st, io.EOF)
			t.wantReadError(st, io.EOF)
		})
	})
	for _, code := range []uint32{0, 1, math.MaxUint32} {
		t.Run(fmt.Sprintf("H2-128 code %d arrives unchanged", code), func(t *testing.T) {
			bubble(t, func(t *tester) {
				st := open0(t)
				t.writeCapsule(capsule.ResetStream{StreamID: 0, ErrorCode: uint64(code), ReliableSize: 4},
					capsule.StopSending{StreamID: 0, ErrorCode: uint64(code)})
				t.wantReadError(st, streamError(0, code, true))
				t.wantWriteError(st, streamError(0, code, true))
				t.wantCapsule("answer", capsule.ResetStream{StreamID: 0, ErrorCode: uint64(code)})

				st = t.open()
				t.send(st, "x")
				t.wantCapsule("opening", wtStream{id: 1, data: "x"})
				st.CancelRead(transport.StreamErrorCode(code))
				t.wantCapsule("stop", capsule.StopSending{StreamID: 1, ErrorCode: uint64(code)})
				st.CancelWrite(transport.StreamErrorCode(code))
				t.wantCapsule("reset", capsule.ResetStream{StreamID: 1, ErrorCode: uint64(code), ReliableSize: 1})
			})
		})
	}
	t.Run("H2-129 the first capsule on a stream opens it", func(t *testing.T) {
		bubble(t, func(t *tester) {
			st := t.open()
			t.wantIdle("opening alone sends nothing")
			st.CancelWrite(5)
			t.wantCapsule("opening", wtStream{id: 1})
			t.wantCapsule("reset", capsule.ResetStream{StreamID: 1, ErrorCode: 5})

			st = t.open()
			st.CancelRead(6)
			t.wantCapsule("opening", wtStream{id: 5})
			t.wantCapsule("stop", capsule.StopSending{StreamID: 5, ErrorCode: 6})
			t.wantIdle("once")
		})
	})
	t.Run("H2-129 a stream blocked from the start is opened first", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.send(t.open(), "x")
			t.wantCapsule("opening", wtStream{id: 1})
			t.wantCapsule("blocked", capsule.StreamDataBlocked{StreamID: 1})
			t.wantIdle("once")
		}, peerAllows(InitialLimits{MaxStreamsBidi: 1, MaxData: 100}))
	})
	t.Run("H2-129 a stream that a higher one opened is not opened again", func(t *testing.T) {
		bubble(t, func(t *tester) {
			low, high := t.open(), t.open()
			t.send(high, "x")
			t.wantCapsule("both are opened", wtStream{id: 5, data: "x"})
			low.CancelWrite(5)
			t.wantCapsule("H2-113: no empty capsule on an open stream", capsule.ResetStream{StreamID: 1, ErrorCode: 5})
		})
	})
	t.Run("H2-115 nothing follows the own end or reset", func(t *testing.T) {
		bubble(t, func(t *tester) {
			st := open0(t)
			t.send(st, "all")
			t.ok(st.Close())
			t.wantCapsule("data and end", wtStream{id: 0, fin: true, data: "all"})
			st.CancelWrite(1)
			t.ok(st.Close())
			t.writeCapsule(capsule.StopSending{StreamID: 0, ErrorCode: 1})
			t.wantIdle("the end was sent")
			t.wantWriteError(st, net.ErrClosed)

			t.writeCapsule(wtStream{id: 4, data: "x"})
			st = t.accept()
			st.CancelWrite(2)
			st.CancelWrite(3)
			t.ok(st.Close())
			t.wantCapsule("reset", capsule.ResetStream{StreamID: 4, ErrorCode: 2})
			t.wantIdle("the reset was sent")
			t.wantWriteError(st, streamError(4, 2, false))
		})
	})
	t.Run("the end goes out alone only if no data is left", func(t *testing.T) {
		bubble(t, func(t *tester) {
			st := open0(t)
			t.send(st, "a")
			t.wantCapsule("data", wtStream{id: 0, data: "a"})
			t.ok(st.Close())
			t.wantCapsule("end", wtStream{id: 0, fin: true})
			u := t.openUni()
			t.ok(u.Close())
			t.wantCapsule("an empty stream", wtStream{id: 3, fin: true})
		})
	})
	t.Run("a context bounds only its call", func(t *testing.T) {
		bubble(t, func(t *tester) {
			if _, err := t.s.OpenStream(done()); !errors.Is(err, transport.ErrStreamLimit) {
				t.Fatal(err)
			}
			t.wantCapsule("H2-149", capsule.StreamsBlocked{})
			open := runAsync(t, func() error { _, err := t.s.OpenStream(t.Context()); return err })
			open.wantWaiting("no credit")
			t.wantIdle("H2-149: once per limit")
			t.writeCapsule(capsule.MaxStreams{MaximumStreams: 1})
			t.ok(open.result())
		}, peerAllows(InitialLimits{}))
	})
}
