// Package admission bounds the connections of a listener. Those that are too many are
// closed as soon as they are accepted: no goroutine is started and no memory kept
// for them, neither here nor in the kernel.
package admission

import (
	"net"
	"time"

	"github.com/towpath-go/towpath/internal/quota"
	"github.com/towpath-go/towpath/transport"
)

// Limit names the limit of connections that a verdict tells of.
func Limit(v quota.Verdict) transport.Limit {
	switch v {
	case quota.Full:
		return transport.LimitConnections
	case quota.TooMany:
		return transport.LimitConnectionsPerAddress
	case quota.TooFast:
		return transport.LimitConnectionRate
	}
	return ""
}

// A Listener passes on connections that a table grants. They count until they
// are closed.
type Listener struct {
	net.Listener
	// Table counts them.
	Table *quota.Table
	// Refused is told of those that were closed; nil: nobody.
	Refused func(remote net.Addr, limit transport.Limit)
}

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		remote := nc.RemoteAddr()
		hold, v := l.Table.Take(quota.ClientAt(remote), time.Now())
		if v == quota.Granted {
			return &conn{Conn: nc, hold: hold}, nil
		}
		drop(nc)
		if l.Refused != nil {
			l.Refused(remote, Limit(v))
		}
	}
}

// drop closes a connection so that the kernel forgets it at once: TCP would
// otherwise wait for the peer to take the end.
func drop(nc net.Conn) {
	if tc, ok := nc.(interface{ SetLinger(int) error }); ok {
		_ = tc.SetLinger(0)
	}
	_ = nc.Close()
}

// A conn counts as open until it is closed.
type conn struct {
	net.Conn
	hold *quota.Hold
}

// Close implements net.Conn.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.hold.Release() // again: nothing
	return err
}

// NetConn returns the connection underneath.
func (c *conn) NetConn() net.Conn { return c.Conn }

// CloseWrite ends the sending side, if the connection underneath can.
func (c *conn) CloseWrite() error {
	if cw, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return cw.CloseWrite()
	}
	return c.Close()
}
