package peers

import (
	"fmt"
	"slices"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
)

// Sessions on one pooled connection.
const (
	pooledH2   = 100
	pooledH3   = 32
	pooledWSH2 = 80
)

// A Slot is one connection to be kept, and the sessions on it.
type Slot struct {
	Way      string
	Sessions int
	Pooled   bool
}

// kind is what the mix is made of: so many shares of the connections that carry
// one session or a pool.
type kind struct {
	way      string
	sessions int // 1, or the size of the pool
	share    int
}

var kinds = []kind{
	{ledger.WS, 1, 6},
	{ledger.H2, 1, 2},
	{ledger.H3, 1, 2},
	{ledger.H2, pooledH2, 4},
	{ledger.H3, pooledH3, 8},
	{ledger.WSH2, pooledWSH2, 1},
}

// Mix divides sessions among connections, over the ways that are wanted: some
// connections are pools, the others carry one session each.
func Mix(connections, sessions int, ways []string) ([]Slot, error) {
	var single, pool []kind
	singles, pools := 0, 0
	for _, k := range kinds {
		switch {
		case !slices.Contains(ways, k.way):
		case k.sessions == 1:
			single = append(single, k)
			singles += k.share
		default:
			pool = append(pool, k)
			pools += k.share
		}
	}
	if sessions < connections {
		return nil, fmt.Errorf("%d sessions are fewer than %d connections: give each one at least", sessions, connections)
	}
	// As few pools as will do, but one of each kind if there is room for it; divide
	// gives the same beginning to every number.
	var slots []Slot
	var candidates []kind
	if pools > 0 {
		candidates = divide(connections, pool, pools)
	}
	capacity := connections
	for capacity < sessions || capacity > connections && len(slots) < min(len(pool), connections/2) {
		if len(slots) == len(candidates) {
			return nil, fmt.Errorf("%d connections do not carry %d sessions: %d at most", connections, sessions, capacity)
		}
		k := candidates[len(slots)]
		slots = append(slots, Slot{Way: k.way, Sessions: k.sessions, Pooled: true})
		capacity += k.sessions - 1
	}
	// What is too much is taken from the pools in turn.
	for i, n := 0, len(slots); capacity > sessions; i++ {
		if s := &slots[i%n]; s.Sessions > 1 {
			s.Sessions--
			capacity--
		}
	}
	if singles == 0 {
		single, singles = pool, pools // a pool of one
	}
	for _, k := range divide(connections-len(slots), single, singles) {
		slots = append(slots, Slot{Way: k.way, Sessions: 1, Pooled: k.sessions > 1})
	}
	return slots, nil
}

// divide returns n kinds by their shares, mixed as evenly as possible, after one
// of each.
func divide(n int, kinds []kind, shares int) []kind {
	given := make([]int, len(kinds))
	list := make([]kind, 0, n)
	for i := range n {
		if i < len(kinds) {
			given[i]++
			list = append(list, kinds[i])
			continue
		}
		best, lack := 0, 0.0
		for j, k := range kinds {
			if l := float64((i+1)*k.share)/float64(shares) - float64(given[j]); j == 0 || l > lack {
				best, lack = j, l
			}
		}
		given[best]++
		list = append(list, kinds[best])
	}
	return list
}
