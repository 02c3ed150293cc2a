package session

import (
	"strings"
	"testing"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/transport"
)

// TestFairPlay shows that what a peer has every right to do is not taken for
// abuse.
func TestFairPlay(t *testing.T) {
	t.Run("H2-121 H2-185 resets that answer stop requests", func(t *testing.T) {
		bubble(t, func(t *tester) {
			for i := range uint64(5000) {
				id := 4*i + 2
				t.writeCapsule(wtStream{id: id, data: "x"})
				t.acceptUni().CancelRead(1)
				for t.hear() != nil {
				}
				t.writeCapsule(capsule.ResetStream{StreamID: id, ErrorCode: 1, ReliableSize: 1})
			}
			t.wantAlive("every reset was asked for")
		})
	})
	for _, c := range []struct {
		name   string
		useful any
	}{
		{"stream data", wtStream{id: 2, data: strings.Repeat("x", 300)}},
		{"datagrams", datagram(strings.Repeat("x", 300))},
	} {
		t.Run("H2-185 PADDING between "+c.name, func(t *testing.T) {
			bubble(t, func(t *tester) {
				t.writeCapsule(wtStream{id: 2})
				t.acceptUni().CancelRead(1) // so that credit comes back
				for range 3000 {
					t.writeCapsule(c.useful, capsule.Padding{Length: 100})
					for t.hear() != nil {
					}
				}
				t.wantAlive("the padding is less than what it hides")
			}, withConfig(transport.Config{InitialStreamWindow: 1 << 20}))
		})
	}
}
