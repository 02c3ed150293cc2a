package negotiate

import (
	"net"
	"testing"
)

func TestServerListenAddr(t *testing.T) {
	if a := new(Server).ListenAddr(); a != nil {
		t.Errorf("%v before it listens", a)
	}
	inWorld(t, worldOptions{}, func(t *testing.T, w *world) {
		if got, want := w.server.ListenAddr(), net.Addr(w.tcp.Addr()); got == nil || got.String() != want.String() {
			t.Errorf("ListenAddr is %v, want %v", got, want)
		}
	})
}
