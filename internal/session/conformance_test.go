package session

import (
	"testing"

	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/transport/transporttest"
)

var pipeCaps = transporttest.Caps{
	Bubble:                 true,
	ExactPriority:          true,
	ReliableDatagrams:      true,
	ConfiguredDatagramSize: true,
	SendBuffer:             true,
	DenseStreamIDs:         true,
}

func TestConformance(t *testing.T) {
	transporttest.TestSession(t, makePair, pipeCaps)
}

// TestConformanceOfDialects runs the suite between two sides that both suppose,
// or were told, that the other one is of an older draft.
func TestConformanceOfDialects(t *testing.T) {
	for name, speak := range map[string]tongue{
		"legacy":            {dialect: transport.DialectLegacy},
		"auto":              {dialect: transport.DialectAuto},
		"auto with swapped": {transport.DialectAuto, ParitySwapped},
	} {
		t.Run(name, func(t *testing.T) {
			caps := pipeCaps
			caps.SwappedStreamIDs = speak.parity == ParitySwapped
			transporttest.TestSession(t, func(t testing.TB, client, server *transport.Config) (c, s transport.Session, stop func()) {
				p := newPipe(client, server, func(i int, p *Params) {
					p.Dialect, p.Parity = speak.dialect, speak.parity
				})
				return p.ends[0].s, p.ends[1].s, p.close
			}, caps)
		})
	}
}
