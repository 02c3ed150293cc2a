package gate

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestGate(t *testing.T) {
	closed := make(chan struct{})
	close(closed)
	cause := errors.New("the cause")
	ended, cancel := context.WithCancelCause(context.Background())
	cancel(cause)

	for _, c := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"remembers its bit", func(t *testing.T) {
			for _, set := range []bool{false, true} {
				g := New(set)
				if got := g.Lock(); got != set {
					t.Errorf("New(%v): Lock = %v", set, got)
				}
				g.Unlock(!set)
				if got := g.Lock(); got == set {
					t.Errorf("Unlock(%v): Lock = %v", !set, got)
				}
			}
		}},
		{"LockIfSet", func(t *testing.T) {
			g := New(false)
			if g.LockIfSet() {
				t.Fatal("locked an unset gate")
			}
			g.Lock()
			g.Unlock(true)
			if !g.LockIfSet() {
				t.Fatal("did not lock a set gate")
			}
			if g.LockIfSet() {
				t.Fatal("locked a locked gate")
			}
		}},
		{"Wait succeeds at once although the context ended", func(t *testing.T) {
			// Often, since select chooses at random.
			g := New(true)
			for range 100 {
				if err := g.Wait(ended, closed); err != nil {
					t.Fatal(err)
				}
				g.Unlock(true)
			}
		}},
		{"Wait gives up with the context's cause", func(t *testing.T) {
			g := New(false)
			if err := g.Wait(ended, nil); err != cause {
				t.Fatalf("got %v, want %v", err, cause)
			}
			if g.Lock() {
				t.Error("giving up set the bit")
			}
		}},
		{"Wait gives up at the deadline", func(t *testing.T) {
			g := New(false)
			if err := g.Wait(context.Background(), closed); err != os.ErrDeadlineExceeded {
				t.Fatalf("got %v, want %v", err, os.ErrDeadlineExceeded)
			}
			if g.Lock() {
				t.Error("giving up set the bit")
			}
		}},
		{"Wait waits out a lock held with the bit to be set", func(t *testing.T) {
			g := New(false)
			g.Lock()
			start := time.Now()
			time.AfterFunc(time.Second, func() { g.Unlock(true) })
			if err := g.Wait(context.Background(), nil); err != nil {
				t.Fatal(err)
			}
			if got := time.Since(start); got != time.Second {
				t.Errorf("waited %v, want 1s", got)
			}
		}},
		{"unset bit wakes nobody", func(t *testing.T) {
			g := New(false)
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			time.AfterFunc(time.Second, func() { g.Lock(); g.Unlock(false) })
			if err := g.Wait(ctx, nil); err != context.DeadlineExceeded {
				t.Fatalf("got %v, want %v", err, context.DeadlineExceeded)
			}
		}},
		{"Unlock of an unlocked gate panics", func(t *testing.T) {
			for _, set := range []bool{false, true} {
				func() {
					defer func() {
						if recover() == nil {
							t.Errorf("Unlock(%v) did not panic", set)
						}
					}()
					New(!set).Unlock(set)
				}()
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) { synctest.Test(t, c.run) })
	}
}

// TestMonitor passes numbers through a queue under a Gate: each must come out
// once, with every goroutine let go in the end.
func TestMonitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const producers, each, consumers = 4, 250, 3
		g := New(false)
		var queue []int // under g
		seen := make(map[int]int)
		var mu sync.Mutex // guards seen
		ctx, cancel := context.WithCancel(context.Background())
		var made, used sync.WaitGroup
		for p := range producers {
			made.Go(func() {
				for i := range each {
					g.Lock()
					queue = append(queue, p*each+i)
					g.Unlock(true)
				}
			})
		}
		for range consumers {
			used.Go(func() {
				for {
					if err := g.Wait(ctx, nil); err != nil {
						return
					}
					v := queue[0]
					queue = queue[1:]
					g.Unlock(len(queue) > 0)
					mu.Lock()
					seen[v]++
					mu.Unlock()
				}
			})
		}
		made.Wait()
		synctest.Wait()
		cancel()
		used.Wait()
		if len(queue) != 0 || len(seen) != producers*each {
			t.Fatalf("%d left in the queue, %d of %d seen", len(queue), len(seen), producers*each)
		}
		for v, n := range seen {
			if n != 1 {
				t.Errorf("%d came out %d times", v, n)
			}
		}
	})
}
