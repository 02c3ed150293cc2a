package session

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

func TestStreams(t *testing.T) {
	for _, d := range []struct {
		dialect    transport.Dialect
		plain, fin byte
	}{{transport.DialectDraft15, 0x3c, 0x3b}, {transport.DialectLegacy, 0x3b, 0x3c}} {
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
