package wswt

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/towpath-go/towpath/internal/handshake"
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
	c.cfg.log("connection opened", c.side(), c.nc.RemoteAddr().String(), "", nil)
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
	limit, _ := transport.ReachedLimit(err)
	c.cfg.log("connection ended", c.side(), c.nc.RemoteAddr().String(), limit, err)
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

// log writes an event, with the names that package h2wt gives its own.
func (c *Config) log(event string, side transport.Side, remote string, limit transport.Limit, err error, attrs ...slog.Attr) {
	if c.Logger == nil || !c.Logger.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	attrs = append(attrs, slog.String("remote", remote), slog.String("transport", transport.WebSocket.String()), slog.String("side", side.String()))
	if limit != "" {
		attrs = append(attrs, slog.String("limit", string(limit)))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	c.Logger.LogAttrs(context.Background(), slog.LevelDebug, event, attrs...)
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
		handshake.Told(w)
	}
	s.cfg.log("session refused", transport.ServerSide, r.RemoteAddr, limit, err, slog.Int("status", status))
	if m := s.cfg.Monitor; m != nil {
		m.SessionRefused(transport.Refusal{Protocol: transport.WebSocket, Status: status, Limit: limit})
	}
}
