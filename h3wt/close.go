package h3wt

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/towpath-go/towpath/capsule"
	"github.com/towpath-go/towpath/internal/sessionstate"
	"github.com/towpath-go/towpath/transport"
)

// CloseWithError ends the session. Bytes that Write has accepted are quic-go's,
// which goes on to send them; so there are none to report as unsent.
func (s *Session) CloseWithError(code transport.SessionErrorCode, reason string) error {
	reason = sessionstate.TruncateReason(reason)
	return s.closeFor(&transport.SessionError{Code: code, Reason: reason})
}

// closeFor ends an open session from here and tells the peer the cause's code and
// reason.
func (s *Session) closeFor(cause *transport.SessionError) error {
	if !s.end(sessionstate.EventClose, cause) {
		return nil
	}
	s.flushControl()
	return s.awaitAnswer()
}

// maxFinished bounds the streams that noteFinishedLocked remembers.
const maxFinished = 32

// noteFinishedLocked remembers the last streams that were closed: quic-go may still
// have their last bytes and their end to send.
func (s *Session) noteFinishedLocked(p *sendPart) {
	s.closedAny = true
	s.restLaterLocked()
	if len(s.finished) == 0 {
		s.finishedNext = 0
	}
	if len(s.finished) < maxFinished {
		s.finished = append(s.finished, p)
		return
	}
	s.finished[s.finishedNext] = p
	s.finishedNext = (s.finishedNext + 1) % maxFinished
}

// hurryFinished puts what finished streams still have to send before the
// CONNECT stream, so that WT_CLOSE_SESSION, at which a peer gives streams up,
// does not overtake it.
func (s *Session) hurryFinished() {
	s.mu.Lock()
	finished, rested := s.finished, s.rested
	s.finished, s.rested = nil, nil
	s.mu.Unlock()
	for _, p := range finished {
		p.q.SetPriority(0, true)
	}
	for _, r := range rested {
		r.hurry()
	}
	setConnectUrgency(s.str, defaultUrgency)
}

// awaitAnswer waits for the peer's end of the CONNECT stream, for CloseTimeout.
func (s *Session) awaitAnswer() error {
	t := time.NewTimer(s.cfg.CloseTimeout)
	defer t.Stop()
	select {
	case <-s.done:
		return s.confirmed()
	case <-t.C:
	}
	s.mu.Lock()
	sent := s.life != sessionstate.Closing
	s.mu.Unlock()
	// readConnect ends with this, and cancels what was not sent.
	s.str.CancelRead(codeSessionGone)
	<-s.done
	if s.cfg.CloseTimeout > 0 {
		if err := s.confirmed(); err != nil {
			return err
		}
	}
	if !sent {
		return fmt.Errorf("h3wt: the peer gave no credit for WT_CLOSE_SESSION: %w", os.ErrDeadlineExceeded)
	}
	return nil
}

// setAnswered notes that the peer's half of the CONNECT stream has ended.
func (s *Session) setAnswered() {
	s.mu.Lock()
	s.answered = true
	s.mu.Unlock()
}

// noteReset notes a reset of the peer's half, with which some answer a close. One
// for another reason, or before the own close has gone out, may be from a peer
// that has read nothing of what was sent last.
func (s *Session) noteReset(code quic.StreamErrorCode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch code {
	case 0, quic.StreamErrorCode(http3.ErrCodeNoError), requestCancelled, codeSessionGone:
		s.answered = s.answered || s.life == sessionstate.CloseSent || s.control.closing
	}
}

// confirmed returns what CloseWithError says when the peer did not end its half.
// What was finished last may then be lost.
func (s *Session) confirmed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closedAny && !s.answered {
		return transport.ErrUnconfirmed
	}
	return nil
}

// advance moves the lifecycle by an event of the peer or of the connection.
func (s *Session) advance(e sessionstate.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if next, err := s.life.Next(e); err == nil {
		s.life = next
	}
}

// end ends the session for the application, once: it sets the cause, ends the
// context, and aborts the streams. It reports whether this call did. The event
// counts in any case.
func (s *Session) end(e sessionstate.Event, cause *transport.SessionError) bool {
	s.mu.Lock()
	if next, err := s.life.Next(e); err == nil {
		s.life = next
	}
	if s.err != nil {
		s.mu.Unlock()
		return false
	}
	s.err = cause
	s.control.close = capsule.CloseSession{ErrorCode: uint32(cause.Code), Message: cause.Reason}
	streams := make([]*dataStream, 0, len(s.streams))
	for _, d := range s.streams {
		streams = append(streams, d)
	}
	unreachable := make(map[*dataStream]bool)
	for k := range s.accept {
		for _, d := range s.accept[k].streams {
			unreachable[d] = true
		}
		s.accept[k].streams = nil
	}
	dropped := s.outgoing.Len()
	s.stats.DatagramsDroppedOutgoing += uint64(dropped)
	s.stats.DatagramsDroppedIncoming += uint64(s.incoming.Len())
	s.outgoing.Clear()
	s.incoming.Clear()
	s.stopTimersLocked()
	stats := s.stats
	s.mu.Unlock()

	// Who learns of the end may ask for the next session at once.
	s.c.freeSlot()
	// The cause stands before the peer can learn of the end.
	s.cancel(cause)
	s.holder.Close().Run()
	s.logEnd(cause, stats)
	if rtt, known := s.c.rtt(); known {
		stats.RTT = rtt
	}
	s.qlog.Ended(cause, stats)
	if t := s.cfg.Trace; t != nil && t.Closed != nil {
		t.Closed(cause)
	}
	if e == sessionstate.EventClose {
		s.hurryFinished() // before anything below writes WT_CLOSE_SESSION
	}
	// A clean close of the peer overtakes ends of streams that it sent before
	// but that were lost on the way: those get as long as a repetition takes.
	linger := time.Duration(0)
	if cause.Remote && cause.Err == nil {
		linger = s.reordering()
	}
	// The peer learns of an own close before its streams are reset: Chromium
	// loses code and reason if RESET_STREAM or STOP_SENDING comes first, and
	// those travel in front of stream data.
	var later []func()
	tell := func(f func()) { f() }
	if e == sessionstate.EventClose {
		tell = func(f func()) { later = append(later, f) }
	}
	for _, d := range streams {
		if d.send != nil {
			d.send.abort(tell)
		}
		if d.recv != nil && (linger == 0 || unreachable[d]) {
			d.recv.abort(unreachable[d], tell)
		}
	}
	if len(later) > 0 {
		time.AfterFunc(s.reordering(), func() {
			for _, f := range later {
				f()
			}
		})
	}
	if linger == 0 {
		close(s.lingered)
		return true
	}
	time.AfterFunc(linger, func() {
		for _, d := range streams {
			if d.recv != nil {
				d.recv.abort(false, tell)
			}
		}
		close(s.lingered)
	})
	return true
}

// reordering is how long a lost packet may come after those sent later: a probe
// timeout and a half, within CloseTimeout.
func (s *Session) reordering() time.Duration {
	st := s.c.qc.ConnectionStats()
	pto := st.SmoothedRTT + max(4*st.MeanDeviation, time.Millisecond) + maxAckDelay
	return min(pto+pto/2, s.cfg.CloseTimeout)
}

// maxAckDelay is what quic-go and most others announce as max_ack_delay.
const maxAckDelay = 25 * time.Millisecond

// fail ends the session because the peer broke a rule: the CONNECT stream is
// reset in both directions. It returns the error that ended the session.
func (s *Session) fail(err error) error {
	violation := transport.ViolationGeneric
	if p, ok := errors.AsType[*transport.ProtocolError](err); ok {
		violation = p.Violation
	}
	return s.reset(violationCode(violation), &transport.SessionError{Err: err})
}

// reset ends the session abruptly with a code for the peer.
func (s *Session) reset(code quic.StreamErrorCode, cause *transport.SessionError) error {
	if s.end(sessionstate.EventAbort, cause) {
		s.mu.Lock()
		s.control.over = true
		s.mu.Unlock()
		s.str.CancelRead(code)
		s.str.CancelWrite(code)
	}
	return s.ended()
}

// requestCancelled resets a CONNECT stream of which nothing is wanted any more.
const requestCancelled = quic.StreamErrorCode(http3.ErrCodeRequestCanceled)

// lost ends the session because of err, which a stream or the connection
// reported: a reset by the peer, or the connection's end. It returns the error
// that ended the session.
func (s *Session) lost(err error) error {
	if reset, ok := errors.AsType[*quic.StreamError](err); ok && reset.Remote {
		return s.reset(requestCancelled, &transport.SessionError{Remote: true, Err: resetError(err)})
	}
	return s.reset(requestCancelled, s.c.lostError(err))
}

// finish is called by readConnect at its end.
func (s *Session) finish() {
	s.advance(sessionstate.EventAbort)
	s.qlog.Close()
	close(s.done)
	s.c.remove(s)
	// A client that opens sessions and resets them makes as much work as one that
	// does so with other requests.
	if s.c.server {
		s.c.requestEnded(s.failed())
	}
}

// failed reports whether the peer reset the session, or made this side reset it.
func (s *Session) failed() bool {
	err := s.ended()
	if reset, ok := errors.AsType[*transport.ResetError](err); ok {
		return !reset.Connection
	}
	_, ok := errors.AsType[*transport.ProtocolError](err)
	return ok
}

// awaitEnd waits for the session's end, of which a stream has brought the first
// sign (WT_SESSION_GONE). It returns nil if the session goes on all the same,
// and os.ErrDeadlineExceeded at the stream's deadline.
func (s *Session) awaitEnd(deadline func() time.Time) error {
	bound := time.NewTimer(s.cfg.CloseTimeout)
	defer bound.Stop()
	var expired <-chan time.Time
	if d := deadline(); !d.IsZero() {
		t := time.NewTimer(time.Until(d))
		defer t.Stop()
		expired = t.C
	}
	select {
	case <-s.ctx.Done():
		return s.ended()
	case <-bound.C:
		return nil
	case <-expired:
		return os.ErrDeadlineExceeded
	}
}
