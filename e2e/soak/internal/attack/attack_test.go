package attack

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/towpath-go/towpath/e2e/soak/internal/ledger"
	"github.com/towpath-go/towpath/e2e/soak/internal/peers"
	"github.com/towpath-go/towpath/negotiate"
)

// Every attack reaches its victim, which is there afterwards.
func TestAttacks(t *testing.T) {
	tlsConf, cert, err := peers.Certificate()
	if err != nil {
		t.Fatal(err)
	}
	server := &negotiate.Server{TLSConfig: tlsConf, Handler: http.HandlerFunc(serve)}
	ln, pc, err := negotiate.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln, pc) }()
	defer func() {
		server.Close()
		<-served
	}()
	begin := ledger.Begin{Address: ln.Addr().String(), Cert: cert}
	target, err := newTarget(begin)
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, a := range List() {
		if names[a.Name] {
			t.Errorf("there are two attacks %s", a.Name)
		}
		names[a.Name] = true
		t.Run(a.Name, func(t *testing.T) {
			a.Loops = 1
			// Longer only where the machine has other things to do.
			var done ledger.Attacked
			for d := 100 * time.Millisecond; done.Frames == 0 && d < 10*time.Second; d *= 3 {
				done = target.attack(a, d)
			}
			if done.Frames == 0 {
				t.Errorf("nothing was sent: %+v", done)
			}
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, way := range ledger.Ways {
		s, end, err := peers.Sessions(ctx, begin, way, 1)
		if err != nil {
			t.Errorf("%s after the attacks: %v", way, err)
			continue
		}
		s[0].CloseWithError(0, "")
		end()
	}
}
