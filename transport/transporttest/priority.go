package transporttest

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// portion is what the session's credit lets through at a time, and what a
// transport takes from a stream at most before it looks at the next.
const portion = 16 * kib

// backlogLimits let the test hold back everything by one stream that is not
// read, and then let it go by reading.
var backlogLimits = transport.Config{
	InitialStreamWindow: 1 << 20, MaxStreamWindow: 1 << 20,
	InitialSessionWindow: portion, MaxSessionWindow: portion,
}

var priorityCases = []testCase{
	{name: "a higher order goes first", b: backlogLimits, skip: needsExact, run: func(e *env) {
		b := e.newBacklog(3)
		b.queue(0, 40*kib, transport.Priority{Order: -5}) // first to wait, last in rank
		b.queue(1, 40*kib, transport.Priority{})
		b.queue(2, 40*kib, transport.Priority{Order: 7})
		b.release(func() {
			for i := range 2 {
				if b.got[i] > 0 && b.got[i+1] < 40*kib {
					e.Fatalf("%v bytes received: a lower order went before a higher one", b.got)
				}
			}
		})
	}},
	{name: "equal orders take turns", b: backlogLimits, skip: needsExact, run: func(e *env) {
		b := e.newBacklog(3)
		for i := range 3 {
			b.queue(i, 60*kib, transport.Priority{Order: 3})
		}
		b.release(func() {
			b.wantEqual(b.got[0], b.got[1])
			b.wantEqual(b.got[1], b.got[2])
		})
	}},
	{name: "without priorities all take turns", b: backlogLimits, skip: needsExact, run: func(e *env) {
		b := e.newBacklog(3)
		for i := range 3 {
			b.queue(i, 60*kib, transport.Priority{})
		}
		b.release(func() {
			b.wantEqual(b.got[0], b.got[1])
			b.wantEqual(b.got[1], b.got[2])
		})
	}},
	{name: "groups share fairly whatever their orders", b: backlogLimits, skip: needsExact, run: func(e *env) {
		many, one := transport.NewSendGroup(), transport.NewSendGroup()
		b := e.newBacklog(4)
		for i := range 3 {
			b.queue(i, 60*kib, transport.Priority{Group: many, Order: 1000})
		}
		b.queue(3, 60*kib, transport.Priority{Group: one, Order: -1000})
		b.release(func() {
			if b.got[3] < 60*kib {
				b.wantEqual(b.got[0]+b.got[1]+b.got[2], b.got[3])
			}
		})
	}},
	{name: "the nil group is a group", b: backlogLimits, skip: needsExact, run: func(e *env) {
		b := e.newBacklog(2)
		b.queue(0, 60*kib, transport.Priority{Group: transport.NewSendGroup(), Order: 5})
		b.queue(1, 60*kib, transport.Priority{})
		b.release(func() {
			b.wantEqual(b.got[0], b.got[1])
		})
	}},
	{name: "a priority may change while bytes wait", b: backlogLimits, skip: needsExact, run: func(e *env) {
		b := e.newBacklog(2)
		b.queue(0, 60*kib, transport.Priority{Order: 9})
		b.queue(1, 60*kib, transport.Priority{Order: 1})
		b.out[1].SetPriority(transport.Priority{Order: 10})
		b.release(func() {
			if b.got[0] > 0 && b.got[1] < 60*kib {
				e.Fatalf("%v bytes received: the old priorities were followed", b.got)
			}
		})
	}},
	{name: "a higher order tends to finish first",
		b: transport.Config{
			InitialStreamWindow: 16 << 20, MaxStreamWindow: 16 << 20,
			InitialSessionWindow: 64 << 20, MaxSessionWindow: 64 << 20,
		},
		skip: func(caps Caps) string {
			if caps.ExactPriority {
				return "Caps.ExactPriority is set: the exact cases apply"
			}
			return ""
		},
		run: testTendency},
}

func needsExact(caps Caps) string {
	if caps.ExactPriority {
		return ""
	}
	return "Caps.ExactPriority is not set: only the tendency is tested"
}

// A backlog is a set of streams whose bytes wait for the session's credit,
// which one more stream, the plug, has used up.
type backlog struct {
	e       *env
	plug    transport.SendStream
	plugEnd transport.ReceiveStream
	out     []transport.SendStream
	in      []transport.ReceiveStream
	queued  []int
	got     []int // bytes read per stream, the openings left out
}

func (e *env) newBacklog(n int) *backlog {
	e.Helper()
	b := &backlog{e: e, queued: make([]int, n), got: make([]int, n)}
	b.plug, b.plugEnd = e.uniPair()
	for range n {
		x, y := e.uniPair()
		b.out, b.in = append(b.out, x), append(b.in, y)
	}
	b.plug.SetPriority(transport.Priority{Order: 1 << 40})
	e.write(b.plug, make([]byte, portion))
	e.finish(b.plug)
	e.settle()
	return b
}

// queue sets stream i's priority and writes n bytes, which must fit its buffer.
func (b *backlog) queue(i, n int, p transport.Priority) {
	b.e.Helper()
	b.out[i].SetPriority(p)
	b.e.write(b.out[i], make([]byte, n))
	b.e.finish(b.out[i])
	b.queued[i] += n
}

// release reads the plug and then all streams in turn, and calls check after
// each turn. A turn reads from each stream what has arrived; more arrives
// meanwhile, up to one portion. So a stream that comes later in the turn has
// everything that was sent before the bytes of those that come earlier.
func (b *backlog) release(check func()) {
	e := b.e
	e.Helper()
	e.settle()
	if got := e.b.Stats().BytesReceived; got > 2*portion {
		e.Fatalf("%d bytes received before the credit was there", got)
	}
	e.wantRest(b.plugEnd, make([]byte, portion))
	for range 1000 {
		e.settle()
		done := true
		for i, y := range b.in {
			b.got[i] += e.readAvailable(y)
			done = done && b.got[i] == b.queued[i]
		}
		check()
		if done {
			return
		}
	}
	e.Fatalf("%v bytes received of %v", b.got, b.queued)
}

// readAvailable reads until nothing is there at this moment of virtual time.
func (e *env) readAvailable(r transport.ReceiveStream) (total int) {
	e.Helper()
	buf := make([]byte, 64*kib)
	for {
		e.ok(r.SetReadDeadline(time.Now().Add(time.Nanosecond)), "SetReadDeadline")
		n, err := r.Read(buf)
		total += n
		if err == io.EOF || isTimeout(err) {
			return total
		}
		e.ok(err, "Read")
	}
}

// wantEqual expects two shares to be equal up to a portion that one of them is
// ahead by, and another that arrived while the streams were read in turn.
func (b *backlog) wantEqual(x, y int) {
	b.e.Helper()
	if d := x - y; d > 2*portion || -d > 2*portion {
		b.e.Fatalf("%v bytes received: %d and %d should be about equal", b.got, x, y)
	}
}

func testTendency(e *env) {
	const size, trials = 4 << 20, 5
	var behind int64
	for range trials {
		low, lowEnd := e.uniPair()
		high, highEnd := e.uniPair()
		low.SetPriority(transport.Priority{Order: 0})
		high.SetPriority(transport.Priority{Order: 100})
		var lowGot atomic.Int64
		lowDone := async(e, func() error {
			buf := make([]byte, 16*kib)
			for {
				n, err := lowEnd.Read(buf)
				lowGot.Add(int64(n))
				if err != nil {
					return err
				}
			}
		})
		highDone := async(e, func() int64 {
			io.Copy(io.Discard, highEnd)
			return lowGot.Load()
		})
		sent := async(e, func() error { return sendAll(low, size) })
		if err := sendAll(high, size); err != nil {
			e.Fatalf("Write: %v", err)
		}
		behind += <-highDone
		e.ok(<-sent, "Write")
		if err := <-lowDone; err != io.EOF {
			e.Fatalf("Read: %v", err)
		}
	}
	// Without priorities the low stream would be about as far as the high one.
	if share := float64(behind) / float64(trials*size); share > 0.75 {
		e.Errorf("when the higher order had finished, the lower one had %.0f%% of its bytes through", 100*share)
	}
}

func sendAll(w transport.SendStream, n int) error {
	if _, err := w.Write(make([]byte, n)); err != nil {
		return err
	}
	return w.Close()
}
