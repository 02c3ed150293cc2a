package session

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// memoryBound is the sum of the package documentation, without the state of
// streams: what a session may charge to its budget.
func memoryBound(c *transport.Config, recv, send int) int {
	d := c.WithDefaults()
	const slack = 32 << 10
	unread := int(d.MaxSessionWindow) + recv*slack
	unsent := send * (d.StreamSendBuffer + slack)
	datagrams := (d.IncomingDatagramQueue + d.OutgoingDatagramQueue + 3) * d.MaxDatagramSize
	return unread + unsent + datagrams + budgetStep
}

// heldChunks is what the buffers of a session's streams really hold.
func (t *tester) heldChunks() int {
	n := t.s.received.Bytes() + t.s.outgoing.datagrams.Bytes() + len(t.s.reader.datagram)
	for _, st := range t.s.streams {
		for _, b := range []*buffer{&st.send.buf, &st.recv.buf} {
			for c := b.head; c != nil; c = c.next {
				n += len(c.buf)
			}
		}
	}
	return n
}

func TestMemoryBound(t *testing.T) {
	config := transport.Config{MaxIncomingStreams: 20, MaxIncomingUniStreams: 20, IncomingDatagramQueue: 8, OutgoingDatagramQueue: 8}
	// A peer that does all it can to make the session hold memory, byte by byte
	// or in large pieces, and takes nothing.
	for _, size := range []int{1, 100, 1025, 4097, 16 << 10} {
		t.Run("DS-19 a hostile peer stays within the documented sum", func(t *testing.T) {
			budget := sessionstate.NewBudget(1<<30, nil)
			bubble(t, func(t *tester) {
				window := uint64(transport.DefaultInitialSessionWindow)
				sent := uint64(0)
				chunk := strings.Repeat("x", size)
				for i := uint64(0); sent+uint64(size) <= window && i < 40_000; i++ {
					id := 4*(i%20) + 2*(i/20%2)
					if t.s.streams[id] != nil && t.s.streams[id].recv.win.Received()+uint64(size) > transport.DefaultInitialStreamWindow {
						break
					}
					t.writeCapsule(wtStream{id: id, data: chunk})
					sent += uint64(size)
				}
				for range 100 {
					t.writeCapsule(datagram(strings.Repeat("d", transport.DefaultMaxDatagramSize)))
					t.ok(t.s.SendDatagram(make([]byte, transport.DefaultMaxDatagramSize)))
				}
				t.writeCapsule(header(capsule.TypeDatagram, transport.DefaultMaxDatagramSize), raw(make([]byte, transport.DefaultMaxDatagramSize-1)))
				for range 20 {
					st := t.accept()
					if err := st.SetWriteDeadline(time.Now().Add(time.Nanosecond)); err != nil {
						t.Fatal(err)
					}
					st.Write(make([]byte, 1<<20)) // as much as is taken until the deadline
				}
				if got, want := t.s.held, t.heldChunks(); got != want {
					t.Fatalf("%d bytes are counted as held, %d are", got, want)
				}
				if got, bound := t.s.held, memoryBound(&config, 40, 20); got > bound || got < int(sent) {
					t.Fatalf("%d bytes held, the bound is %d", got, bound)
				}
				if got := int(budget.Held()); got < t.s.held-budgetStep || got > t.s.held+2*budgetStep {
					t.Fatalf("%d bytes charged, %d held", got, t.s.held)
				}
			}, withConfig(config), func(p *Params) { p.Budget = budget })
			if got := budget.Held(); got != 0 {
				t.Fatalf("%d bytes are charged after the end", got)
			}
		})
	}
	t.Run("DS-16 the state of a stream is small", func(t *testing.T) {
		bubble(t, func(t *tester) {
			const n = 20_000
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			for i := range uint64(n) {
				t.writeCapsule(wtStream{id: 4*i + 2})
			}
			runtime.GC()
			runtime.ReadMemStats(&after)
			if per := (after.HeapAlloc - before.HeapAlloc) / n; len(t.s.streams) != n || per > 1024 {
				t.Fatalf("%d bytes a stream", per)
			}
		}, withConfig(transport.Config{MaxIncomingUniStreams: 1 << 20}))
	})
	t.Run("a session without traffic holds nothing", func(t *testing.T) {
		budget := sessionstate.NewBudget(1<<20, nil)
		bubble(t, func(t *tester) {
			st := open0(t)
			t.wantRead(st, "data")
			t.send(st, "data")
			t.wantCapsule("data", wtStream{id: 0, data: "data"})
			if got := t.heldChunks(); got != 0 || t.s.held != 0 {
				t.Fatalf("%d bytes held, %d counted", got, t.s.held)
			}
			if got := budget.Held(); got > budgetStep {
				t.Fatalf("%d bytes charged", got)
			}
		}, func(p *Params) { p.Budget = budget })
	})
	t.Run("what an ended session leaves readable is given back with it", func(t *testing.T) {
		budget := sessionstate.NewBudget(1<<30, nil)
		func() {
			script(t, func(t *tester) {
				t.writeCapsule(wtStream{id: 2, fin: true, data: strings.Repeat("x", 100<<10)})
				t.acceptUni() // and dropped
			}, func(p *Params) { p.Budget = budget })
		}()
		for i := 0; budget.Held() > 0; i++ {
			if i == 100 {
				t.Fatalf("%d bytes are charged for what nobody can read", budget.Held())
			}
			runtime.GC()
			runtime.Gosched()
		}
	})
}

// nowhere is a carrier that does nothing.
type nowhere struct{ testCarrier }

func TestAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("under the race detector sync.Pool loses what is put into it on purpose")
	}
	newSession := func() *Session {
		limits := InitialLimits{MaxData: 1 << 60, MaxStreamDataUni: 1 << 60, MaxStreamDataBidiRemote: 1 << 60, MaxStreamsUni: 1, MaxStreamsBidi: 1}
		return New(Params{Client: true, Dialect: transport.DialectDraft15, Carrier: &nowhere{}, Local: limitsOf(nil), Peer: limits})
	}
	for _, size := range []int{1, 100, 16 << 10} {
		t.Run("a write and its Fill allocate nothing", func(t *testing.T) {
			s := newSession()
			st, err := s.OpenUniStream(done())
			if err != nil {
				t.Fatal(err)
			}
			p, dst := make([]byte, size), make([]byte, 32<<10)
			cycle := func() {
				if _, err := st.Write(p); err != nil {
					t.Fatal(err)
				}
				for {
					if n, _ := s.Fill(dst); n == 0 {
						break
					}
				}
			}
			if n := testing.AllocsPerRun(1000, cycle); n != 0 {
				t.Fatalf("%v allocations for %d bytes", n, size)
			}
		})
		t.Run("data received and read allocate nothing", func(t *testing.T) {
			s := newSession()
			st, err := s.OpenStream(done())
			if err != nil {
				t.Fatal(err)
			}
			st.Write([]byte("x"))
			dst := make([]byte, 32<<10)
			s.Fill(dst)
			capsules := append(capsule.AppendStreamHeader(nil, false, capsule.Draft15, 0, uint64(size)), make([]byte, size)...)
			cycle := func() {
				s.Data(capsules)
				for n := 0; n < size; {
					m, err := st.Read(dst)
					if err != nil {
						t.Fatal(err)
					}
					n += m
				}
				s.Fill(dst)
			}
			if n := testing.AllocsPerRun(1000, cycle); n != 0 {
				t.Fatalf("%v allocations for %d bytes", n, size)
			}
		})
	}
}
