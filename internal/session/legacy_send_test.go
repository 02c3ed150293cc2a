package session

import (
	"fmt"
	"strings"
	"testing"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// asLegacy runs a script against a session that sends as peers of older drafts
// need it: told so, supposing it, and having learned it.
func asLegacy(t *testing.T, what string, f func(*tester), change ...func(*Params)) {
	t.Run(what+", legacy", func(t *testing.T) {
		bubble(t, f, append(change, func(p *Params) { p.Dialect = transport.DialectLegacy })...)
	})
	t.Run(what+", auto", func(t *testing.T) {
		bubble(t, f, append(change, func(p *Params) { p.Dialect = transport.DialectAuto })...)
	})
	t.Run(what+", auto and learned", func(t *testing.T) {
		learning(t, capsule.Legacy, func(p *pupil) {
			id := p.s.peerID(0, bidi)
			p.writeCapsule(wtStream{id: id}, wtStream{id: id, fin: true})
			p.wantLearned("two capsules", transport.DialectLegacy)
			p.accept().CancelWrite(0)
			for p.hear() != nil {
			}
			p.sent = 0
			f(p.tester)
		}, change...)
	})
}

func TestLegacySending(t *testing.T) {
	asLegacy(t, "H2-110 FIN is an empty capsule of its own", func(t *tester) {
		u := t.openUni()
		t.send(u, "data")
		t.ok(u.Close())
		id := uint64(u.StreamID())
		t.wantCapsule("announced", wtStream{id: id})
		t.wantCapsule("data", wtStream{id: id, data: "data"})
		t.wantCapsule("FIN", wtStream{id: id, fin: true})
		t.wantIdle("all was sent")
	})
	asLegacy(t, "H2-129 a stream that is only ended, or only reset, is announced", func(t *tester) {
		a, b := t.openUni(), t.openUni()
		t.ok(a.Close())
		b.CancelWrite(7)
		t.wantCapsule("announced", wtStream{id: 3})
		t.wantCapsule("FIN", wtStream{id: 3, fin: true})
		t.wantCapsule("announced", wtStream{id: 7})
		t.wantCapsule("reset", capsule.ResetStream{StreamID: 7, ErrorCode: 7})
		t.wantIdle("all was sent")
	})
	asLegacy(t, "H2-111 H2-113 streams are announced in their order, each once", func(t *tester) {
		a, b, c := t.openUni(), t.openUni(), t.openUni()
		t.send(c, "c")
		t.wantCapsule("the lowest", wtStream{id: 3})
		t.wantCapsule("the next", wtStream{id: 7})
		t.wantCapsule("the one at hand", wtStream{id: 11})
		t.wantCapsule("its data", wtStream{id: 11, data: "c"})
		t.send(a, "a")
		t.send(b, "b")
		t.wantCapsule("announced before", wtStream{id: 3, data: "a"})
		t.wantCapsule("announced before", wtStream{id: 7, data: "b"})
	})
	asLegacy(t, "H2-111 announcements go on where dst was full", func(t *tester) {
		t.dst = make([]byte, minStreamCapsule)
		var last transport.SendStream
		for range 30 {
			last = t.openUni()
		}
		t.send(last, "x")
		for i := range uint64(30) {
			t.wantCapsule("in order", wtStream{id: 3 + 4*i})
		}
		t.wantCapsule("data", wtStream{id: 3 + 4*29, data: "x"})
	})
	asLegacy(t, "H2-151 credit follows the announcement of a bidirectional stream at once", func(t *tester) {
		st := t.open()
		t.send(st, "question")
		id := uint64(st.StreamID())
		t.wantCapsule("announced", wtStream{id: id})
		t.wantCapsule("what the peer may answer", capsule.MaxStreamData{StreamID: id, MaximumStreamData: transport.DefaultInitialStreamWindow})
		t.wantCapsule("data", wtStream{id: id, data: "question"})
		t.wantIdle("all was sent")
	}, func(p *Params) { p.Local.MaxStreamDataBidiLocal = 100 })
	asLegacy(t, "H2-129 H2-149 a stream without credit is announced, and its report follows", func(t *tester) {
		st := t.openUni()
		t.send(st, "x")
		t.wantCapsule("announced", wtStream{id: 3})
		t.wantCapsule("blocked", capsule.StreamDataBlocked{StreamID: 3})
		t.writeCapsule(capsule.MaxStreamData{StreamID: 3, MaximumStreamData: 1})
		t.wantCapsule("data", wtStream{id: 3, data: "x"})
	}, func(p *Params) { p.Peer.MaxStreamDataUni = 0 })
	asLegacy(t, "capsules of at most 8 KiB", func(t *tester) {
		st := t.openUni()
		t.send(st, strings.Repeat("x", 60<<10))
		t.ok(st.Close())
		t.wantCapsule("announced", wtStream{id: 3})
		for left := 60 << 10; left > 0; {
			c := t.hear().(wtStream)
			total := capsule.StreamHeaderLen(c.id, uint64(len(c.data))) + len(c.data)
			if left -= len(c.data); total > 8<<10 || total < 8<<10 && left > 0 && t.sent%len(t.dst) != 0 || c.fin {
				t.Fatalf("a capsule of %d bytes, %d left", total, left)
			}
		}
		t.wantCapsule("FIN", wtStream{id: 3, fin: true})
	})
	asLegacy(t, "H2-170 a datagram may be longer", func(t *tester) {
		p := strings.Repeat("d", 12<<10)
		t.ok(t.s.SendDatagram([]byte(p)))
		t.wantCapsule("whole", datagram(p))
	})
	// Two out of three peers of older drafts lose a FIN whose capsule is split.
	for _, size := range []int{minStreamCapsule, 100, 1000, 9000, 40 << 10} {
		asLegacy(t, fmt.Sprintf("H2-093 no capsule is split over calls with %d bytes", size), func(t *tester) {
			t.dst = make([]byte, size)
			a, b := t.openUni(), t.open()
			t.send(a, strings.Repeat("a", 30_000))
			t.send(b, strings.Repeat("b", 30_000))
			t.ok(a.Close())
			t.ok(b.Close())
			for t.fill() > 0 {
				if t.decoder.Partial() {
					t.Fatal("a capsule was left unfinished")
				}
			}
			var data, fins int
			for _, c := range t.heard {
				if c, ok := c.(wtStream); ok {
					data += len(c.data)
					if c.fin {
						fins++
					}
				}
			}
			if data != 60_000 || fins != 2 {
				t.Fatalf("%d bytes and %d ends sent", data, fins)
			}
		})
	}
	for size := 1; size < minStreamCapsule; size += 7 {
		asLegacy(t, fmt.Sprintf("H2-093 all goes out in pieces of %d bytes", size), func(t *tester) {
			t.dst = make([]byte, size)
			a := t.openUni()
			t.send(a, strings.Repeat("a", 500))
			t.ok(a.Close())
			for t.fill() > 0 {
			}
			got := ""
			for _, c := range t.heard {
				got += c.(wtStream).data
			}
			if last := t.heard[len(t.heard)-1].(wtStream); len(got) != 500 || t.decoder.Partial() || !last.fin || last.data != "" {
				t.Fatalf("%d bytes sent, the last capsule %v", len(got), last)
			}
		})
	}
	t.Run("H2-110 draft 15 once learned: no announcement, FIN with data, 16 KiB", func(t *testing.T) {
		learning(t, capsule.Draft15, func(p *pupil) {
			p.writeCapsule(wtStream{id: 2, data: "x"}, wtStream{id: 2, fin: true})
			p.wantLearned("two capsules", transport.DialectDraft15)
			st := p.openUni()
			p.send(st, strings.Repeat("x", 20<<10))
			p.ok(st.Close())
			first, second := p.hear().(wtStream), p.hear().(wtStream)
			if len(first.data) < 16000 || first.fin || !second.fin || len(first.data)+len(second.data) != 20<<10 {
				p.Fatalf("sent %d and %d bytes, FIN %t and %t", len(first.data), len(second.data), first.fin, second.fin)
			}
			p.wantIdle("all was sent")
		})
	})
	t.Run("H2-129 what is announced when the session is closed", func(t *testing.T) {
		bubble(t, func(t *tester) {
			a, b := t.openUni(), t.openUni()
			t.send(a, "dropped")
			t.send(b, "kept")
			t.ok(b.Close())
			t.s.StartClose(1, "bye")
			t.wantCapsule("announced", wtStream{id: 7})
			t.wantCapsule("data", wtStream{id: 7, data: "kept"})
			t.wantCapsule("FIN", wtStream{id: 7, fin: true})
			t.wantCapsule("closed", capsule.CloseSession{ErrorCode: 1, Message: "bye"})
		}, func(p *Params) { p.Dialect = transport.DialectLegacy })
	})
}
