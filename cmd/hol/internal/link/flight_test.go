package link

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// checkFlight runs a program on a flight and beside it on a sorted list. Odd
// bytes take, even ones send at a time that follows from them.
func checkFlight(t *testing.T, program []byte) {
	f := newFlight(100)
	var model []parcel
	var number, highest uint64
	var reordered int64
	for _, op := range program {
		if op%2 == 0 {
			slot := f.room()
			if len(slot) != 100 {
				t.Fatalf("a slot of %d bytes", len(slot))
			}
			size := 1 + int(op)%100
			for i := range slot[:size] {
				slot[i] = byte(number) + op
			}
			p := parcel{time.Duration(op / 8), number, bytes.Clone(slot[:size])}
			f.send(p.at, number, size)
			number++
			i, _ := slices.BinarySearchFunc(model, p, func(a, b parcel) int {
				if a.before(b) {
					return -1
				}
				return 1
			})
			model = slices.Insert(model, i, p)
		}
		at, ok := f.next()
		if ok != (len(model) > 0) || ok && at != model[0].at {
			t.Fatalf("next is %v, %v; want %v", at, ok, model)
		}
		if op%2 == 1 && ok {
			got, want := f.take(), model[0]
			model = model[1:]
			if got.at != want.at || got.number != want.number || !bytes.Equal(got.bytes, want.bytes) {
				t.Fatalf("took %+v, want %+v", got, want)
			}
			if got.number < highest {
				reordered++
			}
			highest = max(highest, got.number)
		}
	}
	if f.reordered != reordered {
		t.Fatalf("%d reordered, want %d", f.reordered, reordered)
	}
	if n := len(f.heap) + len(f.empty); n != f.made || f.made > f.limit {
		t.Fatalf("%d slots of %d made, limit %d", n, f.made, f.limit)
	}
}

func TestFlight(t *testing.T) {
	const seed = 1
	random := rand.New(rand.NewPCG(seed, seed))
	for round := range 200 {
		program := make([]byte, 1000)
		for i := range program {
			program[i] = byte(random.UintN(256))
			if random.UintN(100) < uint(round) { // more or less is sent than taken
				program[i] &^= 1
			}
		}
		checkFlight(t, program)
	}
}

func FuzzFlight(f *testing.F) {
	f.Add([]byte{0, 2, 4, 255, 8, 3, 200, 100, 5, 7, 9})
	f.Fuzz(func(t *testing.T, program []byte) { checkFlight(t, program) })
}

func TestFlightBounded(t *testing.T) {
	for mtu, want := range map[int]int{MinMTU: maxFlight, 9000: maxFlightBytes / 9000, MaxMTU: maxFlightBytes / MaxMTU} {
		if got := newFlight(mtu).limit; got != want {
			t.Errorf("MTU %d: at most %d packets, want %d", mtu, got, want)
		}
	}
	f := newFlight(MinMTU)
	f.limit = chunkSlots + 5 // the last chunk is smaller
	for i := range f.limit {
		if f.room() == nil {
			t.Fatalf("full with %d of %d", i, f.limit)
		}
		f.send(0, uint64(i), 20)
	}
	if f.room() != nil {
		t.Error("more than the limit")
	}
	f.take()
	if f.room() == nil {
		t.Error("no room after one has left")
	}
}

func TestFlightAllocatesNothing(t *testing.T) {
	f := newFlight(1500)
	m := newModel(clean(), 1, "up")
	var now time.Duration
	step := func() {
		for range 50 {
			f.room()
			n := uint64(m.passage.Packets)
			at, _ := m.offer(now, 1500, protocolTCP)
			f.send(at, n, 1500)
			now += time.Microsecond
		}
		for range 50 {
			f.take()
		}
	}
	step()
	if n := testing.AllocsPerRun(100, step); n != 0 {
		t.Errorf("%v allocations for 50 packets", n)
	}
}

func BenchmarkModelAndFlight(b *testing.B) {
	f, m := newFlight(1500), newModel(clean(), 1, "up")
	m.link.Loss = 0.01
	var now time.Duration
	b.ReportAllocs()
	for b.Loop() {
		f.room()
		n := uint64(m.passage.Packets)
		if at, cause := m.offer(now, 1500, protocolTCP); cause == Sent {
			f.send(at, n, 1500)
		}
		now += 10 * time.Microsecond
		for at, ok := f.next(); ok && at <= now; at, ok = f.next() {
			f.take()
		}
	}
}
