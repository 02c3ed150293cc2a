package session

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// distinct are limits that tell each other apart.
var distinct = InitialLimits{
	MaxData: 1000, MaxStreamDataUni: 100, MaxStreamDataBidiLocal: 200, MaxStreamDataBidiRemote: 300,
	MaxStreamsUni: 4, MaxStreamsBidi: 5,
}

// publishes makes limits the session's own, with windows no larger.
func publishes(l InitialLimits) func(*Params) {
	return func(p *Params) {
		p.Local = l
		p.Config = &transport.Config{
			InitialStreamWindow: 1, MaxStreamWindow: 1, InitialSessionWindow: 1, MaxSessionWindow: 1,
			MaxIncomingStreams: int64(l.MaxStreamsBidi), MaxIncomingUniStreams: int64(l.MaxStreamsUni),
		}
	}
}

func TestFlowControl(t *testing.T) {
	const flow = transport.ViolationFlowControl
	t.Run("H2-140 the sender keeps to every limit", func(t *testing.T) {
		for _, grant := range []uint64{1, 3, 7, 64, 1000, 16384} {
			bubble(t, func(t *tester) {
				st := t.openUni()
				data := strings.Repeat("0123456789", 2000)
				write := runAsync(t, func() error {
					if _, err := io.WriteString(st, data); err != nil {
						return err
					}
					return st.Close()
				})
				// The peer raises the stream's and the session's limit in turn,
				// by little, and expects exactly as much data.
				var got string
				stream, session := uint64(0), uint64(0)
				for fin := false; !fin; {
					if stream <= session {
						stream += grant
						t.writeCapsule(capsule.MaxStreamData{StreamID: 3, MaximumStreamData: stream})
					} else {
						session += grant
						t.writeCapsule(capsule.MaxData{MaximumData: session})
					}
					if grant < 100 {
						time.Sleep(10 * time.Millisecond) // not to look like a flood
					}
					for c := t.hear(); c != nil; c = t.hear() {
						if c, ok := c.(wtStream); ok {
							got += c.data
							fin = c.fin
						}
					}
					if limit := min(stream, session, uint64(len(data))); uint64(len(got)) != limit {
						t.Fatalf("%d bytes sent with credit for %d", len(got), limit)
					}
				}
				if err := write.result(); err != nil || got != data {
					t.Fatalf("%d bytes, %v", len(got), err)
				}
			}, peerAllows(InitialLimits{MaxStreamsUni: 1}))
		}
	})
	t.Run("H2-079 without limits nothing is sent until a capsule raises them", func(t *testing.T) {
		bubble(t, func(t *tester) {
			open := runAsync(t, func() transport.SendStream {
				st, err := t.s.OpenUniStream(t.Context())
				t.ok(err)
				return st
			})
			t.wantCapsule("no stream is allowed", capsule.StreamsBlocked{Uni: true})
			t.writeCapsule(capsule.MaxStreams{Uni: true, MaximumStreams: 1})
			st := open.result()
			t.send(st, "x")
			t.wantCapsule("opening", wtStream{id: 3})
			t.wantCapsule("no byte on the stream", capsule.StreamDataBlocked{StreamID: 3})
			t.writeCapsule(capsule.MaxStreamData{StreamID: 3, MaximumStreamData: 9})
			t.wantCapsule("no byte in the session", capsule.DataBlocked{})
			t.wantIdle("blocked")
			t.writeCapsule(capsule.MaxData{MaximumData: 9})
			t.wantCapsule("all limits raised", wtStream{id: 3, data: "x"})
		}, peerAllows(InitialLimits{}))
	})
	t.Run("H2-141 data beyond the session's limit", func(t *testing.T) {
		bubble(t, func(t *tester) {
			for i := range uint64(4) {
				t.writeCapsule(wtStream{id: 4 * i, data: strings.Repeat("x", 250)})
			}
			t.wantAlive("1000 of 1000")
			t.writeCapsule(wtStream{id: 16, data: "x"})
			t.wantViolation("1001", flow)
		}, publishes(distinct))
	})
	for _, c := range []struct {
		what   string
		client bool
		id     uint64
		limit  uint64
	}{
		{"client to server, bidirectional of the client", false, 0, 300},
		{"client to server, bidirectional of the server", false, 1, 200},
		{"client to server, unidirectional", false, 2, 100},
		{"server to client, bidirectional of the client", true, 0, 200},
		{"server to client, bidirectional of the server", true, 1, 300},
		{"server to client, unidirectional", true, 3, 100},
	} {
		side := func(p *Params) { p.Client = c.client }
		own := c.id&1 == 0 == c.client
		t.Run("H2-142 H2-078 data beyond the stream's limit, "+c.what, func(t *testing.T) {
			for over := range uint64(2) {
				bubble(t, func(t *tester) {
					if own {
						t.send(t.open(), "x")
						t.hear()
					}
					t.writeCapsule(wtStream{id: c.id, data: strings.Repeat("x", int(c.limit+over))})
					if over == 0 {
						t.wantAlive("exactly the limit")
						return
					}
					t.wantViolation("one more", flow)
				}, publishes(distinct), side)
			}
		})
		if c.id>>1&1 == 1 {
			continue // the session's own side of a unidirectional stream sends nothing
		}
		t.Run("H2-078 H2-140 the peer's limits by kind, "+c.what+", other direction", func(t *testing.T) {
			bubble(t, func(t *tester) {
				var st transport.SendStream
				limit := distinct.MaxStreamDataBidiLocal
				if own {
					st, limit = t.open(), distinct.MaxStreamDataBidiRemote
				} else {
					t.writeCapsule(wtStream{id: c.id})
					st = t.accept()
				}
				t.send(st, strings.Repeat("x", 1000))
				t.wantCapsule("as much as the limit", wtStream{id: c.id, data: strings.Repeat("x", int(limit))})
				t.wantCapsule("blocked at it", capsule.StreamDataBlocked{StreamID: c.id, MaximumStreamData: limit})
			}, peerAllows(distinct), side)
		})
	}
	t.Run("H2-078 H2-140 the peer's limit of unidirectional streams' data", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.send(t.openUni(), strings.Repeat("x", 1000))
			t.wantCapsule("as much as the limit", wtStream{id: 3, data: strings.Repeat("x", 100)})
			t.wantCapsule("blocked at it", capsule.StreamDataBlocked{StreamID: 3, MaximumStreamData: 100})
		}, peerAllows(distinct))
	})
	for _, c := range []struct {
		what string
		last uint64
	}{{"bidirectional", 16}, {"unidirectional", 14}} {
		t.Run("H2-143 a "+c.what+" stream beyond the limit", func(t *testing.T) {
			for _, over := range []uint64{0, 4, 400} {
				for _, capsules := range [][]any{
					{wtStream{id: c.last + over}},
					{capsule.ResetStream{StreamID: c.last + over}},
				} {
					bubble(t, func(t *tester) {
						t.writeCapsule(capsules...)
						if over == 0 {
							t.wantAlive("the last that is allowed")
							return
						}
						t.wantViolation("beyond it", flow)
					}, publishes(distinct))
				}
			}
		})
	}
	for _, c := range []struct {
		what    string
		initial any
		raise   any
		lower   any
	}{
		{"WT_MAX_DATA", capsule.MaxData{MaximumData: 999}, capsule.MaxData{MaximumData: 5000}, capsule.MaxData{MaximumData: 4999}},
		{"WT_MAX_STREAM_DATA", capsule.MaxStreamData{MaximumStreamData: 199}, capsule.MaxStreamData{MaximumStreamData: 500}, capsule.MaxStreamData{MaximumStreamData: 499}},
		{"WT_MAX_STREAMS bidi", capsule.MaxStreams{MaximumStreams: 4}, capsule.MaxStreams{MaximumStreams: 50}, capsule.MaxStreams{MaximumStreams: 49}},
		{"WT_MAX_STREAMS uni", capsule.MaxStreams{Uni: true, MaximumStreams: 3}, capsule.MaxStreams{Uni: true, MaximumStreams: 50}, capsule.MaxStreams{Uni: true, MaximumStreams: 49}},
	} {
		t.Run("H2-144 "+c.what+" lower than the initial limit", func(t *testing.T) {
			bubble(t, func(t *tester) {
				t.writeCapsule(wtStream{id: 0}, c.initial)
				t.wantViolation("lowered", flow)
			}, peerAllows(distinct))
		})
		t.Run("H2-144 "+c.what+" lower than the initial limit, by a peer of an older draft", func(t *testing.T) {
			bubble(t, func(t *tester) {
				t.writeCapsule(wtStream{id: 0}, c.initial, c.initial)
				t.wantAlive("its first capsules may say less than its settings")
				t.writeCapsule(c.raise, c.lower)
				t.wantViolation("lowered after that", flow)
			}, peerAllows(distinct), func(p *Params) { p.Dialect = transport.DialectLegacy })
		})
		t.Run("H2-144 H2-145 "+c.what+" equal to and lower than before", func(t *testing.T) {
			bubble(t, func(t *tester) {
				t.writeCapsule(wtStream{id: 0}, c.raise, c.raise)
				t.wantIdle("H2-145: an equal one is accepted")
				t.writeCapsule(c.lower)
				t.wantViolation("lowered", flow)
			}, peerAllows(distinct))
		})
	}
	for _, u := range []bool{false, true} {
		for _, c := range []any{
			capsule.MaxStreams{Uni: u, MaximumStreams: 1 << 60},
			capsule.StreamsBlocked{Uni: u, MaximumStreams: 1 << 60},
		} {
			t.Run(fmt.Sprintf("H2-146 2^60 in %T, uni %t", c, u), func(t *testing.T) {
				bubble(t, func(t *tester) {
					t.writeCapsule(c)
					t.wantIdle("the largest")
					switch c := c.(type) {
					case capsule.MaxStreams:
						c.MaximumStreams++
						t.writeCapsule(c)
					case capsule.StreamsBlocked:
						c.MaximumStreams++
						t.writeCapsule(c)
					}
					t.wantViolation("one more", flow)
				})
			})
		}
	}
}

// fails-components sends these; none of them is a limit for anything.
func TestLegacyMaxStreamDataForNothing(t *testing.T) {
	legacy := func(p *Params) { p.Dialect = transport.DialectLegacy }
	t.Run("for a stream that only the peer sends on", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(wtStream{id: 2}, capsule.MaxStreamData{StreamID: 2, MaximumStreamData: 16384})
			t.wantAlive("an older peer's limit for its own stream")
			t.writeCapsule(capsule.MaxStreamData{StreamID: 3, MaximumStreamData: 16384})
			t.wantViolation("a stream that was not opened", transport.ViolationStreamState)
		}, legacy)
	})
	t.Run("after WT_STOP_SENDING", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(wtStream{id: 0}, capsule.StopSending{StreamID: 0, ErrorCode: 7}, capsule.MaxStreamData{StreamID: 0, MaximumStreamData: 1 << 20})
			t.wantCapsule("the answer", capsule.ResetStream{StreamID: 0, ErrorCode: 7})
			t.writeCapsule(capsule.StopSending{StreamID: 0, ErrorCode: 7})
			t.wantViolation("a second WT_STOP_SENDING", transport.ViolationStreamState)
		}, legacy)
	})
}
