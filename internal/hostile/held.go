package hostile

import (
	"runtime"
	"runtime/metrics"
	"sync"
)

// A state is what the process holds after a collection.
type state struct {
	heap       int64 // bytes of live objects
	stacks     int64 // bytes of the spans that stacks are cut from
	used       int64 // bytes of stacks between their base and their goroutine's frame
	goroutines int
}

const (
	smallestStack = 2 << 10
	// The runtime counts it as used in every stack before it decides whether to
	// halve it; the race detector has it larger.
	stackReserve     = 800
	stackReserveRace = 3 * stackReserve
)

// since returns by how many bytes more is held than before.
//
// Stacks are cut from spans of 32 KiB, one kind for each size, and processors
// keep some of each to themselves. So one stack of the runtime's own workers that
// goes from 2 to 4 KiB and back may take a span or two, or let go of them. But
// collections halve a stack until a quarter of it is used, so what was used tells
// what the stacks are at most, each of them at least the smallest before. The
// lesser of the two is held: neither is less than what the stacks themselves grew
// by, but for the rounding of the spans. Spans let go of make up for no object.
func (s state) since(before state) int64 {
	reserve := int64(stackReserve)
	if raceDetector {
		reserve = stackReserveRace
	}
	most := 4*(s.used+reserve*int64(s.goroutines)) - smallestStack*int64(min(s.goroutines, before.goroutines))
	return s.heap - before.heap + max(0, min(s.stacks-before.stacks, most))
}

// settled returns what is held once no more of it goes: what the test before has
// left may take more than one collection, and would hide as much of the attack.
func settled() state {
	least := held()
	for range 10 {
		s := held()
		done := s.heap+s.stacks >= least.heap+least.stacks-256
		if s.heap+s.stacks < least.heap+least.stacks {
			least = s
		}
		if done {
			break
		}
	}
	return least
}

// held collects garbage and returns what is left.
func held() state {
	runtime.GC()
	runtime.GC() // what the first one's finalizers and pools let go
	// Its 6 KB would make the caller's stack grow, in some samples and not in others.
	memory.Lock()
	defer memory.Unlock()
	runtime.ReadMemStats(&memory.stats)
	metrics.Read(memory.used[:])
	return state{
		heap:       int64(memory.stats.HeapAlloc),
		stacks:     int64(memory.stats.StackInuse),
		used:       int64(memory.used[0].Value.Uint64()),
		goroutines: runtime.NumGoroutine(),
	}
}

var memory = struct {
	sync.Mutex
	stats runtime.MemStats
	used  [1]metrics.Sample
}{used: [1]metrics.Sample{{Name: "/gc/scan/stack:bytes"}}}

// startThreads has the runtime start all the threads that it may need, once in a
// process. A thread costs some 54 KiB of stacks and objects, stays for good, and
// on a busy machine begins whenever the system lets another one wait too long: in
// the middle of an attack that has nothing to do with it.
var startThreads = sync.OnceFunc(func() { occupyThreads(2*runtime.GOMAXPROCS(0) + 8) })

// occupyThreads has n goroutines at the same time, each on a thread of its own,
// and returns when they have ended. The threads wait for other work.
func occupyThreads(n int) {
	var locked, ended sync.WaitGroup
	release := make(chan struct{})
	locked.Add(n)
	for range n {
		ended.Go(func() { // ends below
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			locked.Done()
			<-release
		})
	}
	locked.Wait()
	close(release)
	ended.Wait()
}
