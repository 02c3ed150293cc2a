package sessionstate

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/towpath-go/towpath/transport"
)

// wantViolation checks that err is the protocol error of that kind.
func wantViolation(t testing.TB, err error, v transport.Violation, why string) {
	t.Helper()
	var e *transport.ProtocolError
	if !errors.As(err, &e) || e.Violation != v {
		t.Errorf("%s: got error %v, want a %v", why, err, v)
	}
}

// wantPanic checks that f panics: a bug of the caller is not glossed over.
func wantPanic(t testing.TB, why string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if recover() == nil {
			t.Errorf("%s: no panic", why)
		}
	}()
	f()
}

// program returns random bytes that a test reads as a program of operations,
// and logs how to get the same again.
func program(t *testing.T) []byte {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return programOf(seed)
}

func programOf(seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, r.IntN(600))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// addPrograms gives a fuzz target programs to begin with.
func addPrograms(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(programOf(seed))
	}
}

// ops reads a program.
type ops []byte

// next returns a number below n, and false at the program's end.
func (o *ops) next(n int) (int, bool) {
	if len(*o) == 0 {
		return 0, false
	}
	v := int((*o)[0]) % n
	*o = (*o)[1:]
	return v, true
}

func TestSendCredit(t *testing.T) {
	t.Run("what was not sent after all comes back", func(t *testing.T) {
		c := NewSendCredit(10)
		c.Use(10)
		if _, blocked := c.TakeBlocked(); !blocked {
			t.Error("not blocked with all used")
		}
		c.Return(4)
		if c.Available() != 4 || c.Used() != 6 {
			t.Errorf("%d available, %d used", c.Available(), c.Used())
		}
		wantPanic(t, "more than was used", func() { c.Return(7) })
		c.Return(6)
		if c.Available() != 10 || c.Limit() != 10 {
			t.Errorf("%d available of %d", c.Available(), c.Limit())
		}
	})
	t.Run("H2-140 never more than the limit can be used", func(t *testing.T) {
		for _, limit := range []uint64{0, 1, 2, 63, 1 << 20, MaxOffset} {
			c := NewSendCredit(limit)
			if c.Available() != limit || c.Limit() != limit || c.Used() != 0 {
				t.Errorf("limit %d: %d available, limit %d, used %d", limit, c.Available(), c.Limit(), c.Used())
			}
			wantPanic(t, "one byte too many", func() { c.Use(limit + 1) })
			c.Use(limit)
			if c.Available() != 0 || c.Used() != limit {
				t.Errorf("limit %d used up: %d available, used %d", limit, c.Available(), c.Used())
			}
		}
	})
	t.Run("H2-144 H2-145 H3-052 lower, equal and higher limits are told apart", func(t *testing.T) {
		c := NewSendCredit(100)
		for _, step := range []struct {
			limit uint64
			want  Change
			then  uint64
		}{
			{99, Lowered, 100}, {0, Lowered, 100}, {100, Unchanged, 100}, {101, Raised, 101},
			{100, Lowered, 101}, {101, Unchanged, 101}, {MaxOffset, Raised, MaxOffset},
			{MaxOffset, Unchanged, MaxOffset}, {101, Lowered, MaxOffset},
		} {
			if got := c.Raise(step.limit); got != step.want || c.Limit() != step.then {
				t.Errorf("Raise(%d) = %d, limit %d; want %d, limit %d", step.limit, got, c.Limit(), step.want, step.then)
			}
		}
	})
	t.Run("H2-149 blocked is said once per limit", func(t *testing.T) {
		c := NewSendCredit(0)
		want := func(limit uint64, ok bool, why string) {
			t.Helper()
			if l, o := c.TakeBlocked(); o != ok || o && l != limit {
				t.Errorf("%s: TakeBlocked = %d, %v, want %d, %v", why, l, o, limit, ok)
			}
		}
		want(0, true, "a limit of 0 blocks from the start")
		want(0, false, "said before")
		c.Raise(5)
		want(0, false, "credit left")
		c.Use(5)
		want(5, true, "used up")
		want(0, false, "said before")
		c.Raise(5)
		want(0, false, "the same limit again")
		c.Raise(6)
		c.Use(1)
		want(6, true, "used up again")
	})
	t.Run("zero value allows nothing", func(t *testing.T) {
		var c SendCredit
		wantPanic(t, "one byte", func() { c.Use(1) })
	})
	t.Run("limits beyond 62 bits are cut", func(t *testing.T) {
		c := NewSendCredit(1 << 63)
		if c.Limit() != MaxOffset || c.Raise(1<<63) != Unchanged {
			t.Errorf("limit %d", c.Limit())
		}
	})
}

// runCredit checks SendCredit against a model that keeps every limit and every
// byte count it ever saw.
func runCredit(t *testing.T, prog []byte) {
	o := ops(prog)
	first, ok := o.next(16)
	if !ok {
		return
	}
	c := NewSendCredit(uint64(first))
	limits := []uint64{uint64(first)}
	var sent []uint64
	told := map[uint64]bool{}
	for {
		op, ok := o.next(4)
		if !ok {
			return
		}
		arg, _ := o.next(32)
		n := uint64(arg)
		highest, total := uint64(0), uint64(0)
		for _, l := range limits {
			highest = max(highest, l)
		}
		for _, s := range sent {
			total += s
		}
		if c.Available() != highest-total || c.Used() != total || c.Limit() != highest {
			t.Fatalf("available %d, used %d, limit %d; model has limit %d, used %d",
				c.Available(), c.Used(), c.Limit(), highest, total)
		}
		switch op {
		case 0, 1:
			if n = min(n, c.Available()); n > 0 {
				c.Use(n)
				sent = append(sent, n)
			}
		case 2:
			limit := highest + n
			if n > 16 {
				limit = highest - min(highest, n-16)
			}
			want := Unchanged
			switch {
			case limit > highest:
				want = Raised
			case limit < highest:
				want = Lowered
			}
			if got := c.Raise(limit); got != want {
				t.Fatalf("Raise(%d) over %d = %d, want %d", limit, highest, got, want)
			}
			limits = append(limits, limit)
		case 3:
			l, ok := c.TakeBlocked()
			want := highest == total && !told[highest]
			if ok != want || ok && l != highest {
				t.Fatalf("TakeBlocked = %d, %v; want %d, %v", l, ok, highest, want)
			}
			told[highest] = told[highest] || ok
		}
	}
}

func TestSendCreditModel(t *testing.T) {
	for range 100 {
		runCredit(t, program(t))
	}
}

func FuzzSendCredit(f *testing.F) {
	addPrograms(f)
	f.Fuzz(runCredit)
}
