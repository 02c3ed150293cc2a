package h3wt

import (
	"sync"

	"github.com/quic-go/quic-go"
)

// growth lets the receive windows of a server's connections grow while its
// memory allows. quic-go does not tell what it holds for a connection; that is
// at most the window, so what windows have grown by counts as held. The initial
// windows do not count: they are bounded by the number of connections.
type growth struct {
	limit int64 // bytes; 0: none

	mu    sync.Mutex // guards the following
	used  int64
	conns map[*quic.Conn]*grown
}

type grown struct {
	conn *conn
	by   int64
}

// newGrowth returns a growth for three quarters of a server's memory. The rest is
// for what sessions hold themselves: bytes that they can be made to let go of,
// and that must not be refused to all because windows took everything.
func newGrowth(memory int64) *growth {
	return &growth{limit: memory - memory/4, conns: make(map[*quic.Conn]*grown)}
}

func (g *growth) add(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns[c.qc] = &grown{conn: c}
}

func (g *growth) remove(c *conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.used -= g.conns[c.qc].by
	delete(g.conns, c.qc)
}

// allow is quic.Config's AllowConnectionWindowIncrease. Next is the caller's
// own, nil if there is none. It runs inside quic-go's flow control.
func (g *growth) allow(next func(*quic.Conn, uint64) bool) func(*quic.Conn, uint64) bool {
	return func(qc *quic.Conn, delta uint64) bool {
		if next != nil && !next(qc, delta) {
			return false
		}
		g.mu.Lock()
		e := g.conns[qc]
		room := e != nil && (g.limit == 0 || int64(delta) <= g.limit-g.used)
		if room {
			g.used += int64(delta)
			e.by += int64(delta)
		}
		g.mu.Unlock()
		if room {
			e.conn.returnWindow(int64(delta))
		}
		return room
	}
}
