package h3wt

import (
	"context"
	"log/slog"

	"github.com/towpath-go/towpath/capsule"
)

// logEvent logs the session's opening and end.
func (s *Session) logEvent(event string, attrs ...slog.Attr) {
	s.logAt(slog.LevelInfo, event, attrs...)
}

func (s *Session) logAt(level slog.Level, event string, attrs ...slog.Attr) {
	l := s.cfg.Logger
	if l == nil || !l.Enabled(context.Background(), level) {
		return
	}
	attrs = append(attrs, slog.Uint64("session", uint64(s.id)), slog.String("remote", s.info.RemoteAddr.String()))
	l.LogAttrs(context.Background(), level, "h3wt: "+event, attrs...)
}

// sent and received report a capsule.
func (s *Session) sent(c capsule.Capsule) {
	s.logAt(slog.LevelDebug, "capsule sent", slog.Any("capsule", c))
	if t := s.cfg.Trace; t != nil && t.CapsuleSent != nil {
		t.CapsuleSent(c.String())
	}
}

func (s *Session) received(c capsule.Capsule) {
	s.logAt(slog.LevelDebug, "capsule received", slog.Any("capsule", c))
	if t := s.cfg.Trace; t != nil && t.CapsuleReceived != nil {
		t.CapsuleReceived(c.String())
	}
}

// blockedAt reports that sending stopped for want of credit.
func (s *Session) blockedAt(what string, limit uint64) {
	if t := s.cfg.Trace; t != nil && t.Blocked != nil {
		t.Blocked(what, limit)
	}
}
