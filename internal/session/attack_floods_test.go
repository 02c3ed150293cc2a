package session

import (
	"context"
	"testing"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/transport"
)

// An attack is a script of a hostile peer that is measured: see package hostile.
// Victim and, if it is 0, Bytes are filled in.
type attack struct {
	hostile.Attack
	config transport.Config
	// frame appends capsule number i.
	frame func(b []byte, i int) []byte
	// prepare is run first, and between after each of the frames, if they are not nil.
	prepare, between func(t *tester)
	most             int // frames, if the limit does not end the attack before
	last             int // after so many frames the session holds most, 0 if that is not known
	// unlimited is the Config without the limit, for the cost; nil means the same.
	unlimited func(c *transport.Config)
	// cost is how many frames the cost is measured with at least, 0 for not at all.
	cost int
}

// small is what a session may hold for what leaves nothing behind: the capsules
// in and out, and what the runtime does besides.
const small = 64 << 10

func (a attack) run(t *testing.T) {
	t.Helper()
	if a.Victim == "" {
		a.Victim = "session"
	}
	if a.Bytes == 0 {
		a.Bytes = small
	}
	send := func(t *tester, n int, sample func()) {
		if a.prepare != nil {
			a.prepare(t)
		}
		var buf []byte
		for i := range n {
			buf = a.frame(buf[:0], i)
			t.s.Data(buf)
			if t.s.Context().Err() != nil {
				return
			}
			if a.between != nil {
				a.between(t)
			}
			if sample != nil && ((i+1)&i == 0 || i+1 == a.last) {
				sample()
			}
		}
	}
	script(t, func(tt *tester) {
		m := hostile.Start(t, a.Attack)
		send(tt, a.most, m.Sample)
		m.Sample()
		end := context.Cause(tt.s.Context())
		if limit, _ := transport.ReachedLimit(end); limit != a.Limit || (a.Limit == "") != (end == nil) {
			t.Errorf("the session ended with %v, limit %q, want %q", end, limit, a.Limit)
		}
		if a.cost > 0 {
			c := a.config
			if a.unlimited != nil {
				a.unlimited(&c)
			}
			m.Cost(a.cost, func(n int) {
				script(t, func(tt *tester) {
					send(tt, n, nil)
					tt.wantAlive("without the limit")
				}, withConfig(c))
			})
		}
		m.End(end)
	}, withConfig(a.config))
}

// constant is a frame that is always the same.
func constant(t *testing.T, cs ...any) func([]byte, int) []byte {
	frame := (&tester{TB: t, dialect: capsule.Draft15}).encode(cs...)
	return func(b []byte, _ int) []byte { return append(b, frame...) }
}

// opens begins stream 0 with a byte that the application reads.
func opens(t *tester) {
	t.writeCapsule(wtStream{id: 0, data: "x"})
	t.wantRead(t.accept(), "x")
}

func withoutFloods(c *transport.Config) {
	c.Floods = transport.Floods{Glitches: unlimited, Resets: unlimited, Control: unlimited, TinyDatagrams: unlimited}
}

// TestHostileCapsules: capsules without effect.
func TestHostileCapsules(t *testing.T) {
	for _, a := range []struct {
		name    string
		attack  string
		frame   func([]byte, int) []byte
		limit   transport.Limit
		most    int
		prepare func(*tester)
	}{
		{"DS-17 H2-114 empty WT_STREAM", "empty WT_STREAM capsules on an open stream", constant(t, wtStream{id: 0}), transport.LimitCapsules, 10_000, opens},
		{"DS-17 PADDING", "PADDING flood", constant(t, capsule.Padding{}), transport.LimitCapsules, 10_000, nil},
		{"DS-17 H2-185 unknown capsules", "unknown-capsule flood", constant(t, header(0x1234, 0)), transport.LimitCapsules, 10_000, nil},
		{"DS-17 WT_DRAIN_SESSION", "WT_DRAIN_SESSION flood", constant(t, capsule.DrainSession{}), transport.LimitCapsules, 10_000, nil},
		{"DS-17 WT_DATA_BLOCKED", "WT_DATA_BLOCKED flood", constant(t, capsule.DataBlocked{MaximumData: 5}), transport.LimitCapsules, 10_000, nil},
		{"DS-17 WT_STREAM_DATA_BLOCKED", "WT_STREAM_DATA_BLOCKED flood", constant(t, capsule.StreamDataBlocked{MaximumStreamData: 5}), transport.LimitCapsules, 10_000, opens},
		{"DS-17 WT_STREAMS_BLOCKED", "WT_STREAMS_BLOCKED flood", constant(t, capsule.StreamsBlocked{MaximumStreams: 5}), transport.LimitCapsules, 10_000, nil},
		{"DS-17 WT_MAX_DATA that raises nothing", "WT_MAX_DATA flood, equal", constant(t, capsule.MaxData{MaximumData: 1 << 20}), transport.LimitCapsules, 10_000, nil},
		{"DS-17 WT_MAX_STREAM_DATA that raises nothing", "WT_MAX_STREAM_DATA flood, equal", constant(t, capsule.MaxStreamData{MaximumStreamData: 256 << 10}), transport.LimitCapsules, 10_000, opens},
		{"DS-17 WT_MAX_STREAMS that raises nothing", "WT_MAX_STREAMS flood, equal", constant(t, capsule.MaxStreams{MaximumStreams: 100}), transport.LimitCapsules, 10_000, nil},
		{"DS-17 WT_MAX_DATA by one", "WT_MAX_DATA flood, raising by one", func(b []byte, i int) []byte {
			return capsule.MaxData{MaximumData: 1<<30 + uint64(i)}.Append(b)
		}, transport.LimitControl, 100_000, nil},
		{"DS-17 WT_MAX_STREAM_DATA by one", "WT_MAX_STREAM_DATA flood, raising by one", func(b []byte, i int) []byte {
			return capsule.MaxStreamData{MaximumStreamData: 1<<30 + uint64(i)}.Append(b)
		}, transport.LimitControl, 100_000, opens},
		{"DS-17 WT_MAX_STREAMS by one", "WT_MAX_STREAMS flood, raising by one", func(b []byte, i int) []byte {
			return capsule.MaxStreams{MaximumStreams: 1000 + uint64(i)}.Append(b)
		}, transport.LimitControl, 100_000, nil},
		{"DS-17 WT_DATA_BLOCKED at ever new limits", "WT_DATA_BLOCKED flood, ever new limits", func(b []byte, i int) []byte {
			return capsule.DataBlocked{MaximumData: uint64(i)}.Append(b)
		}, transport.LimitControl, 100_000, nil},
	} {
		t.Run(a.name, func(t *testing.T) {
			attack{
				Attack: hostile.Attack{Name: a.attack, Reaction: "WT_ERROR: the session is reset", Limit: a.limit},
				frame:  a.frame, prepare: a.prepare, most: a.most, unlimited: withoutFloods, cost: hostile.Frames(25_000),
			}.run(t)
		})
	}
	t.Run("DS-17 padding hidden among data is paid for by the data", func(t *testing.T) {
		// Inside the limit: nobody is ended, and nothing grows.
		attack{
			Attack: hostile.Attack{Name: "PADDING among stream data", Reaction: "none: 256 bytes of data pay for a capsule"},
			frame:  constant(t, wtStream{id: 0, data: string(make([]byte, 256))}, capsule.Padding{}), prepare: opens,
			between: readsStream0(), most: 10_000, cost: 10_000,
		}.run(t)
	})
}

// readsStream0 has the application read what came on stream 0, and the peer take
// what is sent.
func readsStream0() func(*tester) {
	buf := make([]byte, 64<<10)
	return func(t *tester) {
		if st := t.s.streams[0]; st.recv.buf.n > 0 {
			st.tryRead(buf)
		}
		t.s.Fill(t.dst)
	}
}

// TestHostileDribble: bytes that come one by one, and never make a whole.
func TestHostileDribble(t *testing.T) {
	for _, a := range []struct {
		name, attack string
		start        any
		frame        []byte
	}{
		{"DS-17 the value of an unknown capsule, byte by byte", "unknown capsule without end, byte by byte", header(0x1234, 1<<62-1), []byte{0}},
		{"DS-17 the value of PADDING, byte by byte", "PADDING without end, byte by byte", header(capsule.TypePadding, 1<<62-1), []byte{0}},
		{"DS-17 a datagram without end", "datagram of 2^62 bytes, byte by byte", header(capsule.TypeDatagram, 1<<62-1), []byte{0}},
	} {
		t.Run(a.name, func(t *testing.T) {
			attack{
				Attack:  hostile.Attack{Name: a.attack, Reaction: "none: nothing is buffered; IdleTimeout ends it"},
				prepare: func(t *tester) { t.writeCapsule(a.start) },
				frame:   func(b []byte, _ int) []byte { return append(b, a.frame...) },
				most:    hostile.Frames(200_000), cost: hostile.Frames(50_000),
			}.run(t)
		})
	}
	t.Run("DS-17 capsule headers, byte by byte", func(t *testing.T) {
		// The longest header that a capsule can have, of a stream that exists.
		frame := (&tester{TB: t}).encode(raw{0x80, 0, 0x12, 0x34, 0x40, 1, 0})
		attack{
			Attack: hostile.Attack{Name: "capsule header dribble", Reaction: "WT_ERROR: the session is reset", Limit: transport.LimitCapsules},
			frame:  func(b []byte, i int) []byte { return append(b, frame[i%len(frame)]) },
			most:   10_000 * len(frame), unlimited: withoutFloods, cost: hostile.Frames(50_000),
		}.run(t)
	})
	t.Run("DS-17 stream data of one byte each", func(t *testing.T) {
		attack{
			Attack: hostile.Attack{Name: "millions of tiny WT_STREAM capsules", Reaction: "none: each is read"},
			frame:  constant(t, wtStream{id: 0, data: "x"}), prepare: opens, between: readsStream0(),
			most: hostile.Frames(2_000_000), cost: hostile.Frames(50_000),
		}.run(t)
	})
	t.Run("DS-17 streams of one byte each", func(t *testing.T) {
		attack{
			Attack: hostile.Attack{Name: "millions of streams of one byte", Reaction: "none: each is accepted, read and forgotten"},
			frame: func(b []byte, i int) []byte {
				return append(capsule.AppendStreamHeader(b, true, capsule.Draft15, uint64(4*i+2), 1), 'x')
			},
			between: func(t *tester) {
				st, _, _ := t.s.tryAccept(uni)
				var p [8]byte
				st.tryRead(p[:])
				t.s.Fill(t.dst)
			},
			most: hostile.Frames(2_000_000), cost: hostile.Frames(25_000),
		}.run(t)
	})
}

// TestHostileLengths: a length from the wire sizes nothing.
func TestHostileLengths(t *testing.T) {
	types := []capsule.Type{
		capsule.TypeDatagram, capsule.TypePadding, capsule.TypeStream, capsule.TypeStreamFin, capsule.TypeResetStream,
		capsule.TypeStopSending, capsule.TypeMaxData, capsule.TypeMaxStreamData, capsule.TypeMaxStreamsBidi, capsule.TypeMaxStreamsUni,
		capsule.TypeDataBlocked, capsule.TypeStreamDataBlocked, capsule.TypeStreamsBlockedBidi, capsule.TypeStreamsBlockedUni,
		capsule.TypeCloseSession, capsule.TypeDrainSession, 0x1234,
	}
	t.Run("DS-17 every type", func(t *testing.T) {
		rest := make([]byte, 32<<10) // more than any buffer of a capsule
		m := hostile.Start(t, hostile.Attack{
			Name: "huge declared length of a capsule", Victim: "session", Bytes: 2*32<<10 + small,
			Reaction: "stream data: WT_FLOW_CONTROL_ERROR; datagrams, PADDING, unknown types: skipped; others: the message is malformed",
			Limit:    transport.LimitFlowControl,
		})
		var reached error
		for _, length := range []uint64{300 << 10, 1 << 32, 1<<62 - 1} {
			for _, typ := range types {
				script(t, func(tt *tester) {
					tt.s.Data(tt.encode(header(typ, length)))
					// Whatever it is the length of, the first bytes are zero: a stream ID.
					tt.s.Data(rest)
					m.Sample()
					end := context.Cause(tt.s.Context())
					_, limited := transport.ReachedLimit(end)
					switch typ {
					case capsule.TypeDatagram, capsule.TypePadding, 0x1234:
						if end != nil {
							t.Errorf("%v of %d bytes: ended with %v", typ, length, end)
						}
					case capsule.TypeStream, capsule.TypeStreamFin:
						if reached = end; !limited {
							t.Errorf("%v of %d bytes: ended with %v, want the limit", typ, length, end)
						}
					default:
						if end == nil || limited {
							t.Errorf("%v of %d bytes: ended with %v, want a malformed message", typ, length, end)
						}
					}
				})
			}
		}
		m.End(reached)
	})
}
