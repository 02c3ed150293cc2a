package theory

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/towpath-go/towpath/cmd/hol/internal/adapter"
	"github.com/towpath-go/towpath/cmd/hol/internal/lab"
)

// The simulation lets every packet, acknowledgement and timer of an idealised
// connection happen: no lost acknowledgement, one packet a message, and an
// unlimited window unless it is asked for TCP's. It knows protocols' rules and none
// of the formulas.

// ends is what the ends need for a message.
const ends = 100 * time.Microsecond

type transmission struct {
	message int // or segment, where there is a window
	number  int // in the order of sending
	at      time.Duration
	first   bool
	done    bool // acknowledged, or taken for lost
}

type happening struct {
	at time.Duration
	do func(now time.Duration)
	n  int // the order of equals
}

type agenda []happening

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].n < a[j].n
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(happening)) }
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

// keptFor is how long Linux keeps an acknowledgement back: 40 ms, to the next
// tick of its clock.
const keptFor = 42 * time.Millisecond

const (
	unsent   = time.Duration(-2)
	underway = time.Duration(-1)
)

// connection is one transport connection.
type connection struct {
	rtt     time.Duration
	loss    float64
	random  *rand.Rand
	agenda  agenda
	count   int
	arrived []time.Duration // of each message, unsent or underway before
	flight  []*transmission // not done, in the order of sending
	sent    int
	lost    int
	// detect is called for every acknowledgement, with the transmissions that it
	// is the first to say have arrived; timers and recovery are its business.
	detect func(c *connection, now time.Duration, arrived []*transmission)
	armed  func(c *connection, t *transmission) // after each sending
	// For tcp and sctp; fastOnce says that a retransmission is not taken for lost
	// but by the timer (RFC 9260 Section 7.2.4), and no window is waited for.
	fastOnce   bool
	recovering bool
	recoverTo  int          // the message up to which
	cumulative int          // the first message that is not acknowledged
	sacked     map[int]bool // messages beyond that are
	newest     *transmission
	window     *window
	// Of the receiver, for tcp.
	delayed bool
	next    int // the first message that has not arrived
	kept    []*transmission
}

func (c *connection) at(at time.Duration, do func(now time.Duration)) {
	c.count++
	heap.Push(&c.agenda, happening{at, do, c.count})
}

func (c *connection) send(now time.Duration, message int) *transmission {
	t := &transmission{message: message, number: c.sent, at: now, first: c.arrived[message] == unsent}
	if t.first {
		c.arrived[message] = underway
	}
	c.sent++
	c.flight = append(c.flight, t)
	if c.random.Float64() < c.loss {
		c.lost++
	} else {
		c.at(now+c.rtt/2, func(now time.Duration) {
			if c.arrived[message] < 0 {
				c.arrived[message] = now
			}
			if !c.delayed {
				c.acknowledge(now, []*transmission{t})
				return
			}
			// RFC 5681 Section 4.2: at once if a segment is missing or was, and
			// every second one.
			c.kept = append(c.kept, t)
			missing := c.next != message
			for c.next < len(c.arrived) && c.arrived[c.next] >= 0 {
				c.next++
			}
			if missing || c.next != message+1 || len(c.kept) >= 2 {
				c.acknowledge(now, c.kept)
				c.kept = nil
				return
			}
			c.at(now+keptFor, func(now time.Duration) {
				if len(c.kept) == 1 && c.kept[0] == t {
					c.acknowledge(now, c.kept)
					c.kept = nil
				}
			})
		})
	}
	if c.armed != nil {
		c.armed(c, t)
	}
	return t
}

// acknowledge lets the sender know of arrived transmissions a way later.
func (c *connection) acknowledge(now time.Duration, arrived []*transmission) {
	c.at(now+c.rtt/2, func(now time.Duration) {
		c.detect(c, now, arrived)
		c.flight = slices.DeleteFunc(c.flight, func(t *transmission) bool { return t.done })
	})
}

func (c *connection) again(now time.Duration, t *transmission) {
	t.done = true
	if c.window != nil {
		c.window.resend = append(c.window.resend, t.message)
		return
	}
	c.send(now, t.message)
}

// window is the congestion window of a loss-based TCP, in segments: it loses 0.3
// of itself with a loss, and gains 0.53 a round trip (RFC 9438 Section 4.3: what
// CUBIC does where its cubic function is behind).
type window struct {
	size, threshold float64
	full            bool  // it kept something from being sent
	resend          []int // segments
	backlog         []int // messages
	segments        int
	segmentOf       []int // by message
}

// perSegment is how many messages of 200 bytes fit into a segment.
const perSegment = 6

// offer hands a message over.
func (c *connection) offer(now time.Duration, message int) {
	if c.window == nil {
		c.send(now, message)
		return
	}
	c.window.backlog = append(c.window.backlog, message)
	c.push(now, false)
}

// push sends what the window allows: what was lost first, and then all messages
// that wait, as many as fit into a segment.
func (c *connection) push(now time.Duration, force bool) {
	w := c.window
	for len(w.resend)+len(w.backlog) > 0 {
		underWay := 0
		for _, t := range c.flight {
			if !t.done {
				underWay++
			}
		}
		if w.full = underWay >= int(w.size); w.full && !force {
			return
		}
		force = false
		if len(w.resend) > 0 {
			segment := w.resend[0]
			w.resend = w.resend[1:]
			c.send(now, segment)
			continue
		}
		n := min(len(w.backlog), perSegment)
		for _, m := range w.backlog[:n] {
			w.segmentOf[m] = w.segments
		}
		w.backlog = w.backlog[n:]
		c.send(now, w.segments)
		w.segments++
	}
}

// acknowledged lets the window grow, if it was used.
func (w *window) acknowledged(n int) {
	switch {
	case !w.full:
	case w.size < w.threshold:
		w.size += float64(n)
	default:
		w.size += .53 * float64(n) / w.size
	}
}

func (w *window) reduce() {
	w.threshold = max(.7*w.size, 2)
	w.size = w.threshold
}

// tcp follows RFC 8985, without its timer for what no segment follows, and RFC
// 6298. RACK.rtt is that of the segment that is looked at last: first those that
// are acknowledged selectively, then those that all before are, too.
func tcpDetect(c *connection, now time.Duration, arrived []*transmission) {
	for _, t := range arrived {
		t.done = true
		c.sacked[t.message] = true
		if c.newest == nil || t.number > c.newest.number {
			c.newest = t
		}
	}
	for c.sacked[c.cumulative] {
		delete(c.sacked, c.cumulative)
		c.cumulative++
	}
	age := now - arrived[len(arrived)-1].at
	for _, t := range arrived {
		if t.message < c.cumulative {
			age = now - t.at
		}
	}
	if c.recovering && c.cumulative > c.recoverTo {
		c.recovering = false
	}
	if c.window != nil && !c.recovering {
		c.window.acknowledged(len(arrived))
	}
	reordering := c.rtt / 4
	if c.recovering || len(c.sacked) >= 3 || c.fastOnce {
		reordering = 0
	}
	began := false
	for _, u := range slices.Clone(c.flight) {
		if !u.done && u.number < c.newest.number && now-u.at >= age+reordering && (u.first || !c.fastOnce) {
			if !c.recovering {
				c.recovering, c.recoverTo = true, highest(c)
				if began = c.window != nil; began {
					c.window.reduce()
				}
			}
			c.again(now, u)
		}
	}
	if c.window != nil {
		c.push(now, began) // the first retransmission is sent in any case
	}
}

func highest(c *connection) int {
	m := 0
	for _, t := range c.flight {
		m = max(m, t.message)
	}
	return m
}

func timeout(least time.Duration) func(c *connection, t *transmission) {
	return func(c *connection, t *transmission) {
		c.at(t.at+c.rtt+least, func(now time.Duration) {
			if t.done {
				return
			}
			c.again(now, t)
			if c.window != nil {
				c.window.reduce()
				c.window.size = 1
				c.push(now, true)
			}
		})
	}
}

// quic follows RFC 9002 Section 6.1.
func quicDetect(c *connection, now time.Duration, arrived []*transmission) {
	for _, t := range arrived {
		t.done = true
		if c.newest == nil || t.number > c.newest.number {
			c.newest = t
		}
	}
	for _, u := range slices.Clone(c.flight) {
		switch {
		case u.done || u.number > c.newest.number:
		case u.number <= c.newest.number-3 || now-u.at >= c.rtt*9/8:
			c.again(now, u)
		default:
			c.at(u.at+c.rtt*9/8, func(now time.Duration) {
				if !u.done {
					c.again(now, u)
				}
			})
		}
	}
}

// simulate returns the shares of messages later than half and one and a half
// round trips, and of packets lost.
func simulate(run lab.Run, traits adapter.Traits, seed uint64, windowed bool) (late, veryLate, lost float64) {
	work := run.Workload
	rtt := run.Link.RTT()
	rounds := int(work.Duration / work.Interval)
	connections := traits.Connections
	if connections == 0 {
		connections = work.Channels
	}
	each := work.Channels / connections // channels of a connection
	messages, lateCount, veryLateCount, sent, dropped := 0, 0, 0, 0, 0
	for k := range connections {
		c := &connection{
			rtt: rtt, loss: run.Link.Loss, random: rand.New(rand.NewPCG(seed, uint64(k))),
			arrived: slices.Repeat([]time.Duration{unsent}, rounds*each), sacked: make(map[int]bool),
		}
		if windowed {
			c.window = &window{size: 10, threshold: math.Inf(1), segmentOf: make([]int, rounds*each)}
		}
		switch traits.Recovery {
		case "tcp":
			c.detect, c.armed, c.delayed = tcpDetect, timeout(tcpMinRTO), true
		case "quic":
			c.detect = quicDetect
		case "sctp":
			// Its timer waits for the acknowledgement of what came before, as long
			// as the round trip that the timeout adds.
			c.detect, c.armed, c.fastOnce = tcpDetect, timeout(sctpMinRTO), true
		}
		scheduled := func(m int) time.Duration {
			return time.Duration(m/each)*work.Interval + time.Duration(m%each)*work.Interval/time.Duration(each)
		}
		for m := range rounds * each {
			c.at(scheduled(m), func(now time.Duration) { c.offer(now, m) })
		}
		for c.agenda.Len() > 0 {
			h := heap.Pop(&c.agenda).(happening)
			h.do(h.at)
		}
		// What waits for what: latest[i] is when the last of those before arrived.
		latest := make([]time.Duration, each)
		for m := range rounds * each {
			arrived := c.arrived[m]
			if windowed {
				arrived = c.arrived[c.window.segmentOf[m]]
			}
			if arrived < 0 {
				continue // its last packets were lost, and nothing followed
			}
			i := m % each
			if traits.Shared {
				i = 0
			}
			delivered := arrived
			if traits.Shared || traits.Ordered {
				latest[i] = max(latest[i], arrived)
				delivered = latest[i]
			}
			messages++
			latency := delivered - scheduled(m) + ends
			if latency > rtt/2+rtt/2 {
				lateCount++
			}
			if latency > rtt/2+3*rtt/2 {
				veryLateCount++
			}
		}
		sent += c.sent
		dropped += c.lost
	}
	return float64(lateCount) / float64(messages), float64(veryLateCount) / float64(messages), float64(dropped) / float64(sent)
}

func TestSimulation(t *testing.T) {
	const seeds, messages = 6, 8000
	for _, c := range []struct {
		name   string
		traits adapter.Traits
	}{
		{"one TCP connection", oneTCP},
		{"a TCP connection each", eachTCP},
		{"QUIC, a message waits for itself", quicOnce},
		{"QUIC, a stream each", quicStream},
		{"SCTP, a stream each", sctpOrder},
	} {
		for _, channels := range []int{2, 8} {
			for _, loss := range []float64{.01, .03} {
				t.Run(fmt.Sprintf("%s, %d channels, %v", c.name, channels, loss), func(t *testing.T) {
					run := light()
					run.Workload.Channels = channels
					run.Workload.Duration = time.Duration(messages/channels) * run.Workload.Interval
					run.Link.Loss = loss
					f, ok := newFlow(run, c.traits)
					if !ok {
						t.Fatal("no flow")
					}
					var late, veryLate series
					for seed := range uint64(seeds) {
						gotLate, gotVeryLate, lost := simulate(run, c.traits, seed, false)
						late.add(gotLate, f.share(lost, f.rtt/2))
						veryLate.add(gotVeryLate, f.share(lost, 3*f.rtt/2))
					}
					// The deviation of the mean of six is known by a quarter or so.
					late.check(t, "late", .02)
					veryLate.check(t, "very late", .3)
				})
			}
		}
	}
}

// What the prediction leaves out by leaving out congestion control: with the
// window that losses leave to it, a connection sends several messages a segment,
// which are fewer to be lost, and makes messages wait, which are late then. In an
// ideal TCP the two nearly make up for each other.
func TestCongestionWindowIsLeftOut(t *testing.T) {
	for _, c := range []struct {
		name   string
		traits adapter.Traits
	}{
		{"one TCP connection", oneTCP},
		{"a TCP connection each", eachTCP},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := light()
			run.Workload.Duration = 80 * time.Second
			run.Link.Loss = .02
			f, ok := newFlow(run, c.traits)
			if !ok {
				t.Fatal("no flow")
			}
			late, veryLate, lost := simulate(run, c.traits, 1, true)
			predicted := f.share(lost, f.rtt/2)
			t.Logf("lost %.4f: late %.4f, predicted %.4f; very late %.4f, predicted %.4f", lost, late, predicted, veryLate, f.share(lost, 3*f.rtt/2))
			if math.Abs(late-predicted) > .3*predicted {
				t.Errorf("simulated %v, predicted %v", late, predicted)
			}
			if without, _, _ := simulate(run, c.traits, 1, false); without == late {
				t.Error("the window makes no difference")
			}
		})
	}
}

// series compares what was simulated with what was predicted, seed by seed.
type series struct{ got, want []float64 }

func (s *series) add(got, want float64) {
	s.got = append(s.got, got)
	s.want = append(s.want, want)
}

// check allows the prediction to be off by so much of itself, and six
// deviations of the mean difference.
func (s *series) check(t *testing.T, what string, off float64) {
	t.Helper()
	n := float64(len(s.got))
	got, want, difference, squares := 0.0, 0.0, 0.0, 0.0
	for i := range s.got {
		got += s.got[i] / n
		want += s.want[i] / n
		difference += (s.got[i] - s.want[i]) / n
	}
	for i := range s.got {
		d := s.got[i] - s.want[i] - difference
		squares += d * d
	}
	deviation := math.Sqrt(squares / (n - 1) / n)
	t.Logf("%s %.5f, predicted %.5f, deviation %.5f", what, got, want, deviation)
	if math.Abs(difference) > off*want+6*deviation {
		t.Errorf("%s %v, predicted %v", what, got, want)
	}
	if deviation > want/2 && want > .005 {
		t.Errorf("%s: the simulation is too short to tell", what)
	}
}
