package session

import (
	"testing"

	"github.com/towpath-go/towpath/transport/transporttest"
)

func TestConformance(t *testing.T) {
	transporttest.TestSession(t, makePair, transporttest.Caps{
		Bubble:                 true,
		ExactPriority:          true,
		ReliableDatagrams:      true,
		ConfiguredDatagramSize: true,
		SendBuffer:             true,
		DenseStreamIDs:         true,
	})
}
