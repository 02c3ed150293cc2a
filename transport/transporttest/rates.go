package transporttest

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/towpath-go/towpath/transport"
)

const (
	// rateWindow is all that the windows of slowed give before the rate counts.
	rateWindow = 64 * kib
	// fixedWindow is the same where Caps.FixedLimits is set.
	fixedWindow = 1 << 20
	rateBurst   = 128 * kib
	ratePerSec  = 1 << 20
)

// slowed are the windows and the rate of a side that slows its peer down.
var slowed = transport.Config{
	InitialStreamWindow: rateWindow, MaxStreamWindow: rateWindow,
	InitialSessionWindow: rateWindow, MaxSessionWindow: rateWindow,
	IncomingByteRate: transport.Rate{PerSecond: ratePerSec, Burst: rateBurst},
}

const (
	idleTime  = 2 * time.Second
	idleSlack = time.Second // the way between the ends, in a bubble
)

// What datagrams a limited side takes.
const (
	gramsPerSec = 2
	gramsBurst  = 5
)

// slowTransfer sends one second's worth above what can come at once, on several
// streams, and tells how long that took for how many bytes.
func slowTransfer(e *env, windows int) (took time.Duration, n int) {
	const streams = 4
	p := pattern(1, (windows+rateBurst+ratePerSec)/streams)
	start := time.Now()
	var read [streams]<-chan content
	for i := range streams {
		x := e.openUni(e.a)
		async(e, func() error {
			x.Write(p)
			return x.Close()
		})
		read[i] = asyncReadAll(e, e.acceptUni(e.b))
	}
	for _, r := range read {
		e.wantContent(<-r, p)
	}
	return time.Since(start), streams * len(p)
}

var rateCases = []testCase{
	{name: "DS-19 IncomingByteRate slows the writer down and loses nothing", b: slowed, run: func(e *env) {
		windows := rateWindow
		if e.caps.FixedLimits {
			windows = fixedWindow
		}
		if took, n := slowTransfer(e, windows); took < time.Second {
			e.Fatalf("%d bytes in %v, which is above the rate", n, took)
		} else if e.caps.Bubble && took > 2*time.Second {
			e.Fatalf("%d bytes took %v, which is far below the rate", n, took)
		}
		// In real time a busy machine may be slower than the rate for once.
		for try := 0; try < 4 && !e.caps.Bubble && e.b.Stats().Throttled == 0; try++ {
			slowTransfer(e, windows)
		}
		if e.b.Stats().Throttled == 0 {
			e.Fatal("Stats.Throttled is 0")
		}
		e.wantAlive()
	}},
	{name: "IncomingByteRate holds the writer, not the other direction", b: slowed, run: func(e *env) {
		// In a bubble two seconds' worth, to tell how long it took. In real time
		// any more than can come at once shows that the rate holds.
		beyond := 2 * ratePerSec
		if !e.caps.Bubble {
			beyond = ratePerSec / 4
		}
		windows := rateWindow
		if e.caps.FixedLimits {
			windows = fixedWindow
		}
		p := pattern(2, windows+rateBurst+beyond)
		start := time.Now()
		x, y := e.pair()
		z, w := e.pair()
		written := asyncWrite(e, x, p)
		read := async(e, func() content {
			got := make([]byte, len(p))
			_, err := io.ReadFull(y, got)
			return content{got, err}
		})
		back := asyncWrite(e, w, p)
		e.wantBytes(z, p)
		if took := time.Since(start); e.caps.Bubble && took > time.Second {
			e.Fatalf("the direction without a rate took %v", took)
		}
		if r := <-back; r.err != nil {
			e.Fatalf("Write: %v", r.err)
		}
		e.wantContent(<-read, p)
		if r := <-written; r.err != nil {
			e.Fatalf("Write: %v", r.err)
		}
	}},
	{name: "IncomingByteRate withholds nothing within its burst",
		b: transport.Config{InitialSessionWindow: rateWindow, MaxSessionWindow: rateWindow, IncomingByteRate: transport.Rate{PerSecond: 1, Burst: 1 << 30}},
		run: func(e *env) {
			p := pattern(3, 4*fixedWindow)
			x := e.openUni(e.a)
			written := asyncWrite(e, x, p)
			e.wantBytes(e.acceptUni(e.b), p)
			if r := <-written; r.err != nil {
				e.Fatalf("Write: %v", r.err)
			}
			if got := e.b.Stats().Throttled; got != 0 {
				e.Fatalf("Stats.Throttled is %d", got)
			}
		}},
	{name: "FW-17 IncomingDatagramRate drops and counts", run: testDatagramRate},
	{name: "DS-14 IdleTimeout ends a session without traffic", b: transport.Config{IdleTimeout: idleTime}, run: func(e *env) {
		x, y := e.pair()
		e.write(y, []byte("x"))
		e.wantBytes(x, []byte("x"))
		start := time.Now()
		<-e.b.Context().Done()
		took := time.Since(start)
		idle, ok := errors.AsType[*transport.SessionError](context.Cause(e.b.Context()))
		if !ok || idle.Code != 0 || idle.Reason != "idle" || idle.Remote || idle.Err == nil {
			e.Fatalf("the session ended with %+v, want code 0, idle, here, and the limit", context.Cause(e.b.Context()))
		}
		if limit, _ := transport.ReachedLimit(idle); limit != transport.LimitSessionIdle {
			e.Fatalf("the session ended with %v, limit %q", idle, limit)
		}
		// The bytes came at some time before they were read.
		if slack := min(idleSlack, idleTime/2); e.caps.Bubble && (took < idleTime-slack || took > idleTime+slack) {
			e.Fatalf("ended after %v, want %v", took, idleTime)
		}
		there := e.wantEnd(e.a, 0, "idle", true)
		e.wantDead(e.b, idle)
		e.wantDead(e.a, there)
	}},
	{name: "traffic of every kind renews IdleTimeout", b: transport.Config{IdleTimeout: idleTime},
		skip: func(caps Caps) string {
			if caps.Bubble {
				return ""
			}
			return "Caps.Bubble is not set: on a busy machine traffic may come too late"
		},
		run: func(e *env) {
			x, y := e.pair()
			for name, traffic := range map[string]func(){
				"stream data received":  func() { e.write(x, []byte("x")); e.wantBytes(y, []byte("x")) },
				"stream data sent":      func() { e.write(y, []byte("x")); e.wantBytes(x, []byte("x")) },
				"a datagram received":   func() { e.wantDatagram(e.a, e.b, []byte("x")) },
				"a datagram sent":       func() { e.wantDatagram(e.b, e.a, []byte("x")) },
				"a stream of the peer":  func() { e.finish(e.openUni(e.a)); e.wantEOF(e.acceptUni(e.b)) },
				"a stream of this side": func() { e.finish(e.openUni(e.b)); e.wantEOF(e.acceptUni(e.a)) },
			} {
				for range 4 {
					time.Sleep(idleTime * 2 / 3)
					if err := e.b.Context().Err(); err != nil {
						e.Fatalf("%s: ended with %v", name, context.Cause(e.b.Context()))
					}
					traffic()
				}
			}
			e.wantAlive()
		}},
	{name: "without IdleTimeout silence ends nothing", skip: func(caps Caps) string {
		if caps.Bubble {
			return ""
		}
		return "Caps.Bubble is not set: hours would pass"
	}, run: func(e *env) {
		time.Sleep(8 * time.Minute) // a case may take ten
		e.wantAlive()
	}},
	{name: "Stats.Stalls counts waiting for the limit on streams", b: fewStreams, skip: needsLimits, run: func(e *env) {
		// Where streams begin without credit, the first byte of each has waited
		// for it once it has arrived.
		for range 2 {
			e.write(e.open(e.a), []byte("x"))
			e.wantBytes(e.accept(e.b), []byte("x"))
		}
		before := e.a.Stats().Stalls
		if before > 2 {
			e.Fatalf("Stats.Stalls is %d within the limit", before)
		}
		for range 3 {
			if _, err := e.a.OpenStream(ended()); !errors.Is(err, transport.ErrStreamLimit) {
				e.Fatalf("OpenStream: %v", err)
			}
		}
		if got := e.a.Stats().Stalls - before; got != 1 {
			e.Fatalf("Stats.Stalls grew by %d in three calls at one limit, want 1", got)
		}
	}},
	{name: "Stats.Stalls counts waiting for the session's credit",
		b:    transport.Config{InitialSessionWindow: rateWindow, MaxSessionWindow: rateWindow, InitialStreamWindow: 1 << 20},
		skip: needsLimits,
		run: func(e *env) {
			x, y := e.uniPair()
			p := pattern(4, 4*rateWindow)
			written := asyncWrite(e, x, p)
			e.eventually("sending stops", func() bool { return e.a.Stats().Stalls > 0 })
			e.wantBytes(y, p)
			if r := <-written; r.err != nil {
				e.Fatalf("Write: %v", r.err)
			}
		}},
}

// testDatagramRate has datagrams come above the rate. Each of them is received or
// counted, and told to the Trace.
func testDatagramRate(e *env) {
	var told atomic.Uint64
	limited := &transport.Config{
		IncomingDatagramRate: transport.Rate{PerSecond: gramsPerSec, Burst: gramsBurst},
		Trace: &transport.Trace{DatagramDropped: func(outgoing bool, size int, _ time.Duration) {
			if !outgoing && size == 3 {
				told.Add(1)
			}
		}},
	}
	start := time.Now()
	var a, b transport.Session // the latter limited
	var stop func()
	if e.aIsClient {
		a, b, stop = e.mk(e.TB, nil, limited)
	} else {
		b, a, stop = e.mk(e.TB, limited, nil)
	}
	defer stop()
	const many = 20
	e.eventually("enough datagrams arrive", func() bool {
		for range many {
			e.ok(a.SendDatagram([]byte("abc")), "SendDatagram")
		}
		e.settle()
		return b.Stats().DatagramsReceived >= many
	})
	st := b.Stats()
	passed := st.DatagramsReceived - st.DatagramsThrottled
	most := gramsBurst + gramsPerSec*uint64(time.Since(start)/time.Second+1)
	if passed < gramsBurst || passed > most || st.DatagramsDroppedIncoming != 0 {
		e.Fatalf("%+v: %d datagrams passed, want %d to %d", st, passed, gramsBurst, most)
	}
	e.eventually("each that was dropped is told", func() bool {
		return told.Load() == b.Stats().DatagramsThrottled
	})
	for range passed {
		if p, err := b.ReceiveDatagram(ended()); err != nil || string(p) != "abc" {
			e.Fatalf("ReceiveDatagram = %q, %v", p, err)
		}
	}
	if err := b.Context().Err(); err != nil {
		e.Fatalf("the session ended: %v", context.Cause(b.Context()))
	}
}
