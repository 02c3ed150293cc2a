package session

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// TestTolerance is about what peers of older drafts do. It is tolerated in
// DialectLegacy, and in DialectAuto until draft 15 is learned; after that, and
// in DialectDraft15, it is what the draft says it is.
func TestTolerance(t *testing.T) {
	distinct := InitialLimits{
		MaxData: 1000, MaxStreamDataUni: 100, MaxStreamDataBidiLocal: 200, MaxStreamDataBidiRemote: 300,
		MaxStreamsUni: 4, MaxStreamsBidi: 5,
	}
	few := func(p *Params) {
		p.Peer = distinct
		p.Config.Floods.Glitches = transport.Rate{Burst: 3, PerSecond: 1}
	}
	peerOpens := func(n uint64, then func(id uint64) []any) (cs []any) {
		for i := range n {
			cs = append(cs, wtStream{id: 4 * i})
			cs = append(cs, then(4*i)...)
		}
		return cs
	}
	for _, c := range []struct {
		what     string
		open     int // streams that this side opens and uses
		capsules []any
		strict   transport.Violation
	}{
		{"H2-118 a reset without Reliable Size", 0,
			[]any{wtStream{id: 0, data: "data"}, capsule.ResetStream{StreamID: 0, ErrorCode: 7, SizeAbsent: true}}, transport.ViolationMalformed},
		{"H2-118 a reset that claims more than was sent", 0,
			[]any{wtStream{id: 0, data: "data"}, capsule.ResetStream{StreamID: 0, ErrorCode: 7, ReliableSize: 5}}, transport.ViolationStreamState},
		{"H2-144 WT_MAX_DATA below the settings", 0, []any{capsule.MaxData{MaximumData: 999}}, transport.ViolationFlowControl},
		{"H2-144 WT_MAX_STREAMS below the settings", 0, []any{capsule.MaxStreams{MaximumStreams: 4}, capsule.MaxStreams{Uni: true, MaximumStreams: 3}}, transport.ViolationFlowControl},
		{"H2-144 WT_MAX_STREAM_DATA below the settings", 0, []any{wtStream{id: 0}, capsule.MaxStreamData{StreamID: 0, MaximumStreamData: 199}}, transport.ViolationFlowControl},
		{"H2-185 a limit for each stream that repeats the settings", 0,
			peerOpens(10, func(id uint64) []any { return []any{capsule.MaxStreamData{StreamID: id, MaximumStreamData: 200}} }), transport.ViolationGeneric},
		{"H2-114 H2-185 an empty capsule before each answer", 5,
			[]any{wtStream{id: 1}, wtStream{id: 5}, wtStream{id: 9}, wtStream{id: 13}, wtStream{id: 17}}, transport.ViolationGeneric},
		{"H2-125 a limit for a stream that only the peer sends on", 0,
			[]any{wtStream{id: 2}, capsule.MaxStreamData{StreamID: 2, MaximumStreamData: 16384}}, transport.ViolationStreamState},
		{"H2-124 a limit after WT_STOP_SENDING", 0,
			[]any{wtStream{id: 0}, capsule.StopSending{StreamID: 0}, capsule.MaxStreamData{StreamID: 0, MaximumStreamData: 16384}}, transport.ViolationStreamState},
	} {
		run := func(t *tester) {
			for range c.open {
				t.send(t.open(), "x")
			}
			for t.hear() != nil {
			}
			t.writeCapsule(c.capsules...)
		}
		t.Run(c.what+", legacy", func(t *testing.T) {
			bubble(t, func(t *tester) {
				run(t)
				t.wantAlive("tolerated")
			}, few, func(p *Params) { p.Dialect = transport.DialectLegacy })
		})
		t.Run(c.what+", auto", func(t *testing.T) {
			// With swapped parity no answer of this script would be evidence.
			learning(t, capsule.Legacy, func(p *pupil) {
				if c.open > 0 {
					p.writeCapsule(a3b(2, "x"), a3b(2, "y"))
				}
				run(p.tester)
				p.wantAlive("tolerated")
			}, few)
		})
		t.Run(c.what+", draft 15", func(t *testing.T) {
			bubble(t, func(t *tester) {
				run(t)
				t.wantViolation("not tolerated", c.strict)
			}, few)
		})
		t.Run(c.what+", draft 15 learned", func(t *testing.T) {
			learning(t, capsule.Draft15, func(p *pupil) {
				p.writeCapsule(wtStream{id: 2, data: "x"}, wtStream{id: 2, fin: true})
				p.wantLearned("two capsules", transport.DialectDraft15)
				run(p.tester)
				p.wantViolation("not tolerated", c.strict)
			}, few)
		})
	}
	for _, d := range []transport.Dialect{transport.DialectLegacy, transport.DialectAuto} {
		legacy := func(p *Params) { p.Dialect = d }
		t.Run(fmt.Sprintf("H2-118 a reset that claims less than was sent, %v", d), func(t *testing.T) {
			bubble(t, func(t *tester) {
				t.writeCapsule(a3b(0, "data"), capsule.ResetStream{StreamID: 0, ReliableSize: 3})
				t.wantViolation("4 bytes came", transport.ViolationStreamState)
			}, legacy)
		})
		t.Run(fmt.Sprintf("H2-114 H2-185 further empty capsules are counted, %v", d), func(t *testing.T) {
			bubble(t, func(t *tester) {
				t.writeCapsule(a3b(0, ""), a3b(0, ""), a3b(0, ""), a3b(0, ""))
				t.wantAlive("the first opens the stream, three are allowed")
				t.writeCapsule(a3b(0, ""))
				t.wantViolation("the fourth", transport.ViolationGeneric)
			}, few, legacy)
		})
		t.Run(fmt.Sprintf("H2-145 H2-185 further limits that raise nothing are counted, %v", d), func(t *testing.T) {
			bubble(t, func(t *tester) {
				same := capsule.MaxStreamData{StreamID: 0, MaximumStreamData: 200}
				t.writeCapsule(wtStream{id: 0}, same, same, same, same)
				t.wantAlive("one, and three are allowed")
				t.writeCapsule(same)
				t.wantViolation("the fourth", transport.ViolationGeneric)
			}, few, legacy)
		})
		t.Run(fmt.Sprintf("H2-149 reports of being blocked may be of the other kind and say anything, %v", d), func(t *testing.T) {
			bubble(t, func(t *tester) {
				t.writeCapsule(
					capsule.StreamsBlocked{MaximumStreams: 1 << 60}, capsule.StreamsBlocked{Uni: true},
					capsule.DataBlocked{MaximumData: 1<<62 - 1}, a3b(0, "x"), capsule.StreamDataBlocked{StreamID: 0, MaximumStreamData: 1<<62 - 1},
				)
				t.wantIdle("nothing depends on them")
			}, legacy)
		})
		t.Run(fmt.Sprintf("H2-180 RST_STREAM after WT_CLOSE_SESSION leaves the peer's code and reason, %v", d), func(t *testing.T) {
			for _, ended := range []bool{false, true} {
				for _, answered := range []bool{false, true} {
					bubble(t, func(t *tester) {
						t.writeCapsule(capsule.CloseSession{ErrorCode: 1234, Message: "bye"})
						if ended {
							t.s.End()
						}
						if answered {
							t.wantEndStream("the answer")
						}
						t.s.Lost(&transport.ResetError{Protocol: transport.HTTP2, Code: 1234})
						var se *transport.SessionError
						if cause := context.Cause(t.s.Context()); !errors.As(cause, &se) || se.Code != 1234 || se.Reason != "bye" || !se.Remote || se.Err != nil {
							t.Fatalf("the session's end is %v", cause)
						}
						if n, end := t.s.Fill(t.dst); n != 0 || end {
							t.Fatalf("Fill = %d, %t", n, end)
						}
						select {
						case <-t.s.Done():
						default:
							t.Fatal("not done")
						}
						if t.carrier.cancels.Load() > 0 || len(t.carrier.resets) > 0 {
							t.Fatal("the carrier was asked to reset what the peer has reset")
						}
					}, legacy)
				}
			}
			bubble(t, func(t *tester) {
				closed := runAsync(t, func() error { return t.s.CloseWithError(7, "ours") })
				t.wantCapsule("closed", capsule.CloseSession{ErrorCode: 7, Message: "ours"})
				t.s.Lost(&transport.ResetError{Protocol: transport.HTTP2, Code: 7})
				t.ok(closed.result())
			}, legacy)
		})
	}
}
