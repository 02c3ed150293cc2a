package session

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// A world is two sessions that a program of bytes works with, without
// goroutines, and the model of what they have to do: each direction of a stream
// is a sequence of bytes with one end.
type world struct {
	testing.TB
	sides   [2]*worldSide
	rules   *rules
	program []byte
	most    int // bytes of one Write, so that a tiny window does not take forever
	buf     [2 << 10]byte
	pumped  func(side int, p []byte) // if not nil, is told of each pump
	ledger  *ledger
	metered bool // a side has quotas: time counts, and passes
}

type worldSide struct {
	s       *Session
	carrier *testCarrier
	send    []*stream // those that the program has, with a sending part
	recv    []*stream
	flow    map[uint64]*flow // what this side sends, by stream
}

// A flow is one direction of a stream.
type flow struct {
	written, read int
	closed        bool
	reset         bool
	resetCode     uint32
	stopped       bool
	stopCode      uint32
	ended         bool // the reader saw the end
}

// unlimited switches a bound of transport.Floods off.
var unlimited = transport.Rate{PerSecond: -1}

// at is the byte at a position of a flow.
func at(id uint64, pos int) byte { return byte(pos*7 + pos>>8 + int(id)*31) }

// A tongue is what both sides of a world speak.
type tongue struct {
	dialect transport.Dialect
	parity  Parity
}

var draft15 = tongue{dialect: transport.DialectDraft15}

// newWorld makes a world of what the program begins with. With quotas, which need
// a bubble, a side may have some.
func newWorld(t testing.TB, program []byte, speak tongue, quotas bool) *world {
	w := &world{TB: t, program: program, most: 1 << 20}
	small := func(n int) int64 {
		size := []int{1, 3, 100, 1000, 40_000, 300_000}[w.next()%6]
		w.most = min(w.most, 10*size)
		return int64(size * n)
	}
	var configs [2]transport.Config
	var limits [2]InitialLimits
	for i := range configs {
		configs[i] = transport.Config{
			MaxIncomingStreams:    1 + int64(w.next()%5),
			MaxIncomingUniStreams: 1 + int64(w.next()%5),
			InitialStreamWindow:   small(1), InitialSessionWindow: small(2),
			StreamSendBuffer:      []int{1, 10, 1000, 70_000}[w.next()%4],
			IncomingDatagramQueue: 4000, OutgoingDatagramQueue: 4000, // more than a program can send
			Floods: transport.Floods{ // a program has no time to spend
				Glitches: unlimited, Resets: unlimited, Control: unlimited, TinyDatagrams: unlimited,
			},
		}
		limits[i] = limitsOf(&configs[i])
		how := w.next()
		if quotas && setQuotas(&configs[i], how) {
			w.metered = true
		}
		switch how % 4 { // published below what Config allows
		case 0:
			limits[i] = InitialLimits{}
		case 1:
			limits[i].MaxStreamDataBidiLocal, limits[i].MaxData = 0, 1
		}
	}
	for i := range w.sides {
		c := &testCarrier{}
		w.sides[i] = &worldSide{carrier: c, flow: map[uint64]*flow{}}
		w.sides[i].s = New(Params{
			Client: i == 0, Dialect: speak.dialect, Parity: speak.parity, Config: &configs[i], Local: limits[i], Peer: limits[1-i], Carrier: c,
			Budget: sessionstate.NewBudget(1<<40, nil),
		})
	}
	w.rules = newRules(t, limits, speak)
	w.ledger = newLedger(w)
	return w
}

// next returns the program's next byte, 0 behind its end.
func (w *world) next() int {
	if len(w.program) == 0 {
		return 0
	}
	b := w.program[0]
	w.program = w.program[1:]
	return int(b)
}

// flowOf returns the flow of a stream away from a side.
func (w *world) flowOf(side int, id uint64) *flow {
	f := w.sides[side].flow[id]
	if f == nil {
		f = new(flow)
		w.sides[side].flow[id] = f
	}
	return f
}

// pump moves up to size bytes from a side to the other one.
func (w *world) pump(side, size int) int {
	w.Helper()
	n, end := w.sides[side].s.Fill(w.buf[:size])
	if end {
		w.Fatal("END_STREAM of a session that nobody closed")
	}
	w.rules.sent(side, w.buf[:n])
	w.ledger.checkPace(side)
	if w.pumped != nil {
		w.pumped(side, w.buf[:n])
	}
	w.sides[1-side].s.Data(w.buf[:n])
	w.alive()
	return n
}

func (w *world) alive() {
	w.Helper()
	for i, s := range w.sides {
		if err := context.Cause(s.s.Context()); err != nil {
			w.Fatalf("side %d ended: %v", i, err)
		}
	}
}

func (w *world) open(side int, k kind) {
	s := w.sides[side]
	st, _, err := s.s.tryOpen(k)
	if err != nil {
		w.Fatal(err)
	}
	if st != nil {
		w.ledger.pages[side].want.StreamsOpened++
		s.send = append(s.send, st)
		if k == bidi {
			s.recv = append(s.recv, st)
		}
	}
}

func (w *world) accept(side int, k kind) bool {
	s := w.sides[side]
	st, _, err := s.s.tryAccept(k)
	if err != nil {
		w.Fatal(err)
	}
	if st == nil {
		return false
	}
	s.recv = append(s.recv, st)
	if k == bidi {
		s.send = append(s.send, st)
	}
	return true
}

func (w *world) write(side int, st *stream, size int) {
	f := w.flowOf(side, st.id)
	p := make([]byte, size)
	for i := range p {
		p[i] = at(st.id, f.written+i)
	}
	n, _, err := st.tryWrite(p)
	f.written += n
	w.wantWriteError(f, st, err)
}

// wantWriteError judges what Write returned.
func (w *world) wantWriteError(f *flow, st *stream, err error) {
	w.Helper()
	se, ok := errors.AsType[*transport.StreamError](err)
	switch {
	case err == nil:
		if f.closed || f.reset {
			w.Fatalf("stream %d: bytes taken behind the end", st.id)
		}
	case ok && se.Remote:
		if !f.stopped || uint32(se.Code) != f.stopCode {
			w.Fatalf("stream %d: %v, but the peer stopped %t with %d", st.id, err, f.stopped, f.stopCode)
		}
	case ok:
		if !f.reset || uint32(se.Code) != f.resetCode {
			w.Fatalf("stream %d: %v, but it was reset %t with %d", st.id, err, f.reset, f.resetCode)
		}
	case !f.closed:
		w.Fatalf("stream %d: %v", st.id, err)
	}
}

// read reads and judges what came. It reports whether it got anywhere.
func (w *world) read(side int, st *stream, size int) bool {
	f := w.flowOf(1-side, st.id)
	p := make([]byte, size)
	n, _, err := st.tryRead(p)
	if n > 0 && f.stopped {
		w.Fatalf("stream %d: bytes after CancelRead", st.id)
	}
	for i := range n {
		if want := at(st.id, f.read+i); p[i] != want {
			w.Fatalf("stream %d: byte %d is %#x, want %#x", st.id, f.read+i, p[i], want)
		}
	}
	f.read += n
	se, ok := errors.AsType[*transport.StreamError](err)
	switch {
	case err == nil:
	case err == io.EOF:
		if !f.closed || f.read != f.written {
			w.Fatalf("stream %d: the end after %d of %d bytes, closed %t", st.id, f.read, f.written, f.closed)
		}
		f.ended = true
	case ok && se.Remote:
		if !f.reset || uint32(se.Code) != f.resetCode {
			w.Fatalf("stream %d: %v, but it was reset %t with %d", st.id, err, f.reset, f.resetCode)
		}
		f.ended = true
	case ok:
		if !f.stopped || uint32(se.Code) != f.stopCode {
			w.Fatalf("stream %d: %v, but it was cancelled %t with %d", st.id, err, f.stopped, f.stopCode)
		}
	default:
		w.Fatalf("stream %d: %v", st.id, err)
	}
	return n > 0
}

func (w *world) step() {
	op, side, arg := w.next(), 0, w.next()
	if op >= 128 {
		side = 1
	}
	s := w.sides[side]
	pick := func(from []*stream) *stream {
		if len(from) == 0 {
			return nil
		}
		return from[w.next()%len(from)]
	}
	switch op % 16 {
	case 0:
		w.open(side, bidi)
	case 1:
		w.open(side, uni)
	case 2, 3, 4:
		if st := pick(s.send); st != nil {
			w.write(side, st, min(arg*arg, w.most))
		}
	case 5:
		if st := pick(s.send); st != nil {
			f := w.flowOf(side, st.id)
			if err := st.close(); err != nil {
				w.Fatal(err)
			}
			if !f.reset {
				f.closed = true
			}
		}
	case 6:
		st := pick(s.send)
		switch {
		case arg%2 != 0 && w.metered:
			w.pass(time.Duration(arg) * time.Millisecond)
		case arg%2 == 0 && st != nil:
			f := w.flowOf(side, st.id)
			due := st.send.state == sendOpen || st.send.state == sendFinDue && st.send.buf.n > 0
			st.cancelWrite(transport.StreamErrorCode(arg))
			if due {
				f.closed, f.reset, f.resetCode = false, true, uint32(arg)
			}
		}
	case 7, 8:
		if st := pick(s.recv); st != nil {
			w.read(side, st, 1+arg*arg)
		}
	case 9:
		st := pick(s.recv)
		switch {
		case arg%4 == 1 && w.metered:
			w.receiveDatagram(side)
		case arg%4 == 0 && st != nil:
			f := w.flowOf(1-side, st.id)
			first := st.recv.stop == stopNone && (st.recv.state == recvOpen || st.recv.state == recvDataRecvd)
			st.cancelRead(transport.StreamErrorCode(arg))
			if first {
				f.stopped, f.stopCode = true, uint32(arg)
			}
		}
	case 10:
		w.accept(side, bidi)
	case 11:
		w.accept(side, uni)
	case 12:
		w.sendDatagram(side, bytes.Repeat([]byte{byte(arg)}, arg*arg/3))
	case 13:
		if st := pick(s.send); st != nil {
			st.setPriority(transport.Priority{Order: int64(arg)})
		}
	default:
		size := 1 + (arg*arg)%len(w.buf)
		if w.metered {
			// Else the ledger would learn of a datagram only when later bytes of
			// its header are asked for.
			size = max(size, capsule.MaxDatagramHeader)
		}
		w.pump(side, size)
	}
}

// run executes the program, then lets everything come to an end and compares.
func (w *world) run() {
	for len(w.program) > 0 {
		w.step()
	}
	for quiet := 0; quiet < 2; {
		progress := false
		for i, s := range w.sides {
			for w.accept(i, bidi) || w.accept(i, uni) {
				progress = true
			}
			for _, st := range s.recv {
				for w.read(i, st, len(w.buf)) {
					progress = true
				}
			}
			for w.receiveDatagram(i) {
				progress = true
			}
			for w.pump(i, len(w.buf)) > 0 {
				progress = true
			}
		}
		switch {
		case progress:
			quiet = 0
		case !w.metered:
			quiet = 2
		default:
			quiet++
			w.pass(time.Second) // credit is withheld for no longer at a time
		}
	}
	for i, s := range w.sides {
		for id, f := range s.flow {
			if f.closed && !f.stopped && !f.ended {
				w.Fatalf("side %d, stream %d: closed after %d bytes, the peer read %d and no end", i, id, f.written, f.read)
			}
			if f.reset && !f.stopped && !f.ended {
				w.Fatalf("side %d, stream %d: reset, the peer was not told", i, id)
			}
			if !f.closed && !f.reset && !f.stopped && f.read != f.written {
				w.Fatalf("side %d, stream %d: %d bytes written, %d read", i, id, f.written, f.read)
			}
		}
		// What is left are streams that the program did not finish.
		for id, st := range s.s.streams {
			if st.send.final() && st.recv.final() {
				w.Fatalf("side %d: stream %d was not forgotten", i, id)
			}
		}
		if s.s.window.Unread() != 0 || s.s.held != 0 {
			w.Fatalf("side %d: %d bytes count as unread, %d are held", i, s.s.window.Unread(), s.s.held)
		}
	}
	w.ledger.check()
	for _, s := range w.sides {
		s.s.Lost(errors.New("end of the program"))
	}
	w.ledger.check()
}
