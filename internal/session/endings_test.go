package session

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// An ending is a world whose program goes on with the end of the session: closes
// by either side, at once or one after the other, a network that delivers late
// and breaks, an abort. Whatever an application finished with Close has arrived
// in the end, or the application was told that it may not have.
type ending struct {
	*world
	wires [2]wire // by sender
	calls [2]chan error
	first [2]bool // the side's own close ended its session
	cut   bool
}

// A wire is what a side gave and the other one has not received.
type wire struct {
	bytes       []byte
	end         bool // END_STREAM follows
	given, come tally
}

// A tally counts the stream data in capsules.
type tally struct {
	decoder capsule.Decoder
	bytes   map[uint64]int
	fin     map[uint64]bool
	id      uint64
	isFin   bool
}

func (y *tally) feed(p []byte) error {
	if y.bytes == nil {
		y.bytes, y.fin = map[uint64]int{}, map[uint64]bool{}
	}
	return y.decoder.Feed(p, y)
}

func (y *tally) Stream(id uint64, fin bool, _ uint64) error { y.id, y.isFin = id, fin; return nil }
func (y *tally) StreamData(p []byte, last bool) error {
	y.bytes[y.id] += len(p)
	if last && y.isFin {
		y.fin[y.id] = true
	}
	return nil
}
func (y *tally) Datagram(uint64) (bool, error)      { return false, nil }
func (y *tally) DatagramData([]byte, bool) error    { return nil }
func (y *tally) Control(capsule.Capsule) error      { return nil }
func (y *tally) Skipped(capsule.Type, uint64) error { return nil }

// fill has a side give up to size bytes. It reports whether there were any.
func (g *ending) fill(side, size int) bool {
	w := &g.wires[side]
	if g.cut || w.end {
		return false
	}
	n, end := g.sides[side].s.Fill(g.buf[:size])
	w.bytes = append(w.bytes, g.buf[:n]...)
	if err := w.given.feed(g.buf[:n]); err != nil {
		g.Fatal(err)
	}
	w.end = end
	return n > 0 || end
}

// deliver has up to size bytes arrive, and the end behind the last.
func (g *ending) deliver(side, size int) bool {
	w := &g.wires[side]
	n := min(size, len(w.bytes))
	if n == 0 && !w.end || g.cut {
		return false
	}
	to := g.sides[1-side].s
	if err := w.come.feed(w.bytes[:n]); err != nil {
		g.Fatal(err)
	}
	to.Data(w.bytes[:n])
	w.bytes = w.bytes[n:]
	if len(w.bytes) == 0 && w.end {
		w.end = false
		to.End()
		return true
	}
	return n > 0
}

func (g *ending) close(side int) {
	if g.calls[side] != nil {
		return
	}
	s := g.sides[side].s
	g.first[side] = context.Cause(s.Context()) == nil
	done := make(chan error, 1)
	g.calls[side] = done
	go func() { done <- s.CloseWithError(7, "bye") }() // run waits for it
	synctest.Wait()
}

// breaks is what a broken network does to both ends.
func (g *ending) breaks() {
	g.cut = true
	for _, s := range g.sides {
		s.s.Lost(errors.New("the network broke"))
	}
}

// resets carries a reset of the stream by one side to the other one. What was on
// its way is lost.
func (g *ending) resets() {
	for side, s := range g.sides {
		if !g.cut && s.carrier.cancels.Load()+int32(len(s.carrier.resets)) > 0 {
			g.cut = true
			g.sides[1-side].s.Lost(&transport.ResetError{Protocol: transport.HTTP2, Code: 8, Name: "CANCEL"})
		}
	}
}

// readSome has an application read, which may be told of the session's end.
func (g *ending) readSome(side int, st *stream, size int) bool {
	f := g.flowOf(1-side, st.id)
	p := make([]byte, size)
	n, _, err := st.tryRead(p)
	for i := range n {
		if want := at(st.id, f.read+i); p[i] != want {
			g.Fatalf("stream %d: byte %d is %#x, want %#x", st.id, f.read+i, p[i], want)
		}
	}
	f.read += n
	if err == io.EOF {
		if !f.closed || f.read != f.written {
			g.Fatalf("stream %d: the end after %d of %d bytes, closed %t", st.id, f.read, f.written, f.closed)
		}
		f.ended = true
	}
	return n > 0
}

func (g *ending) acceptSome(side int) bool {
	s := g.sides[side]
	for _, k := range []kind{bidi, uni} {
		if st, _, _ := s.s.tryAccept(k); st != nil {
			s.recv = append(s.recv, st)
			if k == bidi {
				s.send = append(s.send, st)
			}
			return true
		}
	}
	return false
}

func (g *ending) step() {
	op, side, arg := g.next(), 0, g.next()
	if op >= 128 {
		side = 1
	}
	s := g.sides[side]
	switch op % 16 {
	case 0:
		g.close(side)
	case 1, 2, 3:
		g.fill(side, 1+arg*arg%len(g.buf))
	case 4, 5, 6:
		g.deliver(side, 1+arg*arg)
	case 7, 8:
		if len(s.recv) > 0 {
			g.readSome(side, s.recv[g.next()%len(s.recv)], 1+arg*arg)
		}
	case 9:
		g.acceptSome(side)
	case 10:
		time.Sleep(time.Duration(arg) * time.Millisecond)
		synctest.Wait()
	case 11:
		if len(s.send) > 0 {
			st := s.send[g.next()%len(s.send)]
			f := g.flowOf(side, st.id)
			if st.close() == nil && !f.reset && st.send.state != sendResetDue && st.send.state != sendResetSent {
				f.closed = true
			}
		}
	case 12:
		if arg < 16 {
			g.breaks()
		}
	case 13:
		if arg < 8 {
			s.s.Abort(errLocal)
		}
	case 14:
		if len(s.recv) > 0 && arg%8 == 0 {
			st := s.recv[g.next()%len(s.recv)]
			if f := g.flowOf(1-side, st.id); !f.ended {
				st.cancelRead(transport.StreamErrorCode(arg))
				f.stopped = true
			}
		}
	}
}

// run has the world's program run for a part, then ends it.
func (g *ending) run() {
	g.pumped = func(side int, p []byte) {
		g.wires[side].given.feed(p) // what is wrong with it the rules tell
		g.wires[side].come.feed(p)
	}
	before := len(g.program) / 2
	for len(g.program) > before {
		g.world.step()
	}
	for len(g.program) > 0 {
		g.step()
		g.resets()
	}
	g.close(0)
	for quiet := 0; quiet < 4; {
		progress := false
		for side := range g.sides {
			for g.acceptSome(side) {
				progress = true
			}
			for _, st := range g.sides[side].recv {
				for g.readSome(side, st, len(g.buf)) {
					progress = true
				}
			}
			for g.fill(side, len(g.buf)) || g.deliver(side, len(g.buf)) {
				progress = true
			}
		}
		if quiet++; progress {
			quiet = 0
		}
		time.Sleep(transport.DefaultCloseTimeout)
		synctest.Wait()
		g.resets()
	}
	g.judge()
}

func (g *ending) judge() {
	for i, s := range g.sides {
		end := context.Cause(s.s.Context()).(*transport.SessionError)
		var said error
		if g.calls[i] != nil {
			said = <-g.calls[i]
		}
		sent, peer := &g.wires[i], g.sides[1-i].s
		// An application that closes by itself reads nothing from then on, whether
		// it arrives or not.
		peerCloses := g.first[1-i]
		lost, unsent, stopped := 0, uint64(0), uint64(0) // the latter of streams that the peer does not want
		for id, f := range s.flow {
			if !f.closed || f.reset {
				continue
			}
			rest := uint64(f.written - sent.given.bytes[id])
			switch {
			case f.stopped:
				stopped += rest
				if !sent.given.fin[id] {
					stopped++ // the end alone, perhaps
				}
				continue
			case !sent.given.fin[id]:
				unsent += rest
			}
			switch {
			case !sent.come.fin[id]:
				lost++
			case !f.ended && !peerCloses:
				// Arrived: who had accepted the stream reads it.
				if st := g.has(1-i, id); st != nil && !errors.Is(context.Cause(peer.Context()), errLocal) {
					g.Fatalf("side %d, stream %d: %d of %d bytes read, the end had arrived before the session's", i, id, f.read, f.written)
				}
			}
		}
		told := end.Remote || end.Err != nil
		ue, isUnsent := errors.AsType[*transport.UnsentError](said)
		switch {
		case !g.first[i] && said != nil:
			g.Fatalf("side %d: CloseWithError of a session that was over: %v", i, said)
		case g.first[i] && told:
			g.Fatalf("side %d closed, and its session ended with %v", i, end)
		case lost > 0 && said == nil && !told:
			g.Fatalf("side %d: %d finished streams have not arrived, and nothing tells", i, lost)
		case isUnsent && (ue.Bytes < unsent || ue.Bytes > unsent+stopped):
			g.Fatalf("side %d: %v, but %d were not given, and %d that nobody wants", i, ue, unsent, stopped)
		case isUnsent && lost == 0 && stopped == 0:
			g.Fatalf("side %d: %v, but everything arrived", i, ue)
		case said != nil && !isUnsent && said != transport.ErrUnconfirmed:
			g.Fatalf("side %d: CloseWithError: %v", i, said)
		}
		for _, st := range s.recv {
			st.cancelRead(1)
		}
		if s.s.held != 0 || len(s.s.streams) != 0 || s.s.budget.Held() != 0 || s.s.life.String() != "closed" {
			g.Fatalf("side %d: %d bytes, %d streams and %d of the budget are held after the end, %v", i, s.s.held, len(s.s.streams), s.s.budget.Held(), s.s.life)
		}
	}
}

// errLocal is why a side that was aborted has nothing to read.
var errLocal = errors.New("for a local reason")

// has returns the stream if a side's application has it.
func (g *ending) has(side int, id uint64) *stream {
	for _, st := range g.sides[side].recv {
		if st.id == id {
			return st
		}
	}
	return nil
}

func holdEnding(t *testing.T, program []byte) {
	synctest.Test(t, func(t *testing.T) {
		(&ending{world: newWorld(t, program, draft15, false)}).run()
	})
}

// FuzzEndings has sessions end in every way.
func FuzzEndings(f *testing.F) {
	fuzzPrograms(f, 4, 200, 40, holdEnding)
}

func TestRandomEndings(t *testing.T) {
	t.Run("H2-180 H2-181 H2-182 what was finished arrives, or is said to be lost", func(t *testing.T) {
		withPrograms(t, 1500, 50, 1000, func(program []byte) { holdEnding(t, program) })
	})
}
