package session

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

func learnsParity(p *Params) { p.Parity = ParityLearn }

func TestParity(t *testing.T) {
	for _, c := range []struct {
		parity Parity
		client bool
		bidi   []transport.StreamID
		uni    []transport.StreamID
	}{
		{ParityDraft, true, []transport.StreamID{0, 4, 8}, []transport.StreamID{2, 6, 10}},
		{ParityDraft, false, []transport.StreamID{1, 5, 9}, []transport.StreamID{3, 7, 11}},
		{ParitySwapped, true, []transport.StreamID{1, 5, 9}, []transport.StreamID{3, 7, 11}},
		{ParitySwapped, false, []transport.StreamID{0, 4, 8}, []transport.StreamID{2, 6, 10}},
		// Without anything seen the likelier parity is used, and settled.
		{ParityLearn, true, []transport.StreamID{0, 4, 8}, []transport.StreamID{2, 6, 10}},
		{ParityLearn, false, []transport.StreamID{1, 5, 9}, []transport.StreamID{3, 7, 11}},
		{ParityLearnSwapped, true, []transport.StreamID{1, 5, 9}, []transport.StreamID{3, 7, 11}},
		{ParityLearnSwapped, false, []transport.StreamID{0, 4, 8}, []transport.StreamID{2, 6, 10}},
	} {
		params := func(p *Params) { p.Parity, p.Client = c.parity, c.client }
		t.Run(fmt.Sprintf("H2-111 parity %d, client %t: the IDs opened here", c.parity, c.client), func(t *testing.T) {
			bubble(t, func(t *tester) {
				var b, u []transport.StreamID
				for range 3 {
					st, un := t.open(), t.openUni()
					b, u = append(b, st.StreamID()), append(u, un.StreamID())
					t.send(st, "x")
					t.send(un, "x")
					t.wantCapsule("the ID on the wire", wtStream{id: uint64(st.StreamID()), data: "x"})
					t.wantCapsule("the ID on the wire", wtStream{id: uint64(un.StreamID()), data: "x"})
				}
				if !slices.Equal(b, c.bidi) || !slices.Equal(u, c.uni) {
					t.Fatalf("opened %v and %v, want %v and %v", b, u, c.bidi, c.uni)
				}
			}, params)
		})
		t.Run(fmt.Sprintf("H2-112 parity %d, client %t: the IDs of the peer", c.parity, c.client), func(t *testing.T) {
			bubble(t, func(t *tester) {
				if c.parity.learns() {
					t.open()
				}
				theirs := 1 - uint64(c.bidi[0])&1
				t.writeCapsule(wtStream{id: 8 | theirs, data: "x", fin: true}, wtStream{id: 2 | theirs, data: "u"})
				for i := range uint64(3) {
					if st := t.accept(); uint64(st.StreamID()) != 4*i|theirs {
						t.Fatalf("accepted %d", st.StreamID())
					}
				}
				if st := t.acceptUni(); uint64(st.StreamID()) != 2|theirs {
					t.Fatalf("accepted %d", st.StreamID())
				}
			}, params)
		})
		t.Run(fmt.Sprintf("H2-116 parity %d, client %t: a stream that is not the peer's to open", c.parity, c.client), func(t *testing.T) {
			bubble(t, func(t *tester) {
				t.open() // ID 0 or 1; the next one is not open
				t.writeCapsule(wtStream{id: uint64(c.bidi[1])})
				t.wantViolation("not opened", transport.ViolationStreamState)
			}, params)
		})
	}
	for _, client := range []bool{false, true} {
		side := func(p *Params) { p.Client = client }
		for id := range uint64(4) {
			for what, c := range map[string]any{
				"data":              wtStream{id: id, data: "x"},
				"a reset":           capsule.ResetStream{StreamID: id},
				"a blocked report":  capsule.StreamDataBlocked{StreamID: id},
				"a stop request":    capsule.StopSending{StreamID: id},
				"a limit":           capsule.MaxStreamData{StreamID: id, MaximumStreamData: 1 << 20},
				"the third of them": wtStream{id: id | 8},
			} {
				k := kindOf(id)
				if k == uni && (what == "a stop request" || what == "a limit") {
					continue // not to be sent on a stream of one's own
				}
				t.Run(fmt.Sprintf("H2-111 learned from the first ID, client %t: %s on %d", client, what, id), func(t *testing.T) {
					bubble(t, func(t *tester) {
						t.writeCapsule(c)
						t.wantAlive("the peer's first stream has either parity")
						var got transport.StreamID
						if k == uni {
							got = t.acceptUni().StreamID()
						} else {
							got = t.accept().StreamID()
						}
						if uint64(got) != id {
							t.Fatalf("accepted %d", got)
						}
						// This side opens the other ones now, and the peer keeps to its own.
						if got := t.open().StreamID(); uint64(got) != 1-id&1 {
							t.Fatalf("opened %d", got)
						}
						t.writeCapsule(wtStream{id: 4 | id&1}, wtStream{id: 6 | id&1})
						t.wantAlive("the same parity")
						t.writeCapsule(wtStream{id: 4 | 1 - id&1})
						t.wantViolation("the other parity", transport.ViolationStreamState)
					}, side, learnsParity)
				})
			}
		}
	}
	t.Run("H2-111 learned from a limit for a stream that only the peer sends on", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(capsule.MaxStreamData{StreamID: 3, MaximumStreamData: 16384}, wtStream{id: 3}, wtStream{id: 7})
			t.wantAlive("an older peer's limit for its own stream")
			if got := t.open().StreamID(); got != 0 {
				t.Fatalf("opened %d", got)
			}
		}, learnsParity, func(p *Params) { p.Dialect = transport.DialectAuto })
	})
	t.Run("H2-078 H2-142 limits go by who opened the stream", func(t *testing.T) {
		// The limits of the two kinds of bidirectional stream are not mixed up.
		bubble(t, func(t *tester) {
			t.writeCapsule(wtStream{id: 1, data: "12345"})
			t.wantAlive("opened by the client: 5 bytes")
			st := t.accept()
			t.send(st, "1234567890")
			t.wantCapsule("the client allows 7", wtStream{id: 1, data: "1234567"})
			mine := t.open()
			t.send(mine, "1234567890")
			t.wantCapsule("blocked", capsule.StreamDataBlocked{StreamID: 1, MaximumStreamData: 7})
			t.wantCapsule("the client allows 8", wtStream{id: 0, data: "12345678"})
			t.writeCapsule(wtStream{id: 1, data: "6"})
			t.wantViolation("a sixth byte", transport.ViolationFlowControl)
		}, swapped, func(p *Params) {
			p.Local.MaxStreamDataBidiRemote, p.Local.MaxStreamDataBidiLocal = 5, 6
			p.Peer.MaxStreamDataBidiLocal, p.Peer.MaxStreamDataBidiRemote = 7, 8
			p.Config = &transport.Config{InitialStreamWindow: 1}
		})
	})
	t.Run("a whole exchange with fails-components' parity and dialect", func(t *testing.T) {
		learning(t, capsule.Legacy, func(p *pupil) {
			p.writeCapsule(wtStream{id: 1}, capsule.MaxStreamData{StreamID: 1, MaximumStreamData: 16384}, wtStream{id: 1, data: "hello"}, wtStream{id: 1, fin: true})
			p.wantLearned("two capsules", transport.DialectLegacy)
			st := p.accept()
			p.wantRead(st, "hello")
			p.wantReadError(st, io.EOF)
			p.send(st, "world")
			p.ok(st.Close())
			p.wantCapsule("the peer has opened it", wtStream{id: 1, data: "world"})
			p.wantCapsule("FIN alone", wtStream{id: 1, fin: true})
			mine := p.open()
			p.send(mine, "from the server")
			p.wantCapsule("announced", wtStream{id: 0})
			p.wantCapsule("data", wtStream{id: 0, data: "from the server"})
			p.writeCapsule(wtStream{id: 0}, capsule.MaxStreamData{StreamID: 0, MaximumStreamData: 16384}, wtStream{id: 0, data: "back"}, wtStream{id: 0, fin: true})
			p.wantRead(mine, "back")
			p.wantReadError(mine, io.EOF)
		}, learnsParity)
	})
}

func TestParityLearnt(t *testing.T) {
	parity := func(p Parity) func(*Params) {
		return func(q *Params) { q.Dialect, q.Parity = transport.DialectLegacy, p }
	}
	first := map[Parity]uint64{ // the ID of this side's first bidirectional stream, if it is the server
		ParityDraft: 1, ParityLearn: 1, ParitySwapped: 0, ParityLearnSwapped: 0,
	}
	for p, id := range first {
		t.Run("this side opens the first stream", func(t *testing.T) {
			bubble(t, func(t *tester) {
				t.send(t.open(), "x")
				t.wantCapsule("opened", wtStream{id: id})
				t.wantCapsule("data", wtStream{id: id, data: "x"})
			}, parity(p))
			bubble(t, func(t *tester) {
				t.send(t.open(), "x")
				t.wantCapsule("a client's is the other", wtStream{id: 1 - id})
			}, parity(p), asClient)
		})
	}
	for _, p := range []Parity{ParityLearn, ParityLearnSwapped} {
		for _, peer := range []uint64{0, 1} {
			t.Run("the peer opens the first stream", func(t *testing.T) {
				for _, side := range []func(*Params){func(*Params) {}, asClient} {
					bubble(t, func(t *tester) {
						t.writeCapsule(wtStream{id: peer})
						t.accept()
						t.send(t.open(), "x")
						t.wantCapsule("the other bit is this side's", wtStream{id: 1 - peer})
					}, parity(p), side)
				}
			})
		}
	}
}

// The peer that swaps the parity swaps the two types too.
func TestParityStreamsBlocked(t *testing.T) {
	for _, p := range []Parity{ParityDraft, ParitySwapped} {
		t.Run("H2-149 the kind that is blocked", func(t *testing.T) {
			bubble(t, func(t *tester) {
				if _, err := t.s.OpenStream(done()); err != transport.ErrStreamLimit {
					t.Fatal(err)
				}
				t.wantCapsule("bidi", capsule.StreamsBlocked{Uni: p == ParitySwapped, MaximumStreams: 0})
				if _, err := t.s.OpenUniStream(done()); err != transport.ErrStreamLimit {
					t.Fatal(err)
				}
				t.wantCapsule("uni", capsule.StreamsBlocked{Uni: p != ParitySwapped, MaximumStreams: 0})
			}, peerAllows(InitialLimits{}), func(q *Params) {
				q.Dialect, q.Parity = transport.DialectLegacy, p
			})
		})
	}
}

// The peer that swaps the parity loses what comes late of a capsule on stream 0,
// unless the capsule is so short that it waits for all of it.
func TestParityStreamZero(t *testing.T) {
	const sent = 1000
	longest := func(t *tester, id uint64) int {
		n, got := 0, 0
		for got < sent {
			c, ok := t.hear().(wtStream)
			if ok && c.data == "" {
				continue // opens it, or a lower one
			}
			if !ok || c.id != id {
				t.Fatalf("stream %d: %d bytes came, then something else", id, got)
			}
			got += len(c.data)
			n = max(n, len(c.data))
		}
		return n
	}
	for _, tt := range []struct {
		name    string
		parity  Parity
		id      uint64
		shorter bool
	}{
		{"swapped, stream 0", ParitySwapped, 0, true},
		{"swapped, stream 4", ParitySwapped, 4, false},
		{"the draft's parity", ParityDraft, 1, false},
	} {
		t.Run("a server's "+tt.name, func(t *testing.T) {
			bubble(t, func(t *tester) {
				st := t.open()
				if tt.id == 4 {
					st = t.open()
				}
				t.send(st, strings.Repeat("x", sent))
				if n := longest(t, tt.id); tt.shorter != (n < maxStreamZero) || !tt.shorter && n != sent {
					t.Errorf("a capsule has %d bytes", n)
				}
			}, func(p *Params) { p.Dialect, p.Parity = transport.DialectLegacy, tt.parity })
		})
	}
	t.Run("a client's answer on stream 0", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(wtStream{id: 0})
			t.send(t.accept(), strings.Repeat("x", sent))
			if n := longest(t, 0); n >= maxStreamZero {
				t.Errorf("a capsule has %d bytes", n)
			}
		}, asClient, func(p *Params) { p.Dialect, p.Parity = transport.DialectLegacy, ParitySwapped })
	})
}
