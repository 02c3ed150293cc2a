package sessionstate

import "testing"

func TestDrain(t *testing.T) {
	t.Run("H2-173 the event is raised once", func(t *testing.T) {
		var d Drain
		if d.PeerDraining() {
			t.Error("the peer drains before any sign")
		}
		for i, want := range []bool{true, false, false} {
			if got := d.PeerDrains(); got != want {
				t.Errorf("sign %d: first = %v, want %v", i, got, want)
			}
			if !d.PeerDraining() {
				t.Errorf("the peer does not drain after sign %d", i)
			}
		}
	})
	t.Run("H2-173 the capsule is sent once", func(t *testing.T) {
		var d Drain
		if d.Due() || d.TakeDue() {
			t.Error("due without having been asked for")
		}
		if !d.Ask() || d.Ask() {
			t.Error("Ask does not tell the first call from the second")
		}
		if !d.Due() || !d.TakeDue() {
			t.Error("not due after Ask")
		}
		if d.Due() || d.TakeDue() || d.Ask() {
			t.Error("due or askable again after it was sent")
		}
	})
	t.Run("the sides do not depend on each other", func(t *testing.T) {
		var d Drain
		d.PeerDrains()
		if d.Due() || !d.Ask() || !d.TakeDue() {
			t.Error("the peer's drain changed the own")
		}
	})
}
