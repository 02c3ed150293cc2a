package h3wt

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/towpath-go/towpath/transport"
)

// Names and keys of what is logged are stable; docs/watching.md describes them.
// Sessions write to Session.Logger, their beginning and end at level Info, and
// the connection to Config.Logger at level Debug.

func (s *Session) logOpened() {
	attrs := []slog.Attr{
		slog.String("transport", transport.HTTP3.String()),
		slog.String("remote", s.info.RemoteAddr.String()),
	}
	if p := s.info.ApplicationProtocol; p != "" {
		attrs = append(attrs, slog.String("protocol", p))
	}
	s.logAt(slog.LevelInfo, "session opened", attrs...)
}

func (s *Session) logEnd(end *transport.SessionError, stats transport.Stats) {
	attrs := []slog.Attr{
		slog.Duration("duration", time.Since(s.began)),
		slog.Uint64("code", uint64(end.Code)),
		slog.Bool("remote_close", end.Remote),
	}
	if end.Reason != "" {
		attrs = append(attrs, slog.String("reason", escaped(end.Reason)))
	}
	if limit, ok := transport.ReachedLimit(end); ok {
		attrs = append(attrs, slog.String("limit", string(limit)))
	}
	if end.Err != nil {
		attrs = append(attrs, slog.String("error", escaped(end.Err.Error())))
	}
	s.logAt(slog.LevelInfo, "session ended", append(attrs,
		slog.Uint64("bytes_sent", stats.BytesSent), slog.Uint64("bytes_received", stats.BytesReceived),
		slog.Uint64("streams_opened", stats.StreamsOpened), slog.Uint64("streams_accepted", stats.StreamsAccepted))...)
}

// escaped is text of the peer with nothing in it that a terminal obeys.
func escaped(text string) string {
	q := strconv.QuoteToGraphic(text)
	return q[1 : len(q)-1]
}

func (s *Session) logAt(level slog.Level, event string, attrs ...slog.Attr) {
	l := s.cfg.Logger
	if l == nil || !l.Enabled(context.Background(), level) {
		return
	}
	attrs = append([]slog.Attr{slog.Uint64("session", uint64(s.id))}, attrs...)
	l.LogAttrs(context.Background(), level, event, attrs...)
}

// log writes an event of the connection. Limit and err may be none.
func (c *conn) log(event string, limit transport.Limit, err error, attrs ...slog.Attr) {
	l := c.cfg.Logger
	if l == nil || !l.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	attrs = append(attrs, slog.String("remote", c.qc.RemoteAddr().String()),
		slog.String("transport", transport.HTTP3.String()), slog.String("side", c.side().String()))
	if limit != "" {
		attrs = append(attrs, slog.String("limit", string(limit)))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", escaped(err.Error())))
	}
	l.LogAttrs(context.Background(), slog.LevelDebug, event, attrs...)
}
