package session

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// flood gives the session a capsule again and again until it has ended, and
// returns how many that took; most if it did not end.
func (t *tester) flood(most int, c func(i int) any) int {
	t.Helper()
	for i := range most {
		t.writeCapsule(c(i))
		if t.s.Context().Err() != nil {
			return i + 1
		}
	}
	return most
}

func TestFloods(t *testing.T) {
	constant := func(c any) func(int) any { return func(int) any { return c } }
	const glitches = 1000
	for _, f := range []struct {
		name  string
		c     func(i int) any
		burst int // how many are taken at once
		rate  int // a second
		want  transport.Violation
	}{
		{"DS-17 H2-114 empty WT_STREAM", constant(wtStream{id: 0}), glitches, 100, transport.ViolationGeneric},
		{"DS-17 PADDING", constant(capsule.Padding{}), glitches, 100, transport.ViolationGeneric},
		{"DS-17 PADDING with content", constant(capsule.Padding{Length: 100}), glitches, 100, transport.ViolationGeneric},
		{"DS-17 unknown capsules", constant(header(0x1234, 0)), glitches, 100, transport.ViolationGeneric},
		{"DS-17 repeated WT_DATA_BLOCKED", constant(capsule.DataBlocked{MaximumData: 5}), glitches + 1, 100, transport.ViolationGeneric},
		{"DS-17 repeated WT_STREAM_DATA_BLOCKED", constant(capsule.StreamDataBlocked{StreamID: 0, MaximumStreamData: 5}), glitches + 1, 100, transport.ViolationGeneric},
		{"DS-17 repeated WT_STREAMS_BLOCKED", constant(capsule.StreamsBlocked{MaximumStreams: 5}), glitches + 1, 100, transport.ViolationGeneric},
		{"DS-17 repeated WT_DRAIN_SESSION", constant(capsule.DrainSession{}), glitches + 1, 100, transport.ViolationGeneric},
		{"DS-17 WT_MAX_DATA that raises nothing", constant(capsule.MaxData{MaximumData: 1 << 20}), glitches, 100, transport.ViolationGeneric},
		{"DS-17 WT_MAX_STREAM_DATA that raises nothing", constant(capsule.MaxStreamData{MaximumStreamData: 256 << 10}), glitches, 100, transport.ViolationGeneric},
		{"DS-17 WT_MAX_STREAMS that raises nothing", constant(capsule.MaxStreams{MaximumStreams: 100}), glitches, 100, transport.ViolationGeneric},
		{"DS-17 WT_MAX_DATA by one", func(i int) any { return capsule.MaxData{MaximumData: 1<<30 + uint64(i)} }, 10_000, 1000, transport.ViolationGeneric},
		{"DS-17 WT_MAX_STREAM_DATA by one", func(i int) any { return capsule.MaxStreamData{MaximumStreamData: 1<<30 + uint64(i)} }, 10_000, 1000, transport.ViolationGeneric},
		{"DS-17 WT_MAX_STREAMS by one", func(i int) any { return capsule.MaxStreams{MaximumStreams: 1000 + uint64(i)} }, 10_000, 1000, transport.ViolationGeneric},
		{"DS-17 WT_DATA_BLOCKED at ever new limits", func(i int) any { return capsule.DataBlocked{MaximumData: uint64(i)} }, 10_000, 1000, transport.ViolationGeneric},
		{"DS-17 H2-185 tiny datagrams", constant(datagram("x")), 100_000, 50_000, transport.ViolationGeneric},
		{"DS-18 H2-185 reset streams", func(i int) any { return capsule.ResetStream{StreamID: uint64(2 + 4*i)} }, 1000, 100, transport.ViolationExcess},
		{"DS-18 stop requests", func(i int) any { return capsule.StopSending{StreamID: uint64(4 * (i + 1))} }, 1000, 100, transport.ViolationExcess},
	} {
		many := withConfig(transport.Config{MaxIncomingStreams: 1 << 20, MaxIncomingUniStreams: 1 << 20})
		t.Run(f.name+", a burst at the bound and one more", func(t *testing.T) {
			bubble(t, func(t *tester) {
				t.writeCapsule(wtStream{id: 0, data: "x"})
				if got := t.flood(1<<20, f.c); got != f.burst+1 {
					t.Fatalf("ended at number %d, want %d", got, f.burst+1)
				}
				t.wantViolation("flood", f.want)
			}, many)
		})
		t.Run(f.name+", below the rate", func(t *testing.T) {
			bubble(t, func(t *tester) {
				t.writeCapsule(wtStream{id: 0, data: "x"})
				n := 0
				for range 20 { // 20 s at the rate
					for range f.rate {
						t.writeCapsule(f.c(n))
						n++
					}
					time.Sleep(time.Second)
				}
				t.wantAlive("at the rate that is allowed")
			}, many)
		})
	}
	t.Run("H2-185 the bounds can be set", func(t *testing.T) {
		bubble(t, func(t *tester) {
			if got := t.flood(100, constant(capsule.Padding{})); got != 4 {
				t.Fatalf("ended at number %d, want 4", got)
			}
		}, func(p *Params) { p.Config.Floods.Glitches = transport.Rate{Burst: 3, PerSecond: 1} })
	})
	t.Run("DS-17 credit returned for what is sent is no flood", func(t *testing.T) {
		bubble(t, func(t *tester) {
			st := t.openUni()
			for i := range uint64(30_000) { // a peer that returns credit byte by byte
				t.send(st, "x")
				t.wantCapsule("data", wtStream{id: 3, data: "x"})
				t.writeCapsule(capsule.MaxStreamData{StreamID: 3, MaximumStreamData: 2<<20 + i}, capsule.MaxData{MaximumData: 2<<20 + i})
			}
			t.wantAlive("each limit follows a capsule")
		})
	})
	t.Run("streams that end cleanly pay for resets", func(t *testing.T) {
		bubble(t, func(t *tester) {
			for i := range uint64(5000) {
				t.writeCapsule(wtStream{id: 8*i + 2, fin: true, data: "x"}, capsule.ResetStream{StreamID: 8*i + 6})
				t.wantRead(t.acceptUni(), "x")
				t.wantReadError(t.acceptUni(), streamError(8*i+6, 0, true))
				for t.hear() != nil {
				}
			}
			t.wantAlive("half of the streams are reset")
		})
	})
	t.Run("DS-18 a peer that takes nothing makes nothing grow", func(t *testing.T) {
		bubble(t, func(t *tester) {
			for i := range uint64(100) {
				t.writeCapsule(wtStream{id: 4 * i, data: "x"}, capsule.StopSending{StreamID: 4 * i}, capsule.ResetStream{StreamID: 4 * i, ReliableSize: 1})
				st := t.accept()
				t.wantReadError(st, streamError(4*i, 0, true))
				t.wantWriteError(st, streamError(4*i, 0, true))
			}
			for range 1000 {
				t.writeCapsule(datagram("x"))
			}
			due := 0
			for st := t.s.outgoing.dirtyHead; st != nil; st = st.next {
				due++
			}
			if due != 100 || len(t.s.streams) != 100 || len(t.s.outgoing.rest) != 0 {
				t.Fatalf("%d resets due, %d streams, %d bytes", due, len(t.s.streams), len(t.s.outgoing.rest))
			}
			t.writeCapsule(wtStream{id: 400})
			t.wantViolation("no further stream is allowed until the resets are taken", transport.ViolationFlowControl)
		})
	})
	t.Run("DS-18 announcements coalesce", func(t *testing.T) {
		bubble(t, func(t *tester) {
			for i := range uint64(100) { // while the peer takes nothing
				t.writeCapsule(wtStream{id: 4*i + 2, fin: true, data: strings.Repeat("x", 4000)})
				t.wantRead(t.acceptUni(), strings.Repeat("x", 4000))
			}
			t.wantCapsule("one for the session", capsule.MaxData{MaximumData: 1<<20 + 400_000})
			t.wantCapsule("one for the streams", capsule.MaxStreams{Uni: true, MaximumStreams: 200})
			t.wantIdle("no others")
		})
	})
	t.Run("DS-16 the highest stream first costs one stream", func(t *testing.T) {
		bubble(t, func(t *tester) {
			const limit = 1 << 40
			t.writeCapsule(wtStream{id: 4 * (limit - 1), data: "x"}, wtStream{id: 4*(limit-1) + 2, data: "x"})
			t.wantAlive("as many as are allowed")
			if n := len(t.s.streams); n != 2 {
				t.Fatalf("%d streams have state, want 2", n)
			}
			if got := t.s.Stats().StreamsAccepted; got != 2*limit {
				t.Fatalf("%d streams count as opened", got)
			}
			if st := t.accept(); st.StreamID() != 0 {
				t.Fatalf("stream %d accepted first", st.StreamID())
			}
		}, func(p *Params) { p.Local.MaxStreamsBidi, p.Local.MaxStreamsUni = limit40, limit40 })
	})
	t.Run("DS-16 streams that wait to be accepted count as open", func(t *testing.T) {
		bubble(t, func(t *tester) {
			for i := range uint64(100) {
				t.writeCapsule(wtStream{id: 4*i + 2, fin: true})
			}
			t.wantIdle("nobody accepted, so no further stream is allowed")
			t.writeCapsule(wtStream{id: 402})
			t.wantViolation("number 101", transport.ViolationFlowControl)
		})
	})
	t.Run("DS-21 the peer's text is escaped in errors and logs", func(t *testing.T) {
		var log bytes.Buffer
		const evil = "\x1b[31mred\x00\r\nlevel=ERROR forged \u202e"
		bubble(t, func(t *tester) {
			t.writeCapsule(capsule.CloseSession{ErrorCode: 1, Message: evil})
			t.wantClosed(1, evil, true)
			for _, text := range []string{log.String(), t.s.endErrorText()} {
				if text == "" || strings.ContainsAny(text, "\x1b\x00\r\u202e") || strings.Contains(text, "\nlevel=ERROR") {
					t.Fatalf("not escaped: %q", text)
				}
			}
		}, withConfig(transport.Config{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}))
	})
}

const limit40 = 1 << 40

// endErrorText is what an application prints of the session's end.
func (s *Session) endErrorText() string { return s.err.Error() }

func TestBudget(t *testing.T) {
	t.Run("DS-19 at the cap no credit is given, and it comes back", func(t *testing.T) {
		budget := sessionstate.NewBudget(1<<20, nil)
		other := budget.Register(func() {}, nil)
		bubble(t, func(t *tester) {
			t.writeCapsule(wtStream{id: 0, data: strings.Repeat("x", 64<<10)})
			st := t.accept()
			other.Hold(1 << 20).Run()
			t.wantAlive("the other one is chosen")
			t.wantReadAllOf(st, 64<<10)
			t.wantIdle("all was read, and no credit is given")
			other.Release(1 << 20).Run()
			t.wantCapsule("the session's", capsule.MaxData{MaximumData: 128 << 10})
			t.wantCapsule("the stream's", capsule.MaxStreamData{StreamID: 0, MaximumStreamData: 128 << 10})
		}, func(p *Params) { p.Budget = budget }, withConfig(transport.Config{
			InitialStreamWindow: 64 << 10, MaxStreamWindow: 64 << 10, InitialSessionWindow: 64 << 10, MaxSessionWindow: 64 << 10,
		}))
	})
	t.Run("DS-19 at three quarters windows stop growing", func(t *testing.T) {
		for _, high := range []bool{false, true} {
			budget := sessionstate.NewBudget(1<<30, nil)
			if high {
				budget.Register(nil, nil).Hold(3 << 28).Run()
			}
			bubble(t, func(t *tester) {
				t.carrier.rtt = 50 * time.Millisecond
				t.writeCapsule(wtStream{id: 0})
				st := t.accept()
				limit, sent := uint64(256<<10), uint64(0)
				for range 10 {
					for sent < limit {
						n := min(16<<10, limit-sent)
						t.writeCapsule(wtStream{id: 0, data: strings.Repeat("x", int(n))})
						sent += n
						t.wantReadAllOf(st, int(n))
					}
					time.Sleep(t.carrier.rtt)
					for c := t.hear(); c != nil; c = t.hear() {
						if c, ok := c.(capsule.MaxStreamData); ok {
							limit = c.MaximumStreamData
						}
					}
				}
				if grown := limit-sent > 256<<10; grown == high {
					t.Fatalf("pressure %t, window %d", high, limit-sent)
				}
			}, func(p *Params) { p.Budget = budget })
		}
	})
	t.Run("DS-19 the session that holds most is ended", func(t *testing.T) {
		budget := sessionstate.NewBudget(1<<20, nil)
		bubble(t, func(t *tester) {
			other := budget.Register(nil, nil)
			other.Hold(900 << 10).Run()
			for i := range uint64(32) {
				if t.s.Context().Err() != nil {
					break
				}
				t.writeCapsule(wtStream{id: 4 * i, data: strings.Repeat("x", 8<<10)})
			}
			t.wantViolation("the cap is reached", transport.ViolationExcess)
			if got := budget.Held(); got != 900<<10 {
				t.Fatalf("%d bytes are charged, want the other's %d", got, 900<<10)
			}
		}, func(p *Params) { p.Budget = budget })
	})
	t.Run("DS-19 sessions of a server share its cap", func(t *testing.T) {
		server := sessionstate.NewBudget(1<<20, nil)
		bubble(t, func(a *tester) {
			script(t, func(b *tester) {
				a.writeCapsule(wtStream{id: 0, data: strings.Repeat("x", 200<<10)})
				for i := range uint64(4) {
					b.writeCapsule(wtStream{id: 4 * i, data: strings.Repeat("x", 230<<10)})
				}
				a.wantAlive("it holds less than half of the other's")
				b.wantViolation("the newest of those holding most", transport.ViolationExcess)
			}, func(p *Params) { p.Budget = sessionstate.NewBudget(32<<20, server) })
		}, func(p *Params) { p.Budget = sessionstate.NewBudget(32<<20, server) })
		if server.Held() != 0 {
			t.Fatalf("%d bytes are charged after the end", server.Held())
		}
	})
	t.Run("what stays readable stays charged until it is read", func(t *testing.T) {
		budget := sessionstate.NewBudget(1<<20, nil)
		bubble(t, func(t *tester) {
			t.writeCapsule(wtStream{id: 2, fin: true, data: strings.Repeat("x", 64<<10)}, wtStream{id: 6, fin: true, data: strings.Repeat("x", 64<<10)})
			a, b := t.acceptUni(), t.acceptUni()
			t.s.Lost(nil)
			if got := budget.Held(); got != 128<<10 {
				t.Fatalf("%d bytes charged, want %d", got, 128<<10)
			}
			t.wantReadAllOf(a, 64<<10)
			b.CancelRead(0)
			if got := budget.Held(); got != 0 {
				t.Fatalf("%d bytes charged, want none", got)
			}
		}, func(p *Params) { p.Budget = budget })
	})
}

// wantReadAllOf reads n bytes.
func (t *tester) wantReadAllOf(r transport.ReceiveStream, n int) {
	t.Helper()
	buf := make([]byte, n)
	for got := 0; got < n; {
		m, err := r.Read(buf[got:])
		if err != nil {
			t.Fatalf("read %d of %d bytes: %v", got, n, err)
		}
		got += m
	}
}
