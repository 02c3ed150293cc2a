package h2wt

import (
	"context"
	"log/slog"
	"sync"

	"github.com/towpath-go/towpath/internal/h2conn"
	"github.com/towpath-go/towpath/transport"
)

// watchState is what was told of a connection. It moves forward only.
type watchState uint8

const (
	watchNew     watchState = iota // nothing: it is not ready for sessions yet
	watchOpening                   // its opening is being told
	watchOpen
	watchEnded
)

// A watch tells Config.Monitor and Config.Logger of one connection, the opening
// before the end, and both once.
type watch struct {
	monitor transport.Monitor // may be nil
	logger  *slog.Logger      // may be nil
	side    transport.Side
	remote  string

	mu    sync.Mutex // guards the following; held during no call
	state watchState
	err   error // of an end that came while the opening was being told
}

func (c *Config) watch(side transport.Side, remote string) *watch {
	return &watch{monitor: c.Monitor, logger: c.Logger, side: side, remote: remote}
}

// opened tells that the connection is ready for sessions. Later calls do nothing.
func (w *watch) opened() {
	w.mu.Lock()
	first := w.state == watchNew // a connection that has ended already was never open
	if first {
		w.state = watchOpening
	}
	w.mu.Unlock()
	if !first {
		return
	}
	w.log("connection opened", "", nil)
	if w.monitor != nil {
		w.monitor.ConnectionOpened(transport.HTTP2, w.side)
	}
	w.mu.Lock()
	ended, err := w.state == watchEnded, w.err
	if !ended {
		w.state = watchOpen
	}
	w.mu.Unlock()
	if ended {
		w.tellEnd(err)
	}
}

// ended tells that the connection has ended: one that was open, or one that a
// server turned away before.
func (w *watch) ended(ce *h2conn.ConnError) {
	err := endOf(ce)
	w.mu.Lock()
	was := w.state
	w.state, w.err = watchEnded, err
	w.mu.Unlock()
	switch was {
	case watchOpen:
		w.tellEnd(err)
	case watchNew:
		w.log("connection refused", ce.Limit, err)
		// The client may also have gone by itself, which a write may be the first
		// to notice.
		turnedAway := !ce.Remote && (ce.Cause == nil || ce.Limit != "")
		if w.monitor != nil && w.side == transport.ServerSide && turnedAway && err != nil {
			w.monitor.ConnectionRefused(transport.HTTP2, ce.Limit)
		}
	}
}

func (w *watch) tellEnd(err error) {
	limit, _ := transport.ReachedLimit(err)
	w.log("connection ended", limit, err)
	if w.monitor != nil {
		w.monitor.ConnectionEnded(transport.HTTP2, w.side, err)
	}
}

// endOf is the end of a connection for those who watch: nil if nothing went wrong
// and no limit was reached.
func endOf(ce *h2conn.ConnError) error {
	if ce.Code == 0 && ce.Cause == nil && ce.Limit == "" {
		return nil
	}
	return lostError(ce)
}

// sessionOpened tells of a session that is handed to the application.
func (w *watch) sessionOpened(s transport.Session) {
	if w.monitor != nil {
		w.monitor.SessionOpened(s, w.side)
	}
}

// sessionRefused tells of a request for a session that got another answer.
func (w *watch) sessionRefused(status int, limit transport.Limit, err error) {
	w.log("session refused", limit, err, slog.Int("status", status))
	if w.monitor != nil {
		w.monitor.SessionRefused(transport.Refusal{Protocol: transport.HTTP2, Status: status, Limit: limit})
	}
}

func (w *watch) log(msg string, limit transport.Limit, err error, attrs ...slog.Attr) {
	if w.logger == nil || !w.logger.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	attrs = append(attrs, slog.String("remote", w.remote), slog.String("transport", transport.HTTP2.String()), slog.String("side", w.side.String()))
	if limit != "" {
		attrs = append(attrs, slog.String("limit", string(limit)))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	w.logger.LogAttrs(context.Background(), slog.LevelDebug, msg, attrs...)
}

// sessionWriter is the ResponseWriter of a request for a session: the ordinary
// one, which can be told why a session is refused.
type sessionWriter struct{ *response }

// RefuseSession implements handshake.Refuser.
func (w sessionWriter) RefuseSession(status int, limit transport.Limit) {
	w.limit = limit
	w.WriteHeader(status)
}

// refusedSession tells once that the exchange asked for a session and got an
// answer that is none.
func (x *exchange) refusedSession(status int, limit transport.Limit, err error) {
	if x.tunnel == nil {
		return
	}
	if x.tellOnce() {
		x.conn.watch.sessionRefused(status, limit, err)
	}
}

// tellOnce reports whether nobody was told yet what became of a request for a
// session. The caller tells.
func (x *exchange) tellOnce() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	first := !x.told
	x.told = true
	return first
}
