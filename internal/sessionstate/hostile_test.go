package sessionstate

import (
	"runtime"
	"testing"

	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/transport"
)

// TestHostileBudget: many sessions at the cap must not make each capsule cost a
// walk over all of them.
func TestHostileBudget(t *testing.T) {
	// fill returns a budget at its cap, which nobody can be ended for.
	fill := func(limit int64) *Budget {
		b := NewBudget(limit, nil)
		b.Register(nil, nil).Hold(int(limit)).Run()
		return b
	}
	const sessions = 16_000
	t.Run("DS-19 many sessions hold a little each at the cap", func(t *testing.T) {
		m := hostile.Start(t, hostile.Attack{
			Name: "thousands of sessions at the memory cap", Victim: "server",
			Bytes:    sessions * 1024, // the documented state of a session
			Reaction: "the newest of those holding most is ended, at a cost that does not grow with their number",
			Limit:    transport.LimitMemory,
		})
		var kept []*Holder
		m.Cost(sessions/4, func(n int) {
			server := fill(DefaultServerBudget)
			ended := 0
			holders := make([]*Holder, n)
			for i := range holders {
				holders[i] = NewBudget(DefaultConnectionBudget, server).Register(func() { ended++ }, nil)
			}
			for _, h := range holders {
				h.Hold(4096).Run()
			}
			if ended != n {
				t.Fatalf("%d of %d sessions were ended at the cap", ended, n)
			}
			kept = holders
		})
		m.Sample()
		for _, h := range kept {
			h.Close().Run()
		}
		m.End(nil)
	})
	t.Run("DS-19 many sessions wait for credit at the cap", func(t *testing.T) {
		m := hostile.Start(t, hostile.Attack{
			Name: "thousands of sessions wait at the memory cap", Victim: "server",
			Bytes:    sessions * 1024,
			Reaction: "each is told once when there is room; who left is forgotten at once",
			Limit:    transport.LimitMemory,
		})
		var server *Budget
		m.Cost(sessions/4, func(n int) {
			server = NewBudget(1<<20, nil)
			filler := server.Register(nil, nil)
			relieved := 0
			holders := make([]*Holder, n)
			for i := range holders {
				holders[i] = server.Register(nil, func() { relieved++ })
			}
			for range 4 { // all wait, all are told, a single one crosses the cap again and again
				filler.Hold(1 << 20).Run()
				for _, h := range holders {
					h.Credit()
				}
				filler.Release(1 << 20).Run()
				for range n / 4 {
					filler.Hold(1 << 20).Run()
					holders[0].Credit()
					filler.Release(1 << 20).Run()
				}
			}
			if want := 4*n + n/4*4; relieved != want {
				t.Fatalf("%d were told, want %d", relieved, want)
			}
			// Sessions come, wait and go.
			filler.Hold(1 << 20).Run()
			for range n {
				h := server.Register(nil, nil)
				h.Credit()
				h.Close().Run()
			}
			if len(server.waiting) != 0 {
				t.Fatalf("%d of those that left are remembered", len(server.waiting))
			}
		})
		m.Sample()
		runtime.KeepAlive(server)
		m.End(nil)
	})
}
