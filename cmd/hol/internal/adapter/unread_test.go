package adapter

import (
	"slices"
	"testing"
)

// TestCloseDropsWhatNobodyReceives closes connections whose channels hold
// messages; pair.connect closes both ends, and waits for their goroutines.
func TestCloseDropsWhatNobodyReceives(t *testing.T) {
	for _, a := range slices.Concat(All(), Extra()) {
		t.Run(a.Name, func(t *testing.T) {
			p := &pair{t: t, a: a}
			p.connect(1)
			d := p.open(1)[0]
			for _, way := range []struct{ from, to Channel }{{d.client, d.server}, {d.server, d.client}} {
				for n := range 10 {
					if err := way.from.Send(numbered(n, 1000)); err != nil {
						t.Fatal(err)
					}
				}
				// The first ones are there when one of them is.
				if _, err := way.to.Receive(p.ctx); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
