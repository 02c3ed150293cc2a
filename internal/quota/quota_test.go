package quota

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// client returns the i-th of many addresses.
func client(i int) netip.Prefix {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 0x0a000000+uint32(i))
	return netip.PrefixFrom(netip.AddrFrom4(b), IPv4Bits)
}

// take takes n for a client and returns how many were granted.
func take(t *Table, c netip.Prefix, n int, now time.Time) (holds []*Hold, last Verdict) {
	for range n {
		h, v := t.Take(c, now)
		if last = v; v != Granted {
			break
		}
		holds = append(holds, h)
	}
	return holds, last
}

func TestClient(t *testing.T) {
	for _, c := range []struct{ addr, want string }{
		{"192.0.2.1:5", "192.0.2.1/32"},
		{"[::ffff:192.0.2.1]:5", "192.0.2.1/32"},
		{"[2001:db8:1:2:3:4:5:6]:5", "2001:db8:1:2::/64"},
		{"[fe80::1%eth0]:5", "fe80::/64"},
		{"@", "invalid Prefix"},
		{"name:5", "invalid Prefix"},
		{"192.0.2.1", "invalid Prefix"},
	} {
		if got := Client(c.addr).String(); got != c.want {
			t.Errorf("%s: %s, want %s", c.addr, got, c.want)
		}
		ap, err := netip.ParseAddrPort(c.addr)
		if err != nil {
			continue
		}
		for _, a := range []net.Addr{net.TCPAddrFromAddrPort(ap), net.UDPAddrFromAddrPort(ap)} {
			if got := ClientAt(a).String(); got != c.want {
				t.Errorf("%T %s: %s, want %s", a, a, got, c.want)
			}
		}
	}
	for _, a := range []net.Addr{nil, &net.UnixAddr{Name: "@", Net: "unix"}, &net.TCPAddr{}} {
		if got := ClientAt(a); got.IsValid() {
			t.Errorf("%v: %v, want no prefix", a, got)
		}
	}
}

func TestTableCounts(t *testing.T) {
	tb := NewTable(Limits{Open: 3, OpenPerClient: 2})
	a, last := take(tb, client(1), 3, epoch)
	if len(a) != 2 || last != TooMany {
		t.Fatalf("one client: %d granted, then %v; want 2, too many", len(a), last)
	}
	b, last := take(tb, client(2), 2, epoch)
	if len(b) != 1 || last != Full || tb.Open() != 3 {
		t.Fatalf("another client: %d granted, then %v, %d open; want 1, full, 3", len(b), last, tb.Open())
	}
	a[0].Release()
	a[0].Release() // counts once
	if tb.Open() != 2 {
		t.Errorf("%d open after a release, want 2", tb.Open())
	}
	if c, last := take(tb, client(1), 2, epoch); len(c) != 1 || last != Full {
		t.Errorf("after a release: %d granted, then %v; want 1, full", len(c), last)
	}
}

func TestTableRate(t *testing.T) {
	tb := NewTable(Limits{Rate: 10})
	if h, last := take(tb, client(1), 100, epoch); len(h) != 20 || last != TooFast {
		t.Errorf("the burst: %d, then %v; want 20, too fast", len(h), last)
	}
	if h, _ := take(tb, client(2), 100, epoch); len(h) != 20 {
		t.Errorf("another client: %d, want 20", len(h))
	}
	now := epoch.Add(300 * time.Millisecond)
	if h, last := take(tb, client(1), 100, now); len(h) != 3 || last != TooFast {
		t.Errorf("after 0.3 s: %d, then %v; want 3, too fast", len(h), last)
	}
	if h, _ := take(tb, client(1), 100, now.Add(-time.Hour)); len(h) != 0 {
		t.Errorf("a clock that goes back brought %d", len(h))
	}
	if h, _ := take(tb, client(1), 100, now.Add(time.Hour)); len(h) != 20 {
		t.Errorf("after an hour: %d, want the burst, 20", len(h))
	}
	own := NewTable(Limits{Rate: 10, Burst: 3})
	if h, _ := take(own, client(1), 100, epoch); len(h) != 3 {
		t.Errorf("a burst of its own: %d, want 3", len(h))
	}
	// A refusal for another reason takes nothing from the bucket.
	both := NewTable(Limits{Rate: 1, Burst: 2, OpenPerClient: 1})
	h, _ := take(both, client(1), 10, epoch)
	h[0].Release()
	if h, v := both.Take(client(1), epoch); v != Granted {
		t.Errorf("the second of two: %v", v)
	} else {
		h.Release()
	}
	if _, v := both.Take(client(1), epoch); v != TooFast {
		t.Errorf("the third of two: %v, want too fast", v)
	}
}

func TestAsk(t *testing.T) {
	tb := NewTable(Limits{Open: 4, OpenPerClient: 2, Rate: 1, Burst: 3, Clients: 2})
	want := func(c int, v Verdict, why string) {
		t.Helper()
		for range 5 {
			if got := tb.Ask(client(c), epoch); got != v {
				t.Fatalf("%s: %v, want %v", why, got, v)
			}
		}
	}
	want(1, Granted, "a new client")
	if len(tb.clients) != 0 {
		t.Error("asking took room in the table")
	}
	a, _ := take(tb, client(1), 2, epoch)
	want(1, TooMany, "two are open")
	a[0].Release()
	want(1, Granted, "one is open")
	a[0], _ = tb.Take(client(1), epoch)
	a[0].Release()
	want(1, TooFast, "the burst is used")
	take(tb, client(2), 1, epoch)
	take(tb, client(3), 2, epoch) // shares
	want(4, Full, "four are open")
	a[1].Release()
	want(4, TooMany, "who shares has two open")
}

func TestNoLimits(t *testing.T) {
	tb := NewTable(Limits{Open: -1, OpenPerClient: -1, Rate: -1})
	if h, last := take(tb, client(1), 10_000, epoch); len(h) != 10_000 || last != Granted || tb.Open() != 10_000 {
		t.Errorf("%d granted, then %v", len(h), last)
	}
}

func TestTableIsBounded(t *testing.T) {
	tb := NewTable(Limits{Rate: 1, OpenPerClient: 5, Clients: 100})
	for i := range 100 {
		h, _ := take(tb, client(i), 1, epoch)
		if i != 0 { // the first one keeps something open
			h[0].Release()
		}
	}
	// No room: newcomers share one bucket, whoever they are.
	got := 0
	for i := range 10 {
		h, _ := take(tb, client(1000+i), 1, epoch)
		got += len(h)
		for _, h := range h {
			defer h.Release()
		}
	}
	if len(tb.clients) != 100 || got != 2 {
		t.Errorf("%d clients, newcomers got %d; want 100 and a burst of 2", len(tb.clients), got)
	}
	// A second later all are as good as new, but for the one with something open.
	now := epoch.Add(time.Second)
	if h, v := tb.Take(client(2000), now); v != Granted || len(tb.clients) != 2 {
		t.Errorf("%v, %d clients after a rest; want granted, 2", v, len(tb.clients))
	} else {
		h.Release()
	}
	if tb.clients[client(0)] == nil {
		t.Error("a client that has something open was forgotten")
	}
	if tb.rest.open != 2 {
		t.Errorf("the newcomers' entry has %d open, want 2", tb.rest.open)
	}
}

func TestSharedEntryHasOneCount(t *testing.T) {
	tb := NewTable(Limits{OpenPerClient: 3, Clients: 1})
	take(tb, client(0), 1, epoch)
	var holds []*Hold
	for i := range 10 {
		h, _ := take(tb, client(1+i), 1, epoch)
		holds = append(holds, h...)
	}
	if len(holds) != 3 {
		t.Fatalf("newcomers without room have %d open, want 3 together", len(holds))
	}
	for _, h := range holds {
		h.Release()
	}
	if tb.rest.open != 0 || tb.Open() != 1 {
		t.Errorf("%d of the rest and %d in all are open, want 0 and 1", tb.rest.open, tb.Open())
	}
}

func TestRoomForAllThatAreOpen(t *testing.T) {
	tb := NewTable(Limits{Open: 10_000, OpenPerClient: 1})
	for i := range 10_000 {
		if _, v := tb.Take(client(i), epoch); v != Granted {
			t.Fatalf("client %d of 10,000: %v", i, v)
		}
	}
	if _, v := tb.Take(client(10_000), epoch); v != Full {
		t.Errorf("one more: %v, want full", v)
	}
	if len(tb.clients) != 10_000 {
		t.Errorf("%d clients are known: a refused one took room", len(tb.clients))
	}
}

func TestConcurrentUse(t *testing.T) {
	tb := NewTable(Limits{Open: 50, OpenPerClient: 10, Clients: 8})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 2000 {
				if h, v := tb.Take(client((i+j)%20), epoch.Add(time.Duration(j)*time.Millisecond)); v == Granted {
					h.Release()
				}
			}
		})
	}
	wg.Wait()
	if tb.Open() != 0 || tb.rest.open != 0 {
		t.Errorf("%d open, %d of the rest, after all were released", tb.Open(), tb.rest.open)
	}
}

func TestVerdictString(t *testing.T) {
	for v, want := range map[Verdict]string{Granted: "granted", Full: "full", TooMany: "too many", TooFast: "too fast", 9: "unknown"} {
		if v.String() != want {
			t.Errorf("%d: %q, want %q", v, v, want)
		}
	}
}
