package h3wt

import (
	"os"
	"testing"

	"github.com/towpath-go/towpath/transport"
	"github.com/towpath-go/towpath/transport/transporttest"
)

func TestMain(m *testing.M) {
	transporttest.SetParallel()
	os.Exit(m.Run())
}

// caps are HTTP/3's: priorities are approximated, datagrams can be lost, the
// path sets their size, quic-go has its own send buffer and does not tell what
// it has received, and stream IDs are the connection's.
var caps = transporttest.Caps{TLS: true, LateReceived: true, Parallel: true}

func TestConformanceBubble(t *testing.T) {
	caps := caps
	caps.Bubble = true
	transporttest.TestSession(t, func(t testing.TB, client, server *transport.Config) (_, _ transport.Session, _ func()) {
		return makePair(t, simulated(t), client, server)
	}, caps)
}

func TestConformanceLoopback(t *testing.T) {
	transporttest.TestSession(t, func(t testing.TB, client, server *transport.Config) (_, _ transport.Session, _ func()) {
		return makePair(t, loopback(), client, server)
	}, caps)
}
