package session

import (
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"testing/synctest"
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
	t.Run("H2-149 blocked reports, once per limit", func(t *testing.T) {
		bubble(t, func(t *tester) {
			a, b := t.openUni(), t.openUni()
			t.send(a, strings.Repeat("a", 10))
			t.wantCapsule("up to the stream's limit", wtStream{id: 3, data: "aaaaaaaa"})
			t.wantCapsule("blocked", capsule.StreamDataBlocked{StreamID: 3, MaximumStreamData: 8})
			t.send(a, "a")
			t.wantIdle("the same limit")
			t.writeCapsule(capsule.MaxStreamData{StreamID: 3, MaximumStreamData: 9})
			t.wantCapsule("one more", wtStream{id: 3, data: "a"})
			t.wantCapsule("blocked again", capsule.StreamDataBlocked{StreamID: 3, MaximumStreamData: 9})
			t.send(b, "bb")
			t.wantCapsule("up to the session's limit", wtStream{id: 7, data: "b"})
			t.wantCapsule("blocked", capsule.DataBlocked{MaximumData: 10})
			t.send(b, "b")
			t.wantIdle("the same limit")
			if _, err := t.s.OpenUniStream(done()); err != transport.ErrStreamLimit {
				t.Fatal(err)
			}
			if _, err := t.s.OpenUniStream(done()); err != transport.ErrStreamLimit {
				t.Fatal(err)
			}
			t.wantCapsule("blocked", capsule.StreamsBlocked{Uni: true, MaximumStreams: 2})
			t.wantIdle("once")
		}, peerAllows(InitialLimits{MaxData: 10, MaxStreamDataUni: 8, MaxStreamsUni: 2}))
	})
	t.Run("H2-151 H2-152 credit comes without being asked for", func(t *testing.T) {
		bubble(t, func(t *tester) {
			// A peer that never says that it is blocked moves 100 MiB.
			const total = 100 << 20
			chunk := strings.Repeat("x", 16<<10)
			t.writeCapsule(wtStream{id: 0})
			st := t.accept()
			stream, session := uint64(transport.DefaultInitialStreamWindow), uint64(transport.DefaultInitialSessionWindow)
			buf := make([]byte, 64<<10)
			for sent := uint64(0); sent < total; {
				for sent+uint64(len(chunk)) <= min(stream, session) && sent < total {
					t.writeCapsule(wtStream{id: 0, data: chunk})
					sent += uint64(len(chunk))
					if n, err := st.Read(buf); n != len(chunk) || err != nil {
						t.Fatal(n, err)
					}
				}
				before := min(stream, session)
				for c := t.hear(); c != nil; c = t.hear() {
					switch c := c.(type) {
					case capsule.MaxData:
						session = c.MaximumData
					case capsule.MaxStreamData:
						stream = c.MaximumStreamData
					}
				}
				if min(stream, session) == before {
					t.Fatalf("no credit after %d bytes", sent)
				}
			}
		})
	})
	t.Run("H2-152 stream credit comes when both parts are over and the application knows", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(wtStream{id: 2, fin: true, data: "x"}, wtStream{id: 0, fin: true, data: "x"})
			u, b := t.acceptUni(), t.accept()
			t.wantIdle("nobody has read")
			t.wantRead(u, "x")
			t.wantCapsule("a unidirectional stream is over", capsule.MaxStreams{Uni: true, MaximumStreams: 2})
			t.wantRead(b, "x")
			t.wantIdle("the sending part is open")
			t.ok(b.Close())
			t.wantCapsule("its end", wtStream{id: 0, fin: true})
			t.wantCapsule("now it is over", capsule.MaxStreams{MaximumStreams: 2})
			t.wantIdle("once")
		}, withConfig(transport.Config{MaxIncomingStreams: 1, MaxIncomingUniStreams: 1}))
	})
	t.Run("H2-152 a stream that nobody accepts stays open", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(wtStream{id: 2}, capsule.ResetStream{StreamID: 2, ErrorCode: 4})
			t.wantIdle("reset, and waiting to be accepted")
			t.wantReadError(t.acceptUni(), streamError(2, 4, true))
			t.wantCapsule("the application was told", capsule.MaxStreams{Uni: true, MaximumStreams: 2})
		}, withConfig(transport.Config{MaxIncomingStreams: 1, MaxIncomingUniStreams: 1}))
	})
	t.Run("H2-153 reset streams leave the session's credit whole", func(t *testing.T) {
		bubble(t, func(t *tester) {
			limit, sent := uint64(64<<10), uint64(0)
			streams := uint64(transport.DefaultMaxIncomingStreams)
			chunk := strings.Repeat("x", 1000)
			for i := range uint64(10_000) {
				time.Sleep(11 * time.Millisecond) // below the rate of resets that is allowed
				if i >= streams || sent+1000 > limit {
					t.Fatalf("stream %d of %d, %d bytes of %d: credit was lost", i, streams, sent, limit)
				}
				id := 2 + 4*i
				t.writeCapsule(wtStream{id: id, data: chunk})
				sent += 1000
				st := t.acceptUni()
				switch i % 3 {
				case 0: // reset with everything unread
					t.writeCapsule(capsule.ResetStream{StreamID: id, ReliableSize: 1000})
					t.wantReadError(st, streamError(id, 0, true))
				case 1: // finished, never read
					t.writeCapsule(wtStream{id: id, fin: true})
					st.CancelRead(0)
				case 2: // reset after a part was read
					if _, err := st.Read(make([]byte, 10)); err != nil {
						t.Fatal(err)
					}
					t.writeCapsule(capsule.ResetStream{StreamID: id, ReliableSize: 1000})
					t.wantReadError(st, streamError(id, 0, true))
				}
				for c := t.hear(); c != nil; c = t.hear() {
					switch c := c.(type) {
					case capsule.MaxData:
						limit = c.MaximumData
					case capsule.MaxStreams:
						streams = c.MaximumStreams
					}
				}
			}
			if unread := t.s.window.Unread(); unread != 0 || t.s.held != 0 {
				t.Fatalf("%d bytes are counted as unread, %d held", unread, t.s.held)
			}
		}, withConfig(transport.Config{InitialSessionWindow: 64 << 10, MaxSessionWindow: 64 << 10}))
	})
	t.Run("H2-154 an unread stream does not hold up another", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(wtStream{id: 0, data: strings.Repeat("x", transport.DefaultInitialStreamWindow)})
			t.accept()
			for range 1000 {
				t.writeCapsule(wtStream{id: 4, data: strings.Repeat("y", 200)}, datagram("z"))
				if st := t.s.streams[4]; !st.accepted {
					t.accept()
				}
				t.wantRead(bidiStream{t.s.streams[4]}, strings.Repeat("y", 200))
				for t.hear() != nil {
				}
			}
			t.writeCapsule(capsule.CloseSession{ErrorCode: 3})
			t.wantEndStream("the close arrives behind all that")
		})
	})
	t.Run("H2-155 datagrams and control need no credit", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.ok(t.s.SendDatagram([]byte("out")))
			t.wantCapsule("datagram", datagram("out"))
			t.ok(t.s.Drain())
			t.wantCapsule("drain", capsule.DrainSession{})
			t.writeCapsule(datagram("in"))
			p, err := t.s.ReceiveDatagram(done())
			if string(p) != "in" || err != nil {
				t.Fatal(p, err)
			}
		}, peerAllows(InitialLimits{}), withConfig(transport.Config{
			InitialStreamWindow: -1, MaxStreamWindow: -1, InitialSessionWindow: -1, MaxSessionWindow: -1,
			MaxIncomingStreams: -1, MaxIncomingUniStreams: -1,
		}))
	})
	t.Run("a window grows with the bandwidth-delay product", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.carrier.rtt = 100 * time.Millisecond
			t.writeCapsule(wtStream{id: 0})
			st := t.accept()
			stream := uint64(transport.DefaultInitialStreamWindow)
			session := uint64(transport.DefaultInitialSessionWindow)
			buf := make([]byte, 1<<20)
			sent, most := uint64(0), uint64(0)
			for range 40 { // a window a round trip
				for sent < min(stream, session) {
					n := min(16<<10, min(stream, session)-sent)
					t.writeCapsule(wtStream{id: 0, data: strings.Repeat("x", int(n))})
					sent += n
					if _, err := st.Read(buf); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(t.carrier.rtt)
				for c := t.hear(); c != nil; c = t.hear() {
					switch c := c.(type) {
					case capsule.MaxData:
						session = c.MaximumData
					case capsule.MaxStreamData:
						stream = c.MaximumStreamData
					}
				}
				most = max(most, stream-sent)
			}
			if most != transport.DefaultMaxStreamWindow {
				t.Fatalf("the window reached %d, want its maximum", most)
			}
		})
	})
	t.Run("limits published below Config are raised by capsules", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.wantCapsule("session", capsule.MaxData{MaximumData: transport.DefaultInitialSessionWindow})
			t.wantCapsule("streams", capsule.MaxStreams{MaximumStreams: transport.DefaultMaxIncomingStreams})
			t.wantCapsule("streams", capsule.MaxStreams{Uni: true, MaximumStreams: transport.DefaultMaxIncomingStreams})
			t.wantIdle("all of it")
			t.writeCapsule(wtStream{id: 0})
			t.wantCapsule("stream", capsule.MaxStreamData{StreamID: 0, MaximumStreamData: transport.DefaultInitialStreamWindow})
			st := t.open()
			t.wantIdle("a stream that is only opened here is not announced for that")
			t.send(st, "x")
			t.wantCapsule("opening", wtStream{id: 1, data: "x"})
			t.wantCapsule("stream", capsule.MaxStreamData{StreamID: 1, MaximumStreamData: transport.DefaultInitialStreamWindow})
		}, func(p *Params) { p.Local = InitialLimits{MaxStreamsBidi: 1} })
	})
	t.Run("H2-145 no limit is announced that raises nothing", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(wtStream{id: 0, data: "x"})
			t.wantRead(t.accept(), "x")
			t.wantIdle("a byte is not worth a capsule")
		})
	})
	t.Run("stats and windows count to 2^62 without wrapping", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(capsule.MaxData{MaximumData: math.MaxUint64 >> 2}, wtStream{id: 0},
				capsule.MaxStreamData{StreamID: 0, MaximumStreamData: math.MaxUint64 >> 2})
			t.send(t.accept(), "x")
			t.wantCapsule("the largest limits", wtStream{id: 0, data: "x"})
		})
	})
}

func TestWakesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script(t, func(t *tester) {
			t.wantIdle("nothing yet")
			st := t.openUni()
			for range 10 {
				t.send(st, "x")
			}
			if t.carrier.wakes != 1 {
				t.Fatalf("%d wakes for ten writes before Fill, want 1", t.carrier.wakes)
			}
			t.wantCapsule("all together", wtStream{id: 3, data: "xxxxxxxxxx"})
			t.send(st, "x")
			if t.carrier.wakes != 1 {
				t.Fatal("woken while Fill had given bytes last")
			}
			t.wantCapsule("the next", wtStream{id: 3, data: "x"})
			t.wantIdle("idle")
			t.send(st, "x")
			if t.carrier.wakes != 2 {
				t.Fatalf("%d wakes, want 2", t.carrier.wakes)
			}
		})
	})
}
