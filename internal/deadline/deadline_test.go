package deadline

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"
)

func isDone(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// check compares what the deadline says of itself.
func check(t *testing.T, d *Deadline, want bool, why string) {
	t.Helper()
	if got := isDone(d.Done()); got != want {
		t.Errorf("%s: Done closed = %v, want %v", why, got, want)
	}
	if got := d.Passed(); got != want {
		t.Errorf("%s: Passed = %v, want %v", why, got, want)
	}
}

func TestDeadline(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, d *Deadline, start time.Time)
	}{
		{"zero value never passes", func(t *testing.T, d *Deadline, start time.Time) {
			ch := d.Done()
			time.Sleep(1000 * time.Hour)
			if isDone(ch) {
				t.Error("passed without having been set")
			}
			check(t, d, false, "never set")
		}},
		{"passes at its time, for one who waits already", func(t *testing.T, d *Deadline, start time.Time) {
			ch := d.Done()
			d.Set(start.Add(3 * time.Second))
			<-ch
			if got := time.Since(start); got != 3*time.Second {
				t.Errorf("woken after %v, want 3s", got)
			}
		}},
		{"passes at its time, for one who comes later", func(t *testing.T, d *Deadline, start time.Time) {
			d.Set(start.Add(3 * time.Second))
			time.Sleep(5 * time.Second)
			synctest.Wait()
			check(t, d, true, "after its time")
		}},
		{"now and the past pass at once", func(t *testing.T, d *Deadline, start time.Time) {
			ch := d.Done()
			d.Set(start)
			check(t, d, true, "set to now")
			if !isDone(ch) {
				t.Error("the waiter was not woken")
			}
			d.Set(start.Add(-time.Hour))
			check(t, d, true, "set to the past")
		}},
		{"moved away keeps the waiter asleep", func(t *testing.T, d *Deadline, start time.Time) {
			ch := d.Done()
			d.Set(start.Add(time.Second))
			d.Set(start.Add(10 * time.Second))
			<-ch
			if got := time.Since(start); got != 10*time.Second {
				t.Errorf("woken after %v, want 10s", got)
			}
		}},
		{"moved nearer wakes the waiter earlier", func(t *testing.T, d *Deadline, start time.Time) {
			ch := d.Done()
			d.Set(start.Add(10 * time.Second))
			d.Set(start.Add(time.Second))
			<-ch
			if got := time.Since(start); got != time.Second {
				t.Errorf("woken after %v, want 1s", got)
			}
		}},
		{"taken away does not pass", func(t *testing.T, d *Deadline, start time.Time) {
			ch := d.Done()
			d.Set(start.Add(time.Second))
			d.Set(time.Time{})
			time.Sleep(time.Hour)
			synctest.Wait()
			if isDone(ch) {
				t.Error("the waiter was woken")
			}
			check(t, d, false, "taken away")
		}},
		{"renewed after it passed", func(t *testing.T, d *Deadline, start time.Time) {
			d.Set(start)
			old := d.Done()
			d.Set(start.Add(time.Second))
			check(t, d, false, "renewed")
			if !isDone(old) {
				t.Error("the old channel opened again")
			}
			<-d.Done()
			if got := time.Since(start); got != time.Second {
				t.Errorf("woken after %v, want 1s", got)
			}
		}},
		{"taken away after it passed", func(t *testing.T, d *Deadline, start time.Time) {
			d.Set(start)
			d.Set(time.Time{})
			check(t, d, false, "taken away")
		}},
		{"stopped", func(t *testing.T, d *Deadline, start time.Time) {
			d.Set(start.Add(time.Second))
			d.Stop()
			time.Sleep(time.Hour)
			check(t, d, false, "stopped before it passed")
			d.Set(time.Now().Add(time.Second))
			<-d.Done()
			d.Stop()
			check(t, d, true, "stopped after it passed")
		}},
		{"set at the very moment it passes", func(t *testing.T, d *Deadline, start time.Time) {
			// Whichever of timer and Set comes first, the later time counts.
			for range 100 {
				at := time.Now().Add(time.Second)
				d.Set(at)
				time.Sleep(time.Second)
				d.Set(at.Add(time.Second))
				synctest.Wait()
				check(t, d, false, "renewed in the same instant")
				d.Set(time.Time{})
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d Deadline
				c.run(t, &d, time.Now())
				d.Set(time.Time{})
			})
		})
	}
}

// TestConcurrent is for the race detector; it also wants every waiter woken.
func TestConcurrent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d Deadline
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for j := range 50 {
					d.Set(time.Now().Add(time.Duration(i*j) * time.Millisecond))
					time.Sleep(time.Millisecond)
				}
			})
			wg.Go(func() {
				for range 50 {
					<-d.Done()
					time.Sleep(time.Millisecond)
				}
			})
		}
		wg.Wait()
	})
}

// TestTimerIsReleased checks that a deadline which was taken away, moved or
// stopped leaves no timer behind that would keep it alive until its time.
func TestTimerIsReleased(t *testing.T) {
	var left []weak.Pointer[Deadline]
	for i := range 10 {
		d := new(Deadline)
		d.Set(time.Now().Add(1000 * time.Hour))
		d.Set(time.Now().Add(2000 * time.Hour))
		if i%2 == 0 {
			d.Set(time.Time{})
		} else {
			d.Stop()
		}
		left = append(left, weak.Make(d))
	}
	runtime.GC()
	runtime.GC()
	for i, p := range left {
		if p.Value() != nil {
			t.Errorf("deadline %d is still reachable", i)
		}
	}
}
