package quota

import (
	"testing"
	"time"

	"github.com/towpath-go/towpath/internal/hostile"
	"github.com/towpath-go/towpath/transport"
)

// entrySize bounds what the table holds for a client: an entry of 40 bytes, its
// place in the map with a prefix of 32, and what a map of half-full groups has
// beside that.
const entrySize = 256

// Each request comes from an address that was never seen before.
func TestHostileAddresses(t *testing.T) {
	const addresses = 100_000
	for _, c := range []struct {
		name string
		rate int
	}{
		{"forgotten at once", 1000}, // the buckets are full again after a millisecond
		{"never forgotten", 1},      // there is no room for more of them
	} {
		t.Run("DS-15 "+c.name, func(t *testing.T) {
			// The table, and nothing that grows with the attack.
			limits := Limits{Rate: c.rate}
			m := hostile.Start(t, hostile.Attack{
				Name: "requests from 100,000 addresses, " + c.name, Victim: "server",
				Bytes: DefaultClients * entrySize, Reaction: "addresses without room share one quota",
				Limit: transport.LimitSessionRate,
			})
			tb := NewTable(limits)
			attack := func(tb *Table, n int) (granted int) {
				for i := range n {
					// 50,000 a second.
					h, v := tb.Take(client(i), epoch.Add(time.Duration(i)*20*time.Microsecond))
					if v == Granted {
						granted++
						h.Release()
					}
				}
				return granted
			}
			granted := attack(tb, addresses)
			m.Sample()
			if len(tb.clients) > DefaultClients {
				t.Errorf("%d clients are known, at most %d may be", len(tb.clients), DefaultClients)
			}
			// Those without room have the rate of one client.
			if c.rate == 1 && granted > DefaultClients*3 || granted < DefaultClients {
				t.Errorf("%d of %d granted", granted, addresses)
			}
			m.Cost(addresses/4, func(n int) { attack(NewTable(limits), n) })
			m.End(nil)
		})
	}
}
