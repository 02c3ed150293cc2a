package sessionstate

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/towpath-go/towpath/transport"
)

func TestDatagramQueue(t *testing.T) {
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	popAll := func(q *DatagramQueue, now time.Time) (got []string, drops []Drop) {
		for {
			p, ok, d := q.Pop(now, drops)
			drops = d
			if !ok {
				return got, drops
			}
			got = append(got, string(p))
		}
	}
	t.Run("FW-17 H2-171 H2-172 one more than the capacity drops the oldest", func(t *testing.T) {
		q := NewDatagramQueue(3, transport.DropOldest, 0)
		for i, p := range []string{"a", "bb", "ccc"} {
			if drops := q.Push(at(i), []byte(p), nil); len(drops) > 0 {
				t.Fatalf("dropped %v below the capacity", drops)
			}
		}
		drops := q.Push(at(10), []byte("dddd"), nil)
		if want := []Drop{{Size: 1, Age: 10 * time.Second}}; !slices.Equal(drops, want) {
			t.Errorf("dropped %v, want %v", drops, want)
		}
		if q.Len() != 3 || q.Bytes() != 9 {
			t.Errorf("%d datagrams of %d bytes, want 3 of 9", q.Len(), q.Bytes())
		}
		if got, _ := popAll(q, at(10)); !slices.Equal(got, []string{"bb", "ccc", "dddd"}) {
			t.Errorf("popped %q", got)
		}
	})
	t.Run("FW-17 H2-171 H2-172 one more than the capacity drops the newest", func(t *testing.T) {
		q := NewDatagramQueue(2, transport.DropNewest, 0)
		q.Push(at(0), []byte("a"), nil)
		q.Push(at(1), []byte("b"), nil)
		drops := q.Push(at(2), []byte("cc"), nil)
		if want := []Drop{{Size: 2}}; !slices.Equal(drops, want) {
			t.Errorf("dropped %v, want %v", drops, want)
		}
		if got, _ := popAll(q, at(2)); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("popped %q", got)
		}
	})
	t.Run("a full queue says so", func(t *testing.T) {
		q := NewDatagramQueue(2, transport.DropOldest, 0)
		for i, want := range []bool{false, false, true, true} {
			if q.Full() != want {
				t.Errorf("with %d pushed: %v", i, q.Full())
			}
			q.Push(at(i), []byte("x"), nil)
		}
		if q.Pop(at(4), nil); q.Full() {
			t.Error("full with room for one")
		}
		if NewDatagramQueue(0, transport.DropOldest, 0).Full() {
			t.Error("a queue of no capacity is full")
		}
	})
	t.Run("FW-17 too old ones are dropped", func(t *testing.T) {
		q := NewDatagramQueue(4, transport.DropOldest, 2*time.Second)
		q.Push(at(0), []byte("a"), nil)
		q.Push(at(1), []byte("bb"), nil)
		q.Push(at(2), []byte("ccc"), nil)
		// At exactly the maximum age a datagram is still good.
		p, ok, drops := q.Peek(at(3), nil)
		if want := []Drop{{1, 3 * time.Second, true}}; !ok || string(p) != "bb" || !slices.Equal(drops, want) {
			t.Errorf("Peek = %q, %v, %v, want bb, %v", p, ok, drops, want)
		}
		got, drops := popAll(q, at(4))
		if want := []Drop{{2, 3 * time.Second, true}}; !slices.Equal(got, []string{"ccc"}) || !slices.Equal(drops, want) {
			t.Errorf("popped %q, dropped %v, want ccc, %v", got, drops, want)
		}
		if _, ok, drops := q.Pop(at(100), nil); ok || drops != nil {
			t.Errorf("an empty queue gave %v, %v", ok, drops)
		}
	})
	t.Run("FW-17 the too old make room before anything else is dropped", func(t *testing.T) {
		for _, policy := range []transport.DropPolicy{transport.DropOldest, transport.DropNewest} {
			q := NewDatagramQueue(2, policy, 2*time.Second)
			q.Push(at(0), []byte("a"), nil)
			q.Push(at(2), []byte("b"), nil)
			drops := q.Push(at(3), []byte("c"), nil)
			if want := []Drop{{1, 3 * time.Second, true}}; !slices.Equal(drops, want) {
				t.Errorf("policy %d: dropped %v, want %v", policy, drops, want)
			}
			if got, _ := popAll(q, at(3)); !slices.Equal(got, []string{"b", "c"}) {
				t.Errorf("policy %d: popped %q", policy, got)
			}
		}
	})
	t.Run("FW-17 a capacity of 0 drops all", func(t *testing.T) {
		for _, capacity := range []int{0, -1} {
			for _, policy := range []transport.DropPolicy{transport.DropOldest, transport.DropNewest} {
				q := NewDatagramQueue(capacity, policy, time.Second)
				if drops := q.Push(at(0), []byte("a"), nil); !slices.Equal(drops, []Drop{{Size: 1}}) || q.Len() != 0 {
					t.Errorf("capacity %d, policy %d: dropped %v, %d left", capacity, policy, drops, q.Len())
				}
			}
		}
	})
	t.Run("empty datagrams count", func(t *testing.T) {
		q := NewDatagramQueue(1, transport.DropNewest, 0)
		q.Push(at(0), nil, nil)
		if drops := q.Push(at(0), nil, nil); len(drops) != 1 {
			t.Error("two in a queue for one")
		}
		if p, ok, _ := q.Pop(at(0), nil); !ok || len(p) != 0 {
			t.Errorf("Pop = %q, %v", p, ok)
		}
	})
	t.Run("Clear", func(t *testing.T) {
		q := NewDatagramQueue(2, transport.DropOldest, 0)
		q.Push(at(0), []byte("abc"), nil)
		if n := q.Clear(); n != 3 || q.Len() != 0 || q.Bytes() != 0 {
			t.Errorf("cleared %d bytes, left %d of %d", n, q.Len(), q.Bytes())
		}
		q.Push(at(0), []byte("d"), nil)
		if got, _ := popAll(q, at(0)); !slices.Equal(got, []string{"d"}) {
			t.Errorf("popped %q", got)
		}
	})
	t.Run("memory follows use, not capacity", func(t *testing.T) {
		q := NewDatagramQueue(1<<30, transport.DropOldest, 0)
		q.Push(at(0), []byte("a"), nil)
		if n := len(q.ring); n > 4 {
			t.Errorf("room for %d after one datagram", n)
		}
	})
}

// runDatagrams checks DatagramQueue against a plain list.
func runDatagrams(t *testing.T, prog []byte) {
	o := ops(prog)
	capacity, _ := o.next(12)
	policy, _ := o.next(2)
	age, ok := o.next(6)
	if !ok {
		return
	}
	maxAge := time.Duration(age) * time.Second
	q := NewDatagramQueue(capacity, transport.DropPolicy(policy), maxAge)
	type item struct {
		payload string
		since   time.Time
	}
	var list []item
	now := start
	serial := 0
	expire := func() (drops []Drop) {
		var kept []item
		for _, it := range list {
			if a := now.Sub(it.since); maxAge > 0 && a > maxAge {
				drops = append(drops, Drop{len(it.payload), a, true})
			} else {
				kept = append(kept, it)
			}
		}
		list = kept
		return drops
	}
	for {
		op, ok := o.next(8)
		if !ok {
			return
		}
		arg, _ := o.next(8)
		switch {
		case op < 4:
			serial++
			p := fmt.Sprintf("%d-%0*d", serial, arg, 0)
			want := expire()
			switch {
			case len(list) < capacity:
				list = append(list, item{p, now})
			case capacity == 0 || transport.DropPolicy(policy) == transport.DropNewest:
				want = append(want, Drop{Size: len(p)})
			default:
				want = append(want, Drop{Size: len(list[0].payload), Age: now.Sub(list[0].since)})
				list = append(slices.Clone(list[1:]), item{p, now})
			}
			if got := q.Push(now, []byte(p), nil); !slices.Equal(got, want) {
				t.Fatalf("Push dropped %v, want %v", got, want)
			}
		case op < 6:
			want := expire()
			p, ok, got := q.Pop(now, nil)
			if !slices.Equal(got, want) || ok != (len(list) > 0) || ok && string(p) != list[0].payload {
				t.Fatalf("Pop = %q, %v, %v; want %v of %v", p, ok, got, want, list)
			}
			if ok {
				list = list[1:]
			}
		case op == 6:
			want := expire()
			p, ok, got := q.Peek(now, nil)
			if !slices.Equal(got, want) || ok != (len(list) > 0) || ok && string(p) != list[0].payload {
				t.Fatalf("Peek = %q, %v, %v; want %v of %v", p, ok, got, want, list)
			}
		default:
			now = now.Add(time.Duration(arg) * time.Second)
		}
		bytes := 0
		for _, it := range list {
			bytes += len(it.payload)
		}
		if q.Len() != len(list) || q.Bytes() != bytes || len(q.ring) > max(capacity, 0) {
			t.Fatalf("%d datagrams of %d bytes in a ring of %d; model has %d of %d, capacity %d",
				q.Len(), q.Bytes(), len(q.ring), len(list), bytes, capacity)
		}
	}
}

func TestDatagramQueueModel(t *testing.T) {
	for range 100 {
		runDatagrams(t, program(t))
	}
}

func FuzzDatagramQueue(f *testing.F) {
	addPrograms(f)
	f.Fuzz(runDatagrams)
}
