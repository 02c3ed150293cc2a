package browsers

import (
	"testing"

	"github.com/towpath-go/towpath/e2e/clients"
)

// testMemory: what a page learns of a network is kept in its tab and used, until
// it is cleared or its time is over.
func testMemory(t *testing.T, n *network) {
	s := n.sites["all"]
	n.Filter(t, dropUDP)
	p := n.open(t, s)
	// connect opens a session, waits until its race has taught what it can, and
	// closes the session.
	connect := func(t *testing.T, options map[string]any) report {
		t.Helper()
		ctx := clients.Limited(t)
		client, _, err := p.connect(ctx, s.origin()+"/session", options)
		clients.Must(t, err)
		s.accept(t, ctx)
		r, err := p.raceOver(ctx)
		clients.Must(t, err)
		clients.Must(t, client.Close(ctx, 0, ""))
		return r
	}
	reload := func(t *testing.T) {
		t.Helper()
		ctx := clients.Limited(t)
		clients.Must(t, p.visit(ctx, s.origin()+"/"))
		clients.Must(t, s.loadPackage(ctx, p))
	}
	script := func(t *testing.T, text string) {
		t.Helper()
		clients.Must(t, p.run(clients.Limited(t), text, nil, nil))
	}
	want := func(t *testing.T, r report, way, decision string, ways ...string) {
		t.Helper()
		same := r.Way == way && r.Memory.Decision == decision && len(r.Attempts) == len(ways)
		for i := range ways {
			same = same && r.Attempts[i].Way == ways[i]
		}
		if !same {
			t.Errorf("%v\nwant %s, memory %q, attempts by %v", r, way, decision, ways)
		}
	}
	patient := map[string]any{"headStart": clients.Patience.Milliseconds()}

	t.Run("nothing is known", func(t *testing.T) {
		r := connect(t, nil)
		want(t, r, "ws", "unknown", "h3", "ws")
		if r.HeadStart == nil || *r.HeadStart != 250 {
			t.Errorf("head start %v, want 250 ms", r.HeadStart)
		}
		// Firefox rounds its clock to whole milliseconds.
		if len(r.Attempts) == 2 && r.Attempts[1].Started < 249 {
			t.Errorf("the WebSocket was started after %v ms", r.Attempts[1].Started)
		}
	})
	t.Run("no head start for what is broken", func(t *testing.T) {
		r := connect(t, nil)
		want(t, r, "ws", "broken", "ws")
		if r.HeadStart != nil {
			t.Errorf("head start %v ms, want none", *r.HeadStart)
		}
	})
	t.Run("a reload keeps it", func(t *testing.T) {
		reload(t)
		want(t, connect(t, nil), "ws", "broken", "ws")
	})
	t.Run("another tab knows nothing", func(t *testing.T) {
		other, first := n.open(t, s), p
		p = other
		defer func() { p = first }()
		want(t, connect(t, nil), "ws", "unknown", "h3", "ws")
	})
	n.Filter(t, openUDP)
	t.Run("the mark stands until its time is over", func(t *testing.T) {
		want(t, connect(t, nil), "ws", "broken", "ws")
	})
	t.Run("then HTTP/3 is tried beside the WebSocket", func(t *testing.T) {
		ctx := clients.Limited(t)
		clients.Must(t, p.visit(ctx, s.origin()+"/"))
		// The first mark is for 60 s, up to a fifth more.
		script(t, `() => { const now = Date.now; Date.now = () => now() + 80_000 }`)
		clients.Must(t, s.loadPackage(ctx, p))
		want(t, connect(t, nil), "ws", "probe", "ws", "h3")
	})
	t.Run("and is the way again", func(t *testing.T) {
		r := connect(t, patient)
		want(t, r, "h3", "known", "h3")
		if r.Memory.ReadyAfter <= 0 {
			t.Errorf("HTTP/3 was ready after %v ms", r.Memory.ReadyAfter)
		}
	})
	t.Run("cleared storage is forgotten", func(t *testing.T) {
		n.Filter(t, dropUDP)
		reload(t)
		script(t, `() => sessionStorage.clear()`)
		want(t, connect(t, nil), "ws", "unknown", "h3", "ws")
		n.Filter(t, openUDP)
		want(t, connect(t, nil), "ws", "broken", "ws")
		script(t, `() => sessionStorage.clear()`)
		want(t, connect(t, patient), "h3", "unknown", "h3")
	})
}
