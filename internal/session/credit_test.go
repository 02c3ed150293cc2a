package session

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

func TestCredit(t *testing.T) {
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
	t.Run("H2-152 what is left of the session's credit is given when nothing else is", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.writeCapsule(wtStream{id: 0, data: "read"})
			t.wantRead(t.accept(), "read")
			t.wantIdle("four bytes are not worth a capsule")
			t.writeCapsule(wtStream{id: 4, data: strings.Repeat("x", 16<<10-4)})
			if t.carrier.wakes.Load() != 1 {
				t.Fatal("the carrier was not woken")
			}
			t.wantCapsule("they are all there is to give", capsule.MaxData{MaximumData: 16<<10 + 4})
		}, withConfig(transport.Config{InitialSessionWindow: 16 << 10, MaxSessionWindow: 16 << 10}))
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
			if t.carrier.wakes.Load() != 1 {
				t.Fatalf("%d wakes for ten writes before Fill, want 1", t.carrier.wakes.Load())
			}
			t.wantCapsule("all together", wtStream{id: 3, data: "xxxxxxxxxx"})
			t.send(st, "x")
			if t.carrier.wakes.Load() != 1 {
				t.Fatal("woken while Fill had given bytes last")
			}
			t.wantCapsule("the next", wtStream{id: 3, data: "x"})
			t.wantIdle("idle")
			t.send(st, "x")
			if t.carrier.wakes.Load() != 2 {
				t.Fatalf("%d wakes, want 2", t.carrier.wakes.Load())
			}
		})
	})
}
