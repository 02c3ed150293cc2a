package session

import (
	"fmt"
	"io"
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

// TestDialectSwitchSending is about what was sent in the older drafts' way before
// the session learned that the peer speaks draft 15. 3b ended its stream there,
// 3c did not.
func TestDialectSwitchSending(t *testing.T) {
	// answer is the stream that the peer opened, and learn has the session
	// learn.
	begin := func(p *pupil) (answer transport.Stream, learn func()) {
		p.writeCapsule(wtStream{id: 0, data: "question"})
		st := p.accept()
		p.wantRead(st, "question")
		return st, func() {
			p.Helper()
			p.writeCapsule(wtStream{id: 0, data: "!"})
			p.wantLearned("two capsules", transport.DialectDraft15)
		}
	}
	finish := func(p *pupil, st transport.Stream) {
		p.Helper()
		p.writeCapsule(wtStream{id: 0, fin: true})
		p.wantRead(st, "!")
		if _, err := st.Read(make([]byte, 1)); err == nil || p.knows(0) {
			p.Fatalf("Read = %v, the stream is known %t", err, p.knows(0))
		}
		p.wantAlive("all is well")
	}
	t.Run("H2-110 a FIN that the peer took for data is sent again", func(t *testing.T) {
		learning(t, capsule.Draft15, func(p *pupil) {
			st, learn := begin(p)
			p.ok(st.Close())
			p.wantCapsule("as this peer reads it", wtStream{id: 0})
			learn()
			p.wantCapsule("again", wtStream{id: 0, fin: true})
			p.wantIdle("once")
			finish(p, st)
		})
	})
	t.Run("H2-110 the same on a stream whose other direction ends by the evidence", func(t *testing.T) {
		learning(t, capsule.Draft15, func(p *pupil) {
			p.writeCapsule(wtStream{id: 4, data: "whole", fin: true})
			other := p.accept() // stream 0, opened with it
			st := p.accept()
			p.wantRead(st, "whole")
			st.CancelRead(7)
			p.wantCapsule("it may go on", capsule.StopSending{StreamID: 4, ErrorCode: 7})
			p.ok(st.Close())
			p.wantCapsule("as this peer reads it", wtStream{id: 4})
			p.writeCapsule(wtStream{id: 0, data: "x"}, wtStream{id: 0, data: "y"})
			p.wantLearned("two capsules", transport.DialectDraft15)
			p.wantCapsule("again", wtStream{id: 4, fin: true})
			p.wantIdle("once")
			if p.knows(4) || !p.knows(0) {
				p.Fatal("stream 4 is over, stream 0 is not")
			}
			p.wantRead(other, "xy")
		})
	})
	t.Run("H2-121 unless the peer does not want it", func(t *testing.T) {
		learning(t, capsule.Draft15, func(p *pupil) {
			st, learn := begin(p)
			p.ok(st.Close())
			p.wantCapsule("as this peer reads it", wtStream{id: 0})
			learn()
			p.writeCapsule(capsule.StopSending{StreamID: 0, ErrorCode: 9})
			p.wantCapsule("reset", capsule.ResetStream{StreamID: 0, ErrorCode: 9})
			p.wantIdle("no end besides")
			finish(p, st)
		})
	})
	t.Run("H2-115 one capsule that was the whole stream stays its end", func(t *testing.T) {
		for _, closed := range []bool{true, false} {
			learning(t, capsule.Draft15, func(p *pupil) {
				st, learn := begin(p)
				p.send(st, "answer")
				p.wantCapsule("as this peer reads it", wtStream{id: 0, data: "answer", fin: true})
				if closed {
					p.ok(st.Close()) // FIN is due when the evidence comes
				}
				learn()
				if !closed {
					p.ok(st.Close())
				}
				p.wantIdle("it has ended for the peer")
				finish(p, st)
			})
		}
	})
	t.Run("H2-152 a stream that is over without a capsule gives its credit back", func(t *testing.T) {
		learning(t, capsule.Draft15, func(p *pupil) {
			st, learn := begin(p)
			p.send(st, "answer")
			p.hear()
			learn()
			p.writeCapsule(wtStream{id: 0, fin: true})
			p.wantRead(st, "!")
			p.wantReadError(st, io.EOF)
			p.wantIdle("it can be written to")
			p.ok(st.Close())
			p.wantCapsule("nothing else", capsule.MaxStreams{MaximumStreams: 2})
		}, withConfig(transport.Config{MaxIncomingStreams: 1}))
	})
	t.Run("H2-115 the same, and the peer asks to stop", func(t *testing.T) {
		learning(t, capsule.Draft15, func(p *pupil) {
			st, learn := begin(p)
			p.send(st, "answer")
			p.hear()
			learn()
			p.writeCapsule(capsule.StopSending{StreamID: 0, ErrorCode: 9})
			p.wantIdle("H2-122: it has ended for the peer")
			p.wantWriteError(st, streamError(0, 9, true))
			finish(p, st)
		})
	})
	t.Run("the same, and the session is closed", func(t *testing.T) {
		learning(t, capsule.Draft15, func(p *pupil) {
			st, learn := begin(p)
			p.send(st, "answer")
			p.hear()
			learn()
			p.ok(st.Close())
			p.s.StartClose(1, "bye")
			p.wantCapsule("nothing to flush", capsule.CloseSession{ErrorCode: 1, Message: "bye"})
		})
	})
	for _, c := range []struct {
		what   string
		before func(p *pupil, st transport.Stream)
		after  func(p *pupil, st transport.Stream)
	}{
		{"more was written", func(p *pupil, st transport.Stream) {
			p.send(st, "one")
			p.hear()
			p.send(st, "two")
		}, nil},
		{"more was sent", func(p *pupil, st transport.Stream) {
			p.send(st, "one")
			p.hear()
			p.send(st, "two")
			p.hear()
		}, nil},
		{"the end was sent", func(p *pupil, st transport.Stream) {
			p.send(st, "one")
			p.hear()
			p.ok(st.Close())
			p.hear()
		}, nil},
		{"a reset is due", func(p *pupil, st transport.Stream) {
			p.send(st, "one")
			p.hear()
			st.CancelWrite(7)
		}, nil},
		{"a reset was sent", func(p *pupil, st transport.Stream) {
			p.send(st, "one")
			p.hear()
			st.CancelWrite(7)
			p.hear()
		}, nil},
		{"a blocked report was sent", func(p *pupil, st transport.Stream) {
			p.send(st, strings.Repeat("x", 11))
			p.hear()
			p.wantCapsule("one byte is left", capsule.StreamDataBlocked{StreamID: 0, MaximumStreamData: 10})
		}, nil},
		{"a stream was opened and used", func(p *pupil, st transport.Stream) {
			u := p.openUni()
			p.send(u, "x")
			p.wantCapsule("announced", wtStream{id: 3, fin: true})
			p.hear()
		}, nil},
		{"more is written", func(p *pupil, st transport.Stream) {
			p.send(st, "one")
			p.hear()
		}, func(p *pupil, st transport.Stream) {
			n, err := st.Write([]byte("two"))
			if n != 0 || err == nil {
				p.Fatalf("Write = %d, %v", n, err)
			}
		}},
		{"the stream is reset", func(p *pupil, st transport.Stream) {
			p.send(st, "one")
			p.hear()
		}, func(p *pupil, st transport.Stream) { st.CancelWrite(7) }},
		{"the stream that took FIN for data is forgotten", func(p *pupil, st transport.Stream) {
			p.writeCapsule(capsule.ResetStream{StreamID: 4})
			other := p.accept()
			p.ok(other.Close())
			p.wantReadError(other, streamError(4, 0, true))
			p.wantCapsule("as this peer reads it", wtStream{id: 4})
			if p.knows(4) {
				p.Fatal("not forgotten")
			}
		}, nil},
	} {
		t.Run("the session ends if "+c.what, func(t *testing.T) {
			learning(t, capsule.Draft15, func(p *pupil) {
				st, learn := begin(p)
				c.before(p, st)
				p.wantAlive("nothing is known")
				learn()
				if c.after != nil {
					p.wantAlive("nothing is lost")
					if n, err := st.Write(nil); n != 0 || err != nil {
						p.Fatalf("Write of nothing = %d, %v", n, err)
					}
					c.after(p, st)
				}
				p.wantMisread(c.what)
			}, func(p *Params) { p.Peer.MaxStreamDataBidiLocal = 10 })
		})
	}
}
