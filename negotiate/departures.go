package negotiate

import (
	"context"
	"sync"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// departures are the QUIC connections that have carried a session of a Dialer and
// are not over yet. A program that ends together with its last session would leave
// them to the server's idle timeout, which has no kernel to tell it as TCP has.
type departures struct {
	mu    sync.Mutex // guards the following
	conns map[clientConn]*departure
}

type departure struct {
	sessions map[transport.Session]struct{} // that have not been seen to end
	within   time.Duration                  // after the last one the connection closes
}

// add notes a connection, until its context ends. It closes within a time of the
// end of its last session, or of now if it has none.
func (d *departures) add(c clientConn, life context.Context, within time.Duration) {
	d.mu.Lock()
	if d.conns == nil {
		d.conns = make(map[clientConn]*departure)
	}
	d.conns[c] = &departure{sessions: make(map[transport.Session]struct{}), within: within}
	d.mu.Unlock()
	context.AfterFunc(life, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.conns, c)
	})
}

// carries notes a session on a connection that was added; of others it takes no
// notice.
func (d *departures) carries(c clientConn, s transport.Session, within time.Duration) {
	d.mu.Lock()
	noted := d.conns[c]
	if noted != nil {
		noted.sessions[s] = struct{}{}
		noted.within = max(noted.within, within)
	}
	d.mu.Unlock()
	if noted == nil {
		return
	}
	context.AfterFunc(s.Context(), func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(noted.sessions, s)
	})
}

// left reports whether all sessions of a connection have ended.
func (d *departures) left(c clientConn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.conns[c].left()
}

func (d *departure) left() bool {
	if d == nil {
		return true
	}
	for s := range d.sessions {
		if s.Context().Err() == nil {
			return false
		}
	}
	return true
}

// wait waits until the connections are closed whose sessions have ended.
func (d *departures) wait() {
	var leaving []clientConn
	within := time.Duration(0)
	d.mu.Lock()
	for c, noted := range d.conns {
		if noted.left() {
			leaving = append(leaving, c)
			within = max(within, noted.within)
		}
	}
	d.mu.Unlock()
	t := time.NewTimer(within)
	defer t.Stop()
	for _, c := range leaving {
		select {
		case <-c.Done():
			continue
		case <-t.C:
			t.Reset(0) // for the others
		}
		if d.left(c) { // otherwise a dial under way has got it
			_ = c.Close()
		}
	}
}
