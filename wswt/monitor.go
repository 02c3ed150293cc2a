package wswt

import (
	"context"
	"errors"
	"net/http"

	"github.com/towpath-go/towpath/transport"
)

// What a Monitor and a Logger are told. Each WebSocket is a connection of its
// own with one session, over HTTP/2 too, where package h2wt tells of the
// connection below besides.

// side is this side, for a Monitor.
func (c *conn) side() transport.Side {
	if c.client {
		return transport.ClientSide
	}
	return transport.ServerSide
}

// opened tells that the opening handshake is done. Granted says that somebody
// gets the session.
func (c *conn) opened(granted bool) {
	c.logf("connection opened", "side", c.side().String())
	if m := c.cfg.Monitor; m != nil {
		m.ConnectionOpened(transport.WebSocket, c.side())
		if granted {
			m.SessionOpened(c.sess, c.side())
		}
	}
}

// closed tells that the connection has ended.
func (c *conn) closed() {
	err := c.endError()
	args := []any{"side", c.side().String()}
	if err != nil {
		args = append(args, "error", err)
		if l, ok := transport.ReachedLimit(err); ok {
			args = append(args, "limit", string(l))
		}
	}
	c.logf("connection ended", args...)
	if m := c.cfg.Monitor; m != nil {
		m.ConnectionEnded(transport.WebSocket, c.side(), err)
	}
}

// endError returns what went wrong with a connection that has ended, nil if
// nothing did.
func (c *conn) endError() error {
	if end, ok := errors.AsType[*transport.SessionError](context.Cause(c.sess.Context())); ok && end.Err != nil {
		if errors.Is(end.Err, errServerDown) {
			return nil
		}
		return end.Err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.recv != recvClosed && c.overdue {
		return errCloseTimeout
	}
	return nil
}

// refused answers a request for a session that is not granted, and tells of it.
// Status 0 says that the answer cannot be written.
func (s *Server) refused(w http.ResponseWriter, r *http.Request, status int, err error) {
	limit, _ := transport.ReachedLimit(err)
	if status != 0 {
		if after := retryAfter(err); after != "" {
			w.Header().Set("Retry-After", after)
		}
		http.Error(w, http.StatusText(status), status)
	}
	if l := s.cfg.Logger; l != nil {
		l.Debug("wswt: session refused", "status", status, "limit", string(limit), "error", err, "peer", r.RemoteAddr)
	}
	if m := s.cfg.Monitor; m != nil {
		m.SessionRefused(transport.Refusal{Protocol: transport.WebSocket, Status: status, Limit: limit})
	}
}
