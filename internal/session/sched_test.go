package session

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/towpath-go/towpath/transport"
)

// A model is the scheduler written so plainly that it is right by inspection:
// lists instead of heaps.
type schedModel struct {
	ents   []*modelEnt
	served map[*transport.SendGroup]uint64
	since  map[*transport.SendGroup]uint64
	now    uint64
	turn   uint64
}

type modelEnt struct {
	ent   *schedEnt
	prio  transport.Priority
	turn  uint64
	spent int
	ready bool
}

func (m *schedModel) members(g *transport.SendGroup, ready bool) (out []*modelEnt) {
	for _, e := range m.ents {
		if e.prio.Group == g && (e.ready || !ready) {
			out = append(out, e)
		}
	}
	return out
}

func (m *schedModel) add(e *modelEnt) {
	if e.ready {
		return
	}
	g := e.prio.Group
	m.turn++
	if len(m.members(g, true)) == 0 {
		m.served[g] = max(m.served[g], m.now)
		m.since[g] = m.turn
	}
	e.ready, e.turn, e.spent = true, m.turn, 0
}

func (m *schedModel) next() *modelEnt {
	var best *modelEnt
	for _, e := range m.ents {
		if !e.ready {
			continue
		}
		if best == nil {
			best = e
			continue
		}
		a, b := e.prio.Group, best.prio.Group
		switch {
		case a != b && m.served[a] != m.served[b]:
			if m.served[a] < m.served[b] {
				best = e
			}
		case a != b:
			if m.since[a] < m.since[b] {
				best = e
			}
		case e.prio.Order != best.prio.Order:
			if e.prio.Order > best.prio.Order {
				best = e
			}
		case e.turn < best.turn:
			best = e
		}
	}
	return best
}

func (m *schedModel) charge(e *modelEnt, n int) {
	m.now = m.served[e.prio.Group]
	m.served[e.prio.Group] += uint64(n)
	e.spent += n
	if e.spent >= quantum {
		m.turn++
		e.turn, e.spent = m.turn, 0
	}
}

// runSched lets a program of bytes work on the scheduler and on its model.
func runSched(t *testing.T, program []byte) {
	groups := []*transport.SendGroup{nil, transport.NewSendGroup(), transport.NewSendGroup()}
	var c sched
	m := &schedModel{served: map[*transport.SendGroup]uint64{}, since: map[*transport.SendGroup]uint64{}}
	for i := range 6 {
		p := transport.Priority{Group: groups[i%3], Order: int64(i / 3)}
		e := &modelEnt{ent: &schedEnt{}, prio: p}
		c.join(e.ent, p)
		m.ents = append(m.ents, e)
	}
	for i := 0; i+1 < len(program); i += 2 {
		op, arg := program[i]%4, program[i+1]
		e := m.ents[int(arg)%len(m.ents)]
		switch op {
		case 0:
			m.add(e)
			c.add(e.ent)
		case 1:
			e.ready = false
			c.remove(e.ent)
		case 2:
			// A group that loses its last member forgets what it was served,
			// which the model does not: the others stay where they are.
			p := transport.Priority{Group: groups[int(arg)%3], Order: int64(arg>>4) - 8}
			if p.Group != e.prio.Group && len(m.members(e.prio.Group, false)) == 1 {
				continue
			}
			ready := e.ready
			e.ready = false
			e.prio = p
			if ready {
				m.add(e)
			}
			c.move(e.ent, p)
		case 3:
			want, got := m.next(), c.next()
			if want == nil != (got == nil) || want != nil && want.ent != got {
				t.Fatalf("step %d: other streams are next", i/2)
			}
			if got != nil {
				n := 1 + int(arg)*100
				m.charge(want, n)
				c.charge(got, n)
			}
		}
	}
	for _, e := range m.ents {
		c.leave(e.ent)
	}
	if len(c.groups) != 0 || len(c.left) != 0 || len(c.active) != 0 || c.none != nil && c.none.refs != 0 {
		t.Fatalf("%d groups, %d active are left", len(c.groups), len(c.active))
	}
}

func TestSchedModel(t *testing.T) {
	for range 300 {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 0))
		program := make([]byte, 2000)
		for i := range program {
			program[i] = byte(rng.Uint32())
		}
		if !t.Run("", func(t *testing.T) { runSched(t, program) }) {
			t.Fatalf("seed %#x", seed)
		}
	}
}

func FuzzSched(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 3, 9, 3, 9, 1, 0, 3, 1})
	f.Add(bytes.Repeat([]byte{0, 1, 3, 200, 2, 77}, 30))
	f.Fuzz(runSched)
}

func TestSchedShares(t *testing.T) {
	// Each stream sends capsules of its own size; what counts is bytes.
	serve := func(c *sched, ents []*schedEnt, sizes []int, total int) []int {
		got := make([]int, len(ents))
		for sum := 0; sum < total; {
			e := c.next()
			i := slices.Index(ents, e)
			c.charge(e, sizes[i])
			got[i] += sizes[i]
			sum += sizes[i]
		}
		return got
	}
	t.Run("groups share by bytes, not by capsules or streams", func(t *testing.T) {
		var c sched
		a, b := transport.NewSendGroup(), transport.NewSendGroup()
		ents := []*schedEnt{{}, {}, {}, {}}
		for i, g := range []*transport.SendGroup{a, a, a, b} {
			c.join(ents[i], transport.Priority{Group: g})
			c.add(ents[i])
		}
		got := serve(&c, ents, []int{16000, 9000, 5000, 100}, 10_000_000)
		if d := got[0] + got[1] + got[2] - got[3]; d < -quantum || d > quantum {
			t.Fatalf("%v", got)
		}
	})
	t.Run("equals share by bytes", func(t *testing.T) {
		var c sched
		ents := []*schedEnt{{}, {}, {}}
		for _, e := range ents {
			c.join(e, transport.Priority{Order: 3})
			c.add(e)
		}
		got := serve(&c, ents, []int{16000, 1000, 50}, 10_000_000)
		for i := range got {
			// Each turn is a quantum, and at most a capsule more.
			if share := float64(got[i]) / (10_000_000 / 3); share < 0.7 || share > 1.5 {
				t.Fatalf("%v", got)
			}
		}
	})
	t.Run("an idle group saves nothing up", func(t *testing.T) {
		var c sched
		g := transport.NewSendGroup()
		ents := []*schedEnt{{}, {}}
		c.join(ents[0], transport.Priority{})
		c.join(ents[1], transport.Priority{Group: g})
		c.add(ents[0])
		serve(&c, ents, []int{16000, 16000}, 10_000_000)
		c.add(ents[1])
		got := serve(&c, ents, []int{16000, 16000}, 1_600_000)
		if d := got[0] - got[1]; d < -2*quantum || d > 2*quantum {
			t.Fatalf("%v after one was silent", got)
		}
	})
	t.Run("a group of short streams is not new with each of them", func(t *testing.T) {
		var c sched
		g := transport.NewSendGroup()
		long, short := &schedEnt{}, (*schedEnt)(nil)
		c.join(long, transport.Priority{Group: transport.NewSendGroup()})
		c.add(long)
		var got [2]int
		for range 10_000 {
			if short == nil {
				short = &schedEnt{}
				c.join(short, transport.Priority{Group: g})
				c.add(short)
			}
			switch c.next() {
			case long:
				c.charge(long, 16000)
				got[0] += 16000
			case short: // one capsule, and it ends
				c.charge(short, 16000)
				got[1] += 16000
				c.leave(short)
				short = nil
			}
		}
		if d := got[0] - got[1]; d < -2*quantum || d > 2*quantum {
			t.Fatalf("%v", got)
		}
	})
	t.Run("groups without a member are forgotten", func(t *testing.T) {
		var c sched
		long := &schedEnt{}
		c.join(long, transport.Priority{})
		c.add(long)
		for range 100 * maxLeft { // while others are busy
			e := &schedEnt{}
			c.join(e, transport.Priority{Group: transport.NewSendGroup()})
			c.add(e)
			c.charge(c.next(), 1)
			c.leave(e)
			if len(c.groups) > maxLeft || len(c.left) >= maxLeft {
				t.Fatalf("%d groups, %d of them left", len(c.groups), len(c.left))
			}
		}
		c.remove(long)
		e := &schedEnt{}
		c.join(e, transport.Priority{Group: transport.NewSendGroup()})
		c.leave(e)
		if len(c.groups) != 0 || len(c.left) != 0 {
			t.Fatalf("%d groups, %d of them left", len(c.groups), len(c.left))
		}
	})
	t.Run("a higher order goes first", func(t *testing.T) {
		var c sched
		ents := []*schedEnt{{}, {}}
		c.join(ents[0], transport.Priority{Order: -1})
		c.join(ents[1], transport.Priority{Order: 1})
		c.add(ents[0])
		c.add(ents[1])
		if got := serve(&c, ents, []int{1000, 1000}, 1_000_000); got[0] != 0 {
			t.Fatalf("%v", got)
		}
	})
}

func TestBuffer(t *testing.T) {
	for range 200 {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 0))
		var b buffer
		var model []byte
		next := byte(0)
		for range 300 {
			if rng.IntN(2) == 0 {
				p := make([]byte, rng.IntN(1<<rng.IntN(16)))
				for i := range p {
					next++
					p[i] = next
				}
				b.write(p)
				model = append(model, p...)
			} else {
				p := make([]byte, rng.IntN(1<<rng.IntN(16)))
				n := b.read(p)
				if n != min(len(p), len(model)) || !bytes.Equal(p[:n], model[:n]) {
					t.Fatalf("seed %#x: %d bytes read", seed, n)
				}
				model = model[n:]
			}
			held := 0
			for c := b.head; c != nil; c = c.next {
				held += len(c.buf)
			}
			if b.n != len(model) || b.held != held || held > b.n+2*chunkLarge || b.n == 0 && held != 0 {
				t.Fatalf("seed %#x: %d bytes, %d said to be held, %d are; the model has %d", seed, b.n, b.held, held, len(model))
			}
		}
		if b.discard() != len(model) || b.held != 0 || b.head != nil {
			t.Fatalf("seed %#x: discard", seed)
		}
	}
}
