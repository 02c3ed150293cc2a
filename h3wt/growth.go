package h3wt

import (
	"sync"

	"github.com/quic-go/quic-go"

	"github.com/towpath-go/towpath/internal/sessionstate"
)

// growth lets the receive windows of a server's connections grow while its
// memory allows. quic-go does not tell what it holds for a connection; that is
// at most the window, so growth of windows counts as held. The initial windows
// do not count: they are bounded by the number of connections.
type growth struct {
	mem *sessionstate.Budget // nil: no limit

	mu    sync.Mutex // guards the following
	conns map[*quic.Conn]*grown
}

type grown struct {
	conn   *conn
	holder *sessionstate.Holder
}

func newGrowth(mem *sessionstate.Budget) *growth {
	return &growth{mem: mem, conns: make(map[*quic.Conn]*grown)}
}

func (g *growth) add(c *conn) {
	e := &grown{conn: c}
	if g.mem != nil {
		e.holder = g.mem.Register(nil, nil)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.conns[c.qc] = e
}

func (g *growth) remove(c *conn) {
	g.mu.Lock()
	e := g.conns[c.qc]
	delete(g.conns, c.qc)
	g.mu.Unlock()
	if e.holder != nil {
		e.holder.Close().Run()
	}
}

// allow is quic.Config's AllowConnectionWindowIncrease. Next is the caller's
// own, nil if there is none. It runs inside quic-go's flow control.
func (g *growth) allow(next func(*quic.Conn, uint64) bool) func(*quic.Conn, uint64) bool {
	return func(qc *quic.Conn, delta uint64) bool {
		g.mu.Lock()
		e := g.conns[qc]
		g.mu.Unlock()
		if e == nil || e.holder != nil && e.holder.Credit() != sessionstate.PressureNone {
			return false
		}
		if next != nil && !next(qc, delta) {
			return false
		}
		if e.holder != nil {
			if effect := e.holder.Hold(int(delta)); effect != nil {
				// Growth stops long before the cap, so this is rare. It may
				// end a session, for which this is no place.
				go effect.Run()
			}
		}
		e.conn.returnWindow(int64(delta))
		return true
	}
}
