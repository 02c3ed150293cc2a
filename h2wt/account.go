package h2wt

import (
	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// An account counts what is held for one exchange beside sessions: the unread body
// of a request, the unread bytes of a WebSocket, and what came for a session that
// nobody has decided on. The nil account counts nothing.
//
// As long as streams live, the connection's own bound on unread bytes makes the
// client wait before this one is reached. A complete body whose stream was reset
// is still there for its handler, though, and does not count in that bound any
// more; and the account of the server, which this one lies in, may be full.
type account struct{ holder *sessionstate.Holder }

var errBodyMemory = &limitError{limit: transport.LimitMemory, text: "too many unread bytes of requests"}

// newBodyBudget returns the account of a connection in that of its server. Limit
// is MaxConnectionMemory, 0 for none.
func newBodyBudget(limit int64, server *sessionstate.Budget) *sessionstate.Budget {
	if limit > 0 {
		limit += maxConnWindow
	}
	return newBudget(limit, server)
}

// open makes the account of x, which gives up what it holds when it must.
func (x *exchange) openAccount() *account {
	return &account{holder: x.conn.bodies.Register(x.overMemory, nil)}
}

func (a *account) hold(n int) *sessionstate.Effect {
	if a == nil {
		return nil
	}
	return a.holder.Hold(n)
}

func (a *account) release(n int) {
	if a != nil {
		a.holder.Release(n).Run()
	}
}

func (a *account) close() {
	if a != nil {
		a.holder.Close().Run()
	}
}
