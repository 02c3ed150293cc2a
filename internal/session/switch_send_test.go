package session

import (
	"io"
	"strings"
	"testing"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

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
	t.Run("H2-115 the same, and the answer to the peer's stop request is due", func(t *testing.T) {
		learning(t, capsule.Draft15, func(p *pupil) {
			st, learn := begin(p)
			p.send(st, "answer")
			p.hear()
			p.writeCapsule(capsule.StopSending{StreamID: 0, ErrorCode: 9})
			learn()
			p.wantIdle("it has ended for the peer")
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
		{"a blocked report was sent, and the peer asks to stop", func(p *pupil, st transport.Stream) {
			p.send(st, strings.Repeat("x", 11))
			p.hear()
			p.hear()
			p.writeCapsule(capsule.StopSending{StreamID: 0, ErrorCode: 9})
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
