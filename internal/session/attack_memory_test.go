package session

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// chunks is what a stream may hold more than the bytes that are in it.
const chunks = 32 << 10

// TestHostileStreams: what a peer makes grow with streams.
func TestHostileStreams(t *testing.T) {
	const both = 2 * transport.DefaultMaxIncomingStreams
	t.Run("DS-18 reset and stop requests while the peer takes nothing", func(t *testing.T) {
		// Each stream has a reset due, which nobody takes, so that none gives its
		// place back: the attack ends at the limit on streams.
		attack{
			Attack: hostile.Attack{
				Name: "streams stopped and reset while the peer withholds window", Bytes: both*1024 + small,
				Reaction: "one reset due for each stream, no place given back: WT_FLOW_CONTROL_ERROR", Limit: transport.LimitFlowControl,
			},
			frame: func(b []byte, i int) []byte {
				b = capsule.AppendStreamHeader(b, false, capsule.Draft15, uint64(4*i), 0)
				b = capsule.StopSending{StreamID: uint64(4 * i)}.Append(b)
				return capsule.ResetStream{StreamID: uint64(4 * i)}.Append(b)
			},
			between: func(t *tester) {
				if st, _, _ := t.s.tryAccept(bidi); st != nil {
					st.tryRead(nil)
					st.tryWrite(nil)
				}
			},
			most: 10_000, last: both / 2,
		}.run(t)
	})
	churn := func(b []byte, i int) []byte {
		b = capsule.AppendStreamHeader(b, false, capsule.Draft15, uint64(4*i), 0)
		b = capsule.StopSending{StreamID: uint64(4 * i)}.Append(b)
		return capsule.ResetStream{StreamID: uint64(4 * i)}.Append(b)
	}
	answered := func(t *tester) {
		if st, _, _ := t.s.tryAccept(bidi); st != nil {
			var p [8]byte
			st.tryRead(p[:])
			st.tryWrite(p[:])
		}
		t.s.Fill(t.dst)
	}
	t.Run("DS-18 H2-185 reset and stop churn", func(t *testing.T) {
		attack{
			Attack: hostile.Attack{Name: "WebTransport streams opened, stopped and reset", Reaction: "the session is reset: excessive load", Limit: transport.LimitAborts},
			frame:  churn, between: answered, most: 10_000, unlimited: withoutFloods, cost: 10_000,
		}.run(t)
	})
	t.Run("DS-16 the highest stream first", func(t *testing.T) {
		const limit = 1 << 20
		attack{
			Attack: hostile.Attack{Name: "a million streams opened by one capsule", Reaction: "state for one stream"},
			config: transport.Config{MaxIncomingUniStreams: limit},
			frame: func(b []byte, i int) []byte {
				if i == 0 {
					return append(capsule.AppendStreamHeader(b, false, capsule.Draft15, 4*(limit-1)+2, 1), 'x')
				}
				return capsule.AppendDatagramHeader(b, 0)
			},
			between: func(tt *tester) {
				if open := len(tt.s.streams); open != 1 {
					t.Fatalf("there is state for %d streams", open)
				}
			},
			most: 8,
		}.run(t)
	})
	t.Run("DS-16 FW-21 streams that nobody accepts", func(t *testing.T) {
		attack{
			Attack: hostile.Attack{
				Name: "streams opened and never accepted", Bytes: both*(1024+1024) + small, // state, and a small chunk
				Reaction: "they count as open: WT_FLOW_CONTROL_ERROR above the limit", Limit: transport.LimitFlowControl,
			},
			frame: func(b []byte, i int) []byte {
				id := uint64(4*(i/2) + 2*(i%2))
				return append(capsule.AppendStreamHeader(b, i%4 < 2, capsule.Draft15, id, 1), 'x')
			},
			most: 10_000, last: both,
		}.run(t)
	})
	for _, k := range []kind{bidi, uni} {
		t.Run("H2-149 H2-152 one stream too many, "+k.String(), func(t *testing.T) {
			script(t, func(t *tester) {
				index := uint64(transport.DefaultMaxIncomingStreams)
				t.writeCapsule(wtStream{id: t.s.peerID(index-1, k)})
				t.wantAlive("as many as are allowed")
				t.writeCapsule(wtStream{id: t.s.peerID(index, k)})
				t.wantLimit(transport.ViolationFlowControl, transport.LimitFlowControl)
			})
		})
	}
}

// wantLimit expects the session to have been reset for a limit.
func (t *tester) wantLimit(v transport.Violation, want transport.Limit) {
	t.Helper()
	end := context.Cause(t.s.Context())
	pe, ok := errors.AsType[*transport.ProtocolError](end)
	if !ok || pe.Violation != v || pe.Limit != want {
		t.Fatalf("ended with %v, want %v of limit %q", end, v, want)
	}
	if len(t.carrier.resets) != 1 {
		t.Fatalf("reset %d times", len(t.carrier.resets))
	}
}

// TestHostileData: what a peer makes the session hold.
func TestHostileData(t *testing.T) {
	config := transport.Config{InitialSessionWindow: 4 << 20, MaxSessionWindow: 4 << 20}
	const streams = transport.DefaultMaxIncomingStreams
	for _, size := range []int{1, 1025, 16 << 10} {
		p := make([]byte, size)
		t.Run(fmt.Sprintf("DS-19 H2-140 the session's window filled with %d bytes at a time and never read", size), func(t *testing.T) {
			attack{
				Attack: hostile.Attack{
					Name: fmt.Sprintf("streams that are never read, %d bytes a capsule", size), Bytes: 4<<20 + 2*streams*(chunks+1024) + small,
					Reaction: "held up to the session's window, WT_FLOW_CONTROL_ERROR above it", Limit: transport.LimitFlowControl,
				},
				config: config,
				frame: func(b []byte, i int) []byte {
					id := uint64(4*(i%streams) + 2*(i/streams%2))
					return append(capsule.AppendStreamHeader(b, false, capsule.Draft15, id, uint64(size)), p...)
				},
				most: 4<<20/size + 1, last: 4 << 20 / size,
			}.run(t)
		})
	}
	for _, c := range []struct {
		name    string
		streams int
		bytes   int
	}{
		{"H2-141 a stream's window", 1, transport.DefaultInitialStreamWindow},
		{"H2-140 the session's window", 5, transport.DefaultInitialSessionWindow},
	} {
		t.Run(c.name+", at the bound and one more", func(t *testing.T) {
			script(t, func(t *tester) {
				for sent, i := 0, 0; sent < c.bytes; i++ {
					n := min(1024, c.bytes-sent)
					t.writeCapsule(wtStream{id: uint64(i%c.streams) * 4, data: string(make([]byte, n))})
					sent += n
				}
				t.wantAlive("at the bound")
				t.writeCapsule(wtStream{id: uint64(c.streams-1) * 4, data: "x"})
				t.wantLimit(transport.ViolationFlowControl, transport.LimitFlowControl)
			})
		})
	}
	t.Run("DS-17 H2-171 tiny datagrams with nobody reading", func(t *testing.T) {
		attack{
			Attack: hostile.Attack{Name: "flood of tiny datagrams", Reaction: "dropped above the queue's length, then WT_ERROR", Limit: transport.LimitTinyDatagrams},
			frame:  constant(t, datagram("x")), most: 1_000_000, unlimited: withoutFloods, cost: hostile.Frames(50_000),
		}.run(t)
	})
	t.Run("H2-171 maximal datagrams with nobody reading", func(t *testing.T) {
		attack{
			Attack: hostile.Attack{
				Name: "flood of maximal datagrams", Bytes: (transport.DefaultIncomingDatagramQueue+3)*(64<<10) + small,
				Reaction: "dropped above the queue's length",
			},
			frame: constant(t, datagram(make([]byte, transport.DefaultMaxDatagramSize))), most: 2000, cost: 500,
		}.run(t)
	})
	t.Run("H2-171 datagrams above a rate", func(t *testing.T) {
		attack{
			Attack: hostile.Attack{Name: "datagrams above IncomingDatagramRate", Bytes: 10*(64<<10) + small, Reaction: "dropped unbuffered and counted"},
			config: transport.Config{IncomingDatagramRate: transport.Rate{PerSecond: 1, Burst: 10}},
			frame:  constant(t, datagram(make([]byte, 32<<10))), most: 2000, cost: 2000,
		}.run(t)
	})
	t.Run("DS-10 a peer that reads nothing while 100 streams are written", func(t *testing.T) {
		attack{
			Attack: hostile.Attack{
				Name: "peer that reads nothing while 100 streams are written", Bytes: 100*(transport.DefaultStreamSendBuffer+chunks+1024) + small,
				Reaction: "Write waits",
			},
			prepare: func(t *tester) {
				for range 100 {
					t.openUni()
				}
			},
			frame: constant(t, capsule.MaxData{MaximumData: 1 << 40}), // credit without end, and nobody takes it
			between: func(t *tester) {
				for _, st := range t.s.streams {
					for range 3 {
						if n, wait, _ := st.tryWrite(t.dst); wait != nil && st.send.buf.n+n < transport.DefaultStreamSendBuffer {
							t.Fatalf("Write waits with %d bytes buffered", st.send.buf.n)
						}
					}
				}
			},
			most: 50,
		}.run(t)
	})
	t.Run("DS-19 sessions that fill a connection's budget", func(t *testing.T) {
		const limit = 8 << 20
		m := hostile.Start(t, hostile.Attack{
			Name: "sessions that fill a connection's memory", Victim: "session", Bytes: limit + 40*5*(chunks+1024) + 40*(16<<10) + small,
			Reaction: "at the cap the newest of those holding most is ended: excessive load", Limit: transport.LimitMemory,
		})
		budget := sessionstate.NewBudget(limit, nil)
		p := make([]byte, 200<<10)
		var sessions []*Session
		var ended error
		quiet := New(Params{Carrier: &nowhere{}, Local: limitsOf(nil), Peer: limitsOf(nil), Budget: budget})
		quiet.Data((&tester{TB: t}).encode(wtStream{id: 0, data: "a little"}))
		for range 40 {
			s := New(Params{Carrier: &nowhere{}, Local: limitsOf(nil), Peer: limitsOf(nil), Budget: budget})
			sessions = append(sessions, s)
			for i := range uint64(5) {
				s.Data(capsule.AppendStreamHeader(nil, false, capsule.Draft15, 4*i, uint64(len(p))))
				s.Data(p)
				if budget.Held() > limit+int64(len(p)) {
					t.Fatalf("%d bytes held, the cap is %d", budget.Held(), limit)
				}
			}
			if end := context.Cause(s.Context()); end != nil {
				ended = end
			}
		}
		m.Sample()
		if end := context.Cause(quiet.Context()); end != nil || ended == nil {
			t.Fatalf("the quiet session ended with %v, the others with %v", end, ended)
		}
		for i, s := range append(sessions, quiet) {
			if end := context.Cause(s.Context()); i < 5 && end != nil {
				t.Fatalf("session %d, which came early, ended with %v", i, end)
			}
			s.Lost(errors.New("end of the test"))
		}
		if budget.Held() != 0 {
			t.Fatalf("%d bytes are charged after the end", budget.Held())
		}
		m.End(ended)
	})
}

// TestHostileClose: peers that do not answer.
func TestHostileClose(t *testing.T) {
	const sessions, timeout = 200, 500 * time.Millisecond
	config := transport.Config{CloseTimeout: timeout}
	for _, c := range []struct {
		name    string
		attack  string
		unsent  bool // finished streams that the peer gives no credit for
		takes   bool // the carrier takes WT_CLOSE_SESSION
		longest time.Duration
	}{
		{"H2-182 CloseWithError and a peer that is silent", "close that the peer does not answer", false, true, timeout},
		{"H2-182 CloseWithError and a carrier that takes nothing", "close that the transport does not take", false, false, timeout},
		{"H2-182 CloseWithError, unsent data and a carrier that takes nothing", "close with data that the transport does not take", true, false, 2 * timeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := hostile.Start(t, hostile.Attack{
					Name: c.attack, Victim: "session", Bytes: sessions*16<<10 + small, Goroutines: sessions,
					Reaction: "CloseWithError returns within two times CloseTimeout, the memory is freed",
				})
				var all []*Session
				done := make(chan error, sessions)
				start := time.Now()
				for range sessions {
					s := New(Params{Client: true, Config: &config, Carrier: &nowhere{}, Local: limitsOf(nil), Peer: limitsOf(nil), Dialect: transport.DialectDraft15})
					all = append(all, s)
					st, err := s.OpenUniStream(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					st.Write([]byte("data"))
					if c.unsent {
						st.Close()
					}
					go func() { done <- s.CloseWithError(1, "bye") }() // the loop below waits for it
				}
				synctest.Wait()
				if c.takes {
					dst := make([]byte, 1024)
					for _, s := range all {
						s.Fill(dst)
					}
				}
				m.Sample()
				for range sessions {
					err := <-done
					if _, unsent := errors.AsType[*transport.UnsentError](err); unsent != c.unsent {
						t.Fatalf("CloseWithError: %v", err)
					}
				}
				if d := time.Since(start); d != c.longest {
					t.Fatalf("it took %v, want %v", d, c.longest)
				}
				for _, s := range all {
					<-s.Done()
					if n, end := s.Fill(make([]byte, 1024)); s.held != 0 || len(s.streams) != 0 || n != 0 || end {
						t.Fatalf("%d bytes and %d streams are held after the end", s.held, len(s.streams))
					}
				}
				m.End(nil)
			})
		})
	}
	t.Run("DS-14 H2-114 sessions abandoned by both sides", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			const idle = time.Minute
			config := transport.Config{IdleTimeout: idle, CloseTimeout: timeout}
			m := hostile.Start(t, hostile.Attack{
				Name: "sessions opened and abandoned", Victim: "session", Bytes: sessions * (32 << 10), Reaction: "closed with code 0 and \"idle\"", Limit: transport.LimitSessionIdle,
			})
			var all []*Session
			for range sessions {
				s := New(Params{Config: &config, Carrier: &nowhere{}, Local: limitsOf(nil), Peer: limitsOf(nil), Dialect: transport.DialectDraft15})
				s.Data((&tester{TB: t, dialect: capsule.Draft15}).encode(wtStream{id: 0, data: "unread"}, datagram("unread")))
				all = append(all, s)
			}
			m.Sample()
			// One byte of padding a second is no traffic.
			for range int(idle/time.Second) - 1 {
				time.Sleep(time.Second)
				for _, s := range all {
					s.Data((&tester{TB: t, dialect: capsule.Draft15}).encode(capsule.Padding{Length: 1}))
				}
			}
			m.Sample()
			time.Sleep(time.Second + 2*timeout)
			synctest.Wait()
			for _, s := range all {
				<-s.Done()
			}
			m.End(context.Cause(all[0].Context()))
		})
	})
}
