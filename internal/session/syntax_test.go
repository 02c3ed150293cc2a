package session

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// fixedCapsules are one of each type with a fixed layout.
var fixedCapsules = []capsule.Capsule{
	capsule.ResetStream{StreamID: 0, ErrorCode: 1},
	capsule.StopSending{StreamID: 0, ErrorCode: 1},
	capsule.MaxData{MaximumData: 1 << 40},
	capsule.MaxStreamData{StreamID: 0, MaximumStreamData: 1 << 40},
	capsule.MaxStreams{MaximumStreams: 1 << 20},
	capsule.MaxStreams{Uni: true, MaximumStreams: 1 << 20},
	capsule.DataBlocked{MaximumData: 1},
	capsule.StreamDataBlocked{StreamID: 0, MaximumStreamData: 1},
	capsule.StreamsBlocked{MaximumStreams: 1},
	capsule.StreamsBlocked{Uni: true, MaximumStreams: 1},
	capsule.CloseSession{ErrorCode: 1, Message: "bye"},
	capsule.DrainSession{},
}

// withLength returns c with another Length, its value cut or filled with zero.
func withLength(c capsule.Capsule, change int) []byte {
	b := c.Append(nil)
	_, n := capsule.ParseVarint(b)
	length, m := capsule.ParseVarint(b[n:])
	value := b[n+m:]
	want := int(length) + change
	if want < 0 {
		return nil
	}
	out := capsule.AppendVarint(bytes.Clone(b[:n]), uint64(want))
	if change <= 0 {
		return append(out, value[:want]...)
	}
	return append(append(out, value...), make([]byte, change)...)
}

func header(t capsule.Type, length uint64) raw {
	return capsule.AppendVarint(capsule.AppendVarint(nil, uint64(t)), length)
}

func TestSyntax(t *testing.T) {
	t.Run("H2-090 an unknown type is skipped whatever its length", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(header(0x5ca1ab1e, 0), header(0x17, 3), raw("abc"))
			t.writeCapsule(header(0x5ca1ab1e, 1<<40))
			filler := make([]byte, 64<<10)
			for range 1 << 14 / 64 { // 16 MiB of it
				t.s.Data(filler)
			}
			if t.s.held != 0 {
				t.Fatalf("%d bytes are held for a capsule that is skipped", t.s.held)
			}
			t.wantIdle("nothing answers an unknown capsule")
		})
	})
	t.Run("H2-090 what follows an unknown capsule is read", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(header(0x5ca1ab1e, 5), raw("12345"), wtStream{id: 0, data: "x"})
			t.wantRead(t.accept(), "x")
		})
	})
	for _, c := range fixedCapsules {
		for _, change := range []int{-1, 1} {
			b := withLength(c, change)
			if b == nil {
				continue
			}
			if _, ok := c.(capsule.CloseSession); ok && (change > 0 || len(c.(capsule.CloseSession).Message) > 0) {
				continue // another length is another message
			}
			t.Run(fmt.Sprintf("H2-091 %v with Length %+d", c.Type(), change), func(t *testing.T) {
				bubble(t, func(t *tester) {
					t.writeCapsule(wtStream{id: 0, data: ""}, raw(b))
					t.wantViolation("fields do not fill Length", transport.ViolationMalformed)
				})
			})
		}
	}
	t.Run("H2-091 WT_STREAM without room for its Stream ID", func(t *testing.T) {
		for _, b := range []raw{header(capsule.TypeStream, 0), append(header(capsule.TypeStream, 1), 0x40)} {
			bubble(t, func(t *tester) {
				t.writeCapsule(b)
				t.wantViolation("Length too small", transport.ViolationMalformed)
			})
		}
	})
	t.Run("H2-092 END_STREAM inside a capsule", func(t *testing.T) {
		var tt tester
		tt.TB = t
		whole := tt.encode(wtStream{id: 0, fin: true, data: "abc"}, datagram("de"), capsule.MaxData{MaximumData: 1 << 30})
		boundaries := map[int]bool{
			0: true,
			len(tt.encode(wtStream{id: 0, fin: true, data: "abc"})):                 true,
			len(tt.encode(wtStream{id: 0, fin: true, data: "abc"}, datagram("de"))): true,
			len(whole): true,
		}
		for cut := range len(whole) + 1 {
			bubble(t, func(t *tester) {
				t.s.Data(whole[:cut])
				t.s.End()
				if boundaries[cut] {
					t.wantEndStream("a clean end is answered")
					return
				}
				t.wantViolation(fmt.Sprintf("cut after %d bytes", cut), transport.ViolationMalformed)
			})
		}
	})
	t.Run("H2-093 H2-095 capsules are read in pieces of any size", func(t *testing.T) {
		for _, size := range []int{1, 2, 3, 5, 7, 100, 16 << 10} {
			bubble(t, func(t *tester) {
				want := strings.Repeat("0123456789", 5000)
				b := t.encode(wtStream{id: 4, data: "ab"}, datagram("dg"), wtStream{id: 0, fin: true, data: want},
					capsule.MaxStreams{MaximumStreams: 1000}, wtStream{id: 400 &^ 3, data: "z"})
				for len(b) > 0 {
					n := min(size, len(b))
					t.s.Data(b[:n])
					b = b[n:]
				}
				st := t.accept()
				got := make([]byte, len(want))
				for n := 0; n < len(got); {
					m, err := st.Read(got[n:])
					t.ok(err)
					n += m
				}
				if string(got) != want {
					t.Fatal("other bytes were read than were sent")
				}
				p, err := t.s.ReceiveDatagram(done())
				if string(p) != "dg" || err != nil {
					t.Fatalf("datagram %q, %v", p, err)
				}
			}, withConfig(transport.Config{MaxIncomingStreams: 200}))
		}
	})
	t.Run("H2-094 integers may be longer than needed", func(t *testing.T) {
		bubble(t, func(t *tester) {
			eight := func(v byte) []byte { return []byte{0xc0, 0, 0, 0, 0, 0, 0, v} }
			b := capsule.AppendVarint(nil, uint64(capsule.TypeStreamFin))
			b = append(b, eight(8+2)...) // Length
			b = append(b, eight(0)...)   // Stream ID
			b = append(b, "ok"...)
			b = append(b, 0xc0, 0, 0, 0, 0x19, 0x0b, 0x4d, 0x3d) // WT_MAX_DATA
			b = append(b, 0x40, 8)
			b = append(b, 0xc0, 0, 0, 0, 1, 0, 0, 0)
			t.writeCapsule(raw(b))
			st := t.accept()
			t.wantRead(st, "ok")
			t.wantAlive("long encodings")
		})
	})
	t.Run("H2-095 a capsule longer than the window is taken as it comes", func(t *testing.T) {
		// The carrier gets its bytes back at once: Data keeps none of them and
		// never waits, whatever part of the capsule has come.
		bubble(t, func(t *tester) {
			const size = 200 << 10
			t.writeCapsule(raw(capsule.AppendStreamHeader(nil, true, capsule.Draft15, 0, size)))
			st := t.accept()
			for range size / 1024 {
				t.s.Data(bytes.Repeat([]byte("x"), 1024))
				t.wantRead(st, strings.Repeat("x", 1024))
			}
			if _, err := st.Read(make([]byte, 1)); err == nil {
				t.Fatal("no end after the capsule")
			}
		})
	})
	for _, c := range fixedCapsules {
		t.Run(fmt.Sprintf("H2-096 %v with an absurd Length", c.Type()), func(t *testing.T) {
			bubble(t, func(t *tester) {
				t.writeCapsule(header(c.Type(), 1<<32))
				want := transport.ViolationMalformed
				if c.Type() == capsule.TypeCloseSession {
					want = transport.ViolationGeneric // H2-178
				}
				t.wantViolation("refused at the header", want)
			})
		})
	}
	t.Run("H2-097 PADDING is never sent", func(t *testing.T) {
		// The harness fails on any capsule that the engine has no use for; and
		// what package capsule would send is zero.
		if b := (capsule.Padding{Length: 9}).Append(nil); !bytes.Equal(b[len(b)-9:], make([]byte, 9)) {
			t.Fatalf("% x", b)
		}
	})
	t.Run("H2-098 PADDING of any content is taken", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(capsule.Padding{Length: 5}, header(capsule.TypePadding, 3), raw("abc"), wtStream{id: 0, data: "x"})
			t.wantRead(t.accept(), "x")
		})
	})
	t.Run("H2-099 WT_DRAIN_SESSION with a value", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(header(capsule.TypeDrainSession, 1), raw{0})
			t.wantViolation("it has none", transport.ViolationMalformed)
		})
	})
	t.Run("H2-099 WT_CLOSE_SESSION without a whole code", func(t *testing.T) {
		for n := range 4 {
			bubble(t, func(t *tester) {
				t.writeCapsule(header(capsule.TypeCloseSession, uint64(n)), raw(make([]byte, n)))
				t.wantViolation("code of fewer than four bytes", transport.ViolationMalformed)
			})
		}
	})
	t.Run("H2-091 a stream ID of 62 bits", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(wtStream{id: math.MaxUint64>>2 - 3, data: "x"})
			t.wantViolation("far beyond the limit", transport.ViolationFlowControl)
		})
	})
	t.Run("H2-090 nothing is read after the end of the session", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.s.Lost(context.Canceled)
			t.writeCapsule(wtStream{id: 3, data: "garbage"})
			t.s.End()
			t.s.Data([]byte{0xff})
			if len(t.carrier.resets) > 0 || t.carrier.cancels.Load() > 0 {
				t.Fatal("the carrier was called after it had reported its end")
			}
		})
	})
}
