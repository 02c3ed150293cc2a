package negotiate

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// A pool holds the connections that have sessions. Within one Dialer the TLS
// identity, the credentials and the verification are the same for all of them,
// which pooling requires; the authority and the proxy are the key.
type pool struct {
	mu    sync.Mutex // guards the following, and users of each connection
	conns map[string][]*pooledConn
}

type pooledConn struct {
	key   string
	proto transport.Protocol
	conn  clientConn
	users int // sessions, and dials under way
}

func (j *job) poolKey() string {
	key := j.server.Addr()
	if j.proxy != nil {
		key += " " + j.proxy.String()
	}
	return key
}

// dial asks for a session on a connection of the pool. used is false if there
// is none that can take it.
func (p *pool) dial(ctx context.Context, j *job) (s transport.Session, used bool, err error) {
	c := p.take(j)
	if c == nil {
		return nil, false, nil
	}
	began := time.Now()
	a := newAttempt(c.proto, "pool", j.server.Addr())
	a.Started, a.Ready, a.Requested, a.Heard = 0, 0, 0, true
	s, err = c.conn.Dial(ctx, j.url, j.opts)
	err = proxyAnswer(err)
	a.Ended = time.Since(began)
	if err != nil {
		if p.release(c) {
			_ = c.conn.Close()
		}
		if ctx.Err() == nil && judgeError(err) == tryNext {
			return nil, false, nil // a new connection may do
		}
		a.Outcome, a.Err = Failed, err
		j.report.Attempts = []Attempt{a}
		if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
			err = errors.Join(err, ctx.Err())
		}
		return nil, true, err
	}
	a.Outcome = Won
	j.report.Attempts, j.report.Winner, j.report.Reused = []Attempt{a}, c.proto, true
	p.releaseAfter(c, s)
	j.d.leaves.carries(c.conn, s, j.departure())
	return s, true, nil
}

// take reserves a connection that can take a session.
func (p *pool) take(j *job) *pooledConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns[j.poolKey()] {
		if (c.proto == transport.HTTP3 && j.h3 || c.proto == transport.HTTP2 && j.h2) && c.conn.CanTakeNewSession() {
			c.users++
			return c
		}
	}
	return nil
}

// add puts a new connection with its first session into the pool.
func (p *pool) add(j *job, conn clientConn, proto transport.Protocol, s transport.Session) {
	c := &pooledConn{key: j.poolKey(), proto: proto, conn: conn, users: 1}
	p.mu.Lock()
	p.conns[c.key] = append(p.conns[c.key], c)
	p.mu.Unlock()
	p.releaseAfter(c, s)
}

// releaseAfter gives the reservation back when the session ends.
func (p *pool) releaseAfter(c *pooledConn, s transport.Session) {
	context.AfterFunc(s.Context(), func() {
		if p.release(c) {
			c.conn.CloseAfter(s)
		}
	})
}

// release gives a reservation back. Last says that nobody uses the connection
// any more: it is out of the pool, and the caller must close it.
func (p *pool) release(c *pooledConn) (last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.users--
	last = c.users == 0
	if last {
		list := p.conns[c.key]
		for i := range list {
			if list[i] == c {
				p.conns[c.key] = append(list[:i:i], list[i+1:]...)
				break
			}
		}
		if len(p.conns[c.key]) == 0 {
			delete(p.conns, c.key)
		}
	}
	return last
}

// adopt ties a winning connection to its session, and starts what follows a dial.
func (j *job) adopt(s transport.Session, l leg) {
	c, ok := l.(*connLeg)
	if !ok {
		l.(*wsLeg).keep(s)
		return
	}
	if c.quic != nil {
		if j.target != (target{}) {
			rtt, _ := c.conn.RTT()
			j.works(rtt)
		}
		j.d.leaves.add(c.conn, c.quic.Context(), j.departure())
		j.d.leaves.carries(c.conn, s, j.departure())
		startProbation(j, c, s)
	}
	if j.d.Pool {
		proto := transport.HTTP2
		if c.quic != nil {
			proto = transport.HTTP3
		}
		j.d.pool.add(j, c.conn, proto, s)
		return
	}
	c.conn.CloseAfter(s)
}
