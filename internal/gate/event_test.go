package gate

import "testing"

func TestEvent(t *testing.T) {
	closed := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	t.Run("whoever asked before is woken", func(t *testing.T) {
		var e Event
		first, second := e.Done(), e.Done()
		if closed(first) || e.Happened() {
			t.Fatal("it has happened already")
		}
		e.Happen()
		e.Happen()
		if !closed(first) || !closed(second) || !e.Happened() {
			t.Error("it has not happened")
		}
	})
	t.Run("whoever asks afterwards does not wait", func(t *testing.T) {
		var e Event
		e.Happen()
		if !closed(e.Done()) {
			t.Error("it has not happened")
		}
		e.Happen()
	})
	t.Run("nobody's waiting is not made", func(t *testing.T) {
		if n := testing.AllocsPerRun(10, func() {
			var e Event
			e.Happen()
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}
