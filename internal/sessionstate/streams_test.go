package sessionstate

import (
	"testing"

	"github.com/towpath-go/towpath/transport"
)

func TestLocalLimit(t *testing.T) {
	t.Run("H2-111 H2-140 indexes are dense and end at the limit", func(t *testing.T) {
		l := NewLocalLimit(5)
		for want := range uint64(5) {
			if i, ok := l.Open(); !ok || i != want {
				t.Fatalf("Open = %d, %v, want %d", i, ok, want)
			}
		}
		if i, ok := l.Open(); ok {
			t.Fatalf("opened %d beyond the limit", i)
		}
		if change, err := l.Raise(6); change != Raised || err != nil {
			t.Fatalf("Raise = %d, %v", change, err)
		}
		if i, ok := l.Open(); !ok || i != 5 {
			t.Fatalf("Open = %d, %v, want 5", i, ok)
		}
	})
	t.Run("H2-144 H2-145 H3-052 lower, equal and higher limits are told apart", func(t *testing.T) {
		l := NewLocalLimit(5)
		for _, c := range []struct {
			limit uint64
			want  Change
		}{{4, Lowered}, {5, Unchanged}, {6, Raised}, {5, Lowered}} {
			if got, err := l.Raise(c.limit); got != c.want || err != nil {
				t.Errorf("Raise(%d) = %d, %v, want %d", c.limit, got, err, c.want)
			}
		}
	})
	t.Run("H2-146 H3-053 Maximum Streams up to 2^60", func(t *testing.T) {
		l := NewLocalLimit(0)
		if change, err := l.Raise(1 << 60); change != Raised || err != nil {
			t.Errorf("2^60: %d, %v", change, err)
		}
		if err := CheckStreamCount(1 << 60); err != nil {
			t.Errorf("2^60: %v", err)
		}
		for _, n := range []uint64{1<<60 + 1, MaxOffset} {
			change, err := l.Raise(n)
			wantViolation(t, err, transport.ViolationFlowControl, "WT_MAX_STREAMS")
			wantViolation(t, CheckStreamCount(n), transport.ViolationFlowControl, "WT_STREAMS_BLOCKED")
			if change != Unchanged || l.Limit() != 1<<60 {
				t.Errorf("%d was taken: limit %d", n, l.Limit())
			}
		}
	})
	t.Run("H2-149 blocked is said once per limit", func(t *testing.T) {
		l := NewLocalLimit(1)
		if _, ok := l.TakeBlocked(); ok {
			t.Error("blocked with credit")
		}
		l.Open()
		if limit, ok := l.TakeBlocked(); !ok || limit != 1 {
			t.Errorf("TakeBlocked = %d, %v, want 1", limit, ok)
		}
		if _, ok := l.TakeBlocked(); ok {
			t.Error("said twice")
		}
	})
}

func TestPeerLimit(t *testing.T) {
	t.Run("H2-143 index at the limit and beyond", func(t *testing.T) {
		for _, index := range []uint64{100, 101, 1 << 59} {
			l := NewPeerLimit(100, 100)
			_, _, err := l.Open(index)
			wantViolation(t, err, transport.ViolationFlowControl, "index at or over the limit")
			if l.Opened() != 0 {
				t.Errorf("index %d opened %d streams", index, l.Opened())
			}
		}
		l := NewPeerLimit(0, 0)
		_, _, err := l.Open(0)
		wantViolation(t, err, transport.ViolationFlowControl, "a limit of 0")
	})
	t.Run("H2-112 DS-16 a higher index opens the lower ones", func(t *testing.T) {
		l := NewPeerLimit(100, 100)
		want := func(index, from, to uint64) {
			t.Helper()
			f, e, err := l.Open(index)
			if err != nil || f != from || e != to {
				t.Errorf("Open(%d) = %d, %d, %v; want %d, %d", index, f, e, err, from, to)
			}
		}
		want(3, 0, 4)
		want(1, 4, 4)
		want(3, 4, 4)
		want(4, 4, 5)
		want(99, 5, 100)
		if l.Live() != 100 || l.Opened() != 100 {
			t.Errorf("%d live, %d opened, want 100", l.Live(), l.Opened())
		}
		// The backlog counts as open: not one more stream is allowed.
		if limit, ok := l.Update(); ok {
			t.Errorf("announced %d with 100 streams open", limit)
		}
		_, _, err := l.Open(100)
		wantViolation(t, err, transport.ViolationFlowControl, "index 100 of 100")
	})
	t.Run("H2-152 credit comes back by quarters", func(t *testing.T) {
		l := NewPeerLimit(100, 100)
		l.Open(49)
		for range 24 {
			l.Done()
			if limit, ok := l.Update(); ok {
				t.Fatalf("announced %d after less than a quarter", limit)
			}
		}
		l.Done()
		wantStreams(t, &l, 125)
	})
	t.Run("H2-151 H2-152 credit comes back although the other streams stay", func(t *testing.T) {
		// 99 streams stay open for ever. One after the other must go.
		l := NewPeerLimit(100, 100)
		l.Open(98)
		for i := range uint64(50) {
			l.Open(99 + i)
			l.Done()
			wantStreams(t, &l, 101+i)
		}
	})
	t.Run("H2-152 the last free place is announced when it is the last", func(t *testing.T) {
		// Streams are done while the peer has credit left; it uses that up.
		l := NewPeerLimit(100, 100)
		l.Open(79)
		for range 10 {
			l.Done()
			if limit, ok := l.Update(); ok {
				t.Fatalf("announced %d with 20 left", limit)
			}
		}
		l.Open(89)
		wantStreams(t, &l, 110)
	})
	t.Run("H2-079 a limit never given is raised at once", func(t *testing.T) {
		l := NewPeerLimit(0, 100)
		wantStreams(t, &l, 100)
	})
	t.Run("a limit given beyond what may be open is not lowered", func(t *testing.T) {
		l := NewPeerLimit(100, 10)
		l.Open(94)
		for range 90 {
			l.Done()
		}
		if limit, ok := l.Update(); ok {
			t.Errorf("announced %d", limit)
		}
		l.Done()
		l.Done()
		l.Done()
		wantStreams(t, &l, 103)
	})
	t.Run("limits stop at 2^60", func(t *testing.T) {
		l := NewPeerLimit(1<<60, 100)
		if _, _, err := l.Open(1<<60 - 1); err != nil {
			t.Fatal(err)
		}
		l.Done()
		if limit, ok := l.Update(); ok {
			t.Errorf("announced %d", limit)
		}
		// As if all but ten of that many had come and gone.
		l = PeerLimit{limit: 1<<60 - 10, opened: 1<<60 - 10, done: 1<<60 - 10, concurrent: 100}
		wantStreams(t, &l, 1<<60)
	})
	t.Run("done without open panics", func(t *testing.T) {
		l := NewPeerLimit(10, 10)
		l.Open(0)
		l.Done()
		wantPanic(t, "second Done", l.Done)
	})
}

func wantStreams(t testing.TB, l *PeerLimit, want uint64) {
	t.Helper()
	if got, ok := l.Update(); !ok || got != want || l.Limit() != want {
		t.Fatalf("Update = %d, %v, limit %d; want %d", got, ok, l.Limit(), want)
	}
}

// runStreams lets a LocalLimit and a PeerLimit talk to each other. The model is
// the set of streams that exist.
func runStreams(t *testing.T, prog []byte) {
	o := ops(prog)
	n, ok := o.next(20)
	if !ok {
		return
	}
	concurrent := n + 1
	peer := NewPeerLimit(uint64(concurrent), uint64(concurrent))
	local := NewLocalLimit(uint64(concurrent))
	opened := map[uint64]bool{} // by the local side
	seen := map[uint64]bool{}   // by the peer's
	live := 0
	var onWire []uint64
	for {
		op, ok := o.next(4)
		if !ok {
			break
		}
		arg, _ := o.next(16)
		switch op {
		case 0, 1: // open, and say so later or never
			if i, ok := local.Open(); ok {
				if opened[i] {
					t.Fatalf("index %d opened twice", i)
				}
				opened[i] = true
				if op == 0 {
					onWire = append(onWire, i)
				}
			} else if local.Available() != 0 {
				t.Fatal("refused with credit")
			}
		case 2: // arrive, in any order
			if len(onWire) == 0 {
				break
			}
			k := arg % len(onWire)
			i := onWire[k]
			onWire = append(onWire[:k], onWire[k+1:]...)
			from, to, err := peer.Open(i)
			if err != nil {
				t.Fatalf("index %d: %v", i, err)
			}
			for ; from < to; from++ {
				if seen[from] {
					t.Fatalf("index %d seen twice", from)
				}
				seen[from] = true
				live++
			}
			if !seen[i] {
				t.Fatalf("index %d not seen", i)
			}
		case 3:
			for range min(arg, live) {
				peer.Done()
				live--
			}
		}
		if limit, ok := peer.Update(); ok {
			if change, err := local.Raise(limit); change != Raised || err != nil {
				t.Fatalf("limit %d: %d, %v", limit, change, err)
			}
		}
		if peer.Live() != uint64(live) || live > concurrent {
			t.Fatalf("%d live, model %d, bound %d", peer.Live(), live, concurrent)
		}
	}
	// However it came about: with all opened and done, one more can be opened.
	if local.Opened() > 0 {
		if _, _, err := peer.Open(local.Opened() - 1); err != nil {
			t.Fatal(err)
		}
	}
	for peer.Live() > 0 {
		peer.Done()
	}
	if limit, ok := peer.Update(); ok {
		local.Raise(limit)
	}
	if local.Available() == 0 {
		t.Fatalf("nothing open and no credit at %d", local.Limit())
	}
}

func TestStreamLimitsModel(t *testing.T) {
	for range 100 {
		runStreams(t, program(t))
	}
}

func FuzzStreamLimits(f *testing.F) {
	addPrograms(f)
	f.Fuzz(runStreams)
}
