package link

import (
	"math"
	"testing"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// clean is a link that loses nothing.
func clean() lab.Link { return lab.Link{Delay: 5 * time.Millisecond, MTU: 1500} }

// offered is one packet and what the model made of it.
type offered struct {
	now   time.Duration
	size  int
	at    time.Duration
	cause Cause
}

// steady offers n packets of a size at an interval.
func steady(m *model, n int, interval time.Duration, size int, protocol byte) []offered {
	list := make([]offered, n)
	for i := range list {
		now := time.Duration(i) * interval
		at, cause := m.offer(now, size, protocol)
		list[i] = offered{now, size, at, cause}
	}
	return list
}

func count(list []offered, c Cause) (n int) {
	for _, o := range list {
		if o.cause == c {
			n++
		}
	}
	return n
}

func TestDelayExact(t *testing.T) {
	m := newModel(lab.Link{Delay: 25 * time.Millisecond}, 1, lab.Down)
	for _, o := range steady(m, 1000, 123*time.Microsecond, 1500, protocolTCP) {
		if o.cause != Sent || o.at != o.now+25*time.Millisecond {
			t.Fatalf("%+v", o)
		}
	}
	want := lab.Passage{Packets: 1000, Bytes: 1_500_000, TCP: 1000}
	if m.passage != want {
		t.Errorf("%+v, want %+v", m.passage, want)
	}
}

func TestRateExact(t *testing.T) {
	// 1,000 packets at once; each rate divides the work with another rest.
	for _, rate := range []int64{MinRate, 1_000_000, 1_000_003, 999_999_937, MaxRate} {
		const n, size = 1000, 1499
		m := newModel(lab.Link{Rate: rate, Queue: n * size, Delay: time.Millisecond}, 1, lab.Up)
		for i := range n {
			at, cause := m.offer(time.Second, size, protocolUDP)
			work := int64(i+1) * size * 8 // bits until this one is sent
			want := time.Second + time.Millisecond + time.Duration(work/rate)*time.Second + time.Duration(work%rate*int64(time.Second)/rate)
			if cause != Sent || at != want {
				t.Fatalf("rate %d: packet %d leaves at %v (%v), want %v", rate, i, at, cause, want)
			}
		}
	}
}

func TestRateIdle(t *testing.T) {
	m := newModel(lab.Link{Rate: 8_000_000, Queue: 10_000}, 1, lab.Up)
	// 1 byte each microsecond: slower than they come, none waits.
	for _, o := range steady(m, 100, 2*time.Millisecond, 1000, protocolUDP) {
		if o.cause != Sent || o.at != o.now+time.Millisecond {
			t.Fatalf("%+v", o)
		}
	}
}

func TestTailDrop(t *testing.T) {
	m := newModel(lab.Link{Rate: 8_000_000, Queue: 3500}, 1, lab.Up) // 1 ms for 1,000 bytes
	offer := func(now time.Duration, size int, at time.Duration, cause Cause) {
		t.Helper()
		if gotAt, got := m.offer(now, size, protocolUDP); got != cause || gotAt != at {
			t.Fatalf("at %v: leaves at %v (%v), want %v (%v)", now, gotAt, got, at, cause)
		}
	}
	const ms = time.Millisecond
	offer(0, 1000, 1*ms, Sent) // in transmission: does not wait
	offer(0, 1000, 2*ms, Sent)
	offer(0, 1000, 3*ms, Sent)
	offer(0, 1000, 4*ms, Sent)    // 3,000 bytes wait
	offer(0, 501, 0, Tail)        // one byte too many
	offer(0, 500, 4500*1e3, Sent) // exactly full
	offer(0, 1, 0, Tail)
	offer(1*ms-1, 1000, 0, Tail)      // the second still waits
	offer(1*ms, 1000, 5500*1e3, Sent) // now it does not
	offer(1*ms, 1, 0, Tail)
	offer(10*ms, 1500, 11500*1e3, Sent) // idle again
	if m.passage.Tail != 4 || m.passage.Packets != 11 {
		t.Errorf("%+v", m.passage)
	}
}

func TestLossShare(t *testing.T) {
	const n = 1_000_000
	for _, p := range []float64{0.001, 0.01, 0.02, 0.05, 0.5} {
		for _, d := range []lab.Direction{lab.Down, lab.Up} {
			m := newModel(lab.Link{Loss: p}, 42, d)
			list := steady(m, n, time.Millisecond, 100, protocolUDP)
			lost := count(list, Lost)
			if got := float64(lost) / n; math.Abs(got-p) > 5*math.Sqrt(p*(1-p)/n) {
				t.Errorf("%s: lost %v, want %v", d, got, p)
			}
			// Losses of neighbours are independent: p² of all pairs.
			pairs := 0
			for i := 1; i < n; i++ {
				if list[i-1].cause == Lost && list[i].cause == Lost {
					pairs++
				}
			}
			if mean := p * p * n; math.Abs(float64(pairs)-mean) > 5*math.Sqrt(mean*3)+1 {
				t.Errorf("%s: %d pairs of neighbours lost, want about %v", d, pairs, mean)
			}
			if m.passage.Lost != int64(lost) || m.passage.Realised() != float64(lost)/n {
				t.Errorf("counted %+v", m.passage)
			}
		}
	}
	for p, want := range map[float64]int{0: 0, 1: 1000} {
		if got := count(steady(newModel(lab.Link{Loss: p}, 1, lab.Up), 1000, 0, 100, 0), Lost); got != want {
			t.Errorf("loss %v: %d lost of 1,000", p, got)
		}
	}
}

// The n-th packet is lost or not whatever it is, whenever it comes, and whatever
// else the link does.
func TestLossPure(t *testing.T) {
	reference := steady(newModel(lab.Link{Loss: 0.1}, 5, lab.Down), 10_000, 0, 100, protocolTCP)
	for name, l := range map[string]lab.Link{
		"delay":  {Loss: 0.1, Delay: time.Second},
		"jitter": {Loss: 0.1, Delay: time.Second, Jitter: 100 * time.Millisecond, Reorder: true},
		"rate":   {Loss: 0.1, Rate: 1_000_000, Queue: MaxQueue},
	} {
		list := steady(newModel(l, 5, lab.Down), 10_000, time.Millisecond, 1000, protocolUDP)
		for i := range list {
			if list[i].cause != reference[i].cause {
				t.Fatalf("%s: packet %d is %v, and otherwise %v", name, i, list[i].cause, reference[i].cause)
			}
		}
	}
	// More is lost with a greater loss, but nothing else is spared.
	more := steady(newModel(lab.Link{Loss: 0.2}, 5, lab.Down), 10_000, 0, 100, protocolTCP)
	for i := range more {
		if reference[i].cause == Lost && more[i].cause != Lost {
			t.Fatalf("packet %d is spared by a greater loss", i)
		}
	}
}

func TestBurst(t *testing.T) {
	b := lab.Burst{Good: 90 * time.Millisecond, Bad: 10 * time.Millisecond, Loss: 0.5}
	m := newModel(lab.Link{Delay: time.Second, Burst: b}, 11, lab.Down)
	p := newPeriods(b, 11)
	const n = 2_000_000
	bad := 0
	for i := range n {
		now := time.Duration(i) * 100 * time.Microsecond
		_, cause := m.offer(now, 100, protocolUDP)
		if p.bad(now) {
			bad++
		} else if cause != Sent {
			t.Fatalf("lost (%v) in a good period", cause)
		}
	}
	// 2,000 periods: their share varies by some 3 % of itself.
	if share := float64(bad) / n; math.Abs(share-0.1) > 0.015 {
		t.Errorf("%v of the time was bad, want 0.1", share)
	}
	if got := float64(m.passage.Burst) / float64(bad); math.Abs(got-0.5) > 5*math.Sqrt(0.25/float64(bad)) {
		t.Errorf("lost %v in bad periods, want 0.5", got)
	}
	if m.passage.Lost != 0 || m.passage.Realised() != float64(m.passage.Burst)/n {
		t.Errorf("%+v", m.passage)
	}
}

// A packet meets the period in which it is on the wire, not that in which it
// began to wait.
func TestBurstAfterQueue(t *testing.T) {
	l := lab.Link{Rate: MinRate, Queue: MaxQueue, Burst: lab.Burst{Good: 2 * time.Second, Bad: 2 * time.Second, Loss: 1}}
	m, p := newModel(l, 3, lab.Up), newPeriods(l.Burst, 3)
	for i := range 1000 {
		_, cause := m.offer(0, 1000, protocolUDP) // a second each
		want := Sent
		if p.bad(time.Duration(i+1) * time.Second) {
			want = Burst
		}
		if cause != want {
			t.Fatalf("packet %d is %v, want %v", i, cause, want)
		}
	}
	if m.passage.Burst < 100 || m.passage.Burst > 900 {
		t.Errorf("lost %d of 1,000", m.passage.Burst)
	}
}

func TestJitter(t *testing.T) {
	const n = 200_000
	for _, c := range []struct{ delay, jitter time.Duration }{
		{25 * time.Millisecond, 2 * time.Millisecond},
		{5 * time.Millisecond, 5 * time.Millisecond}, // cut at 0
		{0, 5 * time.Millisecond},
	} {
		m := newModel(lab.Link{Delay: c.delay, Jitter: c.jitter, Reorder: true}, 8, lab.Down)
		samples := make([]float64, n)
		for i, o := range steady(m, n, time.Microsecond, 100, protocolUDP) {
			d := o.at - o.now
			if d < 0 || d > c.delay+3*c.jitter || d < c.delay-3*c.jitter {
				t.Fatalf("%v: delayed by %v", c, d)
			}
			samples[i] = float64(d-c.delay) / float64(c.jitter)
		}
		low := max(-3, -float64(c.delay)/float64(c.jitter))
		from, to := normalShare(low), normalShare(3)
		share := func(x float64) float64 { return (normalShare(x) - from) / (to - from) }
		if d := farthest(samples, share); d > farthestAllowed {
			t.Errorf("%v: distance %v from the normal distribution", c, d)
		}
	}
}

// What decides of a packet in one way tells nothing of the others: half of what
// the loss spares is lost in bad periods, and its delays are normal.
func TestImpairmentsIndependent(t *testing.T) {
	const n = 200_000
	l := lab.Link{
		Delay: 25 * time.Millisecond, Jitter: time.Millisecond, Reorder: true, Loss: 0.5,
		Burst: lab.Burst{Good: MinPeriod, Bad: MaxPeriod, Loss: 0.5},
	}
	m := newModel(l, 6, lab.Down)
	for now := time.Duration(0); !m.periods.bad(now); now += MinPeriod {
	}
	begin := m.periods.end - time.Duration(n)*time.Nanosecond // in a bad period to its end
	var samples []float64
	for i := range n {
		now := begin + time.Duration(i)
		if at, cause := m.offer(now, 100, protocolUDP); cause == Sent {
			samples = append(samples, float64(at-now-l.Delay)/float64(l.Jitter))
		}
	}
	if got := float64(len(samples)) / n; math.Abs(got-0.25) > 5*math.Sqrt(0.25*0.75/n) {
		t.Errorf("%v arrive, want 0.25", got)
	}
	from, to := normalShare(-3), normalShare(3)
	if d := farthest(samples, func(x float64) float64 { return (normalShare(x) - from) / (to - from) }); d > farthestAllowed {
		t.Errorf("delays of what is left: distance %v from the normal distribution", d)
	}
}

func TestJitterKeepsOrder(t *testing.T) {
	l := lab.Link{Delay: 25 * time.Millisecond, Jitter: 5 * time.Millisecond}
	ordered := steady(newModel(l, 8, lab.Up), 10_000, time.Millisecond, 100, protocolUDP)
	l.Reorder = true
	free := steady(newModel(l, 8, lab.Up), 10_000, time.Millisecond, 100, protocolUDP)
	crossed := 0
	var latest time.Duration
	for i := range ordered {
		// The same delay, but for those that would overtake.
		latest = max(latest, free[i].at)
		if ordered[i].at != latest {
			t.Fatalf("packet %d leaves at %v, want %v", i, ordered[i].at, latest)
		}
		if free[i].at < latest {
			crossed++
		}
	}
	if crossed < 1000 {
		t.Errorf("only %d packets would have been overtaken", crossed)
	}
}

func TestBlockUDP(t *testing.T) {
	m := newModel(lab.Link{BlockUDP: true, Rate: MinRate, Queue: 1500}, 1, lab.Up)
	if n := count(steady(m, 100, 0, 1000, protocolUDP), Blocked); n != 100 {
		t.Errorf("%d of 100 blocked", n)
	}
	// They have not used the rate.
	if at, cause := m.offer(0, 1000, protocolTCP); cause != Sent || at != time.Second {
		t.Errorf("TCP: %v, %v", at, cause)
	}
	if _, cause := m.offer(0, 1000, 1); cause != Sent { // ICMP
		t.Errorf("ICMP: %v", cause)
	}
	want := lab.Passage{Packets: 102, Bytes: 102_000, UDP: 100, TCP: 1, Blocked: 100}
	if m.passage != want {
		t.Errorf("%+v, want %+v", m.passage, want)
	}
}

// FuzzModel lets a program of packets meet a link, and checks each verdict
// against what must hold, from the verdicts before alone.
func FuzzModel(f *testing.F) {
	f.Add(uint64(1), uint32(1_000_000), uint16(3000), uint8(0), []byte("\x00\xff\x10\x80\x00\x00\x05\xff\x00\xff"))
	f.Add(uint64(2), uint32(0), uint16(0), uint8(3), []byte("\x00\xff\x10\x80"))
	f.Add(uint64(3), uint32(8000), uint16(65535), uint8(255), []byte{0, 1, 0, 2, 0, 3, 0, 4, 255, 255, 0, 1})
	f.Fuzz(func(t *testing.T, seed uint64, rate uint32, queue uint16, flags uint8, program []byte) {
		l := lab.Link{Delay: 10 * time.Millisecond, Rate: int64(rate), Queue: int(queue), MTU: MinMTU, Reorder: flags&1 != 0, BlockUDP: flags&2 != 0}
		if flags&4 != 0 {
			l.Jitter = 20 * time.Millisecond
		}
		if flags&8 != 0 {
			l.Loss = 0.3
		}
		if flags&16 != 0 {
			l.Burst = lab.Burst{Good: 10 * time.Millisecond, Bad: 10 * time.Millisecond, Loss: 0.7}
		}
		if Validate(l) != nil {
			return
		}
		m := newModel(l, seed, lab.Up)
		checkModel(t, l, m, program)
	})
}

// checkModel takes two bytes for a packet: how long after the one before it
// comes, in units of 50 us, and its size in units of 5 bytes; odd sizes are UDP.
func checkModel(t *testing.T, l lab.Link, m *model, program []byte) {
	type accepted struct {
		begins time.Duration
		size   int
	}
	var (
		now, free, last time.Duration
		line            []accepted // of packets that were transmitted, lost or not
		want            lab.Passage
	)
	for ; len(program) >= 2; program = program[2:] {
		now += time.Duration(program[0]) * 50 * time.Microsecond
		size := 20 + int(program[1])*5
		protocol := byte(protocolTCP)
		want.Packets++
		want.Bytes += int64(size)
		if program[1]%2 == 1 {
			protocol = protocolUDP
			want.UDP++
		} else {
			want.TCP++
		}
		at, cause := m.offer(now, size, protocol)
		if blocked := l.BlockUDP && protocol == protocolUDP; blocked != (cause == Blocked) {
			t.Fatalf("blocked: %v, but %v", blocked, cause)
		} else if blocked {
			want.Blocked++
			continue
		}
		// Whether it fits follows from those that have not begun at this time.
		waits := 0
		for _, a := range line {
			if a.begins > now {
				waits += a.size
			}
		}
		full := l.Rate != 0 && free > now && waits+size > l.Queue
		if full != (cause == Tail) {
			t.Fatalf("%d bytes wait, and %d more is %v", waits, size, cause)
		} else if full {
			want.Tail++
			continue
		}
		out := now
		if l.Rate != 0 {
			line = append(line, accepted{max(now, free), size})
			out = m.free
			// The rate is exact but for the nanosecond that is begun.
			took, exact := float64(out-max(now, free)), float64(size)*8e9/float64(l.Rate)
			if math.Abs(took-exact) > 1.001 {
				t.Fatalf("transmitted in %v ns, want %v", took, exact)
			}
			free = out
		}
		switch cause {
		case Lost:
			want.Lost++
			if l.Loss == 0 {
				t.Fatal("lost")
			}
		case Burst:
			want.Burst++
			if l.Burst.Good == 0 {
				t.Fatal("lost in a burst")
			}
		case Sent:
			if at < out || at > max(out, last)+l.Delay+3*l.Jitter || l.Jitter == 0 && at != out+l.Delay {
				t.Fatalf("leaves at %v and arrives at %v", out, at)
			}
			if !l.Reorder && at < last {
				t.Fatalf("arrives at %v, after one at %v", at, last)
			}
			last = max(last, at)
		default:
			t.Fatalf("verdict %v", cause)
		}
	}
	if m.passage != want {
		t.Fatalf("counted %+v, want %+v", m.passage, want)
	}
}
