package transporttest

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// portion is what a transport takes from one stream at most before it looks at
// the next.
const portion = 16 * kib

// tight lets one portion through at a time, wide several.
var (
	tight = sessionWindow(portion)
	wide  = sessionWindow(8 * portion)
)

func sessionWindow(n int64) transport.Config {
	return transport.Config{
		InitialStreamWindow: 1 << 20, MaxStreamWindow: 1 << 20,
		InitialSessionWindow: n, MaxSessionWindow: n,
	}
}

var priorityCases = []testCase{
	{name: "a higher order goes first", a: sender, b: tight, skip: needsExact, run: func(e *env) {
		b := e.newBacklog(3, tight)
		b.queue(0, transport.Priority{Order: -5}) // first to wait, last in rank
		b.queue(1, transport.Priority{})
		b.queue(2, transport.Priority{Order: 7})
		b.release()
		b.wantNothing(0)
		b.wantNothing(1)
		b.wantAll(2)
		b.wantNothing(0)
		b.wantAll(1)
		b.wantAll(0)
	}},
	{name: "a priority may change while bytes wait", a: sender, b: tight, skip: needsExact, run: func(e *env) {
		b := e.newBacklog(2, tight)
		b.queue(0, transport.Priority{Order: 9})
		b.queue(1, transport.Priority{Order: 1})
		b.out[1].SetPriority(transport.Priority{Order: 10})
		b.release()
		b.wantNothing(0)
		b.wantAll(1)
		b.wantAll(0)
	}},
	{name: "a late stream of a higher order overtakes", a: sender, b: tight, skip: needsExact, run: func(e *env) {
		b := e.newBacklog(2, tight)
		b.queue(0, transport.Priority{})
		e.settle()
		b.queue(1, transport.Priority{Order: 1})
		b.release()
		b.wantNothing(0)
		b.wantAll(1)
		b.wantAll(0)
	}},
	{name: "equal orders take turns", a: sender, b: wide, skip: needsExact, run: func(e *env) {
		b := e.newBacklog(3, wide)
		for i := range 3 {
			b.queue(i, transport.Priority{Order: 3})
		}
		b.wantShares(b.release(), 0, 1, 2)
	}},
	{name: "without priorities all take turns", a: sender, b: wide, skip: needsExact, run: func(e *env) {
		b := e.newBacklog(3, wide)
		for i := range 3 {
			b.queue(i, transport.Priority{})
		}
		b.wantShares(b.release(), 0, 1, 2)
	}},
	{name: "groups share fairly whatever their orders", a: sender, b: wide, skip: needsExact, run: func(e *env) {
		many, one := transport.NewSendGroup(), transport.NewSendGroup()
		b := e.newBacklog(4, wide)
		b.queue(0, transport.Priority{Group: many, Order: 1001})
		b.queue(1, transport.Priority{Group: many, Order: 1000})
		b.queue(2, transport.Priority{Group: many, Order: 1000})
		b.queue(3, transport.Priority{Group: one, Order: -1000})
		// The highest of the one group and the only one of the other.
		b.wantShares(b.release(), 0, 3)
	}},
	{name: "the nil group is a group", a: sender, b: wide, skip: needsExact, run: func(e *env) {
		b := e.newBacklog(2, wide)
		b.queue(0, transport.Priority{Group: transport.NewSendGroup(), Order: 5})
		b.queue(1, transport.Priority{})
		b.wantShares(b.release(), 0, 1)
	}},
	{name: "a higher order tends to finish first",
		a: transport.Config{StreamSendBuffer: tendencyBytes}, b: sessionWindow(4 * portion),
		skip: func(caps Caps) string {
			if caps.ExactPriority || caps.Unpaced {
				return "Caps.ExactPriority is set, the exact cases apply; or Caps.Unpaced is, and no stream waits for another"
			}
			if !caps.SendBuffer {
				return "Caps.SendBuffer is not set: what waits is not known"
			}
			return ""
		},
		run: func(e *env) { testTendency(e, true) }},
	{name: "a higher order tends to finish first on a path that is full",
		b: transport.Config{
			InitialStreamWindow: 16 << 20, MaxStreamWindow: 16 << 20,
			InitialSessionWindow: 64 << 20, MaxSessionWindow: 64 << 20,
		},
		skip: func(caps Caps) string {
			if caps.SendBuffer {
				return "Caps.SendBuffer is set: the case that holds bytes back applies"
			}
			return ""
		},
		run: func(e *env) { testTendency(e, false) }},
}

func needsExact(caps Caps) string {
	if caps.ExactPriority {
		return ""
	}
	return "Caps.ExactPriority is not set: only the tendency is tested"
}

// backlogBytes wait on each stream of a backlog, in the buffer that sender
// allows: more than is ever released at once.
const backlogBytes = 200 * kib

var sender = transport.Config{StreamSendBuffer: 256 * kib}

// A backlog is a set of streams whose bytes wait for the session's credit,
// which one more stream, the plug, has used up.
type backlog struct {
	e       *env
	plug    transport.ReceiveStream
	plugged int // bytes of the plug
	out     []transport.SendStream
	in      []transport.ReceiveStream
}

// newBacklog returns n streams that wait for the credit of limits.
func (e *env) newBacklog(n int, limits transport.Config) *backlog {
	e.Helper()
	b := &backlog{e: e, plugged: int(limits.InitialSessionWindow)}
	plug, plugEnd := e.uniPair()
	b.plug = plugEnd
	for range n {
		x, y := e.uniPair()
		b.out, b.in = append(b.out, x), append(b.in, y)
	}
	plug.SetPriority(transport.Priority{Group: transport.NewSendGroup()})
	e.write(plug, make([]byte, b.plugged))
	e.finish(plug)
	e.settle()
	return b
}

// queue sets stream i's priority, writes its bytes and finishes it.
func (b *backlog) queue(i int, p transport.Priority) {
	b.e.Helper()
	b.out[i].SetPriority(p)
	b.e.write(b.out[i], make([]byte, backlogBytes))
	b.e.finish(b.out[i])
}

// release reads the plug and returns how many bytes of the waiting ones its
// credit has let through.
func (b *backlog) release() int {
	e := b.e
	e.Helper()
	e.settle()
	others := len(b.in) + 1 // the bytes that opened the streams
	if got := int(e.a.Stats().BytesSent) - others; got > b.plugged {
		e.Fatalf("%d bytes were sent past a plug of %d", got, b.plugged)
	}
	e.wantRest(b.plug, make([]byte, b.plugged))
	e.settle()
	return int(e.a.Stats().BytesSent) - others - b.plugged
}

// wantNothing expects that no byte of stream i has arrived. Looking takes no
// byte, so it returns no credit.
func (b *backlog) wantNothing(i int) {
	e := b.e
	e.Helper()
	e.settle()
	e.ok(b.in[i].SetReadDeadline(time.Now().Add(time.Nanosecond)), "SetReadDeadline")
	n, err := b.in[i].Read(make([]byte, backlogBytes))
	if n > 0 || !isTimeout(err) {
		e.Fatalf("stream %d had its turn: %d bytes, %v", i, n, err)
	}
	e.ok(b.in[i].SetReadDeadline(time.Time{}), "SetReadDeadline")
}

func (b *backlog) wantAll(i int) {
	b.e.Helper()
	b.e.wantRest(b.in[i], make([]byte, backlogBytes))
}

// wantShares expects that each of the streams got its share of the released
// bytes, short of one portion at most.
func (b *backlog) wantShares(released int, streams ...int) {
	e := b.e
	e.Helper()
	share := released/len(streams) - portion
	if share < kib {
		e.Fatalf("%d bytes were released of %d: too few to tell", released, b.plugged)
	}
	for _, i := range streams {
		e.ok(b.in[i].SetReadDeadline(time.Now().Add(time.Nanosecond)), "SetReadDeadline")
		if n, err := io.ReadFull(b.in[i], make([]byte, share)); err != nil {
			e.Fatalf("stream %d had %d bytes of %d released among %d: %v", i, n, released, len(streams), err)
		}
	}
}

// tendencyBytes wait on each of the two streams that are compared.
const tendencyBytes = 2 << 20

// testTendency writes to two streams and looks how far the lower one is when
// the higher one has arrived. With a plug their bytes wait for the session's
// credit, which a third stream has used up, so it does not matter how fast the
// machine is.
func testTendency(e *env, plugged bool) {
	const trials = 3
	var behind int64
	for range trials {
		low, lowEnd := e.uniPair()
		high, highEnd := e.uniPair()
		low.SetPriority(transport.Priority{Order: 0})
		high.SetPriority(transport.Priority{Order: 100})
		release := func() {}
		if plugged {
			release = e.plug()
		}
		var sent []<-chan error
		for _, w := range []transport.SendStream{low, high} {
			sent = append(sent, async(e, func() error {
				_, err := w.Write(make([]byte, tendencyBytes))
				return errors.Join(err, w.Close())
			}))
			if plugged {
				e.ok(<-sent[len(sent)-1], "Write") // it fits the buffer
			}
		}
		var lowGot atomic.Int64
		lowDone := async(e, func() error {
			buf := make([]byte, portion)
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
		release()
		behind += <-highDone
		if err := <-lowDone; err != io.EOF {
			e.Fatalf("Read: %v", err)
		}
		if !plugged {
			for _, c := range sent {
				e.ok(<-c, "Write")
			}
		}
	}
	// Without priorities the low stream would be about as far as the high one.
	share := 100 * float64(behind) / float64(trials*tendencyBytes)
	e.Logf("when the higher order had finished, the lower one had %.0f%% of its bytes through", share)
	if bound := map[bool]float64{true: 25, false: 80}[plugged]; share > bound {
		e.Errorf("that is more than %.0f%%", bound)
	}
}

// plug uses up the session's credit by a stream that is not read until release
// is called.
func (e *env) plug() (release func()) {
	e.Helper()
	x, y := e.uniPair()
	n := e.fill(x, make([]byte, 16<<20))
	e.finish(x)
	return func() { e.wantRest(y, make([]byte, n)) }
}
