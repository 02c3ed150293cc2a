package h3wt

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Whatever a peer announces, the rules of one draft apply, and at least one
// session fits.
func TestRandomSettings(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	value := func() uint64 {
		return []uint64{0, 0, 1, 1, 2, 100, 1 << 60, 1<<60 + 1, math.MaxUint64 >> 2}[r.IntN(9)]
	}
	flag := func() bool { return r.IntN(4) > 0 }
	for range 20_000 {
		p := PeerSettings{
			Enabled: value(), MaxSessions: value(), Draft07: value(), Draft02: value(),
			InitialMaxData: value(), InitialMaxStreamsUni: value(), InitialMaxStreamsBidi: value(),
			ExtendedConnect: flag(), Datagrams: flag(), QUICDatagrams: flag(), ResetStreamAt: flag(),
		}
		oldest := Draft(r.IntN(20))
		for _, server := range []bool{false, true} {
			find := p.serverRules
			if server {
				find = p.clientRules
			}
			rules, why := find(oldest)
			if rules == nil && why == "" {
				t.Fatalf("%+v from %v on: neither rules nor what is missing", p, oldest)
			}
			if why != "" {
				continue
			}
			if Draft(rules.last) < oldest && rules.draft != Draft15 {
				t.Fatalf("%+v from %v on: %v is in use", p, oldest, rules.draft)
			}
			n := rules.maxSessions(p, 32, server)
			if n < 1 || n > 32 || n > 1 && !rules.flowControlled(p) {
				t.Fatalf("%+v: %d sessions of %v", p, n, rules.draft)
			}
		}
	}
}
