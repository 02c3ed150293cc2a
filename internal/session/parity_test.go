package session

import (
	"testing"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

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
