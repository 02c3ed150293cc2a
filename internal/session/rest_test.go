package session

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"unsafe"

	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

var errLostInTest = errors.New("lost")

// TestSessionAtRest is about what a session costs that nothing happens on.
func TestSessionAtRest(t *testing.T) {
	t.Run("its state fits 1.5 KiB", func(t *testing.T) {
		if n := unsafe.Sizeof(Session{}); unsafe.Sizeof(uintptr(0)) == 8 && n > 1536 {
			t.Errorf("%d bytes, and the allocator's next class is 1,792", n)
		}
	})
	t.Run("all of it takes less than 2.5 KiB with a Config that is shared", func(t *testing.T) {
		shared := (*transport.Config)(nil).WithDefaults()
		budget := sessionstate.NewBudget(1<<30, nil)
		const n = 2000
		sessions := make([]*Session, n)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range sessions {
			sessions[i] = New(Params{Shared: &shared, Budget: budget, Carrier: &testCarrier{},
				Local: limitsOf(nil), Peer: limitsOf(nil), Dialect: transport.DialectDraft15})
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if per := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n; per > 2560 {
			t.Errorf("%d bytes", per)
		}
		for _, s := range sessions {
			s.Lost(nil)
		}
	})
}

// TestEndWakesEverybody: calls of one kind share one token, which each passes on.
func TestEndWakesEverybody(t *testing.T) {
	none := func(p *Params) { p.Peer.MaxStreamsBidi, p.Peer.MaxStreamsUni = 0, 0 }
	bubble(t, func(t *tester) {
		ctx := context.Background()
		calls := map[string]func() error{
			"OpenStream":      func() error { _, err := t.s.OpenStream(ctx); return err },
			"OpenUniStream":   func() error { _, err := t.s.OpenUniStream(ctx); return err },
			"AcceptStream":    func() error { _, err := t.s.AcceptStream(ctx); return err },
			"AcceptUniStream": func() error { _, err := t.s.AcceptUniStream(ctx); return err },
			"ReceiveDatagram": func() error { _, err := t.s.ReceiveDatagram(ctx); return err },
		}
		const each = 3
		ended := make(chan string, each*len(calls))
		for name, call := range calls {
			for range each {
				go func() { // ends with the session
					ended <- fmt.Sprintf("%s: %v", name, call())
				}()
			}
		}
		synctest.Wait()
		if n := len(ended); n != 0 {
			t.Fatalf("%d calls have returned: %s", n, <-ended)
		}
		t.s.Lost(errLostInTest)
		synctest.Wait()
		if n := len(ended); n != cap(ended) {
			t.Fatalf("%d of %d calls have returned", n, cap(ended))
		}
		close(ended)
		for e := range ended {
			name, _, _ := strings.Cut(e, ":")
			if want := fmt.Sprintf("%s: %v", name, t.s.err); e != want {
				t.Errorf("%s, want %s", e, want)
			}
		}
		for name, call := range calls {
			if err := call(); err != t.s.err {
				t.Errorf("%s after the end: %v", name, err)
			}
		}
	}, none)
}

// TestContextIsMadeWhenAskedFor: it says the same whether it was asked for before
// the end or after it.
func TestContextIsMadeWhenAskedFor(t *testing.T) {
	bubble(t, func(t *tester) {
		if t.s.ctx != nil {
			t.Error("nobody has asked for it")
		}
		ctx := t.s.Context()
		if ctx.Err() != nil || t.s.Context() != ctx {
			t.Error("not one that lives")
		}
		t.s.Lost(errLostInTest)
		if context.Cause(ctx) != t.s.err {
			t.Errorf("cause %v, want %v", context.Cause(ctx), t.s.err)
		}
	})
	bubble(t, func(t *tester) {
		t.s.Lost(errLostInTest)
		if err := context.Cause(t.s.Context()); err != t.s.err {
			t.Errorf("cause %v, want %v", err, t.s.err)
		}
	})
}

// TestCharge: what the carrier keeps is counted to the byte, until the end.
func TestCharge(t *testing.T) {
	budget := sessionstate.NewBudget(1<<20, nil)
	in := func(p *Params) { p.Budget = budget }
	bubble(t, func(t *tester) {
		t.s.Charge(700)
		t.s.Charge(1)
		if n := budget.Held(); n != 701 {
			t.Errorf("%d bytes held", n)
		}
		t.s.Lost(errLostInTest)
		if n := budget.Held(); n != 0 {
			t.Errorf("%d bytes held after the end", n)
		}
		t.s.Charge(5)
		if n := budget.Held(); n != 0 {
			t.Errorf("%d bytes held after the end", n)
		}
	}, in)
	t.Run("one that is too much ends the session", func(t *testing.T) {
		bubble(t, func(t *tester) {
			t.s.Charge(1 << 20)
			if limit, ok := transport.ReachedLimit(t.s.err); !ok || limit != transport.LimitMemory {
				t.Errorf("the session ended with %v", t.s.err)
			}
			if n := budget.Held(); n != 0 {
				t.Errorf("%d bytes held after the end", n)
			}
		}, in)
	})
}
