package sessionstate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// ended makes a holder that notes in which order holders were ended and
// relieved.
type ledger struct {
	mu       sync.Mutex // guards the following
	ended    []string
	relieved []string
}

func (l *ledger) register(b *Budget, name string) *Holder {
	return b.Register(
		func() { l.mu.Lock(); defer l.mu.Unlock(); l.ended = append(l.ended, name) },
		func() { l.mu.Lock(); defer l.mu.Unlock(); l.relieved = append(l.relieved, name) },
	)
}

func (l *ledger) want(t *testing.T, why string, ended, relieved []string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if fmt.Sprint(l.ended) != fmt.Sprint(ended) || fmt.Sprint(l.relieved) != fmt.Sprint(relieved) {
		t.Errorf("%s: ended %v, relieved %v; want %v, %v", why, l.ended, l.relieved, ended, relieved)
	}
	l.ended, l.relieved = nil, nil
}

func TestBudget(t *testing.T) {
	t.Run("DS-19 levels at three quarters and at the cap", func(t *testing.T) {
		var l ledger
		b := NewBudget(100, nil)
		h := l.register(b, "a")
		for _, c := range []struct {
			n    int
			want Pressure
		}{{0, PressureNone}, {74, PressureNone}, {1, PressureHigh}, {24, PressureHigh}, {1, PressureFull}} {
			h.Hold(c.n)
			if got := h.Credit(); got != c.want {
				t.Errorf("%d of 100 held: %v, want %v", b.Held(), got, c.want)
			}
		}
	})
	t.Run("DS-19 below the cap nobody is ended, at the cap somebody is", func(t *testing.T) {
		var l ledger
		b := NewBudget(100, nil)
		h := l.register(b, "a")
		if e := h.Hold(99); e != nil {
			t.Error("an effect below the cap")
		}
		h.Hold(1).Run()
		l.want(t, "at the cap", []string{"a"}, nil)
		h.Hold(50).Run()
		l.want(t, "beyond it, while the session is being ended", nil, nil)
		if b.Held() != 150 {
			t.Errorf("%d held, want 150", b.Held())
		}
	})
	t.Run("DS-19 the newest of those that hold most is ended", func(t *testing.T) {
		for _, c := range []struct {
			name string
			held []int // in order of registration; the cap is their sum
			want string
		}{
			{"equal ones", []int{10, 10, 10}, "2"},
			{"the newest holds little", []int{10, 10, 4}, "1"},
			{"the newest holds half of the most", []int{10, 10, 5}, "2"},
			{"one holds most by far", []int{3, 100, 40}, "1"},
			{"the newest holds nothing", []int{1, 0}, "0"},
			{"an old large one and new ones near it", []int{100, 1, 60, 2, 50, 3}, "4"},
		} {
			t.Run(c.name, func(t *testing.T) {
				var l ledger
				var sum int64
				for _, n := range c.held {
					sum += int64(n)
				}
				b := NewBudget(sum, nil)
				var holders []*Holder
				for i := range c.held {
					holders = append(holders, l.register(b, fmt.Sprint(i)))
				}
				for i, n := range c.held {
					holders[i].Hold(n).Run()
				}
				l.want(t, "the sum reached the cap", []string{c.want}, nil)
			})
		}
	})
	t.Run("DS-19 what is being ended counts as gone for the next choice", func(t *testing.T) {
		var l ledger
		b := NewBudget(100, nil)
		x, y := l.register(b, "x"), l.register(b, "y")
		x.Hold(10)
		y.Hold(90).Run()
		l.want(t, "y fills the cap", []string{"y"}, nil)
		x.Hold(89).Run()
		l.want(t, "x holds 99, y is on its way", nil, nil)
		if x.Credit() != PressureFull {
			t.Error("credit although y's bytes are still there")
		}
		y.Hold(50).Run()
		l.want(t, "y takes more on its way", nil, nil)
		y.Release(20)
		x.Hold(1).Run()
		l.want(t, "x fills the cap alone", []string{"x"}, nil)
	})
	t.Run("DS-19 as many are ended as it takes", func(t *testing.T) {
		// Another level's cap fills by one large step.
		var l ledger
		b := NewBudget(100, nil)
		pinned := b.Register(nil, nil)
		var hs []*Holder
		for i := range 4 {
			h := l.register(b, fmt.Sprint(i))
			h.Hold(20)
			hs = append(hs, h)
		}
		pinned.Hold(70).Run()
		l.want(t, "150 held, 70 of them pinned", []string{"3", "2", "1"}, nil)
		for _, h := range hs {
			h.Close()
		}
		if b.Held() != 70 {
			t.Errorf("%d held, want 70", b.Held())
		}
	})
	t.Run("DS-19 one that two callers chose at once is ended once", func(t *testing.T) {
		b := NewBudget(100, NewBudget(100, nil))
		h := b.Register(func() {}, nil)
		if !h.markEnding() || h.markEnding() {
			t.Error("markEnding does not tell the first from the second")
		}
		gone := b.Register(func() {}, nil)
		gone.Close()
		if gone.markEnding() {
			t.Error("one that is closed was to be ended")
		}
	})
	t.Run("a holder without end is never chosen", func(t *testing.T) {
		b := NewBudget(100, nil)
		h := b.Register(nil, nil)
		h.Hold(1000).Run()
		if h.Credit() != PressureFull {
			t.Error("credit beyond the cap")
		}
	})
	t.Run("DS-19 a connection's cap inside the server's", func(t *testing.T) {
		var l ledger
		server := NewBudget(250, nil)
		c1, c2, c3 := NewBudget(100, server), NewBudget(100, server), NewBudget(100, server)
		a, b, c, d := l.register(c1, "a"), l.register(c1, "b"), l.register(c2, "c"), l.register(c3, "d")
		c.Hold(90)
		a.Hold(40)
		b.Hold(40)
		if p := a.Credit(); p != PressureHigh {
			t.Errorf("80 of 100 held: %v", p)
		}
		if p := d.Credit(); p != PressureNone {
			t.Errorf("170 of 250 held by others: %v", p)
		}
		b.Hold(20).Run()
		l.want(t, "one connection full", []string{"b"}, nil)
		if p := a.Credit(); p != PressureFull {
			t.Errorf("on the full connection: %v", p)
		}
		if p := c.Credit(); p != PressureHigh {
			t.Errorf("on another, 190 of 250 held in all: %v", p)
		}
		b.Close().Run()
		l.want(t, "the connection has room", nil, []string{"a"})

		// Now the server's cap: 40 + 90 held, and d comes.
		d.Hold(90).Run()
		l.want(t, "220 of 250", nil, nil)
		a.Hold(30).Run()
		l.want(t, "250 of 250, d is the newest of the large ones", []string{"d"}, nil)
		if p := c.Credit(); p != PressureFull {
			t.Errorf("the server is full: %v", p)
		}
		d.Close().Run()
		l.want(t, "the server has room", nil, []string{"c"})
		if server.Held() != 160 || c1.Held() != 70 || c2.Held() != 90 || c3.Held() != 0 {
			t.Errorf("held %d, %d, %d, %d", server.Held(), c1.Held(), c2.Held(), c3.Held())
		}
	})
	t.Run("H2-151 nobody waits for ever for credit that was withheld", func(t *testing.T) {
		var l ledger
		b := NewBudget(100, nil)
		full := b.Register(nil, nil)
		x := l.register(b, "x")
		full.Hold(100)
		if x.Credit() != PressureFull {
			t.Fatal("not full")
		}
		full.Release(1).Run()
		l.want(t, "one byte of room", nil, []string{"x"})
		full.Release(1).Run()
		l.want(t, "told once per question", nil, nil)
		full.Hold(12)
		x.Credit()
		full.Release(10).Run()
		l.want(t, "just full", nil, nil)
		full.Release(1).Run()
		l.want(t, "one byte of room again", nil, []string{"x"})
		full.Hold(1)
		x.Credit()
		x.Close()
		x.Credit()
		full.Release(50).Run()
		l.want(t, "gone in the meantime", nil, nil)
	})
	t.Run("Close gives back and is final", func(t *testing.T) {
		server := NewBudget(1000, nil)
		b := NewBudget(100, server)
		h := b.Register(nil, nil)
		h.Hold(60)
		h.Close()
		h.Close()
		h.Hold(5)
		h.Release(500)
		if b.Held() != 0 || server.Held() != 0 || h.Held() != 0 {
			t.Errorf("held %d, %d, %d", b.Held(), server.Held(), h.Held())
		}
		if b.shares.live+server.shares.live > 0 {
			t.Error("still registered")
		}
	})
	t.Run("misuse panics", func(t *testing.T) {
		wantPanic(t, "no cap", func() { NewBudget(0, nil) })
		h := NewBudget(100, nil).Register(nil, nil)
		h.Hold(3)
		wantPanic(t, "more released than held", func() { h.Release(4) })
		wantPanic(t, "negative", func() { h.Hold(-1) })
		wantPanic(t, "negative", func() { h.Release(-1) })
	})
}

// runBudget checks Budget against a model that adds everything up anew.
func runBudget(t *testing.T, prog []byte) {
	const conns, serverCap, connCap = 3, 200, 100
	server := NewBudget(serverCap, nil)
	var levels [conns]*Budget
	for i := range levels {
		levels[i] = NewBudget(connCap, server)
	}
	type session struct {
		h        *Holder
		conn     int
		held     int
		ended    bool
		asked    bool // for credit, and was refused
		relieved bool
		closed   bool
	}
	var sessions, chosen []*session
	// choose is the naive choice at one level after a Hold: as often as it takes,
	// the newest of those that hold at least half of what the largest holds.
	choose := func(limit int, inLevel func(*session) bool, gone map[*session]bool) (victims []*session) {
		for {
			left, most := 0, 0
			for _, s := range sessions {
				if inLevel(s) && !s.ended && !gone[s] {
					left, most = left+s.held, max(most, s.held)
				}
			}
			if left < limit {
				return victims
			}
			var newest *session
			for _, s := range sessions {
				if inLevel(s) && !s.ended && !gone[s] && s.held > 0 && 2*s.held >= most {
					newest = s
				}
			}
			gone[newest] = true
			victims = append(victims, newest)
		}
	}
	o := ops(prog)
	for {
		op, ok := o.next(8)
		if !ok {
			return
		}
		arg, _ := o.next(64)
		if op == 0 || len(sessions) == 0 {
			s := &session{conn: arg % conns}
			s.h = levels[s.conn].Register(func() {
				if s.ended {
					t.Fatal("ended twice")
				}
				chosen = append(chosen, s)
			}, func() { s.relieved = true })
			sessions = append(sessions, s)
			continue
		}
		s := sessions[arg%len(sessions)]
		n, _ := o.next(32)
		switch op {
		case 1, 2, 3:
			if s.closed {
				n = 0
			}
			s.held += n
			gone := map[*session]bool{}
			want := choose(connCap, func(o *session) bool { return o.conn == s.conn }, gone)
			want = append(want, choose(serverCap, func(*session) bool { return true }, gone)...)
			s.h.Hold(n).Run()
			if !slices.Equal(chosen, want) {
				t.Fatalf("%d sessions were ended, want %d, or others", len(chosen), len(want))
			}
			for _, v := range chosen {
				v.ended = true
			}
			chosen = nil
		case 4, 5:
			n = min(n, s.held)
			s.h.Release(n).Run()
			s.held -= n
		case 6:
			if !s.closed {
				s.asked = s.h.Credit() == PressureFull
				s.relieved = false
			}
		case 7:
			s.h.Close().Run()
			s.held, s.closed, s.asked = 0, true, false
		}

		var total, ending int
		var conn, connEnding [conns]int
		for _, s := range sessions {
			total += s.held
			conn[s.conn] += s.held
			if s.ended {
				ending += s.held
				connEnding[s.conn] += s.held
			}
		}
		if server.Held() != int64(total) {
			t.Fatalf("server holds %d, model %d", server.Held(), total)
		}
		if total-ending >= serverCap {
			t.Fatalf("%d held by sessions not being ended, cap %d", total-ending, serverCap)
		}
		for i, b := range levels {
			if b.Held() != int64(conn[i]) {
				t.Fatalf("connection holds %d, model %d", b.Held(), conn[i])
			}
			if conn[i]-connEnding[i] >= connCap {
				t.Fatalf("%d held by sessions not being ended, cap %d", conn[i]-connEnding[i], connCap)
			}
		}
		for _, s := range sessions {
			if s.asked && !s.relieved && total < serverCap && conn[s.conn] < connCap {
				t.Fatal("there is room, and who asked for credit does not know")
			}
		}
	}
}

func TestBudgetModel(t *testing.T) {
	for range 100 {
		runBudget(t, program(t))
	}
}

// TestChoice compares the tree with a walk over all, over many registrations.
func TestChoice(t *testing.T) {
	for range 50 {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 0))
		var c choice
		var shares []*share
		for range 3000 {
			switch n := rng.IntN(10); {
			case n < 3 || len(shares) == 0:
				s := &share{}
				c.add(s)
				shares = append(shares, s)
			case n < 5:
				i := rng.IntN(len(shares))
				c.remove(shares[i])
				shares = slices.Delete(shares, i, i+1)
			default:
				s := shares[rng.IntN(len(shares))]
				s.held = rng.Int64N(1 << rng.IntN(20))
				c.set(s, s.held)
			}
			var most int64
			for _, s := range shares {
				most = max(most, s.held)
			}
			var want *share
			for _, s := range shares {
				if s.held > 0 && s.held >= most-most/2 {
					want = s
				}
			}
			if got := c.newest(); got != want {
				t.Fatalf("seed %#x: chose %+v, want %+v, of %d", seed, got, want, len(shares))
			}
			// Those who leave keep their place until it is needed.
			if n := len(c.most) / 2; n > 8*max(c.live, 16) && len(c.leaves) == n {
				t.Fatalf("seed %#x: %d leaves for %d shares", seed, n, c.live)
			}
		}
	}
}

func FuzzBudget(f *testing.F) {
	addPrograms(f)
	f.Fuzz(runBudget)
}

// TestBudgetConcurrent is for the race detector and for lost wake-ups: sessions
// on several connections fill, wait for room and give back, until all have
// moved their bytes.
func TestBudgetConcurrent(t *testing.T) {
	server := NewBudget(1000, nil)
	var conns []*Budget
	for range 3 {
		conns = append(conns, NewBudget(500, server))
	}
	var wg sync.WaitGroup
	for i := range 12 {
		room := make(chan struct{}, 1)
		h := conns[i%3].Register(nil, func() {
			select {
			case room <- struct{}{}:
			default:
			}
		})
		wg.Go(func() {
			for range 300 {
				for h.Credit() == PressureFull {
					<-room
				}
				h.Hold(200).Run()
				h.Release(200).Run()
			}
			h.Close().Run()
		})
	}
	wg.Wait()
	if server.Held() != 0 {
		t.Errorf("%d bytes left", server.Held())
	}
}

func BenchmarkBudget(b *testing.B) {
	server := NewBudget(DefaultServerBudget, nil)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		h := NewBudget(DefaultConnectionBudget, server).Register(nil, nil)
		for pb.Next() {
			h.Hold(16 << 10).Run()
			h.Release(16 << 10).Run()
		}
	})
}
