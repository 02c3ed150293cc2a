package session

import (
	"bytes"
	"errors"
	"testing/synctest"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// A ledger predicts the Stats of both sides of a world: from the program's calls,
// from the capsules that went over, and for what is dropped from a plain reading of
// transport.Config.
type ledger struct {
	w     *world
	pages [2]*page
	began time.Time
}

// A page is a side's part of a ledger. As part of the rules it is told of the
// datagrams that the side sends.
type page struct {
	l                  *ledger
	side               int
	cfg                transport.Config
	want               transport.Stats // only what nothing else in the world knows
	outgoing, incoming lane
	rate               bucket
	current, came      []byte // the datagram that is on its way to the other side
}

func newLedger(w *world) *ledger {
	l := &ledger{w: w, began: time.Now()}
	for i, s := range w.sides {
		c := *s.s.cfg
		p := &page{
			l: l, side: i, cfg: c,
			outgoing: lane{most: c.OutgoingDatagramQueue, policy: c.DatagramDrop, maxAge: c.OutgoingMaxAge},
			incoming: lane{most: c.IncomingDatagramQueue, policy: c.DatagramDrop, maxAge: c.IncomingMaxAge},
			rate:     newBucket(c.IncomingDatagramRate, l.began),
		}
		l.pages[i], w.rules.sides[i].page = p, p
	}
	return l
}

// A lane is a queue of datagrams that drops.
type lane struct {
	most             int
	policy           transport.DropPolicy
	maxAge           time.Duration
	queue            []queuedGram
	dropped, expired uint64
}

type queuedGram struct {
	payload []byte
	since   time.Time
}

func (q *lane) expire() {
	for len(q.queue) > 0 && q.maxAge > 0 && time.Since(q.queue[0].since) > q.maxAge {
		q.queue = q.queue[1:]
		q.expired++
	}
}

func (q *lane) push(p []byte) {
	q.expire()
	if len(q.queue) >= q.most {
		q.dropped++
		if q.most == 0 || q.policy == transport.DropNewest {
			return
		}
		q.queue = q.queue[1:]
	}
	q.queue = append(q.queue, queuedGram{p, time.Now()})
}

// pop returns nil if nothing is left.
func (q *lane) pop() []byte {
	q.expire()
	if len(q.queue) == 0 {
		return nil
	}
	p := q.queue[0].payload
	q.queue = q.queue[1:]
	return p
}

// A bucket is a transport.Rate in use. The level counts billionths, which a
// nanosecond brings PerSecond of.
type bucket struct {
	limited            bool
	level, most, speed int64
	last               time.Time
}

func newBucket(r transport.Rate, now time.Time) bucket {
	most := r.Burst
	if most == 0 {
		most = r.PerSecond
	}
	most *= int64(time.Second)
	return bucket{limited: r.PerSecond > 0, level: most, most: most, speed: r.PerSecond, last: now}
}

func (b *bucket) take() bool {
	now := time.Now()
	b.level = min(b.most, b.level+int64(now.Sub(b.last))*b.speed)
	b.last = now
	if b.limited && b.level < int64(time.Second) {
		return false
	}
	b.level -= int64(time.Second)
	return true
}

// setQuotas gives a Config what one byte of a program says, and reports whether
// that is anything.
func setQuotas(c *transport.Config, how int) bool {
	variant := how >> 4
	switch how >> 2 & 3 {
	case 1: // datagrams
		c.IncomingDatagramQueue = []int{-1, 1, 3, 4000}[variant&3]
		c.OutgoingDatagramQueue = []int{-1, 1, 4, 4000}[variant>>2]
		c.DatagramDrop = []transport.DropPolicy{transport.DropOldest, transport.DropNewest}[c.MaxIncomingStreams%2]
		switch c.MaxIncomingUniStreams {
		case 1:
			c.OutgoingMaxAge = 100 * time.Millisecond
		case 2:
			c.IncomingMaxAge = 50 * time.Millisecond
		case 3:
			c.MaxDatagramSize = 5000
		case 4:
			c.IncomingDatagramRate = transport.Rate{PerSecond: 3, Burst: 2}
		}
		return true
	case 2: // bytes, and datagrams
		c.IncomingByteRate = transport.Rate{
			PerSecond: c.InitialSessionWindow * []int64{1, 2, 5, 30}[variant&3],
			Burst:     []int64{0, 1, 1000, 100_000}[variant>>2],
		}
		c.IncomingDatagramRate = transport.Rate{PerSecond: c.MaxIncomingStreams, Burst: c.MaxIncomingUniStreams}
		return true
	}
	return false
}

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait() // for the timers of credit
}

func (w *world) sendDatagram(side int, payload []byte) {
	w.Helper()
	p := w.ledger.pages[side]
	err := w.sides[side].s.SendDatagram(payload)
	if most := p.cfg.MaxDatagramSize; len(payload) > most {
		if tooLarge, ok := errors.AsType[*transport.DatagramTooLargeError](err); !ok || tooLarge.Max != most {
			w.Fatalf("side %d: SendDatagram of %d bytes: %v", side, len(payload), err)
		}
		return
	}
	if err != nil {
		w.Fatal(err)
	}
	p.outgoing.push(payload)
}

// receiveDatagram expects the datagram that comes next, if there is one.
func (w *world) receiveDatagram(side int) bool {
	w.Helper()
	want := w.ledger.pages[side].incoming.pop()
	got, _, err := w.sides[side].s.tryReceiveDatagram()
	switch {
	case err != nil:
		w.Fatal(err)
	case (got == nil) != (want == nil) || !bytes.Equal(got, want):
		w.Fatalf("side %d: a datagram of %d bytes (%t), want %d (%t)", side, len(got), got != nil, len(want), want != nil)
	}
	return got != nil
}

// datagram takes the header of a datagram that the side sends. It reports whether
// the other side is to have the payload.
func (p *page) datagram(size uint64) bool {
	t, to := p.l.w, p.l.pages[1-p.side]
	p.current, p.came = p.outgoing.pop(), nil
	if p.current == nil || uint64(len(p.current)) != size {
		t.Fatalf("side %d: sent a datagram of %d bytes, want %d (%t)", p.side, size, len(p.current), p.current != nil)
	}
	p.want.DatagramsSent++
	to.want.DatagramsReceived++
	switch {
	case size > uint64(to.cfg.MaxDatagramSize):
		to.incoming.dropped++
		return false
	case !to.rate.take():
		to.want.DatagramsThrottled++
		return false
	}
	return true
}

func (p *page) datagramData(b []byte, last bool) {
	p.came = append(p.came, b...)
	if !last {
		return
	}
	if !bytes.Equal(p.came, p.current) {
		p.l.w.Fatalf("side %d: a datagram was changed", p.side)
	}
	p.l.pages[1-p.side].incoming.push(p.current)
}

// burst returns how much credit Config.IncomingByteRate lets a side give at once.
func (p *page) burst() uint64 {
	if r := p.cfg.IncomingByteRate; r.Burst > 0 {
		return uint64(r.Burst)
	}
	return uint64(p.cfg.IncomingByteRate.PerSecond)
}

// checkPace fails if a side has given more credit than IncomingByteRate allows.
func (l *ledger) checkPace(side int) {
	p, said := l.pages[side], l.w.rules.sides[side]
	rate := p.cfg.IncomingByteRate.PerSecond
	if rate <= 0 {
		return
	}
	elapsed := time.Since(l.began)
	if given, most := said.maxData-said.initial.MaxData, p.burst()+uint64(float64(rate)*elapsed.Seconds()); given > most+1 {
		l.w.Fatalf("side %d: gave credit for %d bytes in %v, want at most %d", side, given, elapsed, most)
	}
}

// check compares, once everything that was sent has arrived and been read.
func (l *ledger) check() {
	l.w.Helper()
	for i, p := range l.pages {
		said, heard, peer := l.w.rules.sides[i], l.w.rules.sides[1-i], l.w.sides[1-i]
		p.outgoing.expire()
		p.incoming.expire()
		want := p.want
		want.StreamsAccepted = heard.opened[bidi] + heard.opened[uni]
		want.BytesSent, want.BytesReceived = said.data, heard.data
		for id, f := range peer.flow {
			want.BytesRead += uint64(f.read)
			onWire := heard.stream(id).bytes
			if whole := !f.reset && !f.stopped; uint64(f.written) < onWire || whole && uint64(f.written) != onWire {
				l.w.Fatalf("side %d, stream %d: %d bytes went over of %d written, reset %t, stopped %t", 1-i, id, onWire, f.written, f.reset, f.stopped)
			}
		}
		want.DatagramsDroppedOutgoing, want.DatagramsExpiredOutgoing = p.outgoing.dropped, p.outgoing.expired
		want.DatagramsDroppedIncoming, want.DatagramsExpiredIncoming = p.incoming.dropped, p.incoming.expired
		want.RTT = -1

		got := l.w.sides[i].s.Stats()
		// How often sending stops, and credit waits, depends on when it is tried.
		blocked := len(said.blockedData) + len(said.blockedStreams[bidi]) + len(said.blockedStreams[uni])
		for _, st := range said.streams {
			blocked += len(st.blocked)
		}
		if got.Stalls < uint64(blocked) {
			l.w.Fatalf("side %d: %d stalls, and %d were reported to the peer", i, got.Stalls, blocked)
		}
		if wanted := want.BytesReceived + uint64(p.cfg.InitialSessionWindow); got.Throttled > 0 &&
			(p.cfg.IncomingByteRate.PerSecond <= 0 || wanted <= said.initial.MaxData+p.burst()) {
			l.w.Fatalf("side %d: credit was withheld %d times, which is enough for %d bytes", i, got.Throttled, wanted)
		}
		want.Stalls, want.Throttled = got.Stalls, got.Throttled
		if got != want {
			l.w.Fatalf("side %d: Stats are\n%+v, want\n%+v", i, got, want)
		}
	}
}
