package session

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/qlog"
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
	afterClosed // both directions are over
)

// An after is what a method wants done once the session's lock is free, since
// the carrier, the trace and the logger are never called under it.
type after struct {
	flags     afterFlag
	violation transport.Violation // of afterReset
	end       *sessionEnd         // the session has ended
	events    []event
	effects   []*sessionstate.Effect
}

func (a *after) add(f afterFlag) { a.flags |= f }

func (a *after) reset(v transport.Violation) {
	a.add(afterReset)
	a.violation = v
}

// A sessionEnd is the end of a session.
type sessionEnd struct {
	err   *transport.SessionError
	stats transport.Stats // at that moment
}

// An event is a call of a Trace function or a log line that is due. What its
// fields mean depends on its kind.
type event struct {
	what    eventKind
	capsule capsule.Capsule // that was sent or received
	text    string          // why a datagram was dropped; evidence of a dialect
	on      blockedOn
	id      uint64        // stream
	value   uint64        // limit, size, code, or dialect
	age     time.Duration // of a datagram; how long credit is withheld
	remote  bool          // the peer did it
}

type eventKind uint8

const (
	eventSent             eventKind = iota // capsule
	eventReceived                          // capsule
	eventBlocked                           // on, value; id if on is onStream
	eventDroppedOutgoing                   // text, value, age
	eventDroppedIncoming                   // text, value, age
	eventOpened                            // id, remote
	eventReset                             // the receiving part; id, value
	eventSendAborted                       // id, value, remote
	eventReadingCancelled                  // id, value
	eventThrottled                         // age
	eventDialect                           // value, text
	eventDraining                          // the peer winds down
)

// A blockedOn says whose credit sending stopped for.
type blockedOn uint8

const (
	onSession blockedOn = iota
	onStream
	onStreams
)

// String returns what Trace.Blocked is told.
func (b blockedOn) String() string {
	return [...]string{"session", "stream", "streams"}[b]
}

// Why a datagram was dropped.
const (
	droppedFull = "queue full"
	droppedOld  = "too old"
	droppedSize = "too large"
	droppedRate = "rate"
)

// unlock frees the session's lock and does what is due.
func (s *Session) unlock() {
	if s.after.flags == 0 && s.after.end == nil && len(s.after.events) == 0 && len(s.after.effects) == 0 {
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
	if end := a.end; end != nil {
		if s.logs(levelSession) {
			s.logEnd(end.err, end.stats)
		}
		if rtt, ok := s.carrier.RTT(); ok {
			end.stats.RTT = rtt
		}
		s.qlog.Ended(end.err, end.stats)
		if s.trace.Closed != nil {
			s.trace.Closed(end.err)
		}
	}
	if a.flags&afterClosed != 0 {
		s.qlog.Close()
	}
}

// logs reports whether anything is logged at a level.
func (s *Session) logs(l slog.Level) bool {
	return s.log != nil && s.log.Enabled(context.Background(), l)
}

// logAt logs an event of the session.
func (s *Session) logAt(l slog.Level, what string, attrs ...slog.Attr) {
	attrs = append([]slog.Attr{slog.Uint64("session", s.info.ID)}, attrs...)
	s.log.LogAttrs(context.Background(), l, what, attrs...)
}

func (s *Session) logOpened(d transport.Dialect) {
	attrs := []slog.Attr{slog.String("transport", s.info.Protocol.String())}
	if s.info.RemoteAddr != nil {
		attrs = append(attrs, slog.String("remote", s.info.RemoteAddr.String()))
	}
	if p := s.info.ApplicationProtocol; p != "" {
		attrs = append(attrs, slog.String("protocol", p))
	}
	s.logAt(levelSession, "session opened", append(attrs, slog.String("dialect", d.String()))...)
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
	s.logAt(levelSession, "session ended", append(attrs,
		slog.Uint64("bytes_sent", stats.BytesSent), slog.Uint64("bytes_received", stats.BytesReceived),
		slog.Uint64("streams_opened", stats.StreamsOpened), slog.Uint64("streams_accepted", stats.StreamsAccepted))...)
}

// escaped is text of the peer with nothing in it that a terminal obeys.
func escaped(text string) string {
	q := strconv.QuoteToGraphic(text)
	return q[1 : len(q)-1]
}

// report makes the calls for one event.
func (s *Session) report(e event) {
	if s.qlog != nil {
		s.record(e)
	}
	switch e.what {
	case eventSent:
		if s.trace.CapsuleSent != nil {
			s.trace.CapsuleSent(e.capsule.String())
		}
	case eventReceived:
		if s.trace.CapsuleReceived != nil {
			s.trace.CapsuleReceived(e.capsule.String())
		}
	case eventBlocked:
		if s.trace.Blocked != nil {
			s.trace.Blocked(e.on.String(), e.value)
		}
	case eventDroppedOutgoing, eventDroppedIncoming:
		if s.trace.DatagramDropped != nil {
			s.trace.DatagramDropped(e.what == eventDroppedOutgoing, int(e.value), e.age)
		}
	case eventDialect:
		d := transport.Dialect(e.value)
		if s.logs(levelSession) {
			s.logAt(levelSession, "dialect learned", slog.String("dialect", d.String()), slog.String("evidence", e.text))
		}
		if s.trace.DialectLearned != nil {
			s.trace.DialectLearned(d, e.text)
		}
		return
	}
	if s.debug {
		s.logEvent(e)
	}
}

// logEvent logs one event. The names and keys are described in docs/watching.md.
func (s *Session) logEvent(e event) {
	stream := slog.Uint64("stream", e.id)
	code := slog.Uint64("code", e.value)
	remote := slog.Bool("by_peer", e.remote)
	switch e.what {
	case eventSent:
		s.logAt(levelCapsule, "capsule sent", slog.String("capsule", e.capsule.String()))
	case eventReceived:
		s.logAt(levelCapsule, "capsule received", slog.String("capsule", e.capsule.String()))
	case eventBlocked:
		attrs := []slog.Attr{slog.String("on", e.on.String()), slog.Uint64("maximum", e.value)}
		if e.on == onStream {
			attrs = append(attrs, stream)
		}
		s.logAt(levelCapsule, "blocked", attrs...)
	case eventDroppedOutgoing, eventDroppedIncoming:
		attrs := []slog.Attr{slog.Bool("outgoing", e.what == eventDroppedOutgoing), slog.String("reason", e.text), slog.Uint64("size", e.value)}
		switch e.text {
		case droppedFull, droppedOld:
			attrs = append(attrs, slog.Duration("age", e.age))
		case droppedRate:
			attrs = append(attrs, slog.String("limit", string(transport.LimitDatagramRate)))
		}
		s.logAt(levelCapsule, "datagram dropped", attrs...)
	case eventOpened:
		s.logAt(levelCapsule, "stream opened", stream, remote)
	case eventReset:
		s.logAt(levelCapsule, "stream reset", stream, code)
	case eventSendAborted:
		s.logAt(levelCapsule, "sending aborted", stream, code, remote)
	case eventReadingCancelled:
		s.logAt(levelCapsule, "reading cancelled", stream, code)
	case eventDraining:
		s.logAt(levelCapsule, "session draining")
	case eventThrottled:
		s.logAt(levelCapsule, "credit withheld", slog.String("limit", string(transport.LimitByteRate)), slog.Duration("for", e.age))
	}
}

// record writes one event to the session's qlog.
func (s *Session) record(e event) {
	id, code := transport.StreamID(e.id), transport.StreamErrorCode(e.value)
	switch e.what {
	case eventSent:
		s.qlog.Sent(e.capsule)
	case eventReceived:
		s.qlog.Received(e.capsule)
	case eventBlocked:
		s.qlog.Blocked(e.on.String(), e.value)
	case eventDroppedOutgoing, eventDroppedIncoming:
		s.qlog.DatagramDropped(e.what == eventDroppedOutgoing, int(e.value), e.age, e.text)
	case eventOpened:
		s.qlog.StreamOpened(id, !e.remote)
	case eventReset:
		s.qlog.StreamAborted(id, qlog.Receiving, false, code)
	case eventSendAborted:
		s.qlog.StreamAborted(id, qlog.Sending, !e.remote, code)
	case eventReadingCancelled:
		s.qlog.StreamAborted(id, qlog.Receiving, true, code)
	case eventThrottled:
		s.qlog.Throttled(e.age)
	case eventDialect:
		s.qlog.DialectLearned(transport.Dialect(e.value), e.text)
	case eventDraining:
		s.qlog.Draining()
	}
}

// traced reports whether anybody sees events of a kind, so that they need not be
// noted for nobody. Whether the logger takes levelCapsule is asked once, when the
// session begins: a logger is not called under the lock.
func (s *Session) traced(k eventKind) bool {
	if s.debug || s.qlog != nil {
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

// noteLocked notes an event if anybody sees it.
func (s *Session) noteLocked(e event) {
	if s.traced(e.what) {
		s.eventLocked(e)
	}
}

// blockedLocked counts and notes that sending stopped for want of credit. St is
// the stream that it stopped on, nil if it is not one alone.
func (s *Session) blockedLocked(on blockedOn, st *stream, limit uint64) {
	s.stats.Stalls++
	e := event{what: eventBlocked, on: on, value: limit}
	if st != nil {
		e.id = st.id
	}
	s.noteLocked(e)
}

// wakeLocked has the carrier told that Fill has something, if it waits for it.
func (s *Session) wakeLocked() {
	if s.idle {
		s.idle = false
		s.after.add(afterWake)
	}
}
