package session

import (
	"fmt"
	"math"
	"net"
	"strings"
	"testing"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

func TestAborts(t *testing.T) {
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
	t.Run("H2-118 a peer of an older draft", func(t *testing.T) {
		legacy := func(p *Params) { p.Dialect = transport.DialectLegacy }
		for _, c := range []capsule.ResetStream{
			{StreamID: 0, ErrorCode: 7, ReliableSize: 4},
			{StreamID: 0, ErrorCode: 7, ReliableSize: 5},
			{StreamID: 0, ErrorCode: 7, SizeAbsent: true},
			{StreamID: 0, ErrorCode: 0xffffffff, SizeAbsent: true},
		} {
			bubble(t, func(t *tester) {
				st := open0(t)
				t.writeCapsule(c)
				t.wantReadError(st, streamError(0, uint32(c.ErrorCode), true))
				t.wantAlive("Reliable Size is the same, larger, or not there")
			}, legacy)
		}
		bubble(t, func(t *tester) {
			open0(t)
			t.writeCapsule(capsule.ResetStream{StreamID: 0, ReliableSize: 3})
			t.wantViolation("4 bytes came", transport.ViolationStreamState)
		}, legacy)
		bubble(t, func(t *tester) {
			open0(t)
			t.writeCapsule(capsule.ResetStream{StreamID: 0, SizeAbsent: true})
			t.wantViolation("no Reliable Size, which draft 15 demands", transport.ViolationMalformed)
		})
	})
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
}
