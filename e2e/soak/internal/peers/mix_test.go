package peers

import (
	"testing"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
)

func TestMix(t *testing.T) {
	for _, c := range []struct {
		connections, sessions int
		ways                  []string
	}{
		{2000, 20000, ledger.Ways},
		{60, 600, ledger.Ways},
		{20, 60, ledger.Ways},
		{12, 12, ledger.Ways},
		{2000, 20000, []string{ledger.H3}},
		{300, 20000, []string{ledger.H2}},
		{50, 50, []string{ledger.WS}},
		{50, 500, []string{ledger.WSH2}},
		{50, 50, []string{ledger.WSH2}},
		{7, 100, []string{ledger.H2, ledger.WS}},
	} {
		slots, err := Mix(c.connections, c.sessions, c.ways)
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		sessions, ways := 0, map[string]int{}
		for _, s := range slots {
			sessions += s.Sessions
			ways[s.Way]++
			if s.Sessions < 1 || s.Sessions > pooledH2 || s.Way == ledger.H3 && s.Sessions > pooledH3 {
				t.Errorf("%+v: a slot %+v", c, s)
			}
		}
		if len(slots) != c.connections || sessions != c.sessions {
			t.Errorf("%+v: %d connections with %d sessions", c, len(slots), sessions)
		}
		for way := range ways {
			if len(c.ways) == 1 && way != c.ways[0] {
				t.Errorf("%+v: %s", c, way)
			}
		}
	}
	for _, c := range []struct {
		connections, sessions int
		ways                  []string
	}{
		{10, 9, ledger.Ways},
		{10, 11, []string{ledger.WS}},
		{1, 101, []string{ledger.H2}},
		{10, 100000, ledger.Ways},
	} {
		if slots, err := Mix(c.connections, c.sessions, c.ways); err == nil {
			t.Errorf("%+v: taken as %v", c, slots)
		}
	}
}
