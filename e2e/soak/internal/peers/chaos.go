package peers

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
)

// stalls is how many connections are held up for each one that is cut.
const stalls = 2

// probation is how long a connection by package negotiate is not held up: in its
// first seconds a path that is silent for three counts as broken, and its session
// is ended so that the caller dials again.
const probation = 10 * time.Second

// chaos cuts and stalls connections until the traffic ends. When and what comes
// from the seed; which connection, from how many there are.
func (c *client) chaos() {
	if c.settings.Cuts <= 0 {
		return
	}
	random := rand.New(rand.NewPCG(c.settings.Seed, 0x63757473))
	mean := float64(time.Minute) / (c.settings.Cuts * (1 + stalls))
	for {
		select {
		case <-time.After(time.Duration(mean * min(random.ExpFloat64(), 6))):
		case <-c.traffic.Done():
			return
		}
		cut, which, where, long, toServer := random.IntN(1+stalls) == 0, random.IntN(100), random.Uint64(), random.Float64(), random.IntN(2) == 0
		conn := c.pick(where)
		if conn == nil {
			continue
		}
		c.harm(conn, cut, which, long, toServer)
	}
}

// pick chooses a connection.
func (c *client) pick(where uint64) *connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.live) == 0 {
		return nil
	}
	// The map's order is not chance of ours.
	all := slices.SortedFunc(maps.Keys(c.live), func(a, b *connection) int { return cmp.Compare(a.number, b.number) })
	return all[where%uint64(len(all))]
}

func (c *client) harm(conn *connection, cut bool, which int, long float64, toServer bool) {
	port, age := conn.at()
	f := ledger.Fault{Cut: cut, Port: port, UDP: conn.way == ledger.H3, ToServer: toServer}
	// Held up for less than what would pass for gone.
	f.For = 20*time.Millisecond + time.Duration(long*float64(c.settings.Detect)/5)
	switch {
	case cut && conn.done != nil && which < 15:
		f.Kind = ledger.CutClose
	case cut && f.UDP:
		f.Kind = ledger.CutSilence
	case cut && which < 50:
		f.Kind = ledger.CutRST
	case cut && which < 80:
		f.Kind = ledger.CutFIN
	case cut:
		f.Kind = ledger.CutSilence
	case f.UDP && (which < 40 || age < probation):
		f.Kind = ledger.Rebind
	case f.UDP:
		f.Kind = ledger.Outage
	case which < 30:
		f.Kind = ledger.Dribble
	default:
		f.Kind = ledger.Stall
	}
	// Told before it is done, so that whoever compares ends knows of it first.
	f.Connection = conn.number
	c.Emit(ledger.Message{Fault: &f})
	if f.Kind == ledger.CutClose {
		go conn.close() // ends within the connection's own timeouts
	}
}
