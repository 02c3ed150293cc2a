package session

import (
	"context"
	"log/slog"
	"time"

	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// Levels of what is logged: the session's beginning and end, and what was learned
// of the peer's dialect, at levelSession,
// capsules and stream events at levelCapsule.
const (
	levelSession = slog.LevelInfo
	levelCapsule = slog.LevelDebug
)

// An afterFlag is something to do once the lock is free.
type afterFlag uint8

const (
	afterWake afterFlag = 1 << iota
	afterReset
	afterCancel
)

// An after is what a method wants done once the session's lock is free, since
// the carrier, the trace and the logger are never called under it.
type after struct {
	flags     afterFlag
	violation transport.Violation
	reason    string
	ended     *transport.SessionError
	events    []event
	effects   []*sessionstate.Effect
}

func (a *after) add(f afterFlag) { a.flags |= f }

// An event is a call of a Trace function or a log line that is due.
type event struct {
	what  eventKind
	text  string // printed capsule, or what is blocked
	value uint64 // limit, stream ID, or size
	age   time.Duration
}

type eventKind uint8

const (
	eventSent eventKind = iota
	eventReceived
	eventBlocked
	eventDroppedOutgoing
	eventDroppedIncoming
	eventStream
	eventDialect
)

// unlock frees the session's lock and does what is due.
func (s *Session) unlock() {
	if s.after.flags == 0 && s.after.ended == nil && len(s.after.events) == 0 && len(s.after.effects) == 0 {
		s.mu.Unlock()
		return
	}
	a := s.after
	s.after = after{}
	s.mu.Unlock()
	for _, e := range a.events {
		s.report(e)
	}
	for _, e := range a.effects {
		e.Run()
	}
	if a.flags&afterReset != 0 {
		s.carrier.Reset(a.violation)
	}
	if a.flags&afterCancel != 0 {
		s.carrier.Cancel()
	}
	if a.flags&afterWake != 0 {
		s.carrier.Wake()
	}
	if a.ended != nil {
		if s.logs(levelSession) {
			s.log.Log(context.Background(), levelSession, "session ended", "session", s.id(), "error", endedText(a.ended))
		}
		if s.trace.Closed != nil {
			s.trace.Closed(a.ended)
		}
	}
}

// logs reports whether anything is logged at a level.
func (s *Session) logs(l slog.Level) bool {
	return s.log != nil && s.log.Enabled(context.Background(), l)
}

// id is the session ID for logs; it never changes.
func (s *Session) id() uint64 { return s.info.ID }

// report makes the calls for one event.
func (s *Session) report(e event) {
	var line string
	switch e.what {
	case eventSent:
		line = "capsule sent"
		if s.trace.CapsuleSent != nil {
			s.trace.CapsuleSent(e.text)
		}
	case eventReceived:
		line = "capsule received"
		if s.trace.CapsuleReceived != nil {
			s.trace.CapsuleReceived(e.text)
		}
	case eventBlocked:
		line = "blocked"
		if s.trace.Blocked != nil {
			s.trace.Blocked(e.text, e.value)
		}
	case eventDroppedOutgoing, eventDroppedIncoming:
		line = "datagram dropped"
		if s.trace.DatagramDropped != nil {
			s.trace.DatagramDropped(e.what == eventDroppedOutgoing, int(e.value), e.age)
		}
	case eventStream:
		line = "stream"
	case eventDialect:
		d := transport.Dialect(e.value)
		if s.logs(levelSession) {
			s.log.Log(context.Background(), levelSession, "dialect learned", "session", s.id(), "dialect", d.String(), "evidence", e.text)
		}
		if s.trace.DialectLearned != nil {
			s.trace.DialectLearned(d, e.text)
		}
		return
	}
	if s.debug {
		s.log.Log(context.Background(), levelCapsule, line, "session", s.id(), "what", e.text, "value", e.value)
	}
}

// traced reports whether anybody sees events of a kind, so that their text need
// not be made for nobody. Whether the logger takes levelCapsule is asked once,
// when the session begins: a logger is not called under the lock.
func (s *Session) traced(k eventKind) bool {
	if s.debug {
		return true
	}
	switch k {
	case eventSent:
		return s.trace.CapsuleSent != nil
	case eventReceived:
		return s.trace.CapsuleReceived != nil
	case eventBlocked:
		return s.trace.Blocked != nil
	case eventDroppedOutgoing, eventDroppedIncoming:
		return s.trace.DatagramDropped != nil
	}
	return false
}

func (s *Session) eventLocked(e event) { s.after.events = append(s.after.events, e) }

// wakeLocked has the carrier told that Fill has something, if it waits for it.
func (s *Session) wakeLocked() {
	if s.idle {
		s.idle = false
		s.after.add(afterWake)
	}
}
