package h3wt

import (
	"context"
	"log/slog"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/qlog"
	"github.com/towpath-go/towpath/transport"
)

// What happens in a session goes to its Logger, its Trace and its qlog, from here
// and without locks held.

// Why a datagram was dropped.
const (
	droppedFull = "queue full"
	droppedOld  = "too old"
	droppedSize = "too large"
	droppedRate = "rate"
)

// debug reports whether the Logger takes events of level Debug. It is asked before
// the attributes of frequent ones are made.
func (s *Session) debug() bool {
	return s.cfg.Logger != nil && s.cfg.Logger.Enabled(context.Background(), slog.LevelDebug)
}

// sent and received report a capsule.
func (s *Session) sent(c capsule.Capsule) {
	s.logAt(slog.LevelDebug, "capsule sent", slog.Any("capsule", c))
	s.qlog.Sent(c)
	if t := s.cfg.Trace; t != nil && t.CapsuleSent != nil {
		t.CapsuleSent(c.String())
	}
}

func (s *Session) received(c capsule.Capsule) {
	s.logAt(slog.LevelDebug, "capsule received", slog.Any("capsule", c))
	s.qlog.Received(c)
	if t := s.cfg.Trace; t != nil && t.CapsuleReceived != nil {
		t.CapsuleReceived(c.String())
	}
}

// blockedAt reports that sending stopped for want of credit.
func (s *Session) blockedAt(what string, limit uint64) {
	s.logAt(slog.LevelDebug, "blocked", slog.String("on", what), slog.Uint64("maximum", limit))
	s.qlog.Blocked(what, limit)
	if t := s.cfg.Trace; t != nil && t.Blocked != nil {
		t.Blocked(what, limit)
	}
}

// withheld reports that credit, or a Read, waits for the rate.
func (s *Session) withheld(wait time.Duration) {
	if wait == 0 {
		return
	}
	s.logAt(slog.LevelDebug, "credit withheld", slog.String("limit", string(transport.LimitByteRate)), slog.Duration("for", wait))
	s.qlog.Throttled(wait)
}

// droppedDatagram reports a datagram dropped here.
func (s *Session) droppedDatagram(outgoing bool, size int, age time.Duration, why string) {
	if s.debug() {
		attrs := []slog.Attr{slog.Bool("outgoing", outgoing), slog.String("reason", why), slog.Int("size", size)}
		switch why {
		case droppedFull, droppedOld:
			attrs = append(attrs, slog.Duration("age", age))
		case droppedRate:
			attrs = append(attrs, slog.String("limit", string(transport.LimitDatagramRate)))
		}
		s.logAt(slog.LevelDebug, "datagram dropped", attrs...)
	}
	s.qlog.DatagramDropped(outgoing, size, age, why)
	if t := s.cfg.Trace; t != nil && t.DatagramDropped != nil {
		t.DatagramDropped(outgoing, size, age)
	}
}

// streamOpened reports a stream, opened here or by the peer.
func (s *Session) streamOpened(d *dataStream) {
	if s.debug() {
		s.logAt(slog.LevelDebug, "stream opened", slog.Uint64("stream", uint64(d.id)), slog.Bool("by_peer", d.peer))
	}
	s.qlog.StreamOpened(transport.StreamID(d.id), !d.peer)
}

// sendingAborted reports the end of a stream's sending part by CancelWrite, or by
// the peer's request to stop.
func (s *Session) sendingAborted(e *transport.StreamError) {
	if s.debug() {
		s.logAt(slog.LevelDebug, "sending aborted", slog.Uint64("stream", uint64(e.StreamID)),
			slog.Uint64("code", uint64(e.Code)), slog.Bool("by_peer", e.Remote))
	}
	s.qlog.StreamAborted(e.StreamID, qlog.Sending, !e.Remote, e.Code)
}

// receivingAborted reports the end of a stream's receiving part by CancelRead, or
// by the peer's reset.
func (s *Session) receivingAborted(e *transport.StreamError) {
	if s.debug() {
		event := "reading cancelled"
		if e.Remote {
			event = "stream reset"
		}
		s.logAt(slog.LevelDebug, event, slog.Uint64("stream", uint64(e.StreamID)), slog.Uint64("code", uint64(e.Code)))
	}
	s.qlog.StreamAborted(e.StreamID, qlog.Receiving, !e.Remote, e.Code)
}

// winding reports that the peer asked to wind down.
func (s *Session) winding() {
	s.logAt(slog.LevelDebug, "session draining")
	s.qlog.Draining()
}
